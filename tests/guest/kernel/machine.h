// SPDX-License-Identifier: MIT
// What the test kernel knows of its machine: console, time, tables of the firmware, page tables,
// traps, processors. Memory below 4 GiB is mapped at its own address, in 2 MiB pages.
#pragma once

#include <stddef.h>
#include <stdint.h>

constexpr unsigned kMaxProcessors = 8;
constexpr uint64_t kStackBytes = 65536;
constexpr uint64_t kPage = 4096;

// Scratch memory that anybody may overwrite; pages of it are also mapped as the code window.
constexpr uint64_t kScratch = 0x1000000;
constexpr uint64_t kScratchBytes = 0x1000000;

constexpr uint32_t kMsrApicBase = 0x1b;
constexpr uint32_t kMsrGuestOsId = 0x40000000;
constexpr uint32_t kMsrHypercall = 0x40000001;
constexpr uint32_t kMsrVpIndex = 0x40000002;
constexpr uint32_t kMsrReferenceCount = 0x40000020;
constexpr uint32_t kMsrTpr = 0x808;
constexpr uint32_t kMsrEoi = 0x80b;
constexpr uint32_t kMsrSpurious = 0x80f;
constexpr uint32_t kMsrIcr = 0x830;
constexpr uint32_t kMsrSelfIpi = 0x83f;
constexpr uint32_t kMsrGuestIdle = 0x400000f0;  // reading waits for an interrupt
constexpr uint64_t kApicBase = 0xfee00000;

// ---- instructions ----
inline uint64_t rdmsr(uint32_t msr) {
  uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
  return uint64_t{high} << 32 | low;
}
inline void wrmsr(uint32_t msr, uint64_t value) {
  asm volatile("wrmsr" ::"c"(msr), "a"(static_cast<uint32_t>(value)),
               "d"(static_cast<uint32_t>(value >> 32))
               : "memory");
}
inline uint8_t in8(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
inline void out8(uint16_t port, uint8_t value) {
  asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}
inline void out16(uint16_t port, uint16_t value) {
  asm volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}
inline void pause() {
  asm volatile("pause" ::: "memory");
}
template <class T>
inline T load_once(const T& from) {
  return __atomic_load_n(&from, __ATOMIC_ACQUIRE);
}
template <class T, class U>
inline void store_once(T& to, U value) {
  __atomic_store_n(&to, static_cast<T>(value), __ATOMIC_RELEASE);
}

// ---- one processor; at the lowest address of its stack ----
struct Step {
  uint64_t rip;
  uint64_t dr6;
};
struct Cpu {
  uint64_t recovery;  // the stack of the innermost attempt(), or 0; start.S knows this one's place
  uint32_t index;
  uint32_t faults_in_a_row;
  uint64_t operations;
  uint64_t interrupts;
  uint64_t interrupts_in_a_row;
  uint64_t interrupted_rip;  // of the last interrupt
  uint64_t nmis;
  uint64_t fault_rip, fault_address;  // of the last exception
  bool stepping;                      // record #DB instead of recovering from it
  unsigned steps;
  Step step[16];
};
inline Cpu& this_cpu() {
  uint64_t rsp;
  asm volatile("movq %%rsp, %0" : "=r"(rsp));
  return *reinterpret_cast<Cpu*>(rsp & ~(kStackBytes - 1));
}

struct Registers {
  uint64_t rax, rcx, rdx, rbx, rsi, rdi, r8;
  const void* code;
};

extern "C" {
uint64_t attempt(void (*function)(void*), void* argument);
void run_code(Registers* registers);
void* memset(void* to, int byte, size_t count);
void* memcpy(void* to, const void* from, size_t count);
}

// attempt() of anything that can be called; returns 0 or 100h + vector.
template <class F>
uint64_t try_to(F function) {
  return attempt([](void* f) { (*static_cast<F*>(f))(); }, &function);
}
// run_code() that survives exceptions.
inline uint64_t try_code(Registers& registers) {
  return attempt([](void* r) { run_code(static_cast<Registers*>(r)); }, &registers);
}

// ---- machine.cpp ----
void set_up_machine(const uint8_t* boot_params);
void set_up_console();
void print(const char* text);
void print(uint64_t number);
void print_hex(uint64_t number);
[[noreturn]] void power_off();
uint64_t now();  // in 100 ns, from the partition's reference counter
bool word_in(const char* command_line, const char* word);
uint64_t number_in(const char* command_line, const char* key, uint64_t otherwise);
const char* command_line();
unsigned processor_count();
void set_cr4();      // PAE, OSFXSR, OSXMMEXCPT and, where there is XSAVE, OSXSAVE
void load_tables();  // GDT and IDT of this processor

// Eight 4 KiB pages in descending physical order, so that neighbours are not: code that crosses a
// page boundary there comes from two places. Page 7 is not present.
constexpr uint64_t kCodeWindow = 0x8000000000;
constexpr unsigned kCodeWindowPages = 8;
// A 2 MiB page of this processor's own, at any guest-physical address.
void* map_window(uint64_t gpa);
uint64_t page_table_root();

// ---- processors.cpp ----
void enable_x2apic();
void send_ipi(uint32_t apic_id, uint32_t command);
void stop_processor(unsigned index);  // until it is started again
// INIT and SIPI; it runs `work` and then waits. False if it does not come up.
bool start_processor(unsigned index, void (*work)());
Cpu& cpu_of(unsigned index);

// ---- the modes ----
void svm_exits();
void hostile(uint64_t seconds, uint64_t seed);
