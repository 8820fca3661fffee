// SPDX-License-Identifier: MIT
// The processor instructions and devices that the rest of hypervisor/ needs: the one seam to the
// machine. native/ implements it in assembly and intrinsics; tests/fake/ with a stateful model.
#pragma once

#include <cstdint>

#include "hypervisor/core/address.h"

namespace hv::cpu {

struct CpuidResult {
  uint32_t eax, ebx, ecx, edx;
};
CpuidResult cpuid(uint32_t leaf, uint32_t subleaf);

uint64_t rdmsr(uint32_t msr);
void wrmsr(uint32_t msr, uint64_t value);
// For values and numbers that a guest chose: false where the processor raises #GP.
bool wrmsr_checked(uint32_t msr, uint64_t value);
bool rdmsr_checked(uint32_t msr, uint64_t& value);

uint8_t in8(uint16_t port);
uint32_t in32(uint16_t port);
void out8(uint16_t port, uint8_t value);

// XSAVE/XRSTOR of the components in `mask`, to a 64-byte aligned area; XCR0 itself.
void xsave(void* area, uint64_t mask);
void xrstor(const void* area, uint64_t mask);
uint64_t xgetbv0();
void xsetbv0(uint64_t value);

uint64_t read_debug_register(unsigned index);  // DR0-DR3
void write_debug_register(unsigned index, uint64_t value);
uint64_t read_cr2();

// Waits for an interrupt, with physical interrupts enabled only while waiting. Returns at once if
// one is already pending.
void wait_for_interrupt();
// Takes the physical interrupts that are pending, through the IDT.
void take_interrupts();

}  // namespace hv::cpu
