// SPDX-License-Identifier: MIT
// The four synthetic timers of a VP [TLFS 12.3], message and direct mode. They belong to the LP
// that runs the VP, or to whoever holds it stopped.
#pragma once

#include <array>
#include <cstdint>

#include "abi/tlfs/msr.h"
#include "abi/tlfs/partition.h"
#include "abi/tlfs/synic.h"
#include "hypervisor/core/error.h"
#include "hypervisor/core/time.h"

namespace hv {

struct Vp;

class SyntheticTimers {
 public:
  void reset();

  // Registers by MSR number 0x400000b0-0x400000b7. Error: inject_gp. A write fires what is already
  // due and reports deadline_changed().
  Result<uint64_t> read(uint32_t msr) const;
  Result<> write(Vp& vp, uint32_t msr, uint64_t value);

  // TSC at which expire() is wanted; kNever if no timer runs.
  uint64_t next_deadline(const Vp& vp) const;
  // Fires every timer whose time has come.
  void expire(Vp& vp);
  // Posts expiry messages that found their slot busy.
  void retry(Vp& vp);

  void save(abi::HvSyntheticTimersState& out) const;
  // Error: invalid_parameter, with nothing changed.
  Result<> restore(Vp& vp, const abi::HvSyntheticTimersState& in);

 private:
  struct Timer {
    uint64_t config = 0;
    uint64_t count = 0;
    uint64_t expiration = kNever;   // reference time; kNever while stopped
    uint64_t undelivered = kNever;  // expiration time of a message that waits for its slot
  };

  void start(const Vp& vp, Timer& timer);
  void fire(Vp& vp, unsigned index, uint64_t now);
  void post(Vp& vp, unsigned index);

  std::array<Timer, abi::kHvSynicStimerCount> timers_{};
};

}  // namespace hv
