// SPDX-License-Identifier: MIT
// Register fields declared once as <hi, lo>, like the manuals write them. set() preserves every
// other bit, reserved ones included.
#pragma once

#include <cstdint>

namespace base {

template <unsigned Hi, unsigned Lo = Hi>
struct Field {
  static_assert(Hi < 64 && Lo <= Hi);
  static constexpr unsigned kShift = Lo;
  static constexpr uint64_t kMask = (~uint64_t{0} >> (63 - (Hi - Lo))) << Lo;
  static constexpr uint64_t get(uint64_t word) { return (word & kMask) >> Lo; }
  static constexpr uint64_t set(uint64_t word, uint64_t value) {
    return (word & ~kMask) | ((value << Lo) & kMask);
  }
  static constexpr bool test(uint64_t word) { return (word & kMask) != 0; }
};

template <unsigned Bit>
inline constexpr uint64_t kBit = uint64_t{1} << Bit;

constexpr uint64_t align_down(uint64_t value, uint64_t alignment) {
  return value & ~(alignment - 1);
}
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
  return align_down(value + alignment - 1, alignment);
}
constexpr bool is_aligned(uint64_t value, uint64_t alignment) {
  return (value & (alignment - 1)) == 0;
}

// For products of 64-bit numbers.
__extension__ typedef unsigned __int128 Uint128;

// (a * b) >> 64 without overflow in between.
constexpr uint64_t mul_high(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>((static_cast<Uint128>(a) * b) >> 64);
}

}  // namespace base
