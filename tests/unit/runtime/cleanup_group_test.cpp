// SPDX-License-Identifier: MIT
#include "runtime/cleanup_group.h"

#include <deque>
#include <future>
#include <optional>
#include <vector>

#include "tests/unit/runtime/pool_fixture.h"

namespace runtime {
namespace {

class CleanupGroupTest : public PoolTestBase {
 protected:
  // One worker, so that a test decides what runs.
  void occupy() {
    pool_ = make_pool({.concurrency = 1, .max_workers = 1});
    pool_->post([this] {
      occupied_.release();
      gate_.pass();
    });
    occupied_.acquire();
  }
  ~CleanupGroupTest() override {
    gate_.open();
    pool_.reset();
  }

  Gate gate_;
  std::binary_semaphore occupied_{0};
  std::unique_ptr<ThreadPool> pool_;
};

struct Item : WorkItem {
  Item() : WorkItem(turn) {}
  static void turn(WorkItem& item, Turn turn) noexcept {
    auto& self = static_cast<Item&>(item);
    ++(turn == Turn::kRun ? self.ran : self.cancelled);
  }
  std::atomic<int> ran = 0, cancelled = 0;
};

TEST_F(CleanupGroupTest, CloseCancelsWhatIsQueued) {
  occupy();
  CleanupGroup group(*pool_);
  std::deque<Item> items(1000);
  for (Item& item : items) group.post(item);
  EXPECT_EQ(group.close(), 1000u);
  for (Item& item : items) {
    EXPECT_EQ(item.ran, 0);
    EXPECT_EQ(item.cancelled, 1);
  }
  EXPECT_TRUE(group.closed());
  gate_.open();
  pool_->group().wait();
  EXPECT_EQ(pool_->counters().cancelled, 1000u);
  EXPECT_EQ(pool_->counters().items, 1u);
}

TEST_F(CleanupGroupTest, CloseDestroysClosuresUncalled) {
  occupy();
  CleanupGroup group(*pool_);
  const auto token = std::make_shared<int>(0);
  for (int i = 0; i < 100; ++i) group.post([token] { ADD_FAILURE() << "ran"; });
  EXPECT_EQ(token.use_count(), 101);
  group.close();
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(CleanupGroupTest, CloseLeavesOtherGroupsAlone) {
  occupy();
  CleanupGroup closed(*pool_), open(*pool_);
  std::deque<Item> kept(50), dropped(50);
  for (size_t i = 0; i < kept.size(); ++i) {
    open.post(kept[i]);
    closed.post(dropped[i]);
  }
  EXPECT_EQ(closed.close(), 50u);
  gate_.open();
  open.wait();
  for (Item& item : kept) EXPECT_EQ(item.ran, 1);
  for (Item& item : dropped) EXPECT_EQ(item.ran, 0);
}

TEST_F(CleanupGroupTest, CloseWaitsForWhatRuns) {
  pool_ = make_pool({.concurrency = 2});
  for (int i = 0; i < 50; ++i) {
    CleanupGroup group(*pool_);
    std::binary_semaphore begun(0);
    std::atomic<bool> ended = false;
    group.post([&] {
      begun.release();
      std::this_thread::sleep_for(1ms);
      ended = true;
    });
    begun.acquire();
    group.close();
    EXPECT_TRUE(ended);
  }
}

TEST_F(CleanupGroupTest, CloseDoesNotWaitForOtherGroups) {
  occupy();
  CleanupGroup group(*pool_);
  Item item;
  group.post(item);
  group.close();  // the only worker is still in another group's item
  EXPECT_EQ(item.cancelled, 1);
}

TEST_F(CleanupGroupTest, CloseCancelsTheRestOfABatch) {
  pool_ = make_pool({.concurrency = 1, .max_workers = 1});
  std::atomic<int> count = 0;
  for (int i = 0; i < 20'000; ++i) pool_->post([&] { ++count; });  // cheap: large batches
  pool_->group().wait();
  CleanupGroup group(*pool_);
  std::binary_semaphore begun(0);
  std::deque<Item> items(20);
  Gate ready, end;
  pool_->post([&] { ready.pass(); });
  group.post([&] {
    begun.release();
    end.pass();
  });
  for (Item& item : items) group.post(item);
  ready.open();
  begun.acquire();
  std::jthread opener([&] {
    EXPECT_TRUE(eventually([&] { return group.closed(); }));
    end.open();
  });
  group.close();
  for (Item& item : items) {
    EXPECT_EQ(item.ran, 0);
    EXPECT_EQ(item.cancelled, 1);
  }
}

TEST_F(CleanupGroupTest, PostToAClosedGroupIsCancelledAtOnce) {
  pool_ = make_pool();
  CleanupGroup group(*pool_);
  group.close();
  Item item;
  group.post(item);
  EXPECT_EQ(item.cancelled, 1);
  WorkBatch batch;
  Item first, second;
  batch.add(first);
  batch.add(second);
  group.post(batch);
  EXPECT_EQ(first.cancelled + second.cancelled, 2);
  group.post(item, Length::kLong);
  EXPECT_EQ(item.cancelled, 2);
}

TEST_F(CleanupGroupTest, CancelledItemMayBePostedToAnotherGroup) {
  occupy();
  CleanupGroup second(*pool_);
  std::optional<CleanupGroup> first(*pool_);
  Item item;
  first->post(item);
  first.reset();
  second.post(item);
  gate_.open();
  second.wait();
  EXPECT_EQ(item.cancelled, 1);
  EXPECT_EQ(item.ran, 1);
}

TEST_F(CleanupGroupTest, LongItemsAreCancelledAndWaitedForToo) {
  pool_ = make_pool({.concurrency = 1, .max_workers = 1});
  CleanupGroup group(*pool_);
  std::binary_semaphore begun(0);
  Gate end;
  std::atomic<bool> ended = false;
  group.post(
      [&] {
        begun.release();
        end.pass();
        ended = true;
      },
      Length::kLong);
  begun.acquire();
  Item queued;
  group.post(queued, Length::kLong);
  std::jthread opener([&] {
    EXPECT_TRUE(eventually([&] { return queued.cancelled == 1; }));
    end.open();
  });
  EXPECT_EQ(group.close(), 1u);
  EXPECT_TRUE(ended);
  EXPECT_EQ(queued.ran, 0);
}

TEST_F(CleanupGroupTest, ItemMayCloseItsOwnGroup) {
  pool_ = make_pool({.concurrency = 2});
  CleanupGroup group(*pool_);
  std::atomic<int> others = 0;
  std::atomic<bool> returned = false;
  for (int i = 0; i < 100; ++i) group.post([&] { ++others; });
  group.post([&] {
    group.close();
    returned = true;
  });
  for (int i = 0; i < 100; ++i) group.post([&] { ++others; });
  EXPECT_TRUE(eventually([&] { return returned.load(); }));
  group.close();
  EXPECT_LE(others, 200);
}

TEST_F(CleanupGroupTest, TwoItemsMayCloseTheirGroup) {
  pool_ = make_pool({.concurrency = 2});
  for (int round = 0; round < 20; ++round) {
    CleanupGroup group(*pool_);
    std::atomic<int> inside = 0, returned = 0;
    for (int i = 0; i < 2; ++i)
      group.post([&] {
        ++inside;
        while (inside < 2) std::this_thread::sleep_for(100us);
        group.close();
        ++returned;
      });
    EXPECT_TRUE(eventually([&] { return returned == 2; }));
  }
}

TEST_F(CleanupGroupTest, ItemMayWaitForTheOthersOfItsGroup) {
  pool_ = make_pool({.concurrency = 1, .max_workers = 2});
  // Cheap items first, so that the waiting one may have others behind it in its batch.
  std::atomic<int> count = 0;
  for (int i = 0; i < 20'000; ++i) pool_->post([&] { ++count; });
  pool_->group().wait();
  for (int round = 0; round < 20; ++round) {
    CleanupGroup group(*pool_);
    std::atomic<int> others = 0, held = 0;
    int seen = -1;
    Gate gate;
    for (int i = 0; i < 2; ++i)
      pool_->post([&] {
        ++held;
        gate.pass();
      });
    EXPECT_TRUE(eventually([&] { return held == 2; }));
    group.post([&] {
      group.wait();
      seen = others;
    });
    for (int i = 0; i < 20; ++i) group.post([&] { ++others; });
    gate.open();
    group.wait();
    EXPECT_EQ(seen, 20);
    pool_->group().wait();
  }
}

TEST_F(CleanupGroupTest, WaitSeesWhatItemsPost) {
  pool_ = make_pool({.concurrency = 2});
  CleanupGroup group(*pool_);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> depth = 0;
    struct Next {
      CleanupGroup& group;
      std::atomic<int>& depth;
      int left;
      void operator()() {
        ++depth;
        if (left > 0) group.post(Next{group, depth, left - 1});
      }
    };
    group.post(Next{group, depth, 10});
    group.wait();
    EXPECT_EQ(depth, 11);
  }
}

TEST_F(CleanupGroupTest, PostsThatRaceWithCloseRunOrAreCancelled) {
  pool_ = make_pool({.concurrency = 2});
  for (int round = 0; round < 100; ++round) {
    std::deque<Item> items(400);
    CleanupGroup group(*pool_);
    {
      std::vector<std::jthread> posters;
      posters.reserve(2);
      for (size_t poster = 0; poster < 2; ++poster)
        posters.emplace_back([&, poster] {
          for (size_t i = poster; i < items.size(); i += 2) group.post(items[i]);
        });
      group.close();
    }
    group.close();
    for (Item& item : items) EXPECT_EQ(item.ran + item.cancelled, 1);
  }
}

TEST_F(CleanupGroupTest, NothingRunsAfterClose) {
  pool_ = make_pool({.concurrency = 2});
  for (int round = 0; round < 100; ++round) {
    std::atomic<bool> closed = false, late = false;
    CleanupGroup group(*pool_);
    for (int i = 0; i < 200; ++i)
      group.post([&] {
        if (closed) late = true;
      });
    group.close();
    closed = true;
    EXPECT_FALSE(late);
  }
}

TEST_F(CleanupGroupTest, ManyGroupsComeAndGo) {
  pool_ = make_pool({.concurrency = 2});
  std::atomic<int> ran = 0;
  for (int i = 0; i < 2000; ++i) {
    CleanupGroup group(*pool_);
    group.post([&] { ++ran; });
    if (i % 2 == 0) group.wait();
  }
  EXPECT_GE(ran, 1000);
}

}  // namespace
}  // namespace runtime
