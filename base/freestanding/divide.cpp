// SPDX-License-Identifier: MIT
// 128-bit division, which compilers call by name. Images only. Divisors here are 64 bits wide; the
// general case is done bit by bit.

#if defined(PARTITA_FREESTANDING)

#include <cstdint>

#include "base/bits.h"

namespace {

// high:low / divisor where high < divisor, so that the quotient fits.
uint64_t divide_narrow(uint64_t high, uint64_t low, uint64_t divisor, uint64_t& remainder) {
  uint64_t quotient;
  asm("divq %4" : "=a"(quotient), "=d"(remainder) : "a"(low), "d"(high), "r"(divisor) : "cc");
  return quotient;
}

}  // namespace

extern "C" base::Uint128 __udivti3(base::Uint128 numerator, base::Uint128 divisor) {
  const auto high = static_cast<uint64_t>(numerator >> 64), low = static_cast<uint64_t>(numerator);
  if (!(divisor >> 64)) {
    const auto d = static_cast<uint64_t>(divisor);
    uint64_t remainder;
    const uint64_t top = divide_narrow(0, high, d, remainder);
    const uint64_t bottom = divide_narrow(remainder, low, d, remainder);
    return static_cast<base::Uint128>(top) << 64 | bottom;
  }
  base::Uint128 quotient = 0, remainder = 0;
  for (int bit = 127; bit >= 0; --bit) {
    remainder = remainder << 1 | (numerator >> bit & 1);
    if (remainder >= divisor) {
      remainder -= divisor;
      quotient |= static_cast<base::Uint128>(1) << bit;
    }
  }
  return quotient;
}

#endif
