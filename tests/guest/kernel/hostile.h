// SPDX-License-Identifier: MIT
// Random operations of a hostile guest. Each may end in any exception; what would end the run at
// once instead of testing anything (reset, power-off, our own code or stack overwritten, VP 0
// stopped) is left out.
#pragma once

#include "tests/guest/kernel/machine.h"

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 0x1234567) {}
  uint64_t next() {  // xorshift64*
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  uint64_t below(uint64_t end) { return (next() >> 11) % end; }
  bool one_in(uint64_t n) { return below(n) == 0; }
  // Small, huge, one bit, almost all bits, or noise.
  uint64_t value();
  // Scratch memory, or a place without memory.
  uint64_t gpa();
  template <class T, size_t N>
  const T& of(const T (&list)[N]) {
    return list[below(N)];
  }

 private:
  uint64_t state_;
};

using Operation = void (*)(Random&);
extern const Operation kOperations[];
extern const unsigned kOperationCount;

// Whether the processor is a real one. QEMU 7.2 without KVM itself crashes over breakpoints and CR8
// in nested guests, and takes what is invalid in control registers until the next VMRUN fails.
extern bool on_hardware;

// Brings back what operations change of this processor: control, debug and descriptor registers.
void restore_processor();
