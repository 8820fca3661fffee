// SPDX-License-Identifier: MIT
// The runtime's two clocks. Instant is CLOCK_MONOTONIC and what nearly everything waits by;
// WallTime follows the clock that people set.
#pragma once

#include <chrono>

namespace runtime {

using Nanoseconds = std::chrono::nanoseconds;
using Instant = std::chrono::time_point<std::chrono::steady_clock, Nanoseconds>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Nanoseconds>;

inline constexpr Instant kNever = Instant::max();

/// At most kNever.
constexpr Instant after(Instant moment, Nanoseconds time) {
  return time >= kNever - moment ? kNever : moment + time;
}

}  // namespace runtime
