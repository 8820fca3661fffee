// SPDX-License-Identifier: MIT
#include "runtime/timers.h"

#include <algorithm>
#include <limits>

#include "runtime/pool.h"

namespace runtime {
namespace {

// A tick is the 1024th part of a millisecond, so that tolerances that people choose are powers of
// two of them, or nearly: that decides how many timers share a wake-up. 16 ticks last 15,625 ns.
constexpr uint64_t kTicks = 16;
constexpr uint64_t kTicksLast = 15'625;

constexpr uint64_t full_ticks(int64_t nanoseconds) {
  const auto time = static_cast<uint64_t>(std::max<int64_t>(nanoseconds, 0));
  return time / kTicksLast * kTicks + time % kTicksLast * kTicks / kTicksLast;
}

constexpr int64_t start_of(uint64_t tick) {
  return static_cast<int64_t>(tick / kTicks * kTicksLast +
                              (tick % kTicks * kTicksLast + kTicks - 1) / kTicks);
}

constexpr uint64_t first_tick_from(int64_t nanoseconds) {
  const uint64_t tick = full_ticks(nanoseconds);
  return start_of(tick) < nanoseconds ? tick + 1 : tick;
}

int64_t count(Instant instant) {
  return instant.time_since_epoch().count();
}
int64_t count(WallTime time) {
  return time.time_since_epoch().count();
}

constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

/// Of moments and distances that are not negative.
int64_t add(int64_t moment, int64_t distance) {
  return distance > kEnd - moment ? kEnd : moment + distance;
}

uint32_t clamp_tolerance(Nanoseconds tolerance) {
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(std::clamp<int64_t>(tolerance.count(), 0, kMost));
}

}  // namespace

void TimerMember::arm(Instant deadline, TimerShape shape) {
  arm(count(deadline), Clock::kMonotonic, shape);
}

void TimerMember::arm(WallTime deadline, TimerShape shape) {
  arm(count(deadline), Clock::kWall, shape);
}

void TimerMember::arm(int64_t deadline, Clock clock, TimerShape shape) {
  ThreadPool& pool = group().pool();
  TimerShelf* const mine = &pool.shelf();
  TimerShelf* const before = shelf_.load(std::memory_order_relaxed);
  if (before != mine) move_to(*mine, before);
  std::unique_lock lock(mine->mutex_);
  // Either this sees that the group is closed, or close() sees the shelf, whose lock it waits for.
  if (group().closed()) {
    lock.unlock();
    return abandon();
  }
  deadline_ = std::max<int64_t>(deadline, 0);
  period_ = std::max<int64_t>(shape.period.count(), 0);
  tolerance_ = clamp_tolerance(shape.tolerance);
  clock_ = clock;
  set_armed();
  mine->place(*this);
  const bool sooner = mine->publish();
  lock.unlock();
  // It may have expired, and be gone.
  if (sooner) pool.hurry(*mine);
}

// A timer goes with whoever arms it, so that who works on, elsewhere, meets nobody at its lock.
void TimerMember::move_to(TimerShelf& shelf, TimerShelf* before) {
  std::unique_lock<std::mutex> lock;
  if (before) {
    lock = std::unique_lock(before->mutex_);
    before->wheel_.cancel(*this);
  }
  shelf_.store(&shelf, std::memory_order_seq_cst);
}

// By the shelf's keeper the timer is taken off at once, so that nobody wakes up for it. Elsewhere
// it stays until it is due.
bool TimerMember::cancel() {
  if (!GroupMember::cancel()) return false;
  TimerShelf* const shelf = shelf_.load(std::memory_order_relaxed);
  const Worker* const worker = Worker::current();
  if (shelf && worker && worker == group().pool().workers_[shelf->index()].get()) {
    const std::lock_guard lock(shelf->mutex_);
    // Unless it was armed elsewhere since.
    if (!is_armed() && shelf == shelf_.load(std::memory_order_relaxed)) shelf->wheel_.cancel(*this);
  }
  return true;
}

void TimerMember::withdraw() {
  while (TimerShelf* const shelf = shelf_.load(std::memory_order_seq_cst)) {
    const std::lock_guard lock(shelf->mutex_);
    if (shelf != shelf_.load(std::memory_order_relaxed)) continue;  // it moved until then
    shelf->wheel_.cancel(*this);
    return;
  }
}

TimerShelf::TimerShelf(ThreadPool& pool, unsigned index)
    : pool_(pool), index_(index), wheel_(full_ticks(count(pool.kernel().now()))) {}

void TimerShelf::place(TimerMember& timer) {
  int64_t deadline = timer.deadline_;
  if (timer.clock_ == TimerMember::Clock::kWall) {
    const int64_t left = deadline - count(pool_.kernel().wall_now());
    const int64_t now = count(pool_.kernel().now());
    deadline = left > 0 ? add(now, left) : now;
    has_wall_timers_ = true;
  }
  const uint64_t first = first_tick_from(deadline);
  const uint64_t last = full_ticks(add(deadline, timer.tolerance_));
  wheel_.arm(timer, first, last > first ? last - first : 0);
}

bool TimerShelf::publish() {
  const uint64_t tick = wheel_.next_expiry();
  const int64_t next = tick > full_ticks(kEnd) ? kEnd : start_of(tick);
  const int64_t before = next_due_.load(std::memory_order_relaxed);
  if (next != before) next_due_.store(next, std::memory_order_seq_cst);
  return next < before;
}

size_t TimerShelf::expire(Instant now) {
  const std::lock_guard lock(mutex_);
  size_t fired = 0;
  wheel_.advance(full_ticks(count(now)), [&](base::WheelTimer& link) {
    auto& timer = static_cast<TimerMember&>(link);
    int64_t moment = count(now);
    if (timer.clock_ == TimerMember::Clock::kWall) {
      moment = count(pool_.kernel().wall_now());
      if (moment < timer.deadline_) return place(timer);  // the clock was set back a moment ago
    }
    const bool periodic = timer.period_ > 0;
    if (!timer.fire(periodic)) return;
    ++fired;
    if (!periodic) return;
    // From deadline to deadline, without those that were missed altogether.
    const int64_t missed = (moment - timer.deadline_) / timer.period_;
    timer.deadline_ = add(timer.deadline_ + missed * timer.period_, timer.period_);
    place(timer);
  });
  publish();
  return fired;
}

void TimerShelf::clock_was_set() {
  const std::lock_guard lock(mutex_);
  if (!has_wall_timers_) return;
  has_wall_timers_ = false;
  wheel_.restart(full_ticks(count(pool_.kernel().now())), [&](base::WheelTimer& link) {
    auto& timer = static_cast<TimerMember&>(link);
    if (timer.clock_ == TimerMember::Clock::kWall)
      place(timer);
    else
      wheel_.arm(timer, timer.expiry());
  });
  publish();
}

}  // namespace runtime
