// SPDX-License-Identifier: MIT
#include "runtime/fork.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <random>
#include <vector>

#include "tests/unit/runtime/pool_fixture.h"

namespace runtime {
namespace {

class ForkTest : public PoolTestBase {};

uint64_t tree(unsigned depth) {
  if (depth == 0) return 1;
  uint64_t right = 0;
  Fork fork([&] { right = tree(depth - 1); });
  const uint64_t left = tree(depth - 1);
  fork.join();
  return left + right;
}

TEST_F(ForkTest, TreeAddsUp) {
  const auto pool = make_pool({.concurrency = 4});
  for (int i = 0; i < 10; ++i) {
    uint64_t leaves = 0;
    EXPECT_TRUE(run(pool->group(), [&] { leaves = tree(12); }));
    EXPECT_EQ(leaves, 4096u);
  }
  EXPECT_EQ(pool->counters().forks, 10u * 4095);
}

TEST_F(ForkTest, OutsideAPoolForksRunAtTheirJoin) {
  EXPECT_EQ(tree(10), 1024u);
}

TEST_F(ForkTest, DestructionJoins) {
  const auto pool = make_pool();
  int ran = 0;
  run(pool->group(), [&] {
    for (int i = 0; i < 100; ++i) {
      const Fork fork([&] { ++ran; });
    }
  });
  EXPECT_EQ(ran, 100);
}

TEST_F(ForkTest, JoinsInAnyOrder) {
  const auto pool = make_pool({.concurrency = 2});
  std::atomic<int> ran = 0;
  run(pool->group(), [&] {
    for (int i = 0; i < 500; ++i) {
      Fork first([&] { ++ran; });
      Fork second([&] { ++ran; });
      Fork third([&] { ++ran; });
      second.join();
      second.join();
      first.join();
    }
  });
  EXPECT_EQ(ran, 1500);
}

TEST_F(ForkTest, FullDequeRunsForksAtTheirJoin) {
  const auto pool = make_pool({.concurrency = 1});
  std::atomic<int> ran = 0;
  run(pool->group(), [&] {
    const auto work = [&] { ++ran; };
    std::deque<Fork<decltype(work)>> forks;
    for (int i = 0; i < 2000; ++i) forks.emplace_back(work);
    for (auto& fork : forks) fork.join();
  });
  EXPECT_EQ(ran, 2000);
}

TEST_F(ForkTest, OthersStealWhatIsLeft) {
  const auto pool = make_pool({.concurrency = 2});
  std::atomic<bool> stolen = false;
  EXPECT_TRUE(run(pool->group(), [&] {
    Fork fork([&] { stolen = true; });
    // Only another worker can run it while this one waits here.
    EXPECT_TRUE(eventually([&] { return stolen.load(); }));
  }));
  EXPECT_EQ(pool->counters().steals, 1u);
}

TEST_F(ForkTest, JoinWaitsForASlowThief) {
  const auto pool = make_pool({.concurrency = 2});
  for (int i = 0; i < 20; ++i) {
    std::atomic<bool> begun = false;
    bool ended = false;
    run(pool->group(), [&] {
      Fork fork([&] {
        begun = true;
        std::this_thread::sleep_for(2ms);  // long enough for the join to go to sleep
        ended = true;
      });
      while (!begun) std::this_thread::sleep_for(50us);
      fork.join();
      EXPECT_TRUE(ended);
    });
  }
}

TEST_F(ForkTest, WhoWaitsInAJoinHelpsTheThief) {
  const auto pool = make_pool({.concurrency = 2, .max_workers = 2});
  std::atomic<int> helped = 0;
  run(pool->group(), [&] {
    std::atomic<bool> begun = false;
    const std::thread::id joiner = std::this_thread::get_id();
    Fork outer([&] {
      begun = true;
      std::this_thread::sleep_for(5ms);  // the joiner sleeps by now
      Fork inner([&] { helped = std::this_thread::get_id() == joiner ? 1 : 2; });
      EXPECT_TRUE(eventually([&] { return helped != 0; }));
    });
    while (!begun) std::this_thread::sleep_for(50us);
    outer.join();
  });
  EXPECT_EQ(helped, 1);
}

void sort(std::span<int> values) {
  if (values.size() < 64) {
    std::ranges::sort(values);
    return;
  }
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  Fork upper([&] { sort({middle, values.end()}); });
  sort({values.begin(), middle});
}

TEST_F(ForkTest, SortsBesideOtherWork) {
  const auto pool = make_pool({.concurrency = 3});
  std::atomic<int> others = 0;
  std::mt19937 random(1);
  for (int round = 0; round < 5; ++round) {
    std::vector<int> values(50'000);
    std::ranges::generate(values, random);
    for (int i = 0; i < 500; ++i) pool->post([&] { ++others; });
    run(pool->group(), [&] { sort(values); });
    EXPECT_TRUE(std::ranges::is_sorted(values));
  }
  pool->group().wait();
  EXPECT_EQ(others, 2500);
}

TEST_F(ForkTest, RunOnAWorkerIsACall) {
  const auto pool = make_pool({.concurrency = 1, .max_workers = 1});
  int depth = 0;
  run(pool->group(), [&] { run(pool->group(), [&] { depth = 2; }); });
  EXPECT_EQ(depth, 2);
}

TEST_F(ForkTest, RunInAClosedGroupDoesNotRun) {
  const auto pool = make_pool();
  CleanupGroup group(*pool);
  group.close();
  EXPECT_FALSE(run(group, [] { ADD_FAILURE() << "ran"; }));
}

}  // namespace
}  // namespace runtime
