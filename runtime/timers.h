// SPDX-License-Identifier: MIT
// A pool's timers. Each worker of the pool's core has a shelf with a wheel of its own. A timer is
// on the shelf of the thread that armed it last, whose lock is that thread's alone in the long run;
// cancelling takes no other's. A shelf is kept by its worker, between items and while it sleeps,
// and by the pool's conductor when that worker is away or stuck.
#pragma once

#include <atomic>
#include <mutex>

#include "base/timer_wheel.h"
#include "runtime/cleanup_group.h"
#include "runtime/kernel.h"

namespace runtime {

class ThreadPool;
class TimerShelf;

inline constexpr Nanoseconds kDefaultTolerance{50'000};  // as the kernel's own timers

struct TimerShape {
  Nanoseconds tolerance = kDefaultTolerance;  // how much later it may expire, to share a wake-up
  Nanoseconds period{0};                      // how often it expires after that; 0: never
};

/// What a shelf knows of a timer.
class TimerMember : public GroupMember, private base::WheelTimer {
 protected:
  TimerMember(CleanupGroup& group, Owner owner) : GroupMember(group, owner) {}

 public:
  /// At a moment of either clock, instead of the one before; a run that is queued already comes all
  /// the same. Of one timer, calls do not overlap; they may overlap with cancel() and with its run.
  void arm(Instant deadline, TimerShape shape);
  void arm(WallTime deadline, TimerShape shape);
  /// As GroupMember's.
  bool cancel();

 private:
  friend class TimerShelf;

  enum class Clock : uint8_t { kMonotonic, kWall };

  void arm(int64_t deadline, Clock clock, TimerShape shape);
  void move_to(TimerShelf& shelf, TimerShelf* before);
  void withdraw() final;

  std::atomic<TimerShelf*> shelf_ = nullptr;  // changes with that shelf's lock, on none
  int64_t deadline_ = 0;
  int64_t period_ = 0;
  uint32_t tolerance_ = 0;  // in nanoseconds, so at most four seconds
  Clock clock_ = Clock::kMonotonic;
};

template <class Body>
class TimerClosure final : public TimerMember {
 public:
  template <class Callable>
  static TimerClosure& attached(CleanupGroup& group, Callable&& body) {
    return *new TimerClosure(group, Owner::kHandle, std::forward<Callable>(body));
  }
  template <class Callable>
  static TimerClosure& detached(CleanupGroup& group, Callable&& body) {
    return *new TimerClosure(group, Owner::kItself, std::forward<Callable>(body));
  }

 private:
  template <class Callable>
  TimerClosure(CleanupGroup& group, Owner owner, Callable&& body)
      : TimerMember(group, owner), body_(std::forward<Callable>(body)) {}
  void call() override { body_(); }

  Body body_;
};

/// A delayed or periodic item: its callable runs in the pool, as an item of the group, and never
/// twice at once. The group outlives the timer.
class PoolTimer {
 public:
  template <class Body>
    requires std::is_invocable_v<std::decay_t<Body>&>
  PoolTimer(CleanupGroup& group, Body&& body)
      : member_(TimerClosure<std::decay_t<Body>>::attached(group, std::forward<Body>(body))) {
    member_.enter_group();
  }
  /// Waits for the callable's end, unless it is the callable that destroys the timer.
  ~PoolTimer() { member_.let_go(); }
  PoolTimer(const PoolTimer&) = delete;
  PoolTimer& operator=(const PoolTimer&) = delete;

  void arm(Instant deadline, TimerShape shape = {}) { member_.arm(deadline, shape); }
  void arm(WallTime deadline, TimerShape shape = {}) { member_.arm(deadline, shape); }
  /// Any thread, without a lock of another worker. True: a run that was to come will not come.
  bool cancel() { return member_.cancel(); }

 private:
  TimerMember& member_;
};

/// An item that comes later; it is the group's alone.
template <class Moment, class Body>
  requires std::is_invocable_v<std::decay_t<Body>&>
void post_at(CleanupGroup& group, Moment deadline, Body&& body,
             Nanoseconds tolerance = kDefaultTolerance) {
  auto& timer = TimerClosure<std::decay_t<Body>>::detached(group, std::forward<Body>(body));
  timer.enter_group();
  timer.arm(deadline, {.tolerance = tolerance});
}

class alignas(64) TimerShelf {
 public:
  TimerShelf(ThreadPool& pool, unsigned index);

  /// The earliest expiry, for who keeps the shelf: a hint that arming lowers at once.
  Instant next_due() const {
    return Instant(Nanoseconds(next_due_.load(std::memory_order_seq_cst)));
  }

  /// Posts what is due. Any thread. Returns how many.
  size_t expire(Instant now);
  /// Places the timers of the wall clock anew.
  void clock_was_set();
  unsigned index() const { return index_; }
  /// Whatever was being posted has been.
  void pass_through() { const std::lock_guard lock(mutex_); }

 private:
  friend class TimerMember;

  void place(TimerMember& timer);
  /// True: it is due sooner than it was.
  bool publish();

  ThreadPool& pool_;
  const unsigned index_;
  bool has_wall_timers_ = false;
  std::mutex mutex_;
  std::atomic<int64_t> next_due_ = kNever.time_since_epoch().count();
  base::TimerWheel wheel_;
};

}  // namespace runtime
