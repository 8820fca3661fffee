// SPDX-License-Identifier: MIT
// One LP's queue of ready VPs and its list of deadlines. Any LP may add to it; only its own LP
// takes from it, except an idle LP that steals a VP which is not pinned. The VP that has had least
// of the LP goes first. One that wakes has been less demanding than the others, at most by a
// credit, so interactive work waits for no slice, yet nobody lives at the others' cost by sleeping.
#pragma once

#include "base/list.h"
#include "base/lock.h"
#include "hypervisor/core/scheduler.h"

namespace hv::sched {

using ReadyList = base::List<Vp, &Vp::run_link>;
using TimerList = base::List<Vp, &Vp::timer_link>;

struct RunQueue {
  base::SpinLock lock{70};
  ReadyList ready HV_GUARDED_BY(lock);     // by virtual time
  TimerList timers HV_GUARDED_BY(lock);    // by deadline
  uint64_t clock HV_GUARDED_BY(lock) = 0;  // virtual time that every VP here has had
  std::atomic<uint32_t> waiting{0};        // size of `ready`, to look at without the lock
  std::atomic<uint64_t> first_deadline{kNever};
};

// --- For the LP's main loop, on its own LP ---

// The next VP to run, now `running`; nullptr when there is none.
Vp* pick(Lp& lp);
// Puts the VP that ran back: ready if it still can run, else blocked.
void put_back(Lp& lp, Vp& vp);
// When the LP has to look again: the first deadline, or the end of the slice if others wait.
uint64_t next_event(Lp& lp, const Vp* running);
// Whether any VP waits for this LP.
bool others_wait(const Lp& lp);
// Posts VpRequest::timer to every VP whose deadline has passed.
void expire(Lp& lp, uint64_t now);

}  // namespace hv::sched
