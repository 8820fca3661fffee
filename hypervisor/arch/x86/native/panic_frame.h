// SPDX-License-Identifier: MIT
// What the interrupt stubs leave on the stack, and the panic screen that shows it.
#pragma once

#include <cstdint>

namespace hv::x86 {

struct InterruptFrame {
  uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
  uint64_t vector, error_code;
  uint64_t rip, cs, rflags, rsp, ss;
};

[[noreturn]] void panic_on_exception(const InterruptFrame& frame);
void stop_if_panicked();

}  // namespace hv::x86
