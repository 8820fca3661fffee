// SPDX-License-Identifier: MIT
#include "runtime/pool.h"

#include <sys/prctl.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/runtime/pool_fixture.h"

namespace runtime {
namespace {

class PoolTest : public PoolTestBase {};

struct CountedItem : WorkItem {
  CountedItem() : WorkItem(turn) {}
  static void turn(WorkItem& item, Turn turn) noexcept {
    auto& self = static_cast<CountedItem&>(item);
    ++(turn == Turn::kRun ? self.ran : self.cancelled);
  }
  std::atomic<int> ran = 0, cancelled = 0;
};

TEST_F(PoolTest, RunsWhatIsPosted) {
  const auto pool = make_pool();
  std::atomic<int> count = 0;
  for (int i = 0; i < 1000; ++i) pool->post([&] { ++count; });
  pool->group().wait();
  EXPECT_EQ(count, 1000);
  EXPECT_EQ(pool->counters().items, 1000u);
}

TEST_F(PoolTest, RunsAnItemOncePerPost) {
  const auto pool = make_pool();
  std::deque<CountedItem> items(5000);
  for (CountedItem& item : items) pool->post(item);
  pool->group().wait();
  for (CountedItem& item : items) EXPECT_EQ(item.ran, 1);
  for (CountedItem& item : items) pool->post(item);
  pool->group().wait();
  for (CountedItem& item : items) EXPECT_EQ(item.ran, 2);
}

TEST_F(PoolTest, RunsABatch) {
  const auto pool = make_pool();
  std::deque<CountedItem> items(300);
  pool->post(WorkBatch());
  WorkBatch batch;
  for (CountedItem& item : items) batch.add(item);
  pool->post(batch);
  pool->group().wait();
  for (CountedItem& item : items) EXPECT_EQ(item.ran, 1);
}

TEST_F(PoolTest, BeginsTheItemsOfAThreadInOrder) {
  const auto pool = make_pool({.concurrency = 1, .max_workers = 1});
  std::vector<int> order;
  for (int i = 0; i < 2000; ++i) pool->post([&order, i] { order.push_back(i); });
  pool->group().wait();
  ASSERT_EQ(order.size(), 2000u);
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

TEST_F(PoolTest, ItemMayPostItselfAgain) {
  const auto pool = make_pool();
  struct Again : WorkItem {
    explicit Again(ThreadPool& target) : WorkItem(turn), pool(target) {}
    static void turn(WorkItem& item, Turn) noexcept {
      auto& self = static_cast<Again&>(item);
      if (++self.count < 1000) self.pool.post(self);
    }
    ThreadPool& pool;
    std::atomic<int> count = 0;
  } again(*pool);
  pool->post(again);
  pool->group().wait();
  EXPECT_EQ(again.count, 1000);
}

// A worker prefers what its own thread posted; others come all the same.
TEST_F(PoolTest, WhoPostsItselfForeverStarvesNobody) {
  const auto pool = make_pool({.concurrency = 1, .max_workers = 1});
  std::atomic<bool> stop = false;
  struct Forever : WorkItem {
    Forever(ThreadPool& home, const std::atomic<bool>& end)
        : WorkItem([](WorkItem& item, Turn) noexcept {
            auto& self = static_cast<Forever&>(item);
            const auto until = std::chrono::steady_clock::now() + 50us;  // one is a batch
            while (std::chrono::steady_clock::now() < until) {
            }
            if (!self.stop) self.pool.group().post(self);
          }),
          pool(home),
          stop(end) {}
    ThreadPool& pool;
    const std::atomic<bool>& stop;
  };
  Forever forever(*pool, stop);
  pool->group().post(forever);
  for (int thread = 0; thread < 20; ++thread) {  // each may have a lane of its own
    std::binary_semaphore ran(0);
    std::thread([&] { pool->post([&] { ran.release(); }); }).join();
    EXPECT_TRUE(ran.try_acquire_for(kLimit));
  }
  stop = true;
  pool->group().wait();
}

TEST_F(PoolTest, KeepsClosuresOfAnySizeAndAlignment) {
  const auto pool = make_pool();
  std::atomic<int> sum = 0;
  struct alignas(128) Wide {
    int values[64] = {1, 2, 3};
  };
  const Wide wide;
  const auto owned = std::make_shared<int>(10);
  pool->post([&sum, wide] {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&wide) % 128, 0u);
    sum += wide.values[2];
  });
  pool->post([&sum, owned] { sum += *owned; });
  pool->post([&sum, held = std::make_unique<int>(100)] { sum += *held; });
  pool->group().wait();
  EXPECT_EQ(sum, 113);
  EXPECT_EQ(owned.use_count(), 1);
}

TEST_F(PoolTest, NamesItsThreads) {
  const auto pool = make_pool({.name = "storage"});
  std::string name;
  pool->post([&] {
    char text[16] = {};
    prctl(PR_GET_NAME, text);
    name = text;
  });
  pool->group().wait();
  EXPECT_EQ(name, "storage/0");
  EXPECT_EQ(pool->name(), "storage");
}

TEST_F(PoolTest, RunsNoMoreAtOnceThanItsConcurrency) {
  const auto pool = make_pool({.concurrency = 3});
  std::atomic<int> running = 0, most = 0;
  for (int i = 0; i < 300; ++i)
    pool->post([&] {
      const int now = ++running;
      int before = most;
      while (before < now && !most.compare_exchange_weak(before, now)) continue;
      // Computes, so that it is not taken for blocked.
      for (int spin = 0; spin < 20'000; ++spin) asm volatile("");
      --running;
    });
  pool->group().wait();
  // What is taken for blocked all the same, on a busy machine, has a stand-in.
  EXPECT_LE(most, 3 + pool->counters().stand_ins);
}

TEST_F(PoolTest, ReplacesABlockedWorker) {
  const auto pool = make_pool({.concurrency = 1});
  Gate gate;
  std::atomic<bool> ran = false;
  pool->post([&] { gate.pass(); });
  pool->post([&] { ran = true; });
  EXPECT_TRUE(eventually([&] { return ran.load(); }));
  EXPECT_GE(pool->counters().stand_ins, 1u);
  gate.open();
  pool->group().wait();
  EXPECT_EQ(pool->counters().workers, 2u);
}

TEST_F(PoolTest, ReplacesManyBlockedWorkersUpToItsLimit) {
  const auto pool = make_pool({.concurrency = 1, .max_workers = 5});
  Gate gate;
  std::atomic<unsigned> blocked = 0, after = 0;
  for (unsigned i = 0; i < 5; ++i)
    pool->post([&] {
      ++blocked;
      gate.pass();
    });
  for (unsigned i = 0; i < 10; ++i) pool->post([&] { ++after; });
  EXPECT_TRUE(eventually([&] { return blocked == 5; }));
  EXPECT_EQ(pool->counters().workers, 5u);
  EXPECT_EQ(after, 0u);
  gate.open();
  pool->group().wait();
  EXPECT_EQ(after, 10u);
}

TEST_F(PoolTest, RelievesABlockedWorkerOfItsBatch) {
  const auto pool = make_pool({.concurrency = 1});
  // Cheap items teach the worker to take many at once.
  std::atomic<int> count = 0;
  for (int i = 0; i < 20'000; ++i) pool->post([&] { ++count; });
  pool->group().wait();
  Gate gate, begin;
  pool->post([&] { begin.pass(); });
  pool->post([&] { gate.pass(); });
  for (int i = 0; i < 20; ++i) pool->post([&] { ++count; });
  begin.open();
  EXPECT_TRUE(eventually([&] { return count == 20'020; }));
  gate.open();
  pool->group().wait();
}

TEST_F(PoolTest, LongItemsLeaveTheConcurrencyToOthers) {
  const auto pool = make_pool({.concurrency = 1});
  Gate gate;
  std::atomic<int> long_running = 0;
  for (int i = 0; i < 4; ++i)
    pool->post(
        [&] {
          ++long_running;
          gate.pass();
        },
        Length::kLong);
  EXPECT_TRUE(eventually([&] { return long_running == 4; }));
  std::atomic<bool> ran = false;
  pool->post([&] { ran = true; });
  EXPECT_TRUE(eventually([&] { return ran.load(); }));
  EXPECT_EQ(pool->counters().stand_ins, 0u);
  EXPECT_EQ(pool->counters().long_items, 4u);
  gate.open();
  pool->group().wait();
}

TEST_F(PoolTest, IdleWorkersGoAndComeBack) {
  const auto pool = make_pool({.concurrency = 2, .min_workers = 0, .idle_time = 20ms});
  Gate gate;
  for (int i = 0; i < 6; ++i) pool->post([&] { gate.pass(); }, Length::kLong);
  EXPECT_TRUE(eventually([&] { return pool->counters().workers >= 6; }));
  gate.open();
  EXPECT_TRUE(eventually([&] { return pool->counters().workers == 0; }));
  EXPECT_GE(pool->counters().retired, 6u);
  std::atomic<bool> ran = false;
  pool->post([&] { ran = true; });
  EXPECT_TRUE(eventually([&] { return ran.load(); }));
}

TEST_F(PoolTest, KeepsAsManyWorkersAsItWasTold) {
  const auto pool =
      make_pool({.concurrency = 4, .max_workers = 4, .min_workers = 2, .idle_time = 10ms});
  Gate gate;
  for (int i = 0; i < 4; ++i) pool->post([&] { gate.pass(); }, Length::kLong);
  EXPECT_TRUE(eventually([&] { return pool->counters().workers == 4; }));
  gate.open();
  EXPECT_TRUE(eventually([&] { return pool->counters().workers == 2; }));
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(pool->counters().workers, 2u);
}

TEST_F(PoolTest, WorkersThatComeAndGoLoseNothing) {
  const auto pool = make_pool({.concurrency = 2, .idle_time = 0ms});
  std::atomic<int> count = 0;
  for (int i = 0; i < 500; ++i) {
    pool->post([&] { ++count; });
    if (i % 3 == 0) std::this_thread::sleep_for(100us);
  }
  pool->group().wait();
  EXPECT_EQ(count, 500);
}

TEST_F(PoolTest, GroupsTakeTurns) {
  // A group with a long queue does not keep another one waiting for its end.
  const auto pool = make_pool({.concurrency = 1, .max_workers = 1});
  CleanupGroup flood(*pool), other(*pool);
  Gate gate;
  std::atomic<int> flooded = 0, seen = -1;
  pool->post([&] { gate.pass(); });
  for (int i = 0; i < 100'000; ++i) flood.post([&] { ++flooded; });
  other.post([&] { seen = flooded.load(); });
  gate.open();
  other.wait();
  EXPECT_GE(seen, 0);
  EXPECT_LT(seen, 50'000);
  flood.wait();
  EXPECT_EQ(flooded, 100'000);
}

TEST_F(PoolTest, PoolsAreIndependent) {
  const auto first = make_pool({.name = "first", .concurrency = 1, .max_workers = 1});
  const auto second = make_pool({.name = "second", .concurrency = 1, .max_workers = 1});
  Gate gate;
  std::atomic<bool> ran = false;
  first->post([&] { gate.pass(); });
  second->post([&] { ran = true; });
  EXPECT_TRUE(eventually([&] { return ran.load(); }));
  gate.open();
  first->group().wait();
}

TEST_F(PoolTest, BusyPoolMakesNoSystemCallPerItem) {
  const auto pool = make_pool({.concurrency = 2});
  std::atomic<int> count = 0;
  for (int i = 0; i < 200'000; ++i) pool->post([&] { ++count; });
  pool->group().wait();
  const PoolCounters counters = pool->counters();
  EXPECT_EQ(count, 200'000);
  // Sleeps and wake-ups are the only ones that it makes.
  EXPECT_LT(counters.parks + counters.wakes, 20'000u);
  EXPECT_LT(counters.batches, 150'000u);
}

TEST_F(PoolTest, MeasuresTheDelayInTheQueue) {
  const auto pool = make_pool();
  pool->post([] {});
  pool->group().wait();
  const PoolCounters counters = pool->counters();
  EXPECT_EQ(counters.delays, 1u);
  EXPECT_GT(counters.delay_ns, 0u);
  EXPECT_EQ(counters.delay_max_ns, counters.delay_ns);
}

TEST_F(PoolTest, ManyThreadsPost) {
  const auto pool = make_pool();
  std::atomic<int> count = 0;
  {
    std::vector<std::jthread> posters;
    posters.reserve(8);
    for (int i = 0; i < 8; ++i)
      posters.emplace_back([&] {
        for (int j = 0; j < 5000; ++j) pool->post([&] { ++count; });
      });
  }
  pool->group().wait();
  EXPECT_EQ(count, 40'000);
}

TEST_F(PoolTest, DestructionCancelsWhatIsQueued) {
  std::deque<CountedItem> items(100);
  Gate gate;
  std::jthread opener;
  {
    const auto pool = make_pool({.concurrency = 1, .max_workers = 1});
    std::binary_semaphore begun(0);
    pool->post([&] {
      begun.release();
      gate.pass();
    });
    begun.acquire();
    for (CountedItem& item : items) pool->post(item);
    opener = std::jthread([&] {
      // Not before the destructor has cancelled: the items are waited for, not a time.
      EXPECT_TRUE(eventually([&] { return items.back().cancelled == 1; }));
      gate.open();
    });
  }
  for (CountedItem& item : items) {
    EXPECT_EQ(item.ran, 0);
    EXPECT_EQ(item.cancelled, 1);
  }
}

}  // namespace
}  // namespace runtime
