// SPDX-License-Identifier: MIT
// Row "post": two outside threads post a million empty items, until the last one has run on a
// thread of the library's. An item only counts itself, in a place of its thread's own.
//
//   post_bench partita|partita-owned|tbb-enqueue|tbb-group|asio|libuv
#include <oneapi/tbb.h>
#include <uv.h>

#include <array>
#include <asio.hpp>
#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/pool.h"
#include "tests/bench/bench.h"

namespace {

constexpr uint64_t kItems = 1'000'000;
constexpr unsigned kPosters = 2;
constexpr unsigned kThreads = 2;

struct alignas(64) Tally {
  std::atomic<uint64_t> count = 0;
};
std::array<Tally, 64> g_tallies;

void item() {
  static std::atomic<unsigned> next = 0;
  thread_local Tally& mine = g_tallies[next++ % g_tallies.size()];
  mine.count.store(mine.count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

uint64_t counted() {
  uint64_t sum = 0;
  for (const Tally& tally : g_tallies) sum += tally.count.load(std::memory_order_relaxed);
  return sum;
}

/// post(first, last) on each poster.
void post_from_outside(auto&& post) {
  std::array<std::jthread, kPosters> posters;
  for (uint64_t i = 0; i < kPosters; ++i)
    posters[i] =
        std::jthread([&post, i] { post(i * kItems / kPosters, (i + 1) * kItems / kPosters); });
}

struct Partita {
  Partita() : pool(std::move(*runtime::ThreadPool::create({.concurrency = kThreads}))) {}
  void pass() {
    post_from_outside([&](uint64_t first, uint64_t last) {
      for (; first < last; ++first) pool->post(item);
    });
    pool->group().wait();
  }
  std::unique_ptr<runtime::ThreadPool> pool;
};

// Items that belong to the caller, as an operation or a session embeds them.
struct PartitaOwned : Partita {
  struct Owned : runtime::WorkItem {
    Owned() : WorkItem([](WorkItem&, runtime::Turn) noexcept { item(); }) {}
  };
  void pass() {
    post_from_outside([&](uint64_t first, uint64_t last) {
      for (; first < last; ++first) pool->post(items[first]);
    });
    pool->group().wait();
  }
  std::vector<Owned> items{kItems};
};

struct TbbEnqueue {
  void pass() {
    const uint64_t target = counted() + kItems;
    post_from_outside([&](uint64_t first, uint64_t last) {
      for (; first < last; ++first) arena.enqueue(item);
    });
    while (counted() < target) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  oneapi::tbb::global_control limit{oneapi::tbb::global_control::max_allowed_parallelism,
                                    kThreads + 1};
  oneapi::tbb::task_arena arena{kThreads, 0};
};

// The posters help in wait(), which no other library's do.
struct TbbGroup {
  void pass() {
    post_from_outside([](uint64_t first, uint64_t last) {
      oneapi::tbb::task_group group;
      for (; first < last; ++first) group.run(item);
      group.wait();
    });
  }
};

struct Asio {
  void pass() {
    asio::thread_pool pool(kThreads);
    post_from_outside([&](uint64_t first, uint64_t last) {
      for (; first < last; ++first) asio::post(pool, item);
    });
    pool.join();
  }
};

// Only uv_async_send may be called from outside, so items go through a queue of the program's.
struct Libuv {
  Libuv() {
    uv_loop_init(&loop);
    uv_async_init(&loop, &async,
                  [](uv_async_t* handle) { static_cast<Libuv*>(handle->data)->run(); });
    async.data = this;
    thread = std::jthread([this] { uv_run(&loop, UV_RUN_DEFAULT); });
  }
  ~Libuv() {
    stop = true;
    uv_async_send(&async);
    thread.join();
    uv_loop_close(&loop);
  }
  void pass() {
    const uint64_t target = counted() + kItems;
    post_from_outside([&](uint64_t first, uint64_t last) {
      for (; first < last; ++first) {
        {
          const std::lock_guard lock(mutex);
          queue.push_back(item);
        }
        uv_async_send(&async);
      }
    });
    while (counted() < target) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  void run() {
    taken.clear();
    {
      const std::lock_guard lock(mutex);
      taken.swap(queue);
    }
    for (const std::function<void()>& function : taken) function();
    if (stop) uv_close(reinterpret_cast<uv_handle_t*>(&async), nullptr);
  }

  uv_loop_t loop;
  uv_async_t async;
  std::mutex mutex;
  std::vector<std::function<void()>> queue, taken;
  std::atomic<bool> stop = false;
  std::jthread thread;
};

template <class Peer>
void measure(std::string_view name) {
  Peer peer;
  peer.pass();  // threads and memory come
  const uint64_t before = counted();
  const bench::Meter meter;
  peer.pass();
  const bench::Usage usage = meter.read();
  if (counted() - before != kItems) bench::die("items are missing");
  bench::Line("post", name)
      .add(usage)
      .add("items_per_second", static_cast<double>(kItems) / usage.seconds)
      .print();
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string_view name = bench::peer(argc, argv);
  if (name == "partita")
    measure<Partita>(name);
  else if (name == "partita-owned")
    measure<PartitaOwned>(name);
  else if (name == "tbb-enqueue")
    measure<TbbEnqueue>(name);
  else if (name == "tbb-group")
    measure<TbbGroup>(name);
  else if (name == "asio")
    measure<Asio>(name);
  else if (name == "libuv")
    measure<Libuv>(name);
  else
    bench::die("no such peer");
} catch (const std::exception& error) {
  bench::die(error.what());
}
