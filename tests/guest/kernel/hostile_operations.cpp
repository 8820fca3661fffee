// SPDX-License-Identifier: MIT
// The operations of the hostile mode.
#include "tests/guest/kernel/hostile.h"

namespace {

constexpr uint64_t kSharedCode = kScratch + 0x200000;   // rewritten by all processors at any time
constexpr uint64_t kPrivateCode = kScratch + 0x210000;  // two pages for each processor
constexpr uint64_t kFreeScratch = kScratch + 0x8000;    // hypercall page and code window end here
constexpr uint32_t kApicIcrOffset = 0x300;

uint64_t page_of(uint64_t address) {
  return address & ~(kPage - 1);
}
bool first_processor() {
  return this_cpu().index == 0;
}

// An INIT or SIPI stops VP 0, and with it the run; to others it is welcome.
uint64_t harmless_icr(uint64_t value) {
  const uint64_t mode = value >> 8 & 7;
  if (mode == 5 || mode == 6) value &= ~uint64_t{0x700};
  return value;
}

// ---- MSRs ----
constexpr struct {
  uint32_t first, count;
} kMsrs[] = {
    {0, 0x2000},
    {0x10, 1},
    {0x1b, 1},
    {0x3a, 4},
    {0x48, 2},
    {0x79, 1},
    {0x8b, 1},
    {0xfe, 1},
    {0x10a, 2},
    {0x122, 1},
    {0x174, 9},
    {0x1a0, 1},
    {0x1d9, 1},
    {0x200, 32},
    {0x250, 32},
    {0x277, 1},
    {0x2ff, 1},
    {0x400, 128},
    {0x6a0, 16},
    {0x6e0, 1},
    {0x800, 0x100},
    {0x830, 1},
    {0xd90, 0x40},
    {0xc0000080, 8},
    {0xc00000e0, 16},
    {0xc0000100, 5},
    {0xc0000000, 0x2000},
    {0xc0010000, 0x2000},
    {0xc0010000, 0x20},
    {0xc0010010, 16},
    {0xc0010055, 1},
    {0xc0010060, 16},
    {0xc0010110, 16},
    {0xc0010130, 4},
    {0xc0011000, 64},
    {0xc0010200, 12},
    {0x40000000, 4},
    {0x40000020, 4},
    {0x40000070, 4},
    {0x40000080, 32},
    {0x400000b0, 8},
    {0x400000f0, 2},
    {0x40000100, 6},
    {0x40000110, 16},
    {0x40000000, 0x1000},
};

uint32_t random_msr(Random& random) {
  if (random.one_in(32)) return static_cast<uint32_t>(random.value());
  const auto& range = random.of(kMsrs);
  const uint32_t msr = range.first + static_cast<uint32_t>(random.below(range.count));
  return msr == kMsrGuestIdle && first_processor() ? kMsrVpIndex : msr;
}

void read_msr(Random& random) {
  rdmsr(random_msr(random));
}

// Register pages overlay memory: they may lie on scratch memory or where none is.
uint64_t overlay(Random& random, uint64_t value) {
  return (value & 0xffd) | page_of(random.gpa());
}

void write_msr(Random& random) {
  const uint32_t msr = random_msr(random);
  uint64_t value = random.one_in(4) ? random.value() : random.next();
  switch (msr) {
    case 0x40000003:  // reset
    case 0x40000100:  // what the guest says when it crashes: it shall tell of real ends only
    case 0x40000101:
    case 0x40000102:
    case 0x40000103:
    case 0x40000104:
    case 0x40000105:
      return;
    case kMsrApicBase:
      value = (value & 0xfff) | (random.one_in(4) ? page_of(random.gpa()) : kApicBase);
      break;
    case kMsrHypercall:
    case 0x40000021:
    case 0x40000073:
    case 0x40000082:
    case 0x40000083:
      value = overlay(random, value);
      break;
    case kMsrIcr:
    case 0x40000071:  // ICR
      value = harmless_icr(value);
      break;
    default:
      break;
  }
  if (random.one_in(3)) value = rdmsr(msr) ^ uint64_t { 1 } << random.below(msr == kMsrIcr ? 5 : 8);
  if (msr == kMsrHypercall) value &= ~uint64_t{2};  // locked until a reset
  wrmsr(msr, value);
}

// ---- ports ----
constexpr uint16_t kPorts[] = {0x20,  0x21,  0xa0,  0xa1,  0x40,  0x41,  0x42,   0x43,
                               0x60,  0x61,  0x64,  0x70,  0x71,  0x80,  0x92,   0xcf8,
                               0xcf9, 0xcfc, 0xcfe, 0x3f8, 0x3f9, 0x3fa, 0x3fb,  0x3fc,
                               0x3fd, 0x3ff, 0x4d0, 0x4d1, 0x600, 0x602, 0x604,  0x606,
                               0x608, 0x60a, 0xb2,  0xcd6, 0x402, 0x510, 0xffff, 0};

uint16_t random_port(Random& random) {
  return random.one_in(3) ? static_cast<uint16_t>(random.next()) : random.of(kPorts);
}

// Whether a write touches console text, power or reset.
bool ends_the_run(uint16_t port, unsigned size) {
  constexpr uint16_t kLeftOut[] = {0x3f8, 0x604, 0x605, 0x64, 0x92, 0xcf9};
  for (const uint16_t out : kLeftOut)
    if (port <= out && out < port + size) return true;
  return false;
}

void port_access(Random& random) {
  const uint16_t port = random_port(random);
  const auto value = static_cast<uint32_t>(random.value());
  uint32_t in;
  switch (random.below(6)) {
    case 0:
      asm volatile("inb %%dx, %%al" : "=a"(in) : "d"(port));
      break;
    case 1:
      asm volatile("inw %%dx, %%ax" : "=a"(in) : "d"(port));
      break;
    case 2:
      asm volatile("inl %%dx, %%eax" : "=a"(in) : "d"(port));
      break;
    case 3:
      if (!ends_the_run(port, 1)) asm volatile("outb %%al, %%dx" ::"a"(value), "d"(port));
      break;
    case 4:
      if (!ends_the_run(port, 2)) asm volatile("outw %%ax, %%dx" ::"a"(value), "d"(port));
      break;
    default:
      if (!ends_the_run(port, 4)) asm volatile("outl %%eax, %%dx" ::"a"(value), "d"(port));
  }
}

void port_string(Random& random) {
  const uint16_t port = random_port(random);
  uint64_t count = random.one_in(16) ? random.value() % 100'000 : random.below(40);
  // The last bytes of scratch memory, so that some run into what follows; or nowhere at all.
  const bool nowhere = random.one_in(4);
  const uint64_t gpa = random.gpa();
  uint64_t at = nowhere ? reinterpret_cast<uint64_t>(map_window(gpa)) | (gpa & 0x1fffff)
                        : kScratch + kScratchBytes - kPage - random.below(kPage);
  if (!nowhere && count > 500) count = 500;
  if (random.one_in(8)) at = kCodeWindow + 7 * kPage - random.below(64);  // into an absent page
  switch (random.below(6)) {
    case 0:
      asm volatile("rep insb" : "+D"(at), "+c"(count) : "d"(port) : "memory");
      break;
    case 1:
      asm volatile("rep insw" : "+D"(at), "+c"(count) : "d"(port) : "memory");
      break;
    case 2:
      asm volatile("rep insl" : "+D"(at), "+c"(count) : "d"(port) : "memory");
      break;
    case 3:
      if (!ends_the_run(port, 1)) asm volatile("rep outsb" : "+S"(at), "+c"(count) : "d"(port));
      break;
    case 4:
      if (!ends_the_run(port, 2)) asm volatile("rep outsw" : "+S"(at), "+c"(count) : "d"(port));
      break;
    default:
      if (!ends_the_run(port, 4)) asm volatile("rep outsl" : "+S"(at), "+c"(count) : "d"(port));
  }
}

// ---- CPUID and hypercalls ----
void cpuid(Random& random) {
  constexpr uint32_t kBases[] = {0, 0x40000000, 0x40000100, 0x80000000, 0xc0000000};
  uint32_t eax = random.of(kBases) + static_cast<uint32_t>(random.below(48));
  auto ecx = static_cast<uint32_t>(random.one_in(2) ? random.below(8) : random.value());
  if (random.one_in(8)) eax = static_cast<uint32_t>(random.value());
  asm volatile("cpuid" : "+a"(eax), "+c"(ecx)::"ebx", "edx");
}

// Half numbers that mean something (partition, VP, masks), half noise.
void fill_input(Random& random, uint64_t address) {
  auto* words = reinterpret_cast<uint64_t*>(address & ~uint64_t{7});
  for (unsigned i = 0; i < 12; ++i) {
    switch (random.below(6)) {
      case 0:
        words[i] = 0;
        break;
      case 1:
        words[i] = random.below(4);
        break;
      case 2:
        words[i] = ~uint64_t{0};
        break;  // HV_PARTITION_ID_SELF
      case 3:
        words[i] = random.gpa();
        break;
      case 4:
        words[i] = (random.next() & 0xff00000000) | random.below(64);
        break;
      default:
        words[i] = random.value();
    }
  }
}

void hypercall(Random& random) {
  uint64_t control = random.one_in(8) ? random.value() & 0xffff : random.below(0x110);
  if (random.one_in(3)) control |= 1 << 16;
  if (random.one_in(4)) control |= random.below(8) << 17;
  if (random.one_in(2)) control |= random.below(random.one_in(4) ? 4096 : 8) << 32;
  if (random.one_in(8)) control |= random.below(4096) << 48;
  if (random.one_in(16)) control |= random.value();
  if (random.one_in(4)) wrmsr(kMsrGuestOsId, 0x810000000001);
  if (random.one_in(8)) wrmsr(kMsrHypercall, kScratch | 1);
  uint64_t input = random.one_in(3) ? random.value() : random.gpa();
  if (!random.one_in(4)) input &= ~uint64_t{7};
  const uint64_t output = random.one_in(8) ? random.value() : random.gpa() & ~uint64_t{7};
  const bool in_memory = input >= kFreeScratch && input < kScratch + kScratchBytes - kPage;
  if (in_memory) fill_input(random, input);
  // Fast calls must not hand over what is an address of ours: results go to scratch memory only.
  const bool ours =
      output < kFreeScratch || (output >= kScratch + kScratchBytes && output < 0x10000000);
  uint64_t status;
  const uint64_t r8 = ours && !(control >> 16 & 1) ? kFreeScratch : output;
  if (random.one_in(2))
    asm volatile("movq %4, %%r8\n vmmcall"
                 : "=a"(status), "+c"(control), "+d"(input)
                 : "0"(0), "r"(r8)
                 : "r8", "r9", "r10", "r11", "memory");
  else
    asm volatile("movq %4, %%r8\n call *%5"
                 : "=a"(status), "+c"(control), "+d"(input)
                 : "0"(0), "r"(r8), "r"(kScratch)
                 : "r8", "r9", "r10", "r11", "memory");
}

// ---- code made of bytes ----
struct Bytes {
  uint8_t count;
  uint8_t bytes[7];
};

// Not FS and GS, whose bases are random and lead anywhere.
constexpr uint8_t kPrefixBytes[] = {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x3e,
                                    0x26, 0xf0, 0x40, 0x48, 0x44, 0x41, 0x4f};

// Executes `in` with some prefixes, now and then across two pages that are not neighbours.
void execute(Random& random, const Bytes& in, Registers& registers, uint64_t most_prefixes) {
  const bool crossing = random.one_in(3);
  const uint64_t index = this_cpu().index;
  uint8_t* const start =
      crossing && index == 0
          ? reinterpret_cast<uint8_t*>(kCodeWindow + 3 * kPage - 1 - random.below(in.count + 3u))
          : reinterpret_cast<uint8_t*>(kPrivateCode + (2 * index + 1) * kPage -
                                       (crossing ? 3 : 64));
  uint8_t* at = start;
  for (uint64_t n = random.below(most_prefixes + 1); n != 0; --n) *at++ = random.of(kPrefixBytes);
  for (unsigned i = 0; i < in.count; ++i) *at++ = in.bytes[i];
  *at = 0xc3;
  registers.code = start;
  run_code(&registers);
}

Registers random_registers(Random& random) {
  return {random.value(),    random.value(),    random.value(), random.gpa(),
          kScratch + 0x3000, kScratch + 0x4000, random.value(), nullptr};
}

constexpr Bytes kPrivileged[] = {
    {2, {0x0f, 0xa2}},
    {2, {0x0f, 0x32}},
    {3, {0x0f, 0x01, 0xd8}},  // vmrun
    {3, {0x0f, 0x01, 0xd9}},
    {3, {0x0f, 0x01, 0xda}},
    {3, {0x0f, 0x01, 0xdb}},
    {3, {0x0f, 0x01, 0xdc}},
    {3, {0x0f, 0x01, 0xdd}},
    {3, {0x0f, 0x01, 0xde}},  // skinit
    {3, {0x0f, 0x01, 0xdf}},
    {3, {0x0f, 0x01, 0xc8}},
    {3, {0x0f, 0x01, 0xc9}},  // mwait
    {3, {0x0f, 0x01, 0xfa}},
    {3, {0x0f, 0x01, 0xfb}},
    {3, {0x0f, 0x01, 0xd0}},  // xgetbv
    {3, {0x0f, 0x01, 0xd1}},
    {3, {0x0f, 0x01, 0xc1}},
    {3, {0x0f, 0x01, 0xc2}},  // vmlaunch
    {3, {0x0f, 0x01, 0xfd}},
    {3, {0x0f, 0x01, 0xfe}},
    {3, {0x0f, 0x01, 0xff}},  // tlbsync
    {3, {0x0f, 0x01, 0xf9}},
    {3, {0x0f, 0x01, 0xfc}},
    {2, {0x0f, 0x09}},  // wbinvd
    {2, {0x0f, 0x08}},
    {2, {0x0f, 0x33}},
    {2, {0x0f, 0x31}},
    {2, {0x0f, 0xaa}},
    {2, {0x0f, 0x37}},
    {2, {0x0f, 0x06}},
    {2, {0x0f, 0x0b}},
    {1, {0xcc}},
    {2, {0xcd, 0x80}},
    {2, {0xcd, 0x0d}},
    {1, {0xf1}},
    {2, {0xeb, 0x00}},
    {3, {0x0f, 0x00, 0xd8}},
    {3, {0x0f, 0x00, 0xd0}},
    {3, {0x0f, 0x00, 0xc8}},  // str
    {3, {0x0f, 0x01, 0x03}},
    {3, {0x0f, 0x01, 0x0b}},
    {3, {0x0f, 0x01, 0x3b}},  // invlpg
    {3, {0x0f, 0x01, 0xf0}},
    {3, {0x0f, 0x01, 0xe0}},
    {3, {0x0f, 0x20, 0xc0}},  // from CR0
    {3, {0x0f, 0x20, 0xd0}},
    {3, {0x0f, 0x20, 0xd8}},
    {3, {0x0f, 0x20, 0xe0}},
    {4, {0x44, 0x0f, 0x20, 0xc0}},
    {3, {0x0f, 0x21, 0xf0}},
    {3, {0x0f, 0x21, 0xf8}},
    {3, {0x0f, 0x23, 0xc0}},
    {3, {0x0f, 0x23, 0xf0}},
    {1, {0xec}},
    {1, {0xed}},
    {1, {0xfa}},
    {1, {0xfb}},
    {5, {0x66, 0x0f, 0x38, 0x82, 0x03}},  // invpcid
    {3, {0x0f, 0xae, 0x3b}},
    {3, {0x0f, 0xae, 0x03}},
    {3, {0x0f, 0xae, 0x2b}},  // xrstor
    {3, {0x0f, 0xc7, 0x1b}},
    {3, {0x0f, 0xc7, 0x2b}},
    {3, {0x0f, 0xc7, 0xf0}},  // rdrand
};
constexpr Bytes kHalt = {1, {0xf4}};

void privileged(Random& random) {
  Registers registers = random_registers(random);
  // Not a device: some of these on one are beyond vmwp, which ends the VM.
  registers.rbx = kScratch + 0x3000 + random.below(32) * (random.one_in(2) ? 64 : 61);
  registers.rcx = random.one_in(2) ? random.below(16) : random_msr(random);
  execute(random, random.of(kPrivileged), registers, 4);
}

// VP 0 watches over the others and does not sleep.
void halt(Random& random) {
  if (first_processor()) return;
  Registers registers = random_registers(random);
  if (random.one_in(2)) asm volatile("sti");
  execute(random, kHalt, registers, 3);
}

// ---- devices and nothing ----
constexpr Bytes kMemory[] = {
    {2, {0x8a, 0x03}},
    {2, {0x8b, 0x03}},
    {3, {0x48, 0x8b, 0x03}},
    {3, {0x66, 0x8b, 0x03}},
    {2, {0x88, 0x03}},
    {2, {0x89, 0x03}},
    {3, {0x48, 0x89, 0x03}},
    {3, {0x66, 0x89, 0x03}},
    {3, {0xc6, 0x03, 0x7f}},
    {6, {0xc7, 0x03, 1, 2, 3, 4}},
    {3, {0x0f, 0xb6, 0x03}},
    {3, {0x0f, 0xb7, 0x03}},
    {3, {0x0f, 0xbe, 0x03}},
    {3, {0x0f, 0xbf, 0x03}},
    {2, {0x01, 0x03}},
    {2, {0x09, 0x03}},
    {2, {0x21, 0x03}},
    {2, {0x29, 0x03}},
    {2, {0x31, 0x03}},
    {2, {0x39, 0x03}},
    {2, {0x03, 0x03}},
    {2, {0x85, 0x03}},
    {3, {0x83, 0x03, 0x01}},
    {2, {0xff, 0x03}},
    {2, {0xff, 0x0b}},
    {2, {0xf7, 0x13}},
    {2, {0xf7, 0x1b}},
    {2, {0x87, 0x03}},
    {3, {0x0f, 0xc1, 0x03}},
    {3, {0x0f, 0xb1, 0x03}},
    {3, {0x0f, 0xab, 0x03}},
    {3, {0x0f, 0xb3, 0x03}},
    {4, {0x0f, 0xba, 0x2b, 0x05}},
    {1, {0xa4}},
    {1, {0xa5}},
    {1, {0xaa}},
    {1, {0xab}},
    {1, {0xac}},
    {1, {0xae}},
    {2, {0xf3, 0xa4}},
    {2, {0xf3, 0xaa}},
};

constexpr uint64_t kDevices[] = {0xfec00000, 0xfec00010, 0xfec00000, 0xfec00010, 0xfed00000,
                                 0xfee00000, 0xfed40000, 0xe0000000, 0xc0000000, 0xfffffff0};

void device_memory(Random& random) {
  Registers registers = random_registers(random);
  const uint64_t gpa = random.one_in(2) ? random.of(kDevices) : random.gpa();
  registers.rbx = reinterpret_cast<uint64_t>(map_window(gpa)) | (gpa & 0x1fffff);
  registers.rcx = random.below(64);
  if (random.one_in(2)) registers.rsi = registers.rbx;
  if (random.one_in(2)) registers.rdi = registers.rbx;
  // Whoever writes an interrupt redirection must not send INIT to VP 0.
  registers.rax = random.one_in(2) ? random.below(64) : random.next() & ~uint64_t{0x700};
  execute(random, random.of(kMemory), registers, 0);
}

// The APIC page in xAPIC mode: 32-bit accesses, and such as no driver would make.
void apic_page(Random& random) {
  try_to([&] {
    if ((rdmsr(kMsrApicBase) & 0xc00) == 0xc00) wrmsr(kMsrApicBase, kApicBase);
    wrmsr(kMsrApicBase, kApicBase | 0x800 | (first_processor() ? 0x100 : 0));
  });
  for (unsigned i = 0; i < 8; ++i) {
    const uint64_t offset = random.one_in(4) ? random.below(kPage) : random.below(0x40) * 16;
    const uint64_t value = harmless_icr(random.next());
    auto* at = reinterpret_cast<volatile uint32_t*>(kApicBase + offset);
    if (random.one_in(2)) {
      (void)*at;
    } else if ((offset & ~uint64_t{15}) != kApicIcrOffset || !random.one_in(4)) {
      *at = static_cast<uint32_t>(value);
    }
  }
  if (!random.one_in(2)) return;
  Registers registers = random_registers(random);
  registers.rbx = kApicBase + random.below(kPage);
  registers.rcx = random.below(8);
  registers.rax = harmless_icr(registers.rax);
  if (registers.rbx >> 4 != (kApicBase | kApicIcrOffset) >> 4)
    execute(random, random.of(kMemory), registers, 0);
}

// ---- interrupts ----
void interrupts(Random& random) {
  if (random.one_in(4)) enable_x2apic();
  uint64_t command = harmless_icr(random.next() & 0xcffff);
  uint64_t destination = random.one_in(8) ? random.next() : random.below(kMaxProcessors);
  if (first_processor() && random.one_in(64)) {
    command =
        random.one_in(2) ? 0x4500 : 0x4608;  // INIT or SIPI for VP 1: it starts over, or is lost
    destination = 1;
  }
  wrmsr(kMsrIcr, destination << 32 | command);
}

// ---- control, debug and descriptor registers; restore_processor() undoes it ----
void control_registers(Random& random) {
  const uint64_t value = random.one_in(2) ? random.value() : uint64_t{1} << random.below(32);
  // CET is left alone: our returns would not work under it.
  const uint64_t cr0 = value & (on_hardware ? ~uint64_t{0} : 0x4005002e);
  const uint64_t cr4 = value & (on_hardware ? ~uint64_t{0x800000} : 0x350fdf);
  const uint64_t cr3 = value & (on_hardware ? 0xfff0000000000fff : 0xfff);
  switch (random.below(5)) {
    case 0:
      asm volatile("movq %%cr0, %%rax\n xorq %0, %%rax\n movq %%rax, %%cr0" ::"r"(cr0) : "rax");
      break;
    case 1:
      asm volatile("movq %%cr4, %%rax\n xorq %0, %%rax\n movq %%rax, %%cr4" ::"r"(cr4)
                   : "rax", "memory");
      break;
    case 2:  // the same tables
      asm volatile("movq %0, %%cr3" ::"r"(page_table_root() | cr3) : "memory");
      break;
    case 3:
      if (on_hardware) asm volatile("movq %0, %%cr8" ::"r"(value));
      break;
    default:
      asm volatile("clts\n smsw %%rax\n lmsw %%ax" ::: "rax");
  }
}

void debug_registers(Random& random) {
  const uint64_t place = kScratch + 0x3000 + random.below(0x2000);
  asm volatile("movq %0, %%dr0\n movq %0, %%dr1" ::"r"(place));
  asm volatile("movq %0, %%dr2" ::"r"(random.value()));
  asm volatile("movq %0, %%dr6" ::"r"(random.value() & 0xffffffff));
  const uint64_t settable = on_hardware ? 0xffffff0f : 0xffffff00;
  asm volatile("movq %0, %%dr7" ::"r"((random.next() & settable) | 0x400));
  Registers registers = random_registers(random);
  registers.rbx = place;
  registers.rcx = random.below(64);
  execute(random, random.of(kMemory), registers, 1);
}

void descriptors(Random& random) {
  const uint64_t noise[2] = {random.next(), random.next()};
  const auto selector = static_cast<uint16_t>(random.next());
  asm volatile("cli");
  switch (random.below(4)) {
    case 0:
      asm volatile("lgdt %0" ::"m"(noise));
      break;
    case 1:
      asm volatile("lidt %0" ::"m"(noise));
      break;
    case 2:
      asm volatile("lldt %0" ::"r"(selector));
      break;
    default:
      asm volatile("ltr %0" ::"r"(selector));
  }
  load_tables();
}

// ---- code that others rewrite while it is executed ----
void shared_code(Random& random) {
  // They differ in one byte only: a mixture of two would be another instruction.
  constexpr uint8_t kSecondBytes[] = {0xa2, 0x32, 0x30, 0x0b, 0x09, 0x08,
                                      0x31, 0x06, 0xce, 0x33, 0xaa, 0x77};
  auto* words = reinterpret_cast<uint16_t*>(kSharedCode);
  if (random.one_in(2)) {
    store_once(words[random.below(8)], random.of(kSecondBytes) << 8 | 0x0f);
    return;
  }
  for (unsigned i = 0; i < 8; ++i)
    if (words[i] == 0) store_once(words[i], 0x310f);
  store_once(words[10], 0xc3c3);
  store_once(words[9], 0x9090);
  store_once(words[8], 0x9090);
  Registers registers = random_registers(random);
  registers.rcx = kMsrVpIndex;
  registers.rdx = 0x80;
  registers.code = words;
  run_code(&registers);
}

}  // namespace

const Operation kOperations[] = {
    read_msr,        read_msr,      write_msr,   write_msr,   write_msr,
    port_access,     port_access,   port_string, cpuid,       hypercall,
    hypercall,       hypercall,     privileged,  privileged,  halt,
    device_memory,   device_memory, apic_page,   interrupts,  control_registers,
    debug_registers, descriptors,   shared_code, shared_code, shared_code,
};
bool on_hardware;
const unsigned kOperationCount = sizeof(kOperations) / sizeof(kOperations[0]);

uint64_t Random::value() {
  switch (below(6)) {
    case 0:
      return below(16);
    case 1:
      return uint64_t{1} << below(64);
    case 2:
      return ~(uint64_t{1} << below(64));
    case 3:
      return next() & 0xffffffff;
    case 4:
      return ~uint64_t{0} << below(64);
    default:
      return next();
  }
}

uint64_t Random::gpa() {
  switch (below(8)) {
    case 0:
      return 0xfe000000 + below(0x2000000);  // devices
    case 1:
      return uint64_t{1} << (32 + below(24));  // far above memory
    case 2:
      return next();  // no such address
    case 3:
      return 0x80000000 + below(0x60000000);  // between memory and devices
    default:
      return kFreeScratch + below(0x100000);
  }
}

void restore_processor() {
  constexpr uint64_t kCr0 = 0x80010033;
  asm volatile("movq %0, %%dr7" ::"r"(uint64_t{0x400}));
  asm volatile("movq %0, %%cr0" ::"r"(kCr0));
  set_cr4();
  asm volatile("movq %0, %%cr3" ::"r"(page_table_root()) : "memory");
  if (on_hardware) asm volatile("movq %0, %%cr8" ::"r"(uint64_t{0}));
  load_tables();
}
