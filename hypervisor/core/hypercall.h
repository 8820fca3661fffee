// SPDX-License-Identifier: MIT
// The entry to the hypercall interface [TLFS 3]. The table in hypercall_table.h says what each call
// takes and who may call it; the validator does every generic check and copies input before a
// handler runs, so handlers see locals only.
#pragma once

#include <array>
#include <cstdint>

#include "abi/tlfs/hypercall.h"
#include "abi/tlfs/status.h"
#include "hypervisor/core/partition.h"

namespace hv {

// The register view of a hypercall, neutral to the caller's mode (64-bit: RCX, RDX, R8).
struct HypercallRegisters {
  uint64_t control;
  uint64_t input;   // GPA, or first fast parameter
  uint64_t output;  // GPA, or second fast parameter
};

struct HypercallResult {
  uint64_t value;    // RAX: status and completed reps
  uint64_t control;  // RCX to restart with when `restart` is set
  bool restart;      // leave RIP on the hypercall instruction
};

HypercallResult dispatch_hypercall(Vp& caller, const HypercallRegisters& registers);

abi::HvStatus to_status(Error error);

// Statistics pages of the machine, when the root restarts: they are the caller's to free.
using MachinePages = std::array<Spa, kMaxLps + 1>;
MachinePages take_machine_pages();

// Two pages of this LP, page-aligned: input block, then output block. Supplied by the environment.
uint8_t* hypercall_buffer();

}  // namespace hv
