// SPDX-License-Identifier: MIT
// Time. The TSC is the only clock: invariant, equal on all LPs. Reference time is in units of
// 100 ns since a partition was created [TLFS 12.1].
#pragma once

#include <cstdint>

#include "base/bits.h"

namespace hv {

inline constexpr uint64_t kNever = ~uint64_t{0};

struct TimeScale {
  uint64_t tsc_hz = 0;
  uint64_t to_100ns = 0;  // time in 100 ns = (tsc * to_100ns) >> 64

  void init(uint64_t hz) {
    tsc_hz = hz;
    to_100ns = static_cast<uint64_t>((static_cast<base::Uint128>(10'000'000) << 64) / hz);
  }
  uint64_t ticks_to_100ns(uint64_t ticks) const { return base::mul_high(ticks, to_100ns); }
  // Rounds up, so that a deadline never fires early; saturates below kNever.
  uint64_t ticks_from_100ns(uint64_t units) const {
    const base::Uint128 ticks =
        (static_cast<base::Uint128>(units) * tsc_hz + 9'999'999) / 10'000'000;
    return ticks >= kNever / 2 ? kNever / 2 : static_cast<uint64_t>(ticks);
  }
};
extern TimeScale time_scale;

uint64_t read_tsc();  // supplied by the environment (native or a test's clock)

}  // namespace hv
