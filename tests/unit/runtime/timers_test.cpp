// SPDX-License-Identifier: MIT
#include "runtime/timers.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/unit/runtime/pool_fixture.h"

namespace runtime {
namespace {

Instant now() {
  return Kernel::real().now();
}

class TimersTest : public PoolTestBase {};

TEST_F(TimersTest, RunsAtItsDeadlineAndNotBefore) {
  const auto pool = make_pool();
  for (int i = 0; i < 20; ++i) {
    Instant ran_at{};
    PoolTimer timer(pool->group(), [&] { ran_at = now(); });
    const Instant deadline = now() + std::chrono::microseconds(100 * i);
    timer.arm(deadline);
    EXPECT_TRUE(
        eventually([&] { return pool->counters().timers == static_cast<uint64_t>(i) + 1; }));
    pool->group().wait();
    EXPECT_GE(ran_at, deadline);
  }
}

TEST_F(TimersTest, DeadlineThatPassedRunsAtOnce) {
  const auto pool = make_pool();
  std::binary_semaphore ran(0);
  PoolTimer timer(pool->group(), [&] { ran.release(); });
  timer.arm(Instant{});
  ran.acquire();
}

TEST_F(TimersTest, RunsOnTheWallClockToo) {
  const auto pool = make_pool();
  std::binary_semaphore ran(0);
  WallTime ran_at{};
  PoolTimer timer(pool->group(), [&] {
    ran_at = Kernel::real().wall_now();
    ran.release();
  });
  const WallTime deadline = Kernel::real().wall_now() + 3ms;
  timer.arm(deadline);
  ran.acquire();
  EXPECT_GE(ran_at, deadline);
}

TEST_F(TimersTest, PostAtIsForgottenByItsCaller) {
  const auto pool = make_pool();
  std::atomic<int> count = 0;
  const auto token = std::make_shared<int>(0);
  for (int i = 0; i < 100; ++i)
    post_at(pool->group(), now() + std::chrono::microseconds(37 * i), [&, token] { ++count; });
  post_at(pool->group(), Kernel::real().wall_now() + 1ms, [&, token] { ++count; });
  EXPECT_TRUE(eventually([&] { return count == 101; }));
  pool->group().wait();
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(TimersTest, CancelledTimerDoesNotRun) {
  const auto pool = make_pool();
  std::atomic<int> count = 0;
  PoolTimer timer(pool->group(), [&] { ++count; });
  EXPECT_FALSE(timer.cancel());
  timer.arm(now() + 20ms);
  EXPECT_TRUE(timer.cancel());
  EXPECT_FALSE(timer.cancel());
  std::binary_semaphore later(0);
  post_at(pool->group(), now() + 40ms, [&] { later.release(); });
  later.acquire();
  EXPECT_EQ(count, 0);
  timer.arm(now());
  EXPECT_TRUE(eventually([&] { return count == 1; }));
}

TEST_F(TimersTest, CancelTellsWhetherARunWasPrevented) {
  const auto pool = make_pool({.concurrency = 2});
  std::atomic<int> count = 0;
  PoolTimer timer(pool->group(), [&] { ++count; });
  int prevented = 0;
  constexpr int kRounds = 2000;
  for (int i = 0; i < kRounds; ++i) {
    timer.arm(now() + std::chrono::microseconds(i % 50), {.tolerance = 0ns});
    if (i % 3 != 0) std::this_thread::sleep_for(std::chrono::microseconds(i % 70));
    if (timer.cancel())
      ++prevented;
    else
      pool->group().wait();
    EXPECT_EQ(count + prevented, i + 1);
  }
}

TEST_F(TimersTest, CancelRevokesAQueuedRun) {
  Gate gate;
  std::binary_semaphore occupied(0);
  std::atomic<int> count = 0;
  const auto pool = make_pool({.concurrency = 1, .max_workers = 1});
  pool->post([&] {
    occupied.release();
    gate.pass();
  });
  occupied.acquire();
  PoolTimer timer(pool->group(), [&] { ++count; });
  timer.arm(now());
  // The worker is busy: the conductor keeps its shelf.
  EXPECT_TRUE(eventually([&] { return pool->counters().timers == 1; }));
  EXPECT_TRUE(timer.cancel());
  timer.arm(now());  // the queued item comes to life again
  EXPECT_TRUE(eventually([&] { return pool->counters().timers == 2; }));
  gate.open();
  EXPECT_TRUE(eventually([&] { return count == 1; }));
  pool->group().wait();
  EXPECT_EQ(count, 1);
}

TEST_F(TimersTest, ArmingAgainMovesTheDeadline) {
  const auto pool = make_pool();
  std::atomic<int> count = 0;
  Instant ran_at{};
  PoolTimer timer(pool->group(), [&] {
    ran_at = now();
    ++count;
  });
  timer.arm(now() + 1h);
  timer.arm(now() + 5ms);
  Instant last{};
  for (int i = 0; i < 10; ++i) {
    last = now() + 20ms;
    timer.arm(last);
  }
  EXPECT_TRUE(eventually([&] { return count == 1; }));
  pool->group().wait();
  EXPECT_GE(ran_at, last);
  EXPECT_EQ(count, 1);
}

// It goes to the wheel of each, and runs at the last deadline only.
TEST_F(TimersTest, TwoThreadsArmATimerInTurn) {
  const auto pool = make_pool({.concurrency = 2});
  std::atomic<int> count = 0, early = 0;
  std::atomic<Instant> last{};
  for (int round = 0; round < 50; ++round) {
    PoolTimer timer(pool->group(), [&] {
      early += now() < last.load();
      ++count;
    });
    for (int turn = 0; turn < 20; ++turn) {
      // Of threads that follow each other, two find different wheels.
      std::thread([&] {
        last = now() + (turn == 19 ? 2ms : turn % 2 == 0 ? 1h : 2h);
        timer.arm(last);
      }).join();
    }
    EXPECT_TRUE(eventually([&] { return count == round + 1; }));
    if (round % 2 == 0) timer.arm(now() + 1h);  // goes while it is armed
  }
  EXPECT_EQ(early, 0);
}

TEST_F(TimersTest, MovingTimersEndWithTheirGroup) {
  const auto pool = make_pool({.concurrency = 2});
  for (int round = 0; round < 50; ++round) {
    CleanupGroup group(*pool);
    std::atomic<int> ran = 0;
    std::deque<PoolTimer> timers;
    for (int i = 0; i < 8; ++i) timers.emplace_back(group, [&] { ++ran; });
    std::vector<std::jthread> threads;
    threads.reserve(2);
    std::array<std::mutex, 8> turns;  // of one timer, calls to arm() do not overlap
    for (int thread = 0; thread < 2; ++thread)
      threads.emplace_back([&](const std::stop_token& stop) {
        for (size_t i = 0; !stop.stop_requested(); ++i) {
          const std::lock_guard turn(turns[i % 8]);
          timers[i % 8].arm(now() + (i % 3 == 0 ? 1h : 10us));
        }
      });
    std::this_thread::sleep_for(1ms);
    group.close();
    const int before = ran;
    threads.clear();
    std::this_thread::sleep_for(200us);
    EXPECT_EQ(ran, before);
  }
}

TEST_F(TimersTest, PeriodicTimerRunsAgainAndAgain) {
  const auto pool = make_pool();
  std::atomic<int> count = 0;
  const Instant begin = now();
  Instant tenth{};
  PoolTimer timer(pool->group(), [&] {
    if (++count == 10) tenth = now();
  });
  timer.arm(begin + 1ms, {.period = 1ms});
  EXPECT_TRUE(eventually([&] { return count >= 10; }));
  EXPECT_TRUE(timer.cancel());
  pool->group().wait();
  const int after = count;
  EXPECT_GE(tenth, begin + 10ms);
  std::binary_semaphore later(0);
  post_at(pool->group(), now() + 10ms, [&] { later.release(); });
  later.acquire();
  EXPECT_EQ(count, after);
}

TEST_F(TimersTest, PeriodicTimerSkipsWhatItMissed) {
  const auto pool = make_pool();
  std::atomic<int> count = 0;
  const Instant begin = now();
  PoolTimer timer(pool->group(), [&] { ++count; });
  timer.arm(begin - 1h, {.period = 1ms});
  EXPECT_TRUE(eventually([&] { return count >= 3; }));
  const int ran = count;
  EXPECT_LE(ran, 4 + (now() - begin) / 1ms);
  timer.cancel();
}

TEST_F(TimersTest, NeverRunsTwiceAtOnce) {
  const auto pool = make_pool({.concurrency = 4});
  std::atomic<int> inside = 0, count = 0;
  std::atomic<bool> overlapped = false;
  PoolTimer timer(pool->group(), [&] {
    if (++inside > 1) overlapped = true;
    std::this_thread::sleep_for(500us);
    ++count;
    --inside;
  });
  timer.arm(now(), {.tolerance = 0ns, .period = 100us});
  EXPECT_TRUE(eventually([&] { return count >= 20; }));
  timer.cancel();
  EXPECT_FALSE(overlapped);
}

TEST_F(TimersTest, CallableMayArmItsTimerAgain) {
  const auto pool = make_pool();
  std::atomic<int> count = 0;
  PoolTimer* self = nullptr;
  PoolTimer timer(pool->group(), [&] {
    if (++count < 100) self->arm(now() + 10us);
  });
  self = &timer;
  timer.arm(now());
  EXPECT_TRUE(eventually([&] { return count == 100; }));
}

TEST_F(TimersTest, DestructionWaitsForTheCallable) {
  const auto pool = make_pool();
  for (int i = 0; i < 50; ++i) {
    std::atomic<bool> begun = false, ended = false;
    {
      PoolTimer timer(pool->group(), [&] {
        begun = true;
        std::this_thread::sleep_for(200us);
        ended = true;
      });
      timer.arm(now());
      if (i % 2 == 0) {
        EXPECT_TRUE(eventually([&] { return begun.load(); }));
      }
    }
    EXPECT_EQ(begun, ended);
  }
}

TEST_F(TimersTest, CallableMayDestroyItsTimer) {
  const auto pool = make_pool();
  const auto token = std::make_shared<int>(0);
  std::unique_ptr<PoolTimer> timer;
  timer = std::make_unique<PoolTimer>(pool->group(), [&timer, token] { timer.reset(); });
  timer->arm(now());
  EXPECT_TRUE(eventually([&] { return token.use_count() == 1; }));
  pool->group().wait();
  EXPECT_EQ(timer, nullptr);
}

TEST_F(TimersTest, ClosedGroupEndsItsTimers) {
  const auto pool = make_pool();
  const auto token = std::make_shared<int>(0);
  std::atomic<int> count = 0;
  {
    CleanupGroup group(*pool);
    PoolTimer periodic(group, [&] { ++count; });
    periodic.arm(now(), {.period = 100us});
    for (int i = 0; i < 100; ++i) post_at(group, now() + i * 1s, [token] {});
    EXPECT_TRUE(eventually([&] { return count >= 3; }));
    group.close();
    const int after = count;
    EXPECT_EQ(token.use_count(), 1);
    post_at(group, now(), [token] { ADD_FAILURE() << "ran"; });
    periodic.arm(now());
    EXPECT_EQ(token.use_count(), 1);
    std::binary_semaphore later(0);
    post_at(pool->group(), now() + 5ms, [&] { later.release(); });
    later.acquire();
    EXPECT_EQ(count, after);
  }
}

TEST_F(TimersTest, TimersOfABlockedWorkerAreKeptByOthers) {
  Gate gate;
  const auto pool = make_pool({.concurrency = 1});
  std::binary_semaphore armed(0);
  std::atomic<bool> ran = false;
  pool->post([&] {
    post_at(pool->group(), now() + 1ms, [&] { ran = true; });
    armed.release();
    gate.pass();
  });
  armed.acquire();
  EXPECT_TRUE(eventually([&] { return ran.load(); }));
  gate.open();
  pool->group().wait();
}

TEST_F(TimersTest, TimersOfAWorkerThatWentAreKeptByOthers) {
  const auto pool = make_pool({.concurrency = 2, .idle_time = 1ms});
  std::atomic<int> ran = 0;
  pool->post([&] { post_at(pool->group(), now() + 100ms, [&] { ++ran; }); });
  post_at(pool->group(), now() + 120ms, [&] { ++ran; });
  EXPECT_TRUE(eventually([&] { return pool->counters().workers == 0; }));
  EXPECT_TRUE(eventually([&] { return ran == 2; }));
}

TEST_F(TimersTest, EarlierDeadlineWakesASleeper) {
  const auto pool = make_pool({.concurrency = 1});
  std::atomic<int> ran = 0;
  post_at(pool->group(), now() + 1h, [] {});
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(eventually([&] { return pool->counters().parked == pool->counters().workers; }));
    post_at(pool->group(), now() + 200us, [&] { ++ran; });
    EXPECT_TRUE(eventually([&] { return ran == i + 1; }));
  }
}

TEST_F(TimersTest, ManyTimersOfManyThreads) {
  const auto pool = make_pool({.concurrency = 2});
  std::atomic<int> ran = 0, early = 0;
  int cancelled = 0;
  std::mutex mutex;
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int thread = 0; thread < 4; ++thread)
      threads.emplace_back([&, thread] {
        std::deque<PoolTimer> timers;
        std::vector<Instant> deadlines(500);
        int mine = 0;
        for (size_t i = 0; i < 500; ++i) {
          timers.emplace_back(pool->group(), [&, i] {
            early += now() < deadlines[i];
            ++ran;
          });
          deadlines[i] = now() + std::chrono::microseconds((i * 37 + 11 * thread) % 3000);
          timers.back().arm(deadlines[i]);
          if (i % 2 == 0) mine += timers[i / 2].cancel();
        }
        // What was not cancelled runs before the timers and their deadlines go.
        std::binary_semaphore later(0);
        post_at(pool->group(), now() + 10ms, [&] { later.release(); });
        later.acquire();
        for (PoolTimer& timer : timers) mine += timer.cancel();
        pool->group().wait();
        const std::lock_guard lock(mutex);
        cancelled += mine;
      });
  }
  EXPECT_EQ(early, 0);
  EXPECT_EQ(ran + cancelled, 2000);
}

// ---- a wall clock that the test sets ------------------------------------------------------------

class SetKernel : public Kernel {
 public:
  WallTime wall_now() override { return Kernel::wall_now() + Nanoseconds(offset_.load()); }
  int timer_create(int) override { return bell_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
  int timer_set(int, int, const itimerspec&) override { return 0; }

  void set_clock(Nanoseconds offset) {
    offset_ = offset.count();
    const uint64_t one = 1;
    if (bell_ >= 0) {
      EXPECT_EQ(::write(bell_, &one, sizeof(one)), 8);
    }
  }

 private:
  std::atomic<int64_t> offset_ = 0;
  std::atomic<int> bell_ = -1;
};

TEST_F(TimersTest, WallTimerFollowsAClockSetForward) {
  SetKernel kernel;
  const auto pool = make_pool({}, kernel);
  std::atomic<int> wall = 0, monotonic = 0;
  post_at(pool->group(), kernel.wall_now() + 1h, [&] { ++wall; });
  post_at(pool->group(), now() + 1h, [&] { ++monotonic; });
  kernel.set_clock(1h);
  EXPECT_TRUE(eventually([&] { return wall == 1; }));
  EXPECT_EQ(monotonic, 0);
}

TEST_F(TimersTest, WallTimerFollowsAClockSetBack) {
  SetKernel kernel;
  kernel.set_clock(2h);
  const auto pool = make_pool({}, kernel);
  std::atomic<int> wall = 0, monotonic = 0;
  post_at(pool->group(), kernel.wall_now() + 30ms, [&] { ++wall; });
  kernel.set_clock(1h);
  post_at(pool->group(), now() + 60ms, [&] { ++monotonic; });
  EXPECT_TRUE(eventually([&] { return monotonic == 1; }));
  EXPECT_EQ(wall, 0);
  kernel.set_clock(2h);
  EXPECT_TRUE(eventually([&] { return wall == 1; }));
}

TEST_F(TimersTest, PeriodicWallTimerKeepsItsPeriod) {
  SetKernel kernel;
  const auto pool = make_pool({}, kernel);
  std::atomic<int> count = 0;
  PoolTimer timer(pool->group(), [&] { ++count; });
  timer.arm(kernel.wall_now() + 1ms, {.period = 1ms});
  EXPECT_TRUE(eventually([&] { return count >= 3; }));
  kernel.set_clock(1h);
  const int before = count;
  EXPECT_TRUE(eventually([&] { return count >= before + 3; }));
  EXPECT_LT(count - before, 100'000);  // an hour's worth is not made up for
}

}  // namespace
}  // namespace runtime
