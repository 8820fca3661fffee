// SPDX-License-Identifier: MIT
// Row "blocked": items that compute for some microseconds and post themselves again, with and
// without one more item that blocks in system calls for the whole run.
//
//   blocked_bench free|blocked|blocked-hinted
#include <poll.h>

#include <atomic>
#include <deque>
#include <thread>

#include "runtime/pool.h"
#include "tests/bench/bench.h"

namespace {

using namespace runtime;
using namespace std::chrono_literals;

constexpr unsigned kThreads = 2;
constexpr size_t kItems = 64;
constexpr uint64_t kSteps = 3000;
constexpr auto kWarmUp = 200ms;
constexpr auto kTime = 1s;

std::atomic<bool> g_stop = false;
CleanupGroup* g_group = nullptr;

struct Computing : WorkItem {
  Computing() : WorkItem(turn) {}
  static void turn(WorkItem& item, Turn) noexcept {
    auto& self = static_cast<Computing&>(item);
    self.value = bench::compute(self.value, kSteps);
    self.count.store(self.count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (!g_stop.load(std::memory_order_relaxed)) g_group->post(self);
  }
  uint64_t value = 1;
  alignas(64) std::atomic<uint64_t> count = 0;
};

void block() {
  while (!g_stop.load(std::memory_order_relaxed)) ::poll(nullptr, 0, 1);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = bench::peer(argc, argv);
  const bool blocks = name.starts_with("blocked");
  if (!blocks && name != "free") bench::die("no such peer");
  const auto pool = std::move(*ThreadPool::create({.concurrency = kThreads}));
  g_group = &pool->group();
  std::deque<Computing> items(kItems);
  for (Computing& item : items) pool->post(item);
  if (blocks) pool->post(block, name == "blocked" ? Length::kShort : Length::kLong);
  const auto count = [&] {
    uint64_t sum = 0;
    for (const Computing& item : items) sum += item.count.load(std::memory_order_relaxed);
    return sum;
  };
  std::this_thread::sleep_for(kWarmUp);
  const uint64_t before = count();
  const bench::Meter meter;
  std::this_thread::sleep_for(kTime);
  const bench::Usage usage = meter.read();
  const uint64_t ran = count() - before;
  const PoolCounters counters = pool->counters();
  g_stop = true;
  pool->group().wait();
  bench::Line("blocked", name)
      .add(usage)
      .add("items_per_second", static_cast<double>(ran) / usage.seconds)
      .add("stand_ins", counters.stand_ins)
      .add("workers", counters.workers)
      .add("parked", counters.parked)
      .print();
}
