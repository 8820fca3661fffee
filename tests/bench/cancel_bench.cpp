// SPDX-License-Identifier: MIT
// Row "cancel": close a group of a million queued items, while the pool's only worker is in an item
// of another group; beside clearing a std::deque of as many items of the same size.
//
//   cancel_bench partita|partita-closure|deque|deque-closure
#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <semaphore>
#include <vector>

#include "runtime/pool.h"
#include "tests/bench/bench.h"

namespace {

using namespace runtime;

constexpr uint64_t kItems = 1'000'000;

std::atomic<uint64_t> g_ran = 0;
uint64_t g_cancelled = 0;  // only the closing thread counts

struct Item : WorkItem {
  Item() : WorkItem(turn) {}
  static void turn(WorkItem&, Turn turn) noexcept {
    if (turn == Turn::kRun)
      ++g_ran;
    else
      ++g_cancelled;
  }
};

// What dies with its closure.
struct Witness {
  Witness() = default;
  Witness(Witness&& other) noexcept : alive(std::exchange(other.alive, false)) {}
  ~Witness() { g_cancelled += alive; }
  bool alive = true;
};

/// What the queue holds of a closure with a witness, with its padding.
struct alignas(kBlockAlignment) QueuedClosure {
  std::array<std::byte, sizeof(WorkItem) + sizeof(Witness)> memory;
};

struct Occupied {
  Occupied() : pool(std::move(*ThreadPool::create({.concurrency = 1, .max_workers = 1}))) {
    pool->post([this] {
      begun.release();
      end.acquire();
    });
    begun.acquire();
  }
  ~Occupied() { end.release(); }

  std::binary_semaphore begun{0}, end{0};
  std::unique_ptr<ThreadPool> pool;
};

void measure(std::string_view name, auto&& end_all) {
  const bench::Meter meter;
  end_all();
  bench::Line("cancel", name).add(meter.read()).print();
}

void measure_group(std::string_view name, auto&& post) {
  std::binary_semaphore later(0);
  {
    Occupied occupied;
    CleanupGroup group(*occupied.pool);
    for (uint64_t i = 0; i < kItems; ++i) post(group, i);
    measure(name, [&] { group.close(); });
    occupied.pool->post([&] { later.release(); });
    occupied.end.release();
    later.acquire();  // the worker has been free
    occupied.end.release();
  }
  if (g_ran != 0 || g_cancelled != kItems) bench::die("an item ran, or was not cancelled");
}

template <class Queued>
void measure_deque(std::string_view name) {
  std::deque<Queued> items;
  for (uint64_t i = 0; i < kItems; ++i) items.emplace_back();
  measure(name, [&] { items.clear(); });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = bench::peer(argc, argv);
  if (name == "partita") {
    std::vector<Item> items(kItems);
    measure_group(name, [&](CleanupGroup& group, uint64_t i) { group.post(items[i]); });
  } else if (name == "partita-closure") {
    measure_group(name, [](CleanupGroup& group, uint64_t) {
      group.post([witness = Witness()] { ++g_ran; });
    });
  } else if (name == "deque") {
    measure_deque<std::array<std::byte, sizeof(Item)>>(name);
  } else if (name == "deque-closure") {
    measure_deque<QueuedClosure>(name);
  } else {
    bench::die("no such peer");
  }
}
