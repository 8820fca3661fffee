// SPDX-License-Identifier: MIT
// Many threads post, batch, fork, block, arm, cancel, wait and close at random, from a seed, in a
// pool whose workers come and go all the time; a model knows what may come of each request: an item
// runs once, or is cancelled once in a group that was being closed; nothing runs once close() has
// returned; a timer runs once per arming that no cancel() took back, and never early.
// PARTITA_SOAK_SECONDS sets how long each case runs.
#include <sys/eventfd.h>

#include <array>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <random>
#include <semaphore>
#include <shared_mutex>
#include <vector>

#include "runtime/fork.h"
#include "runtime/pool_wait.h"
#include "runtime/timers.h"
#include "tests/unit/runtime/pool_fixture.h"

namespace runtime {
namespace {

constexpr size_t kGroups = 3;
constexpr size_t kItems = 256;
constexpr size_t kTimers = 24;
constexpr size_t kWaits = 6;
constexpr size_t kThreads = 3;

using Random = std::minstd_rand;

std::chrono::milliseconds duration() {
  const char* seconds = std::getenv("PARTITA_SOAK_SECONDS");
  return seconds ? std::chrono::seconds(std::atoi(seconds)) : 400ms;
}

Instant now() {
  return Kernel::real().now();
}

// What posts, arms and cancels holds `guard` shared; who replaces the group, exclusively.
struct Home {
  explicit Home(ThreadPool& pool) : group(std::make_unique<CleanupGroup>(pool)) {}

  std::shared_mutex guard;
  std::unique_ptr<CleanupGroup> group;
  std::atomic<bool> closing = false;  // set before close()
  std::atomic<bool> closed = false;   // set after it
};

class PoolStressTest;

struct StressItem : WorkItem {
  StressItem() : WorkItem(turn) {}
  static void turn(WorkItem& item, Turn turn) noexcept;

  PoolStressTest* test = nullptr;
  std::atomic<Home*> home = nullptr;  // while it is posted
  uint32_t seed = 0;
};

// A timer, or a descriptor wait with a deadline, of one home.
struct Alarm {
  std::mutex mutex;  // of the model's: calls of arm() do not overlap
  Home* home = nullptr;
  std::unique_ptr<PoolTimer> timer;
  std::unique_ptr<PoolWait> wait;
  UniqueFd event;
  std::atomic<bool> outstanding = false;
  std::atomic<int64_t> deadline = 0;
};

class PoolStressTest : public PoolTestBase {
 protected:
  void stress(uint32_t seed, unsigned concurrency) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    pool_ = make_pool({.concurrency = concurrency,
                       .max_workers = 12,
                       .idle_time = 1ms,
                       .timer_wheels = concurrency});
    for (size_t i = 0; i < kGroups; ++i) homes_.emplace_back(*pool_);
    for (StressItem& item : items_) item.test = this;
    for (size_t i = 0; i < kTimers; ++i) timers_[i].home = &homes_[i % kGroups];
    for (size_t i = 0; i < kWaits; ++i) waits_[i].home = &homes_[i % kGroups];
    for (Home& home : homes_)
      for_each_alarm(home, [&](Alarm& alarm, bool waits) { place(alarm, home, waits); });
    const Instant end = now() + duration();
    {
      std::vector<std::jthread> threads;
      threads.reserve(kThreads + 1);
      for (size_t i = 0; i < kThreads; ++i)
        threads.emplace_back(
            [this, end, generator = Random(seed + static_cast<uint32_t>(i))]() mutable {
              while (now() < end) act(generator);
            });
      threads.emplace_back([this, end, generator = Random(seed + 77)]() mutable {
        while (now() < end) {
          std::this_thread::sleep_for(std::chrono::microseconds(generator() % 20000));
          replace(homes_[generator() % kGroups], generator() % 4 == 0);
        }
      });
    }
    for (Home& home : homes_) expect_expiries(home);
    for (Home& home : homes_) end_home(home);
    // What they were, they are exactly once.
    for (StressItem& item : items_) EXPECT_EQ(item.home.load(), nullptr);
    EXPECT_EQ(posted_, ran_ + cancelled_);
    EXPECT_GT(ran_, 0U);
    EXPECT_EQ(armed_, expired_ + revoked_ + dropped_);
    pool_->group().wait();
    const PoolCounters counters = pool_->counters();
    EXPECT_GE(counters.items, ran_);
    EXPECT_GE(counters.cancelled, cancelled_);
    RecordProperty("ran", std::to_string(ran_));
    RecordProperty("cancelled", std::to_string(cancelled_));
    RecordProperty("expired", std::to_string(expired_));
    RecordProperty("revoked", std::to_string(revoked_));
    RecordProperty("retired", std::to_string(counters.retired));
    pool_.reset();
  }

 private:
  friend struct StressItem;

  Home& any_home(Random& generator) { return homes_[generator() % kGroups]; }

  // ---- items ----

  // One that is not posted, now posted by the model; or nullptr.
  StressItem* claim_item(Random& generator, Home& home) {
    const size_t start = generator() % kItems;
    for (size_t i = 0; i < 8; ++i) {
      StressItem& item = items_[(start + i) % kItems];
      Home* nobody = nullptr;
      if (!item.home.compare_exchange_strong(nobody, &home)) continue;
      item.seed = static_cast<uint32_t>(generator());
      ++posted_;
      return &item;
    }
    return nullptr;
  }

  // With the home's guard, or as an item of the home.
  void post_one(Random& generator, Home& home) {
    const Length length = generator() % 32 == 0 ? Length::kLong : Length::kShort;
    if (StressItem* const item = claim_item(generator, home)) home.group->post(*item, length);
  }

  void post_batch(Random& generator, Home& home) {
    WorkBatch batch;
    for (unsigned i = generator() % 40; i > 0; --i)
      if (StressItem* const item = claim_item(generator, home)) batch.add(*item);
    home.group->post(batch);
  }

  void post_closure(Random& generator, Home& home) {
    struct Body {
      PoolStressTest& test;
      Home& home;
      std::unique_ptr<int> memory;  // leaks if it is neither run nor destroyed
      void operator()() { EXPECT_FALSE(home.closed) << "ran after close()"; }
    };
    home.group->post(Body{*this, home, std::make_unique<int>(static_cast<int>(generator()))});
  }

  static uint64_t tree(unsigned depth, Random& generator) {
    if (depth == 0) {
      if (generator() % 512 == 0) std::this_thread::sleep_for(100us);
      return 1;
    }
    uint64_t right = 0;
    Random other(static_cast<uint32_t>(generator()));
    Fork fork([&] { right = tree(depth - 1, other); });
    const uint64_t left = tree(depth - 1, generator);
    fork.join();
    return left + right;
  }

  // Inside the item: its group cannot go.
  void run_item(StressItem& item) {
    Home& home = *item.home.load();
    EXPECT_FALSE(home.closed) << "ran after close()";
    Random generator(item.seed);
    ++ran_;
    item.home = nullptr;  // from here on others may post it again
    switch (generator() % 64) {
      case 0:
        if (generator() % 8 != 0) break;
        std::this_thread::sleep_for(std::chrono::microseconds(generator() % 6000));
        break;
      case 1: {
        const unsigned depth = generator() % 9;
        EXPECT_EQ(tree(depth, generator), uint64_t{1} << depth);
        break;
      }
      case 2:
        post_batch(generator, home);
        break;
      case 3:
        if (generator() % 8 == 0) home.group->wait();
        break;
      case 4:
        if (generator() % 256 == 0) {
          home.closing = true;
          home.group->close();
          post_one(generator, home);
        }
        break;
      case 5:
      case 6:
        // Without the model's lock: its own home's alarms outlive the item, and cancels may
        // overlap.
        if (Alarm& alarm = any_alarm(generator); alarm.home == &home) cancel(alarm);
        break;
      default:
        if (generator() % 4 == 0) post_one(generator, home);
    }
  }

  void cancel_item(StressItem& item) {
    EXPECT_TRUE(item.home.load()->closing) << "cancelled in an open group";
    ++cancelled_;
    item.home = nullptr;
  }

  // ---- timers and waits ----

  void place(Alarm& alarm, Home& home, bool waits) {
    if (waits) {
      alarm.event = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      alarm.wait = std::make_unique<PoolWait>(*home.group, alarm.event.get(),
                                              [this, &alarm](uint32_t events) {
                                                if (events != 0) alarm.deadline = 0;  // never early
                                                expire(alarm);
                                              });
    } else {
      alarm.timer = std::make_unique<PoolTimer>(*home.group, [this, &alarm] { expire(alarm); });
    }
  }

  void expire(Alarm& alarm) {
    EXPECT_FALSE(alarm.home->closed) << "a timer ran after close()";
    EXPECT_GE(now().time_since_epoch().count(), alarm.deadline) << "early";
    EXPECT_TRUE(alarm.outstanding.exchange(false)) << "ran though it was not armed, or twice";
    ++expired_;
  }

  Alarm& any_alarm(Random& generator) {
    const size_t number = generator() % (kTimers + kWaits);
    return number < kTimers ? timers_[number] : waits_[number - kTimers];
  }

  void arm(Random& generator, Alarm& alarm) {
    if (alarm.outstanding) return;
    const Instant deadline = now() + std::chrono::microseconds(generator() % 3000);
    alarm.deadline = deadline.time_since_epoch().count();
    alarm.outstanding = true;
    ++armed_;
    if (alarm.timer) return alarm.timer->arm(deadline);
    const auto result = alarm.wait->arm(EPOLLIN, deadline);
    if (!result) {
      EXPECT_TRUE(alarm.home->closing) << result.error().message();
      alarm.outstanding = false;
      ++dropped_;
    }
  }

  void cancel(Alarm& alarm) {
    const bool revoked = alarm.timer ? alarm.timer->cancel() : alarm.wait->cancel();
    if (!revoked) return;
    EXPECT_TRUE(alarm.outstanding.exchange(false)) << "cancelled what was over";
    ++revoked_;
  }

  // Nobody closes the home any more, unless an item does.
  void expect_expiries(Home& home) {
    for_each_alarm(home, [&](Alarm& alarm, bool) {
      EXPECT_TRUE(eventually([&] { return !alarm.outstanding || home.closing; })) << "forgotten";
    });
  }

  void ring(Random& generator, Alarm& alarm) {
    uint64_t value = 1;
    if (generator() % 2)
      EXPECT_EQ(::write(alarm.event.get(), &value, sizeof(value)), 8);
    else
      static_cast<void>(!::read(alarm.event.get(), &value, sizeof(value)));
  }

  // ---- threads ----

  void act(Random& generator) {
    const unsigned choice = generator() % 100;
    if (choice < 35) {
      Alarm& alarm = any_alarm(generator);
      const std::lock_guard model(alarm.mutex);
      if (choice < 30)
        arm(generator, alarm);
      else if (generator() % 16 != 0)
        return;
      else if (choice < 32 || !alarm.wait)
        cancel(alarm);
      else
        ring(generator, alarm);
      return;
    }
    Home& home = any_home(generator);
    const std::shared_lock guard(home.guard);
    if (choice < 60)
      post_one(generator, home);
    else if (choice < 75)
      post_batch(generator, home);
    else if (choice < 98 || generator() % 8 != 0)
      post_closure(generator, home);
    else if (choice < 99)
      run(*home.group, [&] { tree(4, generator); });
    else
      home.group->wait();
  }

  // Closes a group beside those who post to it; then, without them, puts a new one in its place.
  void replace(Home& home, bool again) {
    {
      const std::shared_lock guard(home.guard);
      home.closing = true;
      home.group->close();
      if (again) home.group->close();
    }
    const std::unique_lock guard(home.guard);
    end(home);
    home.group = std::make_unique<CleanupGroup>(*pool_);
    home.closing = home.closed = false;
    for_each_alarm(home, [&](Alarm& alarm, bool waits) { place(alarm, home, waits); });
    unlock_alarms();
  }

  void end_home(Home& home) {
    end(home);
    unlock_alarms();
  }

  // Leaves the home's alarms locked, which are no more.
  void end(Home& home) {
    home.closing = true;
    home.group->close();
    home.closed = true;
    for_each_alarm(home, [&](Alarm& alarm, bool) {
      locked_.emplace_back(alarm.mutex);
      alarm.timer.reset();
      alarm.wait.reset();
      dropped_ += alarm.outstanding.exchange(false);
    });
    home.group.reset();
  }

  void unlock_alarms() { locked_.clear(); }

  void for_each_alarm(Home& home, auto&& visit) {
    for (Alarm& alarm : timers_)
      if (alarm.home == &home) visit(alarm, false);
    for (Alarm& alarm : waits_)
      if (alarm.home == &home) visit(alarm, true);
  }

  std::unique_ptr<ThreadPool> pool_;
  std::deque<Home> homes_;
  std::array<StressItem, kItems> items_;
  std::array<Alarm, kTimers> timers_;
  std::array<Alarm, kWaits> waits_;
  std::vector<std::unique_lock<std::mutex>> locked_;
  std::atomic<uint64_t> posted_ = 0, ran_ = 0, cancelled_ = 0;
  std::atomic<uint64_t> armed_ = 0, expired_ = 0, revoked_ = 0, dropped_ = 0;
};

void StressItem::turn(WorkItem& item, Turn turn) noexcept {
  auto& self = static_cast<StressItem&>(item);
  if (turn == Turn::kRun)
    self.test->run_item(self);
  else
    self.test->cancel_item(self);
}

TEST_F(PoolStressTest, EveryItemRunsOrIsCancelledOnce) {
  stress(std::random_device()(), 2);
}

TEST_F(PoolStressTest, AlsoWithOneAtATime) {
  stress(20080227, 1);
}

// One thing at a time, whenever a worker may be about to fall asleep: nothing else comes to wake
// it.
TEST_F(PoolStressTest, LoneWorkIsNotForgotten) {
  Random generator(std::random_device{}());
  std::binary_semaphore done(0);
  const auto pool = make_pool({.concurrency = 2});
  const auto spin = [](unsigned microseconds) {
    const Instant end = now() + std::chrono::microseconds(microseconds);
    while (now() < end) continue;
  };
  const Instant end = now() + duration();
  while (now() < end) {
    spin(generator() % 64);
    const unsigned choice = generator() % 4;
    if (choice == 0) {
      const unsigned theirs = generator() % 128;
      const unsigned ours = generator() % 32;
      run(pool->group(), [&] {
        Fork fork([&] { spin(theirs); });
        spin(ours);  // long enough to be stolen from, mostly
        fork.join();
      });
      continue;
    }
    if (choice == 1)
      post_at(
          pool->group(), now() + std::chrono::microseconds(generator() % 64),
          [&] { done.release(); }, 0us);
    else
      pool->post([&] { done.release(); });
    ASSERT_TRUE(done.try_acquire_for(kLimit));
  }
}

// A pool ends while its items still run, block, fork and wait for their time.
TEST_F(PoolStressTest, PoolsComeAndGo) {
  Random generator(std::random_device{}());
  const Instant end = now() + duration();
  while (now() < end) {
    std::atomic<uint64_t> alive = 0, posted = 0;
    struct Witness {
      explicit Witness(std::atomic<uint64_t>& count) : alive(&count) { ++*alive; }
      Witness(Witness&& other) noexcept : alive(std::exchange(other.alive, nullptr)) {}
      ~Witness() {
        if (alive) --*alive;
      }
      std::atomic<uint64_t>* alive;
    };
    {
      const auto pool = make_pool({.concurrency = 1 + static_cast<unsigned>(generator() % 3),
                                   .idle_time = std::chrono::microseconds(generator() % 300)});
      std::vector<std::jthread> threads;
      threads.reserve(2);
      for (int i = 0; i < 2; ++i)
        threads.emplace_back([&, mine = Random(static_cast<uint32_t>(generator()))]() mutable {
          for (unsigned count = mine() % 200; count > 0; --count) {
            ++posted;
            const auto rest = std::chrono::microseconds(mine() % 16 == 0 ? mine() % 500 : 0);
            auto body = [rest, witness = Witness(alive)] {
              if (rest > 0us) std::this_thread::sleep_for(rest);
            };
            if (mine() % 4 == 0)
              post_at(pool->group(), now() + rest, std::move(body));
            else
              pool->post(std::move(body));
          }
        });
      threads.clear();
      if (generator() % 2) pool->group().wait();
    }
    ASSERT_EQ(alive, 0U) << "of " << posted;
  }
}

}  // namespace
}  // namespace runtime
