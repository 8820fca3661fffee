// SPDX-License-Identifier: MIT
// What the core asks of the scheduler (hypervisor/sched implements it). A VP runs when it is not
// suspended and either not halted or has requests.
#pragma once

#include "hypervisor/core/vp.h"

namespace hv {

// Puts a new VP under the scheduler's care; root VPs are pinned to the LP they live on.
void schedule_new(Vp& vp, Lp& home, bool pinned);

// Sets the request and makes sure that the VP's LP notices: wakes a halted VP, interrupts a running
// one (unless it runs on this LP, which looks before it enters the guest).
void post_request(Vp& vp, VpRequest request);

// Clears bits of Vp::suspend and lets the VP run if nothing else holds it.
void resume(Vp& vp, VpSuspend bits);

// Sets bits of Vp::suspend. True once the VP is not executing on any LP; false if it still has to
// leave its guest: it was kicked, the caller answers Error::retry.
[[nodiscard]] bool suspend(Vp& vp, VpSuspend bits);

// True while no LP executes the VP or holds its state in registers that the memory copy lacks.
bool is_stopped(const Vp& vp);

// Takes a stopped VP out of the scheduler for good.
void unschedule(Vp& vp);

// The VP's earliest deadline changed; recomputed through arch::next_deadline(vp).
void deadline_changed(Vp& vp);

}  // namespace hv
