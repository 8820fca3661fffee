// SPDX-License-Identifier: MIT
// How busy a loop is while nothing happens.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>

#include "vmwp/event_loop.h"

namespace vmwp {

inline uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

/// Runs the loop for that long; the part of it in which this thread had a processor.
inline double busy_part(EventLoop& loop, std::chrono::nanoseconds time) {
  Timer timer;
  loop.watch(timer.fd(), EPOLLIN, [&](uint32_t) { loop.stop(); });
  const uint64_t before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  timer.arm(clock_ns(CLOCK_MONOTONIC) + static_cast<uint64_t>(time.count()));
  loop.run();
  loop.forget(timer.fd());
  return static_cast<double>(clock_ns(CLOCK_THREAD_CPUTIME_ID) - before) /
         static_cast<double>(time.count());
}

}  // namespace vmwp
