// SPDX-License-Identifier: MIT
// What g++ and libstdc++'s headers call by name beyond the memory functions. Images only. A library
// precondition that fails is a bug of ours: the trap ends in the panic screen.

#if defined(PARTITA_FREESTANDING)

#include <cstdint>

extern "C" int __popcountdi2(int64_t value) {
  // In parallel, not bit by bit: a loop would be recognised and become a call of this function.
  auto bits = static_cast<uint64_t>(value);
  bits -= (bits >> 1) & 0x5555555555555555;
  bits = (bits & 0x3333333333333333) + ((bits >> 2) & 0x3333333333333333);
  bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
  return static_cast<int>((bits * 0x0101010101010101) >> 56);
}

namespace std {

[[noreturn]] void __throw_out_of_range_fmt(const char*, ...) {
  __builtin_trap();
}
[[noreturn]] void __throw_length_error(const char*) {
  __builtin_trap();
}
[[noreturn]] void __throw_logic_error(const char*) {
  __builtin_trap();
}

}  // namespace std

#endif
