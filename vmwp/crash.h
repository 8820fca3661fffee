// SPDX-License-Identifier: MIT
// A guest's own report of its panic: the crash registers a Hyper-V guest fills
// (HV_X64_MSR_CRASH_P0..P4, CTL) and the text they may point at [TLFS 2.6, guest crash
// enlightenment].
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "vmwp/failure.h"
#include "vmwp/guest_memory.h"
#include "vmwp/partition.h"

namespace vmwp {

struct GuestCrash {
  std::array<uint64_t, 5> parameters{};
  std::string text;  // printable, at most a page; empty if the guest gave none

  /// One line: the panic's own line if the text has one, else the parameters.
  std::string summary() const;
};

/// What the guest reported through this VP, or nothing if it reported nothing. The VP must not run.
std::optional<GuestCrash> read_guest_crash(VpControl& partition, uint32_t vp,
                                           const GuestMemory& memory);

}  // namespace vmwp
