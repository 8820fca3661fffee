// SPDX-License-Identifier: MIT
// Row "wheels": how many sessions can two workers serve? A session operates every millisecond and
// each time puts off a timeout of 100 ms; now and then it pauses, and the timeout expires. Sessions
// are sustained if of operations and of timeouts, 99 in 100 begin less than a millisecond late.
// With a wheel for each worker, and with one wheel, under a lock, for both.
//
//   wheels_bench own|shared
#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <thread>

#include "runtime/pool.h"
#include "runtime/timers.h"
#include "tests/bench/bench.h"

namespace {

using namespace runtime;
using namespace std::chrono_literals;

constexpr unsigned kThreads = 2;
constexpr Nanoseconds kPeriod = 1ms;
constexpr Nanoseconds kTimeout = 100ms;
constexpr Nanoseconds kPause = 150ms;
constexpr uint64_t kPauseEvery = 512;  // operations of a driver
constexpr Nanoseconds kSlice = 50us;
constexpr Nanoseconds kLate = 1ms;
constexpr auto kWarmUp = 200ms;
constexpr auto kTime = 500ms;

struct Punctuality {
  void add(Nanoseconds lateness) {
    bump(all);
    if (lateness >= kLate) bump(late);
  }
  static void bump(std::atomic<uint64_t>& value) { value.fetch_add(1, std::memory_order_relaxed); }
  bool good() const { return late * 100 <= all; }

  alignas(64) std::atomic<uint64_t> all = 0;
  std::atomic<uint64_t> late = 0;
};

std::atomic<bool> g_measuring = false;

class Session {
 public:
  Session(CleanupGroup& group, Instant due, Punctuality& timeouts)
      : due_(due), timer_(group, [this, &timeouts] {
          const Instant deadline{Nanoseconds(deadline_.load(std::memory_order_relaxed))};
          if (g_measuring) timeouts.add(Kernel::real().now() - deadline);
        }) {}

  Instant due() const { return due_; }
  void operate(Instant now, bool pause) {
    due_ += pause ? kPause : kPeriod;
    deadline_.store((now + kTimeout).time_since_epoch().count(), std::memory_order_relaxed);
    timer_.arm(now + kTimeout);
  }

 private:
  Instant due_;
  std::atomic<int64_t> deadline_ = 0;
  PoolTimer timer_;
};

/// Serves its sessions in turn, a slice of time in each run as an item.
class Driver : public WorkItem {
 public:
  Driver(CleanupGroup& group, size_t sessions, Punctuality& timeouts)
      : WorkItem(turn), group_(group) {
    const Instant start = Kernel::real().now() + 1ms;
    for (size_t i = 0; i < sessions; ++i)
      sessions_.emplace_back(group, start + kPeriod * i / sessions, timeouts);
  }
  const Punctuality& operations() const { return operations_; }

 private:
  static void turn(WorkItem& item, Turn turn) noexcept {
    auto& self = static_cast<Driver&>(item);
    if (turn == Turn::kCancelled) return;
    self.run_slice();
    self.group_.post(self);
  }

  void run_slice() {
    const bool measuring = g_measuring;
    const Instant start = Kernel::real().now();
    for (Instant now = start; now < start + kSlice; now = Kernel::real().now()) {
      Session& session = sessions_[next_];
      next_ = next_ + 1 == sessions_.size() ? 0 : next_ + 1;
      if (session.due() > now) continue;  // its turn comes again soon
      if (measuring) operations_.add(now - session.due());
      session.operate(now, ++count_ % kPauseEvery == 0);
    }
  }

  CleanupGroup& group_;
  std::deque<Session> sessions_;
  size_t next_ = 0;
  uint64_t count_ = 0;
  Punctuality operations_;
};

bool sustained(size_t sessions, unsigned wheels) {
  const auto pool = std::move(*ThreadPool::create(
      {.concurrency = kThreads, .max_workers = kThreads, .timer_wheels = wheels}));
  CleanupGroup group(*pool);
  Punctuality timeouts;
  std::deque<Driver> drivers;
  for (unsigned i = 0; i < kThreads; ++i)
    drivers.emplace_back(group, sessions / kThreads, timeouts);
  for (Driver& driver : drivers) group.post(driver);
  std::this_thread::sleep_for(kWarmUp);
  g_measuring = true;
  std::this_thread::sleep_for(kTime);
  g_measuring = false;
  group.close();
  return timeouts.all > 0 && timeouts.good() &&
         std::ranges::all_of(drivers,
                             [](const Driver& driver) { return driver.operations().good(); });
}

/// Others use the machine too: five milliseconds without a processor spoil a try.
bool probably_sustained(size_t sessions, unsigned wheels) {
  for (int chance = 0; chance < 4; ++chance)
    if (sustained(sessions, wheels)) return true;
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = bench::peer(argc, argv);
  if (name != "own" && name != "shared") bench::die("no such peer");
  const unsigned wheels = name == "own" ? 0 : 1;
  const bench::Meter meter;
  size_t good = 4000;
  for (; !probably_sustained(good, wheels); good /= 2)
    if (good < 64) bench::die("not even a few sessions are served in time");
  size_t bad = 2 * good;
  for (; probably_sustained(bad, wheels); bad *= 2) good = bad;
  while (bad - good > good / 32) {
    const size_t middle = (good + bad) / 2;
    (probably_sustained(middle, wheels) ? good : bad) = middle;
  }
  bench::Line("wheels", name).add(meter.read()).add("sessions", good).print();
}
