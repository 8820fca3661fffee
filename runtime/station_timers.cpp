// SPDX-License-Identifier: MIT
// A station's timers: one wheel for each clock, armed and expired by their owner alone. A wait
// lasts no longer than the earliest of them.
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "runtime/station.h"

namespace runtime {
namespace {

// As the kernel has it for its own timers: expiries this close may share a wake-up.
constexpr uint64_t kSlack = 50'000;
// Where nothing says that the wall clock was set, it is looked at this often.
constexpr int64_t kLook = 1'000'000'000;

uint64_t ticks(int64_t nanoseconds) {
  return static_cast<uint64_t>(std::max<int64_t>(nanoseconds, 0));
}

}  // namespace

void Station::start_timer(Operation& operation) {
  if (operation.request_.code == Opcode::kTimer) {
    wheel_.arm(operation, ticks(operation.when_), kSlack);
    return;
  }
  advance_wall();
  wall_wheel_.arm(operation, ticks(operation.when_));
  watch_clock();
}

void Station::expire_timers() {
  const auto expired = [this](base::WheelTimer& timer) {
    engine_->complete(static_cast<Operation&>(timer), 0);
  };
  if (!wheel_.empty()) wheel_.advance(ticks(kernel_.now().time_since_epoch().count()), expired);
  if (wall_wheel_.empty()) return;
  advance_wall();
  wall_wheel_.advance(ticks(wall_seen_), expired);
}

// In nanoseconds of the monotonic clock; the greatest value for none.
int64_t Station::timer_deadline() const {
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  int64_t earliest = kNone;
  if (const uint64_t next = wheel_.next_expiry(); next < static_cast<uint64_t>(kNone))
    earliest = static_cast<int64_t>(next);
  if (wall_wheel_.empty()) return earliest;
  const int64_t now = kernel_.now().time_since_epoch().count();
  const uint64_t next = std::min(wall_wheel_.next_expiry(), static_cast<uint64_t>(kNone));
  int64_t left = static_cast<int64_t>(next) - kernel_.wall_now().time_since_epoch().count();
  if (!clock_poll_.pending()) left = std::min(left, kLook);
  return left > kNone - now ? earliest : std::min(earliest, now + left);
}

// A wheel does not turn backwards; when the clock did, its timers are placed anew.
void Station::advance_wall() {
  const int64_t now = kernel_.wall_now().time_since_epoch().count();
  if (now < wall_seen_)
    wall_wheel_.restart(ticks(now), [this](base::WheelTimer& timer) {
      wall_wheel_.arm(timer, ticks(static_cast<Operation&>(timer).when_));
    });
  wall_seen_ = now;
}

void Station::watch_clock() {
  if (clock_poll_.pending()) return;
  if (!clock_) {
    const int fd = kernel_.timer_create(CLOCK_REALTIME);
    if (fd < 0) return;
    clock_ = new DescriptorState(port_, kernel_, fd, true, Key{}, S_IFCHR, {});
  }
  if (kernel_.timer_watch_clock(clock_->fd()) < 0) return;
  clock_poll_.request_ = {.code = Opcode::kPoll, .flags = POLLIN};
  clock_poll_.descriptor_ = clock_;
  clock_poll_.fd_ = clock_->fd();
  start_own(clock_poll_);
  if (!(clock_poll_.engine_flags_ & Operation::kInFlight)) take_clock_poll();
}

void Station::take_clock_poll() {
  engine_->ready().remove(&clock_poll_);
  clock_poll_.descriptor_ = nullptr;
  retire(clock_poll_);
}

// The engine's word that the clock was set is for this thread alone.
void Station::absorb_clock() {
  if (!clock_poll_.pending() || (clock_poll_.engine_flags_ & Operation::kInFlight)) return;
  take_clock_poll();
  if (!wall_wheel_.empty() && clock_poll_.result() > 0) watch_clock();
}

}  // namespace runtime
