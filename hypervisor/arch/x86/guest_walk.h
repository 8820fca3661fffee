// SPDX-License-Identifier: MIT
// Walks a guest's own page tables [APM2 5]: 32-bit, PAE, 4 and 5 levels, with permission checks.
// The guest may change its tables meanwhile: each entry is read once, and the answer is one the
// guest could have got.
#pragma once

#include <array>
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
  // A table lies in a GPA that is not backed by RAM. The final page is not looked at.
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

// Finds the page that instructions come from again without a walk: what the last walk read on its
// way is read again, entry by entry, so the answer is as fresh as a walk's. One belongs to a VP and
// stays where it is.
class FetchCache {
 public:
  // The bytes at `address`, up to the end of their 4 KB page, whatever the rights; nullptr if it is
  // not mapped or no RAM. `generation` tells that mappings of GPA spaces were removed: it changes
  // before the wait of synchronize_lps(), and is read anew for every call.
  const uint8_t* find(const Partition& partition, const PagingState& paging, Gva address,
                      uint64_t generation) {
    const Line& line = lines_[address.page() % lines_.size()];
    if (line.page == address.page() && line.generation == generation && line.cr3 == paging.cr3 &&
        line.cr0 == paging.cr0 && line.cr4 == paging.cr4 && line.efer == paging.efer &&
        line.unchanged()) [[likely]]
      return line.bytes + address.offset();
    return walk(partition, paging, address, generation);
  }

 private:
  static constexpr unsigned kLevels = 4;
  static constexpr uint64_t kNone = ~uint64_t{0};
  struct Line {
    uint64_t page = kNone;
    uint64_t generation = 0;
    uint64_t cr3 = 0, cr0 = 0, cr4 = 0, efer = 0;
    const uint8_t* bytes = nullptr;
    std::array<const uint64_t*, kLevels> slots{};
    std::array<uint64_t, kLevels> entries{};

    bool unchanged() const {
      for (unsigned i = 0; i < kLevels; ++i)
        if (__atomic_load_n(slots[i], __ATOMIC_RELAXED) != entries[i]) return false;
      return true;
    }
  };

  const uint8_t* walk(const Partition& partition, const PagingState& paging, Gva address,
                      uint64_t generation);

  std::array<Line, 4> lines_{};
};

}  // namespace hv::x86
