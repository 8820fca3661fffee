// SPDX-License-Identifier: MIT
// What an intercepted instruction leaves behind: RIP after any prefixes and across pages, faults,
// single steps, interrupt shadows, HLT, and code that another processor rewrites at the same time.
#include "tests/guest/kernel/machine.h"

namespace {

constexpr uint64_t kCodeAt = kScratch + 0x100000;
constexpr uint64_t kIoApic = 0xfec00000, kNothing = 0xfed80000;
constexpr uint8_t kVector = 0x50;
constexpr uint64_t kGeneralProtection = 0x100 + 13, kInvalidOpcode = 0x100 + 6,
                   kPageFault = 0x100 + 14;
constexpr unsigned kRewritten = 100'000, kShadowed = 20'000;

struct Instruction {
  const char* name;
  uint8_t length;
  uint8_t bytes[4];
  uint64_t rax, rcx, rdx, rdi;
  bool legacy_prefixes = true;  // 66, F2 and F3 do not make it another instruction
};

constexpr Instruction kIntercepted[] = {
    {"cpuid", 2, {0x0f, 0xa2}, 0x40000000, 0, 0, 0},
    {"rdmsr", 2, {0x0f, 0x32}, 0, kMsrVpIndex, 0, 0},
    {"wrmsr", 2, {0x0f, 0x30}, 1, kMsrGuestOsId, 0x8100, 0},
    {"wbinvd", 2, {0x0f, 0x09}, 0, 0, 0, 0},
    {"invd", 2, {0x0f, 0x08}, 0, 0, 0, 0},
    {"in al, dx", 1, {0xec}, 0, 0, 0x61, 0},
    {"in al, imm", 2, {0xe4, 0x61}, 0, 0, 0, 0},
    {"out dx, al", 1, {0xee}, 0, 0, 0x80, 0},
    {"out imm, al", 2, {0xe6, 0x80}, 0, 0, 0, 0},
    {"insb", 1, {0x6c}, 0, 0, 0x61, kScratch},
    {"vmmcall", 3, {0x0f, 0x01, 0xd9}, 0, 0x1ffff, 0, 0, false},
    {"xsetbv", 3, {0x0f, 0x01, 0xd1}, 1, 0, 0, 0, false},
    {"load from the I/O APIC", 2, {0x8b, 0x07}, 0, 0, 0, kIoApic},
    {"store to the I/O APIC", 2, {0x89, 0x07}, 0, 0, 0, kIoApic},
    {"load from nowhere", 2, {0x8b, 0x07}, 0, 0, 0, kNothing},
    {"store to nowhere", 3, {0xc6, 0x07, 0x55}, 0, 0, 0, kNothing},
};
constexpr Instruction kNop = {"nop", 1, {0x90}, 0, 0, 0, 0};

struct Prefixes {
  uint8_t count;
  uint8_t bytes[12];
  bool legacy;
};
constexpr Prefixes kPrefixes[] = {
    {0, {}, false},
    {1, {0x66}, true},
    {1, {0xf2}, true},
    {1, {0xf3}, true},
    {1, {0x2e}, false},
    {1, {0x64}, false},
    {1, {0x48}, false},
    {1, {0x40}, false},
    {2, {0x66, 0x48}, true},
    {3, {0x3e, 0x3e, 0x40}, false},
    {12, {0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e}, false},
};

unsigned checks, failures;

void report(bool good, const char* what, const char* more = "") {
  ++checks;
  failures += !good;
  print(good ? "svm-exits: PASS " : "svm-exits: FAIL ");
  print(what);
  print(more);
  print("\n");
}

// Code that is being written, byte by byte.
struct Code {
  uint8_t* at;
  uint8_t* const start = at;
  Code& put(const uint8_t* bytes, size_t count) {
    for (size_t i = 0; i < count; ++i) at[i] = bytes[i];
    at += count;
    return *this;
  }
  template <class... Bytes>
  Code& operator()(Bytes... bytes) {
    const uint8_t list[] = {static_cast<uint8_t>(bytes)...};
    return put(list, sizeof(list));
  }
  Code& operator()(const Instruction& in) { return put(in.bytes, in.length); }
  Code& operator()(const Prefixes& p) { return put(p.bytes, p.count); }
  uint64_t here() const { return reinterpret_cast<uint64_t>(at); }
  void finish() { (*this)(0x49, 0xff, 0xc0, 0xc3); }  // inc r8; ret
};
Code code_at(uint64_t address) {
  return {reinterpret_cast<uint8_t*>(address)};
}

Registers registers_for(const Instruction& in, uint64_t code) {
  return {in.rax, in.rcx, in.rdx, 0, kScratch, in.rdi, 0, reinterpret_cast<const void*>(code)};
}

// Written with its prefixes at `address` and executed once: no fault, and right what follows is
// next.
bool goes_on(const Instruction& in, const Prefixes& prefixes, uint64_t address) {
  Code code = code_at(address);
  code(prefixes)(in).finish();
  Registers r = registers_for(in, address);
  const uint64_t fault = try_code(r);
  if (fault) {
    print("  exception ");
    print(fault - 0x100);
    print("\n");
  }
  if (fault || r.r8 != 1) return false;
  if (in.bytes[1] == 0xa2) return r.rbx == 0x7263694d;  // "Micr"
  if (in.bytes[1] == 0x32) return r.rax == 0 && r.rdx == 0;
  return true;
}

void check_prefixes() {
  for (const Instruction& in : kIntercepted) {
    bool good = true;
    for (const Prefixes& prefixes : kPrefixes)
      if (in.legacy_prefixes || !prefixes.legacy) good &= goes_on(in, prefixes, kCodeAt);
    report(good, "prefixes before ", in.name);
  }
}

void check_page_crossing() {
  constexpr uint64_t kBoundary = kCodeWindow + 3 * kPage, kEnd = kCodeWindow + 7 * kPage;
  for (const Instruction& in : kIntercepted) {
    bool good = true;
    for (const Prefixes& prefixes : kPrefixes)
      for (unsigned first = 1; first < in.length + prefixes.count; ++first)
        if (in.legacy_prefixes || !prefixes.legacy)
          good &= goes_on(in, prefixes, kBoundary - first);
    report(good, "two pages hold ", in.name);
  }
  code_at(kEnd - 1)(0x0f);
  Registers r = registers_for(kIntercepted[0], kEnd - 1);
  const uint64_t fault = try_code(r);
  report(fault == kPageFault && this_cpu().fault_address == kEnd,
         "cpuid ends on a page that is absent");
  code_at(kEnd - 2)(0x0f, 0xa2);
  r = registers_for(kIntercepted[0], kEnd - 2);
  const bool fell_off = try_code(r) == kPageFault && this_cpu().fault_rip == kEnd;
  report(fell_off, "cpuid is the last before a page that is absent");
}

void check_faults() {
  static constexpr struct {
    Instruction in;
    uint64_t fault;
  } kFaulting[] = {
      {{"rdmsr of none", 2, {0x0f, 0x32}, 0, 0x1ffe, 0, 0}, kGeneralProtection},
      {{"wrmsr of none", 2, {0x0f, 0x30}, 0, 0x1ffe, 0, 0}, kGeneralProtection},
      {{"rdmsr far away", 2, {0x0f, 0x32}, 0, 0xdeadbeef, 0, 0}, kGeneralProtection},
      {{"wrmsr EFER, reserved bit", 2, {0x0f, 0x30}, 0xd01, 0xc0000080, 0x80000000, 0},
       kGeneralProtection},
      {{"wrmsr EFER without LME", 2, {0x0f, 0x30}, 0, 0xc0000080, 0, 0}, kGeneralProtection},
      {{"xsetbv without x87", 3, {0x0f, 0x01, 0xd1}, 0, 0, 0, 0}, kGeneralProtection},
      {{"xsetbv of XCR1", 3, {0x0f, 0x01, 0xd1}, 1, 1, 0, 0}, kGeneralProtection},
      {{"rdpmc", 2, {0x0f, 0x33}, 0, 0, 0, 0}, kGeneralProtection},
      {{"vmrun", 3, {0x0f, 0x01, 0xd8}, kScratch, 0, 0, 0}, kInvalidOpcode},
      {{"vmload", 3, {0x0f, 0x01, 0xda}, kScratch, 0, 0, 0}, kInvalidOpcode},
      {{"vmsave", 3, {0x0f, 0x01, 0xdb}, kScratch, 0, 0, 0}, kInvalidOpcode},
      {{"stgi", 3, {0x0f, 0x01, 0xdc}, 0, 0, 0, 0}, kInvalidOpcode},
      {{"clgi", 3, {0x0f, 0x01, 0xdd}, 0, 0, 0, 0}, kInvalidOpcode},
      {{"skinit", 3, {0x0f, 0x01, 0xde}, kScratch, 0, 0, 0}, kInvalidOpcode},
      {{"invlpga", 3, {0x0f, 0x01, 0xdf}, kScratch, 0, 0, 0}, kInvalidOpcode},
      {{"rsm", 2, {0x0f, 0xaa}, 0, 0, 0, 0}, kInvalidOpcode},
      {{"mwait", 3, {0x0f, 0x01, 0xc9}, 0, 0, 0, 0}, kInvalidOpcode},
  };
  for (const auto& row : kFaulting) {
    Code code = code_at(kCodeAt);
    code(row.in).finish();
    Registers r = registers_for(row.in, kCodeAt);
    const uint64_t fault = try_code(r);
    report(fault == row.fault && this_cpu().fault_rip == kCodeAt, "its fault: ", row.in.name);
  }
}

// With TF set over the instruction: a #DB behind it with DR6.BS, and none at it.
bool steps_over(const Instruction& in) {
  Code code = code_at(kCodeAt);
  // pushf; or word [rsp], 100h; popf
  code(0x9c)(0x66, 0x81, 0x0c, 0x24, 0x00, 0x01)(0x9d)(in);
  const uint64_t behind = code.here();
  code(0x9c)(0x66, 0x81, 0x24, 0x24, 0xff, 0xfe)(0x9d);
  code.finish();
  Registers r = registers_for(in, kCodeAt);
  Cpu& cpu = this_cpu();
  cpu.steps = 0;
  cpu.stepping = true;
  const uint64_t fault = try_code(r);
  cpu.stepping = false;
  const bool good = !fault && r.r8 == 1 && cpu.steps != 0 && cpu.step[0].rip == behind &&
                    (cpu.step[0].dr6 & 0xf00f) == 0x4000;
  if (!good) {
    print("  steps ");
    print(cpu.steps);
    print(", first at ");
    print_hex(cpu.step[0].rip);
    print(" dr6 ");
    print_hex(cpu.step[0].dr6);
    print(", wanted ");
    print_hex(behind);
    print("\n");
  }
  return good;
}

void check_steps() {
  report(steps_over(kNop), "a single step over nop");
  for (const Instruction& in : kIntercepted) report(steps_over(in), "a single step over ", in.name);
  report(steps_over({"hlt", 1, {0xf4}, 0, 0, 0, 0}), "a single step over hlt");
}

// An interrupt that is pending when STI opens the door comes behind the instruction after STI.
bool shadowed_once(const Instruction& in, const Prefixes& prefixes) {
  Code code = code_at(kCodeAt);
  code(0xfb)(prefixes)(in);
  const uint64_t behind = code.here();
  code(0xfa).finish();
  Registers r = registers_for(in, kCodeAt);
  Cpu& cpu = this_cpu();
  const uint64_t before = cpu.interrupts;
  wrmsr(kMsrSelfIpi, kVector);
  const uint64_t fault = try_code(r);
  const bool good =
      !fault && r.r8 == 1 && cpu.interrupts == before + 1 && cpu.interrupted_rip == behind;
  if (!good) {
    print("  interrupts ");
    print(cpu.interrupts - before);
    print(", at ");
    print_hex(cpu.interrupted_rip);
    print(", wanted ");
    print_hex(behind);
    print("\n");
  }
  return good;
}

// An emulator forgets the shadow when an exit for an interrupt of the host comes in between, which
// is seldom.
bool shadowed(const Instruction& in, const Prefixes& prefixes = kPrefixes[0]) {
  constexpr unsigned kTries = 5;
  for (unsigned i = 0; i < kTries; ++i)
    if (shadowed_once(in, prefixes)) return true;
  return false;
}

// ---- what the other processor does meanwhile ----
enum Help : unsigned { kNothingToDo, kSendInterrupts, kSendNmi, kRewrite };
unsigned help;
uint16_t rewrites[2];
uint16_t* rewritten;

void helper() {
  for (unsigned turn = 0;; ++turn) {
    switch (load_once(help)) {
      case kSendInterrupts:
        send_ipi(0, 0x4000 | kVector);
        break;
      case kSendNmi: {
        const uint64_t end = now() + 500'000;  // 50 ms, for VP 0 to halt
        while (now() < end) pause();
        send_ipi(0, 0x4400);
        store_once(help, kNothingToDo);
        break;
      }
      case kRewrite:
        store_once(*rewritten, rewrites[turn % 2]);
        for (unsigned i = 0; i < turn % 64; ++i) pause();
        break;
      default:
        pause();
    }
  }
}

void check_halts() {
  const Instruction hlt = {"hlt", 1, {0xf4}, 0, 0, 0, 0};
  bool good = true;
  for (const Prefixes& prefixes : kPrefixes) good &= shadowed(hlt, prefixes);
  report(good, "hlt behind sti ends with what was pending");
  store_once(help, kSendNmi);
  const uint64_t nmis = this_cpu().nmis;
  report(goes_on(hlt, kPrefixes[0], kCodeAt) && this_cpu().nmis == nmis + 1,
         "hlt without interrupts ends with an NMI");
}

void check_shadows() {
  for (const Instruction& in : kIntercepted)
    report(shadowed(in), "the shadow of sti covers ", in.name);
}

// Interrupts arrive at any time, also between the two. How many is left to who knows whether the
// machine is an emulator.
void check_stack_shadow() {
  const Instruction cpuid = kIntercepted[0];
  Code code = code_at(kCodeAt);
  code(0xfb)(0x90)(0x8e, 0xd0);  // sti; nop; mov ss, eax
  const uint64_t covered = code.here();
  code(cpuid)(0xfa).finish();
  Cpu& cpu = this_cpu();
  const uint64_t before = cpu.interrupts;
  bool good = true;
  uint64_t between = 0;
  store_once(help, kSendInterrupts);
  for (unsigned i = 0; i < kShadowed; ++i) {
    Registers r = registers_for(cpuid, kCodeAt);
    r.rax = 0x18;  // the data segment, and a leaf
    cpu.interrupted_rip = 0;
    good &= try_code(r) == 0 && r.r8 == 1;
    between += cpu.interrupted_rip == covered;
  }
  store_once(help, kNothingToDo);
  report(good && cpu.interrupts != before, "interrupts around mov ss and cpuid");
  print("svm-exits: between mov ss and cpuid: ");
  print(between);
  print(" interrupts of ");
  print(cpu.interrupts - before);
  print("\n");
}

// CPUID and `other` take turns; either must have been executed, and entirely. They differ in one
// byte, since a processor may fetch two of them one after the other.
void check_rewriting(const char* what, uint16_t other, bool (*was_other)(const Registers&)) {
  constexpr uint16_t kCpuid = 0xa20f;
  Code code = code_at(kCodeAt);
  code(kCpuid & 0xff, kCpuid >> 8).finish();
  rewrites[0] = kCpuid;
  rewrites[1] = other;
  rewritten = reinterpret_cast<uint16_t*>(kCodeAt);
  store_once(help, kRewrite);
  unsigned cpuids = 0, others = 0;
  for (unsigned i = 0; i < kRewritten; ++i) {
    Registers r = {0x40000000, kMsrVpIndex, 0, 0, 1, 0, 0, reinterpret_cast<const void*>(kCodeAt)};
    if (try_code(r) != 0 || r.r8 != 1) break;
    if (r.rbx == 0x7263694d && r.rsi == 1)
      ++cpuids;
    else if (r.rbx == 0 && was_other(r))
      ++others;
    else
      break;
  }
  store_once(help, kNothingToDo);
  report(cpuids + others == kRewritten, what);
  print("  ");
  print(cpuids);
  print(" times cpuid, ");
  print(others);
  print(" times the other\n");
}

void prepare() {
  enable_x2apic();
  wrmsr(kMsrGuestOsId, 0x810000000001);
  wrmsr(kMsrHypercall, kScratch | 1);
  set_cr4();
}

}  // namespace

void svm_exits() {
  prepare();
  check_prefixes();
  check_page_crossing();
  check_faults();
  check_steps();
  if (processor_count() < 2 || !start_processor(1, helper)) {
    report(false, "a second processor");
  } else {
    check_halts();
    check_shadows();
    check_stack_shadow();
    check_rewriting("cpuid is rewritten as bswap esi", 0xce0f,
                    [](const Registers& r) { return r.rax == 0x40000000 && r.rsi == 0x01000000; });
    check_rewriting("cpuid is rewritten as rdmsr", 0x320f,
                    [](const Registers& r) { return r.rax == 0 && r.rsi == 1; });
  }
  print("svm-exits: ");
  print(checks - failures);
  print(" of ");
  print(checks);
  print(" checks hold\n");
}
