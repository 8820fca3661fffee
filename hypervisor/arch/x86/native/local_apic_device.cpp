// SPDX-License-Identifier: MIT
// The physical local APIC, in xAPIC or x2APIC mode, and the clocks measured against the PM timer.

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/native/x86_lp.h"
#include "hypervisor/core/log.h"

namespace hv::x86 {
namespace {

namespace reg {
constexpr unsigned kTpr = 0x80, kEoi = 0xb0, kSpurious = 0xf0, kTmr = 0x180, kIcrLow = 0x300,
                   kIcrHigh = 0x310, kLvtTimer = 0x320, kLvtThermal = 0x330, kLvtPerf = 0x340,
                   kLvtLint0 = 0x350, kLvtLint1 = 0x360, kLvtError = 0x370, kTimerInitial = 0x380,
                   kTimerCurrent = 0x390, kTimerDivide = 0x3e0;
}
constexpr uint32_t kMasked = 1 << 16, kTscDeadlineMode = 2 << 17, kNmiDelivery = 4 << 8;
constexpr uint32_t kSoftwareEnable = 1 << 8, kDivideBy1 = 0xb;
constexpr uint16_t kPicMaster = 0x21, kPicSlave = 0xa1;  // mask registers
constexpr uint64_t kPmTimerHz = 3579545;
constexpr uint32_t kIcrPending = 1 << 12;

bool x2apic = false;
bool tsc_deadline = false;
volatile uint32_t* mmio = nullptr;
// APIC timer ticks per TSC tick, as a 32.32 fraction.
uint64_t timer_ratio = 0;

uint32_t read(unsigned offset) {
  return x2apic ? static_cast<uint32_t>(cpu::rdmsr(msr::kX2apicFirst + (offset >> 4)))
                : mmio[offset / 4];
}
void write(unsigned offset, uint32_t value) {
  if (x2apic)
    cpu::wrmsr(msr::kX2apicFirst + (offset >> 4), value);
  else
    mmio[offset / 4] = value;
}

uint64_t pm_timer_delta(uint32_t from, uint32_t to, uint32_t bits) {
  return (to - from) & (bits == 32 ? 0xffffffffu : 0xffffffu);
}

}  // namespace

void init_local_apic(const boot::BootInfo& info) {
  // The 8259s first, while LINT0 still passes their line on: an assertion that nobody takes would
  // otherwise stay latched in the processor.
  cpu::out8(kPicMaster, 0xff);
  cpu::out8(kPicSlave, 0xff);
  x2apic = (cpu::rdmsr(msr::kApicBase) & 0xc00) == 0xc00;
  mmio = direct_map<volatile uint32_t>(Spa(info.local_apic_base));
  tsc_deadline = (cpu::cpuid(1, 0).ecx >> 24) & 1;
  write(reg::kTpr, 0);
  write(reg::kSpurious, kSoftwareEnable | host_vector::kSpurious);
  write(reg::kLvtThermal, kMasked);
  write(reg::kLvtPerf, kMasked);
  write(reg::kLvtError, kMasked);
  write(reg::kLvtLint0, kMasked);
  // The platform's NMI goes to one processor.
  write(reg::kLvtLint1, this_lp().index.value() == 0 ? kNmiDelivery : kMasked);
  write(reg::kTimerDivide, kDivideBy1);
  write(reg::kLvtTimer, host_vector::kTimer | (tsc_deadline ? kTscDeadlineMode : 0));
  // What firmware or an earlier kernel left in service would block everything below it.
  for (int i = 0; i < 256; ++i) write(reg::kEoi, 0);
}

void apic_eoi() {
  write(reg::kEoi, 0);
}

bool apic_is_level(uint8_t vector) {
  return (read(reg::kTmr + (vector / 32) * 0x10) >> (vector % 32)) & 1;
}

void apic_send_ipi(uint32_t apic_id, uint8_t vector) {
  if (x2apic) return cpu::wrmsr(msr::kX2apicFirst + 0x30, uint64_t{apic_id} << 32 | vector);
  while (read(reg::kIcrLow) & kIcrPending) __builtin_ia32_pause();
  write(reg::kIcrHigh, apic_id << 24);
  write(reg::kIcrLow, vector);
}

void apic_arm_timer(uint64_t deadline) {
  if (tsc_deadline) return cpu::wrmsr(msr::kTscDeadline, deadline == kNever ? 0 : deadline);
  if (deadline == kNever) return write(reg::kTimerInitial, 0);
  const uint64_t now = read_tsc();
  const uint64_t delta = deadline > now ? deadline - now : 0;
  const auto ticks =
      static_cast<uint64_t>((static_cast<base::Uint128>(delta) * timer_ratio) >> 32) + 1;
  write(reg::kTimerInitial, ticks > 0xffffffff ? 0xffffffffu : static_cast<uint32_t>(ticks));
}

void calibrate_clocks(const boot::BootInfo& info) {
  if (!info.pm_timer_port) panic("no ACPI PM timer: the TSC cannot be calibrated");
  const auto port = static_cast<uint16_t>(info.pm_timer_port);
  constexpr uint64_t kTicks = kPmTimerHz / 8;  // 125 ms
  write(reg::kLvtTimer, kMasked | host_vector::kTimer);
  uint32_t start = cpu::in32(port), edge;
  while ((edge = cpu::in32(port)) == start) {
  }
  write(reg::kTimerInitial, 0xffffffff);
  const uint64_t tsc = read_tsc();
  uint64_t passed;
  while ((passed = pm_timer_delta(edge, cpu::in32(port), info.pm_timer_bits)) < kTicks) {
  }
  const uint64_t tsc_ticks = read_tsc() - tsc;
  const uint64_t apic_ticks = 0xffffffff - read(reg::kTimerCurrent);
  write(reg::kTimerInitial, 0);
  write(reg::kLvtTimer, host_vector::kTimer | (tsc_deadline ? kTscDeadlineMode : 0));
  time_scale.init(
      static_cast<uint64_t>(static_cast<base::Uint128>(tsc_ticks) * kPmTimerHz / passed));
  timer_ratio = static_cast<uint64_t>((static_cast<base::Uint128>(apic_ticks) << 32) / tsc_ticks);
  log(LogLevel::info, "TSC {} kHz, APIC timer {} kHz{}", time_scale.tsc_hz / 1000,
      apic_ticks * kPmTimerHz / passed / 1000, x2apic ? ", x2APIC" : ", xAPIC");
}

}  // namespace hv::x86
