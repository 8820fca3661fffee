// SPDX-License-Identifier: MIT
// Row "timers": a million timers with deadlines spread over ten seconds; half of them are
// cancelled, the rest expire. What is counted is all of it: making, arming, cancelling, expiring,
// freeing. One thread, as the peers' loops have. The tolerance is libuv's own unit, a millisecond;
// Asio knows none.
//
//   timers_bench partita|asio|libuv
#include "runtime/timers.h"

#include <uv.h>

#include <asio.hpp>
#include <deque>
#include <exception>
#include <optional>
#include <semaphore>
#include <vector>

#include "runtime/pool.h"
#include "tests/bench/bench.h"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr size_t kTimers = 1'000'000;
constexpr uint64_t kMicroseconds = 10'000'000;

class Deadlines {
 public:
  /// Since the start.
  std::chrono::nanoseconds next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return std::chrono::microseconds((state_ >> 32) * kMicroseconds >> 32);
  }

 private:
  uint64_t state_ = 1;
};

bool is_cancelled(size_t timer) {
  return timer % 2 == 1;
}

size_t g_expired = 0;

void partita() {
  std::binary_semaphore done(0);
  const auto pool = std::move(*runtime::ThreadPool::create({.concurrency = 1, .max_workers = 1}));
  std::deque<runtime::PoolTimer> timers;
  pool->post([&] {
    Deadlines deadlines;
    const auto start = Clock::now();
    for (size_t i = 0; i < kTimers; ++i) {
      timers.emplace_back(pool->group(), [&done] {
        if (++g_expired == kTimers / 2) done.release();
      });
      timers.back().arm(start + deadlines.next(), {.tolerance = 1ms});
    }
    for (size_t i = 0; i < kTimers; ++i)
      if (is_cancelled(i)) timers[i].cancel();
  });
  done.acquire();
  timers.clear();
}

void with_asio() {
  asio::io_context context(1);
  std::deque<asio::steady_timer> timers;
  Deadlines deadlines;
  const auto start = Clock::now();
  for (size_t i = 0; i < kTimers; ++i) {
    timers.emplace_back(context, start + deadlines.next());
    timers.back().async_wait([](const std::error_code& error) { g_expired += !error; });
  }
  for (size_t i = 0; i < kTimers; ++i)
    if (is_cancelled(i)) timers[i].cancel();
  context.run();
}

void with_libuv() {
  uv_loop_t loop;
  uv_loop_init(&loop);
  std::vector<uv_timer_t> timers(kTimers);
  Deadlines deadlines;
  for (uv_timer_t& timer : timers) {
    uv_timer_init(&loop, &timer);
    const auto delay = std::chrono::ceil<std::chrono::milliseconds>(deadlines.next());
    uv_timer_start(
        &timer, [](uv_timer_t*) { ++g_expired; }, static_cast<uint64_t>(delay.count()), 0);
  }
  for (size_t i = 0; i < kTimers; ++i)
    if (is_cancelled(i)) uv_timer_stop(&timers[i]);
  uv_run(&loop, UV_RUN_DEFAULT);
  for (uv_timer_t& timer : timers) uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string_view name = bench::peer(argc, argv);
  const bench::Meter meter;
  if (name == "partita")
    partita();
  else if (name == "asio")
    with_asio();
  else if (name == "libuv")
    with_libuv();
  else
    bench::die("no such peer");
  const bench::Usage usage = meter.read();
  if (g_expired != kTimers / 2) bench::die("timers are missing");
  bench::Line("timers", name).add(usage).print();
} catch (const std::exception& error) {
  bench::die(error.what());
}
