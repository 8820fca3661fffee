// SPDX-License-Identifier: MIT
// The rules of the instructions, from [APM2 11.5, APM3, APM4]: when they fault and what they move.
#include "tests/fake/cpu.h"

#include <cstdio>
#include <cstring>

#include "hypervisor/arch/x86/registers.h"

namespace hv::fake {

namespace {

constexpr size_t kMxcsr = 24, kSt = 32, kXmm = 160, kXmmEnd = 416, kHeader = 512, kExtended = 576;
constexpr uint64_t kX87 = 1, kSse = 2, kAvx = 4, kAvx512 = 0xe0;
constexpr uint32_t kMxcsrInitial = 0x1f80;
constexpr uint16_t kControlInitial = 0x37f;

bool has_subleaves(uint32_t leaf) {
  return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d;
}

std::string hex(uint64_t value) {
  char text[19];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

template <class T>
T read(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}
template <class T>
void write(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof(value));
}

// The byte ranges of one component.
struct Range {
  size_t begin, end;
};
std::vector<Range> ranges_of(const Cpu& cpu, unsigned component) {
  if (component == 0) return {{0, kMxcsr}, {kSt, kXmm}};
  if (component == 1) return {{kXmm, kXmmEnd}};
  const cpu::CpuidResult at = cpu.cpuid(0xd, component);
  return {{at.ebx, size_t{at.ebx} + at.eax}};
}

bool valid_xcr0(const Cpu& cpu, uint64_t value) {
  const cpu::CpuidResult leaf = cpu.cpuid(0xd, 0);
  const uint64_t supported = uint64_t{leaf.edx} << 32 | leaf.eax;
  if ((value & kX87) == 0 || (value & ~supported) != 0) return false;
  if ((value & kAvx) != 0 && (value & kSse) == 0) return false;
  const uint64_t avx512 = value & kAvx512;
  return avx512 == 0 || (avx512 == kAvx512 && (value & kAvx) != 0);
}

bool misaligned(const void* area) {
  return reinterpret_cast<uintptr_t>(area) % 64 != 0;
}

}  // namespace

Cpu& cpu() {
  static Cpu instance;
  return instance;
}

void Cpu::reset() {
  leaves = {
      {{0, 0}, {0xd, 0x68747541, 0x444d4163, 0x69746e65}},
      {{1, 0}, {0x00a20f10, 0x00010800, 0x7ef8320b, 0x178bfbff}},
      {{7, 0}, {0, 0xd09f27a9, 0x0001001c, 0}},  // FSGSBASE, SMEP, SMAP, AVX-512, UMIP, PKU, LA57
      {{0xd, 0}, {0xe7, 2688, 2688, 0}},
      {{0xd, 1}, {0x1, 2688, 0, 0}},
      {{0xd, 2}, {256, 576, 0, 0}},
      {{0xd, 5}, {64, 1088, 0, 0}},
      {{0xd, 6}, {512, 1152, 0, 0}},
      {{0xd, 7}, {1024, 1664, 0, 0}},
      {{0x80000000, 0}, {0x8000001e, 0x68747541, 0x444d4163, 0x69746e65}},
      {{0x80000001, 0}, {0x00a20f10, 0, 0x000001f7, 0x2fd3fbff}},
      {{0x80000007, 0}, {0, 0, 0, 0x100}},
      {{0x80000008, 0}, {0x3030, 0, 0, 0}},
      {{0x8000000a, 0}, {1, 64, 0, 0x1}},
  };
  msrs = {{x86::msr::kTsc, 0},         {x86::msr::kApicBase, 0xfee00d00},
          {x86::msr::kMicrocode, 1},   {x86::msr::kMtrrCap, 0x508},
          {x86::msr::kMcgCap, 0x17},   {x86::msr::kMcgStatus, 0},
          {x86::msr::kMcgCtl, 0},      {x86::msr::kPat, 0x0007040600070406},
          {x86::msr::kMtrrDefType, 0}, {x86::msr::kEfer, 0x1d01},
          {x86::msr::kTscAux, 0},      {x86::msr::kSyscfg, 0},
          {x86::msr::kHwcr, 0},        {x86::msr::kVmCr, 0},
          {x86::msr::kVmHsavePa, 0},   {x86::msr::kStar, 0},
          {x86::msr::kLstar, 0},       {x86::msr::kCstar, 0},
          {x86::msr::kSfmask, 0},      {x86::msr::kFsBase, 0},
          {x86::msr::kGsBase, 0},      {x86::msr::kKernelGsBase, 0},
          {x86::msr::kSysenterCs, 0},  {x86::msr::kSysenterEsp, 0},
          {x86::msr::kSysenterEip, 0}};
  ports.clear();
  debug_registers = {};
  cr2 = 0;
  xcr0 = 1;
  extended = {};
  write<uint16_t>(extended.image.data(), kControlInitial);
  write<uint32_t>(extended.image.data() + kMxcsr, kMxcsrInitial);
  writes.clear();
  waits = interrupts_taken = 0;
  faults_.clear();
}

cpu::CpuidResult Cpu::cpuid(uint32_t leaf, uint32_t subleaf) const {
  const auto found = leaves.find({leaf, has_subleaves(leaf) ? subleaf : 0});
  return found == leaves.end() ? cpu::CpuidResult{0, 0, 0, 0} : found->second;
}

uint32_t Cpu::mxcsr_mask() const {
  constexpr uint32_t kMisalignedSse = 1 << 7;
  return (cpuid(0x80000001, 0).ecx & kMisalignedSse) != 0 ? 0x2ffff : 0xffff;
}

}  // namespace hv::fake

namespace hv::cpu {

using fake::Write;

CpuidResult cpuid(uint32_t leaf, uint32_t subleaf) {
  return fake::cpu().cpuid(leaf, subleaf);
}

uint64_t rdmsr(uint32_t msr) {
  fake::Cpu& c = fake::cpu();
  const auto found = c.msrs.find(msr);
  if (found != c.msrs.end()) return found->second;
  c.fault("rdmsr " + fake::hex(msr));
  return 0;
}

void wrmsr(uint32_t msr, uint64_t value) {
  fake::Cpu& c = fake::cpu();
  const auto found = c.msrs.find(msr);
  if (found == c.msrs.end() || (msr == x86::msr::kTscAux && value >> 32 != 0))
    return c.fault("wrmsr " + fake::hex(msr) + ", " + fake::hex(value));
  found->second = value;
  c.writes.push_back({Write::To::msr, msr, value});
}

bool rdmsr_checked(uint32_t msr, uint64_t& value) {
  const auto found = fake::cpu().msrs.find(msr);
  if (found == fake::cpu().msrs.end()) return false;
  value = found->second;
  return true;
}

bool wrmsr_checked(uint32_t msr, uint64_t value) {
  if (!fake::cpu().msrs.contains(msr)) return false;
  wrmsr(msr, value);
  return true;
}

uint8_t in8(uint16_t port) {
  const auto found = fake::cpu().ports.find(port);
  return found == fake::cpu().ports.end() ? uint8_t{0xff} : static_cast<uint8_t>(found->second);
}
uint32_t in32(uint16_t port) {
  const auto found = fake::cpu().ports.find(port);
  return found == fake::cpu().ports.end() ? ~uint32_t{0} : found->second;
}
void out8(uint16_t port, uint8_t value) {
  fake::cpu().writes.push_back({Write::To::port, port, value});
}

// Writes all requested components; XSTATE_BV keeps the bits of those that were not requested.
void xsave(void* area, uint64_t mask) {
  fake::Cpu& c = fake::cpu();
  if (fake::misaligned(area)) return c.fault("xsave to a misaligned area");
  auto* const out = static_cast<uint8_t*>(area);
  const uint64_t requested = mask & c.xcr0;
  for (unsigned i = 0; i < 63; ++i)
    if ((requested >> i & 1) != 0)
      for (const fake::Range range : fake::ranges_of(c, i))
        std::memcpy(out + range.begin, c.extended.image.data() + range.begin,
                    range.end - range.begin);
  if ((requested & (fake::kSse | fake::kAvx)) != 0) {
    std::memcpy(out + fake::kMxcsr, c.extended.image.data() + fake::kMxcsr, 4);
    fake::write<uint32_t>(out + fake::kMxcsr + 4, c.mxcsr_mask());
  }
  const auto header = fake::read<uint64_t>(out + fake::kHeader);
  fake::write<uint64_t>(out + fake::kHeader,
                        (header & ~requested) | (c.extended.in_use & requested));
}

void xrstor(const void* area, uint64_t mask) {
  fake::Cpu& c = fake::cpu();
  const auto* const in = static_cast<const uint8_t*>(area);
  if (fake::misaligned(area)) return c.fault("xrstor from a misaligned area");
  const auto present = fake::read<uint64_t>(in + fake::kHeader);
  if ((present & ~c.xcr0) != 0) return c.fault("xrstor: XSTATE_BV " + fake::hex(present));
  for (size_t at = fake::kHeader + 8; at < fake::kExtended; at += 8)
    if (fake::read<uint64_t>(in + at) != 0) return c.fault("xrstor: the header is not zero");
  const uint64_t requested = mask & c.xcr0;
  const auto mxcsr = fake::read<uint32_t>(in + fake::kMxcsr);
  const bool loads_mxcsr = (requested & (fake::kSse | fake::kAvx)) != 0;
  if (loads_mxcsr && (mxcsr & ~c.mxcsr_mask()) != 0)
    return c.fault("xrstor: MXCSR " + fake::hex(mxcsr));

  uint8_t* const state = c.extended.image.data();
  if (loads_mxcsr) fake::write<uint32_t>(state + fake::kMxcsr, mxcsr);
  for (unsigned i = 0; i < 63; ++i) {
    if ((requested >> i & 1) == 0) continue;
    for (const fake::Range range : fake::ranges_of(c, i)) {
      if ((present >> i & 1) != 0)
        std::memcpy(state + range.begin, in + range.begin, range.end - range.begin);
      else
        std::memset(state + range.begin, 0, range.end - range.begin);
    }
    if (i == 0 && (present & fake::kX87) == 0) fake::write<uint16_t>(state, fake::kControlInitial);
  }
  c.extended.in_use = (c.extended.in_use & ~requested) | (present & requested);
}

uint64_t xgetbv0() {
  return fake::cpu().xcr0;
}
void xsetbv0(uint64_t value) {
  fake::Cpu& c = fake::cpu();
  if (!fake::valid_xcr0(c, value)) return c.fault("xsetbv " + fake::hex(value));
  c.xcr0 = value;
  c.writes.push_back({Write::To::xcr0, 0, value});
}

uint64_t read_debug_register(unsigned index) {
  return fake::cpu().debug_registers.at(index);
}
void write_debug_register(unsigned index, uint64_t value) {
  fake::cpu().debug_registers.at(index) = value;
  fake::cpu().writes.push_back({Write::To::debug_register, index, value});
}
uint64_t read_cr2() {
  return fake::cpu().cr2;
}

void wait_for_interrupt() {
  ++fake::cpu().waits;
}
void take_interrupts() {
  ++fake::cpu().interrupts_taken;
}

}  // namespace hv::cpu
