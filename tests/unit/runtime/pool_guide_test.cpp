// SPDX-License-Identifier: MIT
// The examples of docs/runtime.md that are about the thread pool; guide_test.cpp holds the guide's
// text against this file too, so change both together.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>
#include <span>
#include <vector>

#include "runtime/fork.h"
#include "runtime/pool_wait.h"
#include "runtime/timers.h"
#include "tests/unit/runtime/pool_fixture.h"

namespace runtime {
namespace {

// ---- Items -------------------------------------------------------------------------------------

std::atomic<int> g_checked = 0, g_compacted = 0;

void check(int) {
  ++g_checked;
}
void compact_the_log() {
  ++g_compacted;
}

struct Block : WorkItem {
  explicit Block(int number) : WorkItem(turn), number_(number) {}
  static void turn(WorkItem& item, Turn turn) noexcept {
    auto& block = static_cast<Block&>(item);
    block.ok_ = turn == Turn::kRun && block.number_ > 0;
  }

  int number_;
  bool ok_ = false;
};

TEST(PoolGuideTest, RunsItems) {
  const auto begin = []() -> Result<> {
    RT_TRY_ASSIGN(const auto pool, ThreadPool::create({.name = "storage"}));
    pool->post([] { check(17); });
    pool->post(compact_the_log, Length::kLong);
    pool->group().wait();
    return {};
  };
  EXPECT_TRUE(begin());
  EXPECT_EQ(g_checked, 1);
  EXPECT_EQ(g_compacted, 1);
}

TEST(PoolGuideTest, RunsItemsOfItsCallers) {
  const auto pool = std::move(*ThreadPool::create());
  std::array<Block, 3> blocks{Block(1), Block(2), Block(3)};
  WorkBatch batch;
  for (Block& block : blocks) batch.add(block);
  pool->post(batch);
  pool->group().wait();
  EXPECT_TRUE(std::ranges::all_of(blocks, &Block::ok_));
}

// ---- A VM and all that belongs to it -----------------------------------------------------------

class VirtualMachine {
 public:
  explicit VirtualMachine(ThreadPool& pool) : work_(pool), heartbeat_(work_, [this] { ++beats_; }) {
    heartbeat_.arm(pool.kernel().now() + 1ms, {.tolerance = 1ms, .period = 2ms});
  }
  // Cancels what is queued and waits for what runs: nothing uses this object afterwards.
  ~VirtualMachine() { work_.close(); }

  void save() {
    work_.post([this] { ++saves_; });
  }

 private:
  std::atomic<int> beats_ = 0, saves_ = 0;
  CleanupGroup work_;
  PoolTimer heartbeat_;
  friend void wait_for_a_beat(const VirtualMachine& machine);
};

void wait_for_a_beat(const VirtualMachine& machine) {
  EXPECT_TRUE(eventually([&] { return machine.beats_ > 0; }));
}

TEST(PoolGuideTest, TakesAVmDown) {
  const auto pool = std::move(*ThreadPool::create());
  VirtualMachine machine(*pool);
  for (int i = 0; i < 1000; ++i) machine.save();
  wait_for_a_beat(machine);
}

// ---- Timers ------------------------------------------------------------------------------------

TEST(PoolGuideTest, WaitsForMoments) {
  const auto pool = std::move(*ThreadPool::create());
  CleanupGroup session(*pool);
  std::atomic<bool> timed_out = false, reminded = false;

  PoolTimer timeout(session, [&] { timed_out = true; });
  timeout.arm(pool->kernel().now() + 30s);
  const bool in_time = timeout.cancel();  // false: too late, it ran or is running

  post_at(session, pool->kernel().wall_now() + 1ms, [&] { reminded = true; });

  EXPECT_TRUE(in_time);
  EXPECT_TRUE(eventually([&] { return reminded.load(); }));
  EXPECT_FALSE(timed_out);
}

// ---- Descriptors -------------------------------------------------------------------------------

TEST(PoolGuideTest, WaitsForADescriptor) {
  const auto pool = std::move(*ThreadPool::create());
  const UniqueFd bell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::atomic<uint64_t> rung = 0;
  std::atomic<bool> closed = false;

  PoolWait wait(pool->group(), bell.get(), [&](uint32_t events) {
    uint64_t count = 0;
    if ((events & EPOLLIN) && ::read(bell.get(), &count, sizeof(count)) > 0) rung += count;
    if (!wait.arm(EPOLLIN)) closed = true;  // armed for one time; a closed group refuses
  });
  EXPECT_TRUE(wait.arm(EPOLLIN));

  const uint64_t two = 2;
  EXPECT_EQ(::write(bell.get(), &two, sizeof(two)), 8);
  EXPECT_TRUE(eventually([&] { return rung == 2; }));
  pool->group().close();  // the callable names `wait` and `bell`: nothing of it runs from here on
}

// ---- Fork and join -----------------------------------------------------------------------------

uint64_t sum(std::span<const uint32_t> values) {
  if (values.size() <= 1024) return std::accumulate(values.begin(), values.end(), uint64_t{0});
  const auto half = values.size() / 2;
  uint64_t upper = 0;
  Fork fork([&] { upper = sum(values.subspan(half)); });
  const uint64_t lower = sum(values.first(half));
  fork.join();
  return lower + upper;
}

TEST(PoolGuideTest, DividesWork) {
  const auto pool = std::move(*ThreadPool::create());
  const std::vector<uint32_t> values(100'000, 3);
  uint64_t total = 0;
  run(pool->group(), [&] { total = sum(values); });
  EXPECT_EQ(total, 300'000U);
}

}  // namespace
}  // namespace runtime
