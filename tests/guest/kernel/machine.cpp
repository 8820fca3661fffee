// SPDX-License-Identifier: MIT
// Console, time, firmware tables, paging and traps of the test kernel.
#include "tests/guest/kernel/machine.h"

extern "C" {
extern uint8_t stacks[kMaxProcessors * kStackBytes];
extern const uint8_t trap_stubs[256 * 32], attempt_end[];
}

namespace {

constexpr uint16_t kConsole = 0x3f8;
constexpr uint16_t kCode = 0x10, kData = 0x18;
constexpr uint64_t kPresent = 1, kWritable = 2, kLarge = 0x80;
constexpr size_t kStubBytes = 16;

// boot_params
constexpr size_t kRsdp = 0x70;
constexpr size_t kCommandLine = 0x228;

alignas(kPage) uint64_t pml4[512], low_pdpt[512], low_directories[4][512];
alignas(kPage) uint64_t high_pdpt[512], high_directory[512], code_table[512];
uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
struct Gate {
  uint64_t low, high;
} idt[256];

const char* words = "";
uint16_t sleep_port;
unsigned processors = 1;

struct __attribute__((packed)) TableRegister {
  uint16_t limit;
  uint64_t base;
};

template <class T>
T load(const uint8_t* from) {
  T value;
  memcpy(&value, from, sizeof(T));
  return value;
}

// Local APIC and x2APIC entries that are enabled [ACPI 5.2.12].
void read_madt(const uint8_t* table) {
  const uint32_t length = load<uint32_t>(table + 4);
  unsigned count = 0;
  for (uint32_t at = 44; at + 2 <= length && table[at + 1] >= 2; at += table[at + 1]) {
    const uint8_t type = table[at];
    if (type == 0 && at + 8 <= length) count += table[at + 4] & 1;
    if (type == 9 && at + 16 <= length) count += table[at + 8] & 1;
  }
  processors = count == 0 ? 1 : count > kMaxProcessors ? kMaxProcessors : count;
}

void read_firmware(const uint8_t* rsdp) {
  const auto* xsdt = reinterpret_cast<const uint8_t*>(load<uint64_t>(rsdp + 24));
  for (uint32_t at = 36; at + 8 <= load<uint32_t>(xsdt + 4); at += 8) {
    const auto* table = reinterpret_cast<const uint8_t*>(load<uint64_t>(xsdt + at));
    const auto signature = load<uint32_t>(table);
    if (signature == 0x50434146) sleep_port = load<uint16_t>(table + 64);  // FACP: PM1a_CNT_BLK
    if (signature == 0x43495041) read_madt(table);                         // APIC
  }
}

void set_up_paging() {
  for (uint64_t i = 0; i < 4; ++i) {
    for (uint64_t j = 0; j < 512; ++j)
      low_directories[i][j] = (i * 512 + j) << 21 | kLarge | kWritable | kPresent;
    low_pdpt[i] = reinterpret_cast<uint64_t>(low_directories[i]) | kWritable | kPresent;
  }
  for (uint64_t i = 0; i + 1 < kCodeWindowPages; ++i)
    code_table[i] = (kScratch + (kCodeWindowPages - i) * kPage) | kWritable | kPresent;
  high_directory[0] = reinterpret_cast<uint64_t>(code_table) | kWritable | kPresent;
  high_pdpt[0] = reinterpret_cast<uint64_t>(high_directory) | kWritable | kPresent;
  pml4[0] = reinterpret_cast<uint64_t>(low_pdpt) | kWritable | kPresent;
  pml4[kCodeWindow >> 39] = reinterpret_cast<uint64_t>(high_pdpt) | kWritable | kPresent;
  asm volatile("movq %0, %%cr3" ::"r"(pml4) : "memory");
}

void set_up_traps() {
  for (size_t i = 0; i < 256; ++i) {
    const auto stub = reinterpret_cast<uint64_t>(trap_stubs) + i * kStubBytes;
    idt[i].low = (stub & 0xffff) | uint64_t{kCode} << 16 | uint64_t{0x8e00} << 32 |
                 (stub >> 16 & 0xffff) << 48;
    idt[i].high = stub >> 32;
  }
}

constexpr uint64_t kVectorDebug = 1, kVectorNmi = 2, kFirstInterrupt = 32;
constexpr uint64_t kInterruptFlag = 1 << 9;
// So many interrupts without an operation in between are a storm: a while without any follows.
constexpr uint64_t kStorm = 64;
constexpr uint32_t kHopeless = 1000;

struct Frame {
  uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
  uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

void end_interrupt() {
  const uint64_t base = rdmsr(kMsrApicBase);
  if ((base & 0xc00) == 0xc00)
    wrmsr(kMsrEoi, 0);
  else if ((base & 0x800) != 0 && (base & ~uint64_t{0xfff}) == kApicBase)
    *reinterpret_cast<volatile uint32_t*>(kApicBase + 0xb0) = 0;
}

void on_interrupt(Cpu& cpu, Frame& frame) {
  ++cpu.interrupts;
  cpu.interrupted_rip = frame.rip;
  if (++cpu.interrupts_in_a_row % kStorm == 0) frame.rflags &= ~kInterruptFlag;
  end_interrupt();
}

void record_step(Cpu& cpu, const Frame& frame) {
  uint64_t dr6;
  asm volatile("movq %%dr6, %0" : "=r"(dr6));
  asm volatile("movq %0, %%dr6" ::"r"(uint64_t{0xffff0ff0}));
  if (cpu.steps < sizeof(cpu.step) / sizeof(cpu.step[0])) cpu.step[cpu.steps++] = {frame.rip, dr6};
}

[[noreturn]] void give_up(const Frame& frame) {
  set_up_console();
  print("test kernel: lost: exception ");
  print(frame.vector);
  print(" at ");
  print_hex(frame.rip);
  print("\n");
  power_off();
}

}  // namespace

extern "C" void on_trap(Frame* frame) {
  Cpu& cpu = this_cpu();
  if (frame->vector == kVectorNmi) {
    ++cpu.nmis;
    return;
  }
  if (frame->vector >= kFirstInterrupt) return on_interrupt(cpu, *frame);
  if (frame->vector == kVectorDebug && cpu.stepping) return record_step(cpu, *frame);
  cpu.fault_rip = frame->rip;
  asm volatile("movq %%cr2, %0" : "=r"(cpu.fault_address));
  if (++cpu.faults_in_a_row > kHopeless) give_up(*frame);
  if (!cpu.recovery) return;  // an interrupt with an exception's vector, or hopeless soon
  frame->rax = 0x100 + frame->vector;
  frame->rip = reinterpret_cast<uint64_t>(attempt_end);
  frame->rsp = cpu.recovery;
  frame->rflags = 2;
}

extern "C" void* memset(void* to, int byte, size_t count) {
  void* at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(count) : "a"(byte) : "memory");
  return to;
}
extern "C" void* memcpy(void* to, const void* from, size_t count) {
  void* at = to;
  asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(count)::"memory");
  return to;
}

void load_tables() {
  const TableRegister gdtr{sizeof(gdt) - 1, reinterpret_cast<uint64_t>(gdt)};
  const TableRegister idtr{sizeof(idt) - 1, reinterpret_cast<uint64_t>(idt)};
  asm volatile("lgdt %0" ::"m"(gdtr));
  asm volatile("lidt %0" ::"m"(idtr));
  asm volatile("movw %0, %%ss\n movw %0, %%ds\n movw %0, %%es" ::"r"(kData) : "memory");
}

void set_cr4() {
  static uint64_t value;
  if (value == 0) {
    uint32_t eax = 1, ecx = 0;
    asm volatile("cpuid" : "+a"(eax), "+c"(ecx)::"ebx", "edx");
    value = 0x620 | (ecx >> 26 & 1) << 18;
  }
  asm volatile("movq %0, %%cr4" ::"r"(value) : "memory");
}

void set_up_machine(const uint8_t* boot_params) {
  words = reinterpret_cast<const char*>(uint64_t{load<uint32_t>(boot_params + kCommandLine)});
  read_firmware(reinterpret_cast<const uint8_t*>(load<uint64_t>(boot_params + kRsdp)));
  set_up_console();
  set_up_paging();
  set_up_traps();
  load_tables();
}

void set_up_console() {
  out8(kConsole + 4, 3);     // no loopback
  out8(kConsole + 3, 0x80);  // divisor
  out8(kConsole + 0, 1);
  out8(kConsole + 1, 0);
  out8(kConsole + 3, 3);  // 8 bits
  out8(kConsole + 1, 0);  // no interrupts
  out8(kConsole + 2, 7);  // FIFOs on and empty
}

void print(const char* text) {
  for (; *text; ++text) {
    while (!(in8(kConsole + 5) & 0x20)) pause();
    out8(kConsole, static_cast<uint8_t>(*text));
  }
}

void print(uint64_t number) {
  char digits[21];
  char* at = digits + sizeof(digits) - 1;
  *at = 0;
  do *--at = static_cast<char>('0' + number % 10);
  while (number /= 10);
  print(at);
}

void print_hex(uint64_t number) {
  char text[19] = "0x";
  for (int i = 0; i < 16; ++i) text[2 + i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
  text[18] = 0;
  print(text);
}

void power_off() {
  // The sleep type of S5 is 5 on this machine; SLP_EN is bit 13 [ACPI 4.8.3.2.1].
  out16(sleep_port, 5 << 10 | 1 << 13);
  for (;;) asm volatile("cli; hlt");
}

uint64_t now() {
  return rdmsr(kMsrReferenceCount);
}

const char* command_line() {
  return words;
}
unsigned processor_count() {
  return processors;
}
uint64_t page_table_root() {
  return reinterpret_cast<uint64_t>(pml4);
}

namespace {
// Behind `key` at the start of a word, or nullptr.
const char* find_word(const char* text, const char* key) {
  for (bool start = true; *text; start = *text++ == ' ') {
    if (!start) continue;
    const char *a = text, *b = key;
    while (*b && *a == *b) ++a, ++b;
    if (!*b) return a;
  }
  return nullptr;
}
}  // namespace

bool word_in(const char* text, const char* word) {
  const char* end = find_word(text, word);
  return end && (*end == 0 || *end == ' ');
}

uint64_t number_in(const char* text, const char* key, uint64_t otherwise) {
  const char* digits = find_word(text, key);
  if (!digits || *digits < '0' || *digits > '9') return otherwise;
  uint64_t number = 0;
  for (; *digits >= '0' && *digits <= '9'; ++digits)
    number = number * 10 + static_cast<uint64_t>(*digits - '0');
  return number;
}

void* map_window(uint64_t gpa) {
  const uint64_t slot = 8 + this_cpu().index;
  high_directory[slot] = (gpa & ~uint64_t{0x1fffff}) | kLarge | kWritable | kPresent;
  auto* window = reinterpret_cast<void*>(kCodeWindow + (slot << 21));
  asm volatile("invlpg (%0)" ::"r"(window) : "memory");
  return window;
}
