// SPDX-License-Identifier: MIT
#include "hypervisor/arch/x86/local_apic.h"

#include <gtest/gtest.h>

#include "tests/fake/environment.h"

namespace hv::x86 {
namespace {

using namespace apic_register;
using arch::Trigger;
using Kind = ApicEffect::Kind;
using Mode = LocalApic::Mode;

constexpr uint32_t kId3 = 0x23;
constexpr uint32_t msr_of(unsigned reg) {
  return 0x800 + reg;
}

class LocalApicTest : public testing::Test {
 protected:
  void start(Mode mode) {
    apic.power_on(mode, false);
    if (mode == Mode::x2apic)
      EXPECT_TRUE(apic.write_msr(msr_of(kSpurious), 0x1ff));
    else
      apic.write_mmio(kSpurious << 4, 0x1ff);
  }
  void write(unsigned reg, uint64_t value) {
    const auto effect = apic.write_msr(msr_of(reg), value);
    ASSERT_TRUE(effect) << reg;
    last = *effect;
  }
  uint64_t read(unsigned reg) {
    const auto value = apic.read_msr(msr_of(reg));
    EXPECT_TRUE(value) << reg;
    return value.value_or(~uint64_t{0});
  }
  bool refuses(unsigned reg, uint64_t value) {
    const auto effect = apic.write_msr(msr_of(reg), value);
    return !effect && effect.error() == Error::inject_gp;
  }
  void deliver(uint8_t vector, Trigger trigger = Trigger::edge) {
    ASSERT_TRUE(apic.accept(vector, trigger, false));
    ASSERT_EQ(apic.highest_pending(), vector);
    apic.acknowledge(vector);
  }

  fake::Environment environment;
  Vcpu vcpu{environment.root(), VpIndex(0), kId3};
  LocalApic& apic = vcpu.apic;
  ApicEffect last;
};

// --- Modes ---

TEST_F(LocalApicTest, BaseTransitionsAreThoseOfTheManual) {
  constexpr uint64_t kOff = kApicDefaultBase, kX = kOff | 0x800, kX2 = kOff | 0xc00,
                     kBad = kOff | 0x400;
  struct Case {
    Mode from;
    uint64_t to;
    bool allowed;
  };
  const Case cases[] = {
      {Mode::disabled, kX, true}, {Mode::disabled, kX2, false}, {Mode::disabled, kBad, false},
      {Mode::xapic, kOff, true},  {Mode::xapic, kX2, true},     {Mode::xapic, kBad, false},
      {Mode::x2apic, kOff, true}, {Mode::x2apic, kX, false},    {Mode::x2apic, kBad, false},
      {Mode::x2apic, kX2, true},
  };
  for (const Case& c : cases) {
    apic.power_on(c.from, false);
    EXPECT_EQ(apic.write_base(c.to).has_value(), c.allowed)
        << static_cast<int>(c.from) << " to " << c.to;
  }
  apic.power_on(Mode::xapic, true);
  EXPECT_EQ(apic.base(), kX | 0x100);
  EXPECT_FALSE(apic.write_base(kX | 0x200));
  EXPECT_FALSE(apic.write_base((kX & ~uint64_t{0xfffff000}) | 0xfef00000));
}

TEST_F(LocalApicTest, IdAndLogicalIdFollowTheMode) {
  start(Mode::xapic);
  EXPECT_EQ(apic.read_mmio(kId << 4), kId3 << 24);
  apic.write_mmio(kLdr << 4, 0x12345678);
  EXPECT_EQ(apic.read_mmio(kLdr << 4), 0x12000000u);
  EXPECT_FALSE(apic.read_msr(msr_of(kId)));
  start(Mode::x2apic);
  EXPECT_EQ(read(kId), kId3);
  EXPECT_EQ(read(kLdr), 2u << 16 | 1u << 3);
  EXPECT_EQ(read(kVersion), 0x50014u);
}

TEST_F(LocalApicTest, ReservedBitsAndRegistersRaiseGpInX2apic) {
  start(Mode::x2apic);
  EXPECT_TRUE(refuses(kTpr, 0x100));
  EXPECT_TRUE(refuses(kEoi, 1));
  EXPECT_TRUE(refuses(kEsr, 1));
  EXPECT_TRUE(refuses(kSpurious, 0x200));
  EXPECT_TRUE(refuses(kIcr, 1 << 20));
  EXPECT_TRUE(refuses(kInitialCount, uint64_t{1} << 32));
  EXPECT_TRUE(refuses(kDivide, 4));
  EXPECT_TRUE(refuses(kLvtTimer, 1 << 11));
  EXPECT_TRUE(refuses(kSelfIpi, 0x100));
  for (unsigned reg : {kId, kVersion, kPpr, kLdr, kDfr, kIcrHigh, kIsr, kCurrentCount, 0u, 0x3du})
    EXPECT_TRUE(refuses(reg, 0)) << reg;
  for (unsigned reg : {kEoi, kApr, kDfr, kIcrHigh, kSelfIpi, 0u, 0x2fu})
    EXPECT_FALSE(apic.read_msr(msr_of(reg))) << reg;
}

TEST_F(LocalApicTest, UnknownMmioRegistersAreErrorsNotFaults) {
  start(Mode::xapic);
  EXPECT_EQ(apic.read_mmio(0), 0u);
  apic.write_mmio(kEsr << 4, 0);
  EXPECT_EQ(apic.read_mmio(kEsr << 4), 0x80u);
  apic.write_mmio(kEsr << 4, 0);
  EXPECT_EQ(apic.read_mmio(kEsr << 4), 0u);
  apic.write_mmio(0x3d0, 1);
  apic.write_mmio(kTpr << 4 | 4, 0x55);
  EXPECT_EQ(apic.tpr(), 0);
}

TEST_F(LocalApicTest, InitKeepsIdAndModeOnly) {
  start(Mode::x2apic);
  write(kTpr, 0x40);
  deliver(0x80);
  write(kLvtTimer, 0x31);
  write(kInitialCount, 100);
  apic.reset();
  EXPECT_EQ(apic.mode(), Mode::x2apic);
  EXPECT_EQ(read(kId), kId3);
  EXPECT_EQ(read(kTpr), 0u);
  EXPECT_EQ(read(kIsr + 4), 0u);
  EXPECT_EQ(read(kLvtTimer), 0x10000u);
  EXPECT_EQ(read(kSpurious), 0xffu);
  EXPECT_EQ(apic.timer_deadline(), kNever);
}

// --- Priorities ---

TEST_F(LocalApicTest, PriorityIsByClassOfVectorAndTpr) {
  start(Mode::x2apic);
  ASSERT_TRUE(apic.accept(0x41, Trigger::edge, false));
  ASSERT_TRUE(apic.accept(0x55, Trigger::edge, false));
  EXPECT_EQ(apic.highest_pending(), 0x55);
  write(kTpr, 0x50);
  EXPECT_EQ(apic.highest_pending(), -1);
  EXPECT_FALSE(apic.has_pending());
  write(kTpr, 0x4f);
  EXPECT_EQ(apic.highest_pending(), 0x55);
  apic.acknowledge(0x55);
  EXPECT_EQ(read(kPpr), 0x50u);
  ASSERT_TRUE(apic.accept(0x5f, Trigger::edge, false));  // same class: waits
  EXPECT_EQ(apic.highest_pending(), -1);
  ASSERT_TRUE(apic.accept(0x60, Trigger::edge, false));  // nests
  EXPECT_EQ(apic.highest_pending(), 0x60);
}

TEST_F(LocalApicTest, IrrIsrAndTmrAreReadable) {
  start(Mode::x2apic);
  ASSERT_TRUE(apic.accept(0x20, Trigger::edge, false));
  ASSERT_TRUE(apic.accept(0xff, Trigger::level, false));
  EXPECT_EQ(read(kIrr + 1), 1u);
  EXPECT_EQ(read(kIrr + 7), 0x80000000u);
  EXPECT_EQ(read(kTmr + 7), 0x80000000u);
  EXPECT_EQ(read(kTmr + 1), 0u);
  apic.acknowledge(0xff);
  EXPECT_EQ(read(kIrr + 7), 0u);
  EXPECT_EQ(read(kIsr + 7), 0x80000000u);
  apic.unacknowledge(0xff);
  EXPECT_EQ(read(kIrr + 7), 0x80000000u);
  EXPECT_EQ(read(kIsr + 7), 0u);
}

TEST_F(LocalApicTest, EoiEndsTheHighestAndNamesLevelOnes) {
  start(Mode::x2apic);
  deliver(0x30, Trigger::level);
  deliver(0x40);
  write(kEoi, 0);
  EXPECT_EQ(last.kind, Kind::eoi);
  EXPECT_EQ(last.vector, 0x40);
  EXPECT_FALSE(last.level);
  write(kEoi, 0);
  EXPECT_EQ(last.vector, 0x30);
  EXPECT_TRUE(last.level);
  write(kEoi, 0);
  EXPECT_EQ(last.kind, Kind::none);
  // The same vector, edge-triggered this time.
  deliver(0x30);
  write(kEoi, 0);
  EXPECT_FALSE(last.level);
}

TEST_F(LocalApicTest, AutoEoiVectorsAreNeverInService) {
  start(Mode::x2apic);
  ASSERT_TRUE(apic.accept(0xf3, Trigger::edge, true));
  apic.acknowledge(0xf3);
  EXPECT_EQ(read(kIsr + 7), 0u);
  ASSERT_TRUE(apic.accept(0xf3, Trigger::edge, true));
  EXPECT_EQ(apic.highest_pending(), 0xf3);
  // The vector stops being AutoEOI with its next use.
  ASSERT_TRUE(apic.accept(0xf3, Trigger::edge, false));
  apic.acknowledge(0xf3);
  EXPECT_NE(read(kIsr + 7), 0u);
}

TEST_F(LocalApicTest, ASwitchedOffApicDropsInterruptsAndMasksItsLvts) {
  start(Mode::x2apic);
  write(kLvtLint0, 0x700);
  write(kSpurious, 0xff);
  EXPECT_EQ(read(kLvtLint0), 0x10700u);
  write(kLvtLint1, 0x400);
  EXPECT_EQ(read(kLvtLint1), 0x10400u);
  EXPECT_FALSE(apic.accept(0x50, Trigger::edge, false));
  EXPECT_EQ(read(kIrr + 2), 0u);
  apic.power_on(Mode::disabled, false);
  EXPECT_FALSE(apic.accept(0x50, Trigger::edge, false));
}

TEST_F(LocalApicTest, IllegalVectorsAreErrors) {
  start(Mode::x2apic);
  write(kLvtError, 0x3e);
  EXPECT_FALSE(apic.accept(0x0f, Trigger::edge, false));
  EXPECT_EQ(apic.highest_pending(), 0x3e);
  write(kIcr, 0x0f);
  EXPECT_EQ(last.kind, Kind::none);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0x60u);
}

// --- IPIs ---

TEST_F(LocalApicTest, IcrInX2apicNamesA32BitDestination) {
  start(Mode::x2apic);
  write(kIcr, uint64_t{0x12345678} << 32 | 1 << 11 | 0x41);
  ASSERT_EQ(last.kind, Kind::ipi);
  EXPECT_EQ(last.ipi.destination, 0x12345678u);
  EXPECT_TRUE(last.ipi.logical);
  EXPECT_TRUE(last.ipi.wide);
  EXPECT_EQ(last.ipi.vector, 0x41);
  EXPECT_EQ(last.ipi.mode, DeliveryMode::fixed);
  EXPECT_EQ(read(kIcr), uint64_t{0x12345678} << 32 | 1 << 11 | 0x41);
  write(kSelfIpi, 0x33);
  EXPECT_EQ(last.ipi.shorthand, Ipi::Shorthand::self);
  EXPECT_EQ(last.ipi.vector, 0x33);
}

TEST_F(LocalApicTest, IcrInXapicIsTwoWrites) {
  start(Mode::xapic);
  apic.write_mmio(kIcrHigh << 4, 0x05ffffff);
  const ApicEffect effect = apic.write_mmio(kIcr << 4, 0x4500);
  ASSERT_EQ(effect.kind, Kind::ipi);
  EXPECT_EQ(effect.ipi.destination, 5u);
  EXPECT_EQ(effect.ipi.mode, DeliveryMode::init);
  EXPECT_FALSE(effect.ipi.wide);
  EXPECT_EQ(apic.read_mmio(kIcrHigh << 4), 0x05000000u);
  const ApicEffect synthetic = apic.write_icr(uint64_t{0x07} << 56 | 0x61);
  EXPECT_EQ(synthetic.ipi.destination, 7u);
  EXPECT_EQ(synthetic.ipi.vector, 0x61);
}

TEST_F(LocalApicTest, WhatCannotBeSentIsNotSent) {
  start(Mode::x2apic);
  constexpr uint64_t kNothing[] = {
      0x8500,  // INIT level de-assert
      0x200,
      0x300,                // SMI, remote read
      0x700 | 0x41,         // ExtINT
      0x40000 | 0x400,      // NMI to self
      0x80000 | 0x600 | 9,  // SIPI to all including self
  };
  for (uint64_t value : kNothing) {
    write(kIcr, value);
    EXPECT_EQ(last.kind, Kind::none) << value;
  }
  write(kIcr, 0xc0000 | 0x4500);  // INIT to all others
  EXPECT_EQ(last.kind, Kind::ipi);
  EXPECT_EQ(last.ipi.shorthand, Ipi::Shorthand::others);
}

TEST_F(LocalApicTest, Destinations) {
  const auto physical = [](uint32_t to, bool wide) {
    Ipi ipi{};
    ipi.destination = to;
    ipi.wide = wide;
    return ipi;
  };
  const auto logical = [&](uint32_t to, bool wide) {
    Ipi ipi = physical(to, wide);
    ipi.logical = true;
    return ipi;
  };
  start(Mode::x2apic);
  EXPECT_TRUE(apic.matches(physical(kId3, true)));
  EXPECT_FALSE(apic.matches(physical(kId3 + 1, true)));
  EXPECT_TRUE(apic.matches(physical(0xff, false)));
  EXPECT_FALSE(apic.matches(physical(0xff, true)));
  EXPECT_TRUE(apic.matches(physical(0xffffffff, true)));
  EXPECT_TRUE(apic.matches(logical(2 << 16 | 0x18, true)));
  EXPECT_FALSE(apic.matches(logical(2 << 16 | 0x10, true)));
  EXPECT_FALSE(apic.matches(logical(3 << 16 | 0x08, true)));
  EXPECT_TRUE(apic.matches(logical(0xffffffff, true)));

  start(Mode::xapic);
  apic.write_mmio(kLdr << 4, 0x24000000);
  EXPECT_TRUE(apic.matches(logical(0x0c, false)));
  EXPECT_FALSE(apic.matches(logical(0x0b, false)));
  EXPECT_FALSE(apic.matches(logical(0x124, true)));
  apic.write_mmio(kDfr << 4, 0);  // cluster 2, member 2
  EXPECT_EQ(apic.read_mmio(kDfr << 4), 0x0fffffffu);
  EXPECT_TRUE(apic.matches(logical(0x26, false)));
  EXPECT_FALSE(apic.matches(logical(0x14, false)));
  EXPECT_FALSE(apic.matches(logical(0x2b, false)));
  EXPECT_TRUE(apic.matches(logical(0xff, false)));
  apic.power_on(Mode::disabled, false);
  EXPECT_FALSE(apic.matches(physical(kId3, true)));
}

// --- Timer. The fake TSC runs at 1 GHz, five ticks for one of the timer's clock. ---

constexpr uint64_t kTscPerClock = 1'000'000'000 / kApicHz;

TEST_F(LocalApicTest, OneShotCountsDownAndFiresOnce) {
  start(Mode::x2apic);
  write(kDivide, 3);  // by 16
  write(kLvtTimer, 0x31);
  const uint64_t begin = environment.tsc();
  write(kInitialCount, 1000);
  EXPECT_EQ(last.kind, Kind::timer);
  const uint64_t length = 1000 * 16 * kTscPerClock;
  EXPECT_EQ(apic.timer_deadline(), begin + length);
  EXPECT_EQ(read(kCurrentCount), 1000u);
  environment.advance(length / 4);
  EXPECT_EQ(read(kCurrentCount), 750u);
  apic.expire(environment.tsc());
  EXPECT_FALSE(apic.has_pending());
  environment.set_tsc(begin + length);
  EXPECT_EQ(read(kCurrentCount), 0u);
  apic.expire(environment.tsc());
  EXPECT_EQ(apic.highest_pending(), 0x31);
  EXPECT_EQ(apic.timer_deadline(), kNever);
  apic.acknowledge(0x31);
  environment.advance(10 * length);
  apic.expire(environment.tsc());
  EXPECT_EQ(read(kIrr + 1), 0u);
}

TEST_F(LocalApicTest, PeriodicKeepsItsPhase) {
  start(Mode::x2apic);
  write(kDivide, 0xb);  // by 1
  write(kLvtTimer, 1 << 17 | 0x31);
  const uint64_t begin = environment.tsc();
  write(kInitialCount, 2000);
  const uint64_t period = 2000 * kTscPerClock;
  environment.set_tsc(begin + period + 7);
  apic.expire(environment.tsc());
  EXPECT_EQ(apic.highest_pending(), 0x31);
  EXPECT_EQ(apic.timer_deadline(), begin + 2 * period);
  environment.set_tsc(begin + 5 * period + 1);  // three were missed
  apic.expire(environment.tsc());
  EXPECT_EQ(apic.timer_deadline(), begin + 6 * period);
  EXPECT_EQ(read(kCurrentCount), 2000u);
  write(kInitialCount, 0);
  EXPECT_EQ(apic.timer_deadline(), kNever);
}

TEST_F(LocalApicTest, AMaskedTimerCountsButIsSilent) {
  start(Mode::x2apic);
  write(kInitialCount, 1);
  environment.advance(1000);
  apic.expire(environment.tsc());
  EXPECT_FALSE(apic.has_pending());
  EXPECT_EQ(read(kCurrentCount), 0u);
}

TEST_F(LocalApicTest, ANewDivisorKeepsTheCount) {
  start(Mode::x2apic);
  write(kDivide, 0xb);
  write(kInitialCount, 1000);
  environment.advance(400 * kTscPerClock);
  write(kDivide, 0);  // by 2
  EXPECT_EQ(last.kind, Kind::timer);
  EXPECT_EQ(read(kCurrentCount), 600u);
  EXPECT_EQ(apic.timer_deadline(), environment.tsc() + 600 * 2 * kTscPerClock);
}

TEST_F(LocalApicTest, TscDeadlineIsInGuestTime) {
  start(Mode::x2apic);
  vcpu.tsc_offset = 0 - environment.tsc();  // the guest's TSC is 0
  const auto deadline = [&](uint64_t value) { ASSERT_TRUE(apic.write_msr(0x6e0, value)); };
  deadline(500);  // not in deadline mode
  EXPECT_EQ(apic.timer_deadline(), kNever);
  write(kLvtTimer, 2 << 17 | 0x31);
  write(kInitialCount, 100);  // ignored in this mode
  EXPECT_EQ(apic.timer_deadline(), kNever);
  deadline(500);
  EXPECT_EQ(apic.timer_deadline(), environment.tsc() + 500);
  EXPECT_EQ(*apic.read_msr(0x6e0), 500u);
  deadline(~uint64_t{0});
  EXPECT_EQ(apic.timer_deadline(), kNever);
  deadline(0);
  EXPECT_EQ(apic.timer_deadline(), kNever);
  deadline(500);
  environment.advance(500);
  apic.expire(environment.tsc());
  EXPECT_EQ(apic.highest_pending(), 0x31);
  EXPECT_EQ(*apic.read_msr(0x6e0), 0u);
  deadline(800);
  write(kLvtTimer, 0x31);  // leaving the mode disarms
  EXPECT_EQ(last.kind, Kind::timer);
  EXPECT_EQ(apic.timer_deadline(), kNever);
  vcpu.tsc_offset = 1000;
  write(kLvtTimer, 2 << 17 | 0x31);
  deadline(10);  // before the host's TSC began
  EXPECT_EQ(apic.timer_deadline(), 0u);
}

// --- State ---

TEST_F(LocalApicTest, SavedStateRestores) {
  start(Mode::x2apic);
  write(kDivide, 0xb);
  write(kLvtTimer, 1 << 17 | 0x31);
  write(kLvtLint0, 0x700);
  write(kInitialCount, 1000);
  write(kIcr, uint64_t{7} << 32 | 0x55);
  deliver(0x80, Trigger::level);
  ASSERT_TRUE(apic.accept(0x90, Trigger::edge, false));
  environment.advance(250 * kTscPerClock);
  abi::HvLocalInterruptControllerState state;
  apic.save(state);
  EXPECT_EQ(state.apic_counter_value, 750u);
  EXPECT_EQ(state.apic_irr[4], 1u << 16);

  Vcpu other{environment.root(), VpIndex(1), kId3};
  other.apic.power_on(Mode::x2apic, false);
  environment.advance(12345);
  ASSERT_TRUE(other.apic.restore(state));
  abi::HvLocalInterruptControllerState again;
  other.apic.save(again);
  EXPECT_EQ(memcmp(&state, &again, sizeof(state)), 0);
  EXPECT_EQ(other.apic.highest_pending(), 0x90);
  EXPECT_EQ(other.apic.timer_deadline(), environment.tsc() + 750 * kTscPerClock);
  other.apic.acknowledge(0x90);
  other.apic.write_eoi();
  EXPECT_TRUE(other.apic.write_eoi().level);
}

TEST_F(LocalApicTest, HostileStateIsRefused) {
  abi::HvLocalInterruptControllerState state;
  apic.save(state);
  state.apic_irr[0] = 1;
  EXPECT_FALSE(apic.restore(state));
  apic.save(state);
  state.apic_id ^= 1;
  EXPECT_FALSE(apic.restore(state));
  memset(&state, 0xff, sizeof(state));
  state.apic_id = static_cast<uint32_t>(apic.peek(kId));
  state.apic_isr[0] = state.apic_irr[0] = 0;
  EXPECT_TRUE(apic.restore(state));
}

TEST_F(LocalApicTest, OnlyALoneEdgeInterruptCanSkipItsEoi) {
  start(Mode::x2apic);
  EXPECT_FALSE(apic.can_skip_eoi());
  deliver(0x50);
  EXPECT_TRUE(apic.can_skip_eoi());
  ASSERT_TRUE(apic.accept(0x30, Trigger::edge, false));
  EXPECT_FALSE(apic.can_skip_eoi());
  apic.write_eoi();
  apic.acknowledge(0x30);
  EXPECT_TRUE(apic.can_skip_eoi());
  deliver(0x60);
  EXPECT_FALSE(apic.can_skip_eoi());
  apic.write_eoi();
  apic.write_eoi();
  deliver(0x60, Trigger::level);
  EXPECT_FALSE(apic.can_skip_eoi());
}

}  // namespace
}  // namespace hv::x86
