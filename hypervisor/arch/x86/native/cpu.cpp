// SPDX-License-Identifier: MIT
// The processor's instructions, one function each.

#include "hypervisor/arch/x86/cpu.h"

#include "hypervisor/core/time.h"

// entry.S
extern "C" bool wrmsr_checked(uint32_t msr, uint64_t value);
extern "C" bool rdmsr_checked(uint32_t msr, uint64_t* value);

namespace hv {

uint64_t read_tsc() {
  uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return uint64_t{high} << 32 | low;
}

namespace cpu {

CpuidResult cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidResult r;
  asm volatile("cpuid"
               : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
               : "a"(leaf), "c"(subleaf));
  return r;
}

uint64_t rdmsr(uint32_t msr) {
  uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
  return uint64_t{high} << 32 | low;
}
void wrmsr(uint32_t msr, uint64_t value) {
  asm volatile("wrmsr"
               :
               : "c"(msr), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32))
               : "memory");
}

bool wrmsr_checked(uint32_t msr, uint64_t value) {
  return ::wrmsr_checked(msr, value);
}
bool rdmsr_checked(uint32_t msr, uint64_t& value) {
  return ::rdmsr_checked(msr, &value);
}

uint8_t in8(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
uint32_t in32(uint16_t port) {
  uint32_t value;
  asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
void out8(uint16_t port, uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

void xsave(void* area, uint64_t mask) {
  asm volatile("xsave64 (%0)"
               :
               : "r"(area), "a"(static_cast<uint32_t>(mask)), "d"(static_cast<uint32_t>(mask >> 32))
               : "memory");
}
void xrstor(const void* area, uint64_t mask) {
  asm volatile("xrstor64 (%0)"
               :
               : "r"(area), "a"(static_cast<uint32_t>(mask)), "d"(static_cast<uint32_t>(mask >> 32))
               : "memory");
}
uint64_t xgetbv0() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}
void xsetbv0(uint64_t value) {
  asm volatile("xsetbv"
               :
               : "c"(0), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32)));
}

uint64_t read_debug_register(unsigned index) {
  uint64_t value = 0;
  switch (index) {
    case 0:
      asm volatile("movq %%dr0, %0" : "=r"(value));
      break;
    case 1:
      asm volatile("movq %%dr1, %0" : "=r"(value));
      break;
    case 2:
      asm volatile("movq %%dr2, %0" : "=r"(value));
      break;
    case 3:
      asm volatile("movq %%dr3, %0" : "=r"(value));
      break;
  }
  return value;
}
void write_debug_register(unsigned index, uint64_t value) {
  switch (index) {
    case 0:
      asm volatile("movq %0, %%dr0" : : "r"(value));
      break;
    case 1:
      asm volatile("movq %0, %%dr1" : : "r"(value));
      break;
    case 2:
      asm volatile("movq %0, %%dr2" : : "r"(value));
      break;
    case 3:
      asm volatile("movq %0, %%dr3" : : "r"(value));
      break;
  }
}
uint64_t read_cr2() {
  uint64_t value;
  asm volatile("movq %%cr2, %0" : "=r"(value));
  return value;
}

// STI holds interrupts off for one instruction, so none is lost between the check and the HLT.
void wait_for_interrupt() {
  asm volatile("sti; hlt; cli" : : : "memory");
}
void take_interrupts() {
  asm volatile("sti; nop; nop; cli" : : : "memory");
}

}  // namespace cpu
}  // namespace hv
