// SPDX-License-Identifier: MIT
// Walks a guest's own page tables [APM2 5]: 32-bit, PAE, 4 and 5 levels, with permission checks. The
// guest may change its tables meanwhile: each entry is read once, and the answer is one the guest
// could have got.
#pragma once

#include <cstdint>

#include "hypervisor/core/partition.h"

namespace hv::x86 {

struct PagingState {
  uint64_t cr0, cr3, cr4, efer;
  uint8_t cpl;
  bool alignment_check;  // RFLAGS.AC: lifts SMAP for supervisor data accesses
};

struct WalkAccess {
  bool write = false;
  bool execute = false;
  bool user = false;          // as CPL 3
  bool check_rights = true;   // false: translate only
  bool set_accessed = false;  // update accessed and dirty bits as the processor would
};

struct WalkFault {
  // Page-fault error code [APM2 8.4.2]; present=0 means not mapped.
  uint32_t error_code = 0;
  // The tables themselves, or the final page, lie in a GPA that is not backed.
  bool gpa_unmapped = false;
  bool reserved_bit = false;
};

struct WalkResult {
  bool ok = false;
  Gpa gpa;
  WalkFault fault;
};

WalkResult walk_guest(const Partition& partition, const PagingState& paging, Gva address,
                      WalkAccess access);

}  // namespace hv::x86
