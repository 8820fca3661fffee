// SPDX-License-Identifier: MIT
// Time as devices see it. Devices never ask the operating system: they are given a Clock, and say
// by next_event() when they want to be called. A test's clock moves only when told to.
#pragma once

#include <cstdint>

#include "base/bits.h"

namespace chipset {

inline constexpr uint64_t kNever = ~uint64_t{0};
inline constexpr uint64_t kNsPerSecond = 1'000'000'000;

class Clock {
 public:
  virtual ~Clock() = default;
  /// Nanoseconds since some fixed moment; never goes back.
  virtual uint64_t now() const = 0;
  /// Nanoseconds since 1970-01-01 00:00 UTC.
  virtual int64_t wall() const = 0;
};

/// A device that does something on its own when time passes.
class TimedDevice {
 public:
  virtual ~TimedDevice() = default;
  /// Clock::now() value at which advance() must be called, or kNever. May change at any access.
  virtual uint64_t next_event() const = 0;
  /// Catches up with the clock: raises what became due, once, however much time passed.
  virtual void advance() = 0;
};

/// Ticks of `frequency` Hz in `ns` nanoseconds, without overflow for any uptime.
constexpr uint64_t ns_to_ticks(uint64_t ns, uint64_t frequency) {
  return static_cast<uint64_t>(static_cast<base::Uint128>(ns) * frequency / kNsPerSecond);
}
/// The first nanosecond at which `ticks` ticks have passed.
constexpr uint64_t ticks_to_ns(uint64_t ticks, uint64_t frequency) {
  const auto ns = (static_cast<base::Uint128>(ticks) * kNsPerSecond + frequency - 1) / frequency;
  return ns < kNever ? static_cast<uint64_t>(ns) : kNever - 1;
}

}  // namespace chipset
