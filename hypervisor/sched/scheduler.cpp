// SPDX-License-Identifier: MIT
// Which VP runs where, and when it stops. See run_queue.h for the policy.

#include "hypervisor/core/scheduler.h"

#include <algorithm>

#include "hypervisor/core/arch.h"
#include "hypervisor/sched/run_queue.h"

namespace hv {
namespace sched {
namespace {

constexpr uint64_t kSlice100ns = 20'000;       // 2 ms
constexpr uint64_t kWakeCredit100ns = 20'000;  // a VP that slept is ahead of the others by no more
constexpr uint64_t kAdvantage100ns = 2'000;    // a waker preempts if it is ahead by 0.2 ms
// The root serves everybody's devices: it counts as so many VPs.
constexpr uint64_t kRootWeight = 4;

RunQueue queues[kMaxLps];

RunQueue& queue_of(const Lp& lp) {
  return queues[lp.index.value()];
}

// Suspension decides unless an event undoes it: a request ends a halt, INIT and SIPI are always
// heard by a VP that its parent lets run.
bool runnable(const Vp& vp) {
  const uint32_t suspend = vp.suspend.load();
  if (suspend == 0) return true;
  constexpr auto halted = static_cast<uint32_t>(VpSuspend::halted);
  constexpr auto waiting = static_cast<uint32_t>(VpSuspend::wait_for_startup);
  if (suspend & ~(halted | waiting)) return false;
  if (suspend & waiting) return vp.has(VpRequest::startup) || vp.has(VpRequest::init);
  return vp.requests.load() != 0;
}

// Calls action(queue, lp) with the lock held of the queue that the VP is at home in; the home may
// change until then.
template <class Action>
auto at_home(const Vp& vp, Action action) HV_UNCHECKED {
  for (;;) {
    Lp* const lp = vp.home.load();
    RunQueue& queue = queue_of(*lp);
    base::Guard guard(queue.lock);
    if (vp.home.load() == lp) return action(queue, *lp);
  }
}

void unlink_timer(RunQueue& queue, Vp& vp) HV_REQUIRES(queue.lock) {
  if (TimerList::contains(&vp)) queue.timers.remove(&vp);
  queue.first_deadline.store(queue.timers.empty() ? kNever : queue.timers.front()->deadline);
}

void link_timer(RunQueue& queue, Vp& vp) HV_REQUIRES(queue.lock) {
  if (TimerList::contains(&vp)) queue.timers.remove(&vp);
  if (vp.deadline != kNever) {
    Vp* at = queue.timers.front();
    while (at && at->deadline <= vp.deadline) at = TimerList::next(at);
    queue.timers.insert_before(at, &vp);
  }
  queue.first_deadline.store(queue.timers.empty() ? kNever : queue.timers.front()->deadline);
}

void ask_to_reschedule(Lp& lp) {
  lp.reschedule.store(true);
  if (&lp != &this_lp()) kick_lp(lp);
}

// Virtual time of a VP that runs.
uint64_t virtual_time_at(const Vp& vp, uint64_t now) {
  return vp.virtual_time + (now - vp.run_since) / (vp.partition.is_root() ? kRootWeight : 1);
}

// Whether the VP that runs on `lp` should make way for a waker.
bool preempts(const Vp& waker, const Lp& lp) {
  const Vp* current = lp.current.load();
  const uint64_t ahead = time_scale.ticks_from_100ns(kAdvantage100ns);
  return !current || waker.virtual_time + ahead <= virtual_time_at(*current, read_tsc());
}

void enqueue(Vp& vp, RunQueue& queue) HV_REQUIRES(queue.lock) {
  vp.run_state = Vp::RunState::ready;
  Vp* at = queue.ready.front();
  while (at && at->virtual_time <= vp.virtual_time) at = ReadyList::next(at);
  queue.ready.insert_before(at, &vp);
  queue.waiting.fetch_add(1);
}

// The clock follows the VP that has had least, so that who sleeps long gets no more than its
// credit.
void join(Vp& vp, RunQueue& queue, const Lp& lp) HV_REQUIRES(queue.lock) {
  uint64_t least = queue.ready.empty() ? kNever : queue.ready.front()->virtual_time;
  if (const Vp* current = lp.current.load())
    least = std::min(least, virtual_time_at(*current, read_tsc()));
  if (least != kNever) queue.clock = std::max(queue.clock, least);
  const uint64_t credit = time_scale.ticks_from_100ns(kWakeCredit100ns);
  const uint64_t earliest = queue.clock > credit ? queue.clock - credit : 0;
  vp.virtual_time = std::clamp(vp.virtual_time, earliest, queue.clock + credit);
}

// An idle LP may take what waits here.
void offer_to_idle(const Vp& vp) {
  for (unsigned i = 0; !vp.pinned && i < lp_count; ++i) {
    if (!lps[i] || !lps[i]->online.load() || !lps[i]->idle.load()) continue;
    lps[i]->reschedule.store(true);
    return kick_lp(*lps[i]);
  }
}

void make_ready(Vp& vp, RunQueue& queue, Lp& lp) HV_REQUIRES(queue.lock) {
  if (vp.run_state != Vp::RunState::blocked || !runnable(vp)) return;
  join(vp, queue, lp);
  enqueue(vp, queue);
  if (preempts(vp, lp)) return ask_to_reschedule(lp);
  // It waits: the LP has to know, to end the running VP's slice in time.
  if (queue.waiting.load() == 1) kick_lp(lp);
  offer_to_idle(vp);
}

// Moves a ready VP from another LP's queue to this one.
Vp* steal(Lp& thief) {
  for (unsigned i = 0; i < lp_count; ++i) {
    Lp* victim = lps[i];
    if (!victim || victim == &thief) continue;
    RunQueue& queue = queue_of(*victim);
    base::Guard guard(queue.lock);
    for (Vp* vp = queue.ready.front(); vp; vp = ReadyList::next(vp)) {
      if (vp->pinned || !runnable(*vp)) continue;
      queue.ready.remove(vp);
      queue.waiting.fetch_sub(1);
      vp->deadline = kNever;  // linked again by the thief
      unlink_timer(queue, *vp);
      vp->run_state = Vp::RunState::running;
      vp->home.store(&thief);
      return vp;
    }
  }
  return nullptr;
}

}  // namespace

Vp* pick(Lp& lp) {
  RunQueue& queue = queue_of(lp);
  Vp* vp = nullptr;
  {
    base::Guard guard(queue.lock);
    lp.reschedule.store(false);
    while ((vp = queue.ready.pop_front())) {
      queue.waiting.fetch_sub(1);
      if (runnable(*vp)) break;
      vp->run_state = Vp::RunState::blocked;
    }
    if (vp) {
      vp->run_state = Vp::RunState::running;
      queue.clock = std::max(queue.clock, vp->virtual_time);
    }
  }
  if (!vp && (vp = steal(lp))) {
    deadline_changed(*vp);
    base::Guard guard(queue.lock);
    vp->virtual_time = queue.clock;
  }
  if (vp) {
    vp->run_since = read_tsc();
    vp->slice_end = vp->run_since + time_scale.ticks_from_100ns(kSlice100ns);
    lp.current.store(vp);
  }
  return vp;
}

void put_back(Lp& lp, Vp& vp) {
  RunQueue& queue = queue_of(lp);
  const uint64_t now = read_tsc();
  base::Guard guard(queue.lock);
  lp.current.store(nullptr);
  vp.virtual_time = virtual_time_at(vp, now);
  vp.counters.runtime_tsc += now - vp.run_since;
  if (!runnable(vp)) {
    vp.run_state = Vp::RunState::blocked;
    return;
  }
  enqueue(vp, queue);
  if (queue.waiting.load() > 1) offer_to_idle(*queue.ready.back());
}

uint64_t next_event(Lp& lp, const Vp* running) {
  RunQueue& queue = queue_of(lp);
  const uint64_t deadline = queue.first_deadline.load();
  if (!running) return deadline;
  return queue.waiting.load() == 0 || running->slice_end > deadline ? deadline : running->slice_end;
}

bool others_wait(const Lp& lp) {
  return queue_of(lp).waiting.load() != 0;
}

void expire(Lp& lp, uint64_t now) {
  RunQueue& queue = queue_of(lp);
  while (queue.first_deadline.load() <= now) {
    base::Guard guard(queue.lock);
    Vp* vp = queue.timers.front();
    if (!vp || vp->deadline > now) return;
    vp->deadline = kNever;
    unlink_timer(queue, *vp);
    vp->requests.fetch_or(static_cast<uint64_t>(VpRequest::timer));
    make_ready(*vp, queue, lp);
  }
}

}  // namespace sched

void schedule_new(Vp& vp, Lp& home, bool pinned) {
  vp.home.store(&home);
  vp.pinned = pinned;
}

void post_request(Vp& vp, VpRequest request) {
  vp.requests.fetch_or(static_cast<uint64_t>(request));
  // Fast path: it runs here, and looks at its requests before the next entry.
  if (this_lp().current.load() == &vp) return;
  sched::at_home(vp, [&](sched::RunQueue& queue, Lp& lp) HV_REQUIRES(queue.lock) {
    vp.run_state == Vp::RunState::running ? kick_lp(lp) : sched::make_ready(vp, queue, lp);
  });
}

void resume(Vp& vp, VpSuspend bits) {
  vp.remove(bits);
  sched::at_home(vp, [&](sched::RunQueue& queue, Lp& lp)
                         HV_REQUIRES(queue.lock) { sched::make_ready(vp, queue, lp); });
}

bool suspend(Vp& vp, VpSuspend bits) {
  vp.add(bits);
  return sched::at_home(vp, [&](sched::RunQueue&, Lp& lp) {
    if (vp.run_state != Vp::RunState::running) return true;
    sched::ask_to_reschedule(lp);
    return false;
  });
}

bool is_stopped(const Vp& vp) {
  return sched::at_home(vp, [&](sched::RunQueue&, Lp&) {
    return vp.run_state != Vp::RunState::running && vp.suspend.load() != 0;
  });
}

void unschedule(Vp& vp) {
  sched::at_home(vp, [&](sched::RunQueue& queue, Lp&) HV_REQUIRES(queue.lock) {
    if (sched::ReadyList::contains(&vp)) {
      queue.ready.remove(&vp);
      queue.waiting.fetch_sub(1);
    }
    vp.run_state = Vp::RunState::blocked;
    vp.deadline = kNever;
    sched::unlink_timer(queue, vp);
  });
}

void deadline_changed(Vp& vp) {
  const uint64_t deadline = arch::next_deadline(vp);
  sched::at_home(vp, [&](sched::RunQueue& queue, Lp& lp) HV_REQUIRES(queue.lock) {
    if (deadline == vp.deadline) return;
    const uint64_t before = queue.first_deadline.load();
    vp.deadline = deadline;
    sched::link_timer(queue, vp);
    if (deadline < before && &lp != &this_lp()) sched::ask_to_reschedule(lp);
  });
}

}  // namespace hv
