// SPDX-License-Identifier: MIT
// Which VP runs where, and when it stops. See run_queue.h for the policy.

#include "hypervisor/core/scheduler.h"

#include "hypervisor/core/arch.h"
#include "hypervisor/sched/run_queue.h"

namespace hv {
namespace sched {
namespace {

constexpr uint64_t kSlice100ns = 20'000;       // 2 ms
constexpr uint64_t kGranularity100ns = 2'000;  // a VP keeps its LP at least 0.2 ms against a waker

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

// Takes the lock of the queue the VP is at home in; the home may change until the lock is held.
class HomeGuard {
 public:
  explicit HomeGuard(Vp& vp) {
    for (;;) {
      lp_ = vp.home.load();
      queue_of(*lp_).lock.lock();
      if (vp.home.load() == lp_) return;
      queue_of(*lp_).lock.unlock();
    }
  }
  ~HomeGuard() { queue_of(*lp_).lock.unlock(); }
  HomeGuard(const HomeGuard&) = delete;
  HomeGuard& operator=(const HomeGuard&) = delete;
  Lp& lp() const { return *lp_; }
  RunQueue& queue() const { return queue_of(*lp_); }

 private:
  Lp* lp_;
};

void unlink_timer(RunQueue& queue, Vp& vp) {
  if (TimerList::contains(&vp)) queue.timers.remove(&vp);
  queue.first_deadline.store(queue.timers.empty() ? kNever : queue.timers.front()->deadline);
}

void link_timer(RunQueue& queue, Vp& vp) {
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

// Whether the VP that runs on `lp` should make way for a waker.
bool preemptible(const Lp& lp) {
  const Vp* current = lp.current.load();
  if (!current) return true;
  const uint64_t slice = time_scale.ticks_from_100ns(kSlice100ns);
  const uint64_t kept = time_scale.ticks_from_100ns(kGranularity100ns);
  return read_tsc() + slice - kept >= current->slice_end;
}

void make_ready(Vp& vp, RunQueue& queue, Lp& lp) {
  if (vp.run_state != Vp::RunState::blocked || !runnable(vp)) return;
  vp.run_state = Vp::RunState::ready;
  queue.ready.push_front(&vp);
  queue.waiting.fetch_add(1);
  if (preemptible(lp)) ask_to_reschedule(lp);
}

// Moves a ready VP from another LP's queue to this one.
Vp* steal(Lp& thief) {
  for (unsigned i = 0; i < lp_count; ++i) {
    Lp* victim = lps[i];
    if (!victim || victim == &thief) continue;
    RunQueue& queue = queue_of(*victim);
    base::Guard guard(queue.lock);
    for (Vp* vp = queue.ready.back(); vp; vp = vp->run_link.prev) {
      if (vp->pinned) continue;
      queue.ready.remove(vp);
      queue.waiting.fetch_sub(1);
      vp->deadline = kNever;  // linked again by the thief
      unlink_timer(queue, *vp);
      queue.load.fetch_sub(1);
      queue_of(thief).load.fetch_add(1);
      vp->run_state = Vp::RunState::running;
      vp->home.store(&thief);
      return vp;
    }
  }
  return nullptr;
}

}  // namespace

Lp& least_loaded() {
  Lp* best = lps[0];
  for (unsigned i = 1; i < lp_count; ++i)
    if (lps[i] && queue_of(*lps[i]).load.load() < queue_of(*best).load.load()) best = lps[i];
  return *best;
}

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
    if (vp) vp->run_state = Vp::RunState::running;
  }
  if (!vp && (vp = steal(lp))) deadline_changed(*vp);
  if (vp) {
    vp->slice_end = read_tsc() + time_scale.ticks_from_100ns(kSlice100ns);
    lp.current.store(vp);
  }
  return vp;
}

void put_back(Lp& lp, Vp& vp) {
  RunQueue& queue = queue_of(lp);
  base::Guard guard(queue.lock);
  lp.current.store(nullptr);
  if (runnable(vp)) {
    vp.run_state = Vp::RunState::ready;
    queue.ready.push_back(&vp);
    queue.waiting.fetch_add(1);
  } else {
    vp.run_state = Vp::RunState::blocked;
  }
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
  sched::queue_of(home).load.fetch_add(1);
}

void post_request(Vp& vp, VpRequest request) {
  vp.requests.fetch_or(static_cast<uint64_t>(request));
  // Fast path: it runs here, and looks at its requests before the next entry.
  if (this_lp().current.load() == &vp) return;
  sched::HomeGuard home(vp);
  if (vp.run_state == Vp::RunState::running)
    kick_lp(home.lp());
  else
    sched::make_ready(vp, home.queue(), home.lp());
}

void resume(Vp& vp, VpSuspend bits) {
  vp.remove(bits);
  sched::HomeGuard home(vp);
  sched::make_ready(vp, home.queue(), home.lp());
}

bool suspend(Vp& vp, VpSuspend bits) {
  vp.add(bits);
  sched::HomeGuard home(vp);
  if (vp.run_state != Vp::RunState::running) return true;
  if (home.lp().current.load() == &vp && &home.lp() == &this_lp()) return false;
  sched::ask_to_reschedule(home.lp());
  return false;
}

bool is_stopped(const Vp& vp) {
  sched::HomeGuard home(const_cast<Vp&>(vp));
  return vp.run_state != Vp::RunState::running && vp.suspend.load() != 0;
}

void unschedule(Vp& vp) {
  sched::HomeGuard home(vp);
  if (sched::ReadyList::contains(&vp)) {
    home.queue().ready.remove(&vp);
    home.queue().waiting.fetch_sub(1);
  }
  vp.run_state = Vp::RunState::blocked;
  vp.deadline = kNever;
  sched::unlink_timer(home.queue(), vp);
  home.queue().load.fetch_sub(1);
}

void deadline_changed(Vp& vp) {
  const uint64_t deadline = arch::next_deadline(vp);
  sched::HomeGuard home(vp);
  if (deadline == vp.deadline) return;
  const uint64_t before = home.queue().first_deadline.load();
  vp.deadline = deadline;
  sched::link_timer(home.queue(), vp);
  if (deadline < before && &home.lp() != &this_lp()) sched::ask_to_reschedule(home.lp());
}

}  // namespace hv
