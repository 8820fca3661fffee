// SPDX-License-Identifier: MIT
#include "hypervisor/arch/x86/apic_routing.h"

#include <gtest/gtest.h>

#include "abi/tlfs/hypercall.h"
#include "tests/fake/environment.h"

namespace hv::x86 {
namespace {

constexpr unsigned kVps = 4;

class ApicRoutingTest : public testing::Test {
 protected:
  ApicRoutingTest() {
    for (unsigned i = 0; i < kVps; ++i) {
      vps[i] = &environment.make_running_vp(child, i, i % 2);
      vps[i]->apic.power_on(LocalApic::Mode::x2apic, i == 0);
      EXPECT_TRUE(vps[i]->apic.write_msr(0x80f, 0x1ff));
    }
  }
  // VPs, as bits, that got the vector; forgets it.
  unsigned receivers(uint8_t vector) {
    unsigned got = 0;
    for (unsigned i = 0; i < kVps; ++i) {
      if (vps[i]->apic.highest_pending() != vector) continue;
      EXPECT_TRUE(vps[i]->take(VpRequest::interrupt));
      vps[i]->apic.acknowledge(vector);
      vps[i]->apic.write_eoi();
      got |= 1u << i;
    }
    return got;
  }
  unsigned requested(VpRequest request) {
    unsigned got = 0;
    for (unsigned i = 0; i < kVps; ++i) got |= vps[i]->take(request) ? 1u << i : 0;
    return got;
  }
  void send(unsigned from, uint64_t icr) {
    const auto effect = vps[from]->apic.write_msr(0x830, icr);
    ASSERT_TRUE(effect);
    carry_out(*vps[from], *effect);
  }
  Result<> raise(abi::HvInterruptType type, uint64_t flags, uint64_t destination, uint8_t vector) {
    return arch::assert_interrupt(child, static_cast<uint64_t>(type) | flags, destination, vector);
  }

  fake::Environment environment;
  Partition& child = environment.make_child();
  std::array<Vcpu*, kVps> vps{};
};

using Type = abi::HvInterruptType;
constexpr uint64_t kLevel = uint64_t{1} << 32, kLogical = uint64_t{1} << 33;

TEST_F(ApicRoutingTest, IpisReachTheirDestinations) {
  send(0, uint64_t{2} << 32 | 0x41);
  EXPECT_EQ(receivers(0x41), 0b0100u);
  send(0, uint64_t{0b1010} << 32 | 1 << 11 | 0x42);
  EXPECT_EQ(receivers(0x42), 0b1010u);
  send(1, 1 << 18 | 0x43);
  EXPECT_EQ(receivers(0x43), 0b0010u);
  send(1, 2 << 18 | 0x44);
  EXPECT_EQ(receivers(0x44), 0b1111u);
  send(1, 3 << 18 | 0x45);
  EXPECT_EQ(receivers(0x45), 0b1101u);
  send(3, uint64_t{0xffffffff} << 32 | 0x46);
  EXPECT_EQ(receivers(0x46), 0b1111u);
  send(3, uint64_t{99} << 32 | 0x47);
  EXPECT_EQ(receivers(0x47), 0u);
}

TEST_F(ApicRoutingTest, LowestPriorityChoosesOne) {
  for (unsigned i = 0; i < kVps; ++i) vps[i]->apic.set_tpr(0x30);
  vps[2]->apic.set_tpr(0x10);
  send(0, uint64_t{0xf} << 32 | 1 << 11 | 0x100 | 0x51);
  EXPECT_EQ(receivers(0x51), 0b0100u);
  send(0, uint64_t{0b1011} << 32 | 1 << 11 | 0x100 | 0x52);
  const unsigned got = receivers(0x52);
  EXPECT_EQ(got & (got - 1), 0u);
  EXPECT_NE(got & 0b1011, 0u);
}

TEST_F(ApicRoutingTest, OtherModesBecomeRequests) {
  send(0, uint64_t{1} << 32 | 0x4500);
  EXPECT_EQ(requested(VpRequest::init), 0b0010u);
  send(0, uint64_t{1} << 32 | 0x600 | 0x9a);
  EXPECT_EQ(requested(VpRequest::startup), 0b0010u);
  EXPECT_EQ(vps[1]->startup_vector, 0x9a);
  send(0, 3 << 18 | 0x400);
  EXPECT_EQ(requested(VpRequest::nmi), 0b1110u);
  EXPECT_EQ(requested(VpRequest::interrupt), 0u);
}

TEST_F(ApicRoutingTest, AnInterruptWakesAndKicks) {
  environment.load(1, vps[1]);
  vps[1]->run_state = Vp::RunState::running;
  const unsigned before = environment.kicks(1);
  arch::raise_interrupt(*vps[1], 0x61);
  EXPECT_GT(environment.kicks(1), before);
  EXPECT_EQ(receivers(0x61), 0b0010u);
  vps[1]->run_state = Vp::RunState::blocked;
  environment.load(1, nullptr);
}

TEST_F(ApicRoutingTest, AssertedInterrupts) {
  ASSERT_TRUE(raise(Type::HvX64InterruptTypeFixed, 0, 3, 0x71));
  EXPECT_EQ(receivers(0x71), 0b1000u);
  ASSERT_TRUE(raise(Type::HvX64InterruptTypeFixed, kLogical, 0b0110, 0x72));
  EXPECT_EQ(receivers(0x72), 0b0110u);
  ASSERT_TRUE(raise(Type::HvX64InterruptTypeNmi, 0, 1, 0));
  EXPECT_EQ(requested(VpRequest::nmi), 0b0010u);
  ASSERT_TRUE(raise(Type::HvX64InterruptTypeExtInt, 0, 0, 0x08));
  EXPECT_EQ(vps[0]->extint_vector, 0x08);
  arch::clear_interrupt(child);
  EXPECT_EQ(requested(VpRequest::extint), 0u);

  for (const auto type : {Type::HvX64InterruptTypeSmi, Type::HvX64InterruptTypeRemoteRead,
                          static_cast<Type>(10), static_cast<Type>(0xffffffff)})
    EXPECT_EQ(raise(type, 0, 0, 0x50).error(), Error::invalid_parameter);
  EXPECT_EQ(raise(Type::HvX64InterruptTypeFixed, 0, 0, 15).error(), Error::invalid_parameter);
  EXPECT_EQ(raise(Type::HvX64InterruptTypeFixed, 0, uint64_t{1} << 32, 0x50).error(),
            Error::invalid_parameter);
}

TEST_F(ApicRoutingTest, LocalPinsGoThroughTheirLvt) {
  ASSERT_TRUE(raise(Type::HvX64InterruptTypeLocalInt0, 0, 0, 0x20));
  EXPECT_EQ(requested(VpRequest::extint), 0u);  // masked
  ASSERT_TRUE(vps[0]->apic.write_msr(0x835, 0x700));
  ASSERT_TRUE(vps[0]->apic.write_msr(0x836, 0x400));
  ASSERT_TRUE(raise(Type::HvX64InterruptTypeLocalInt0, 0, 0, 0x20));
  EXPECT_EQ(requested(VpRequest::extint), 0b0001u);
  EXPECT_EQ(vps[0]->extint_vector, 0x20);
  ASSERT_TRUE(raise(Type::HvX64InterruptTypeLocalInt1, 0, 0, 0));
  EXPECT_EQ(requested(VpRequest::nmi), 0b0001u);
  ASSERT_TRUE(vps[0]->apic.write_msr(0x835, 0x66));
  ASSERT_TRUE(raise(Type::HvX64InterruptTypeLocalInt0, 0, 0, 0x20));
  EXPECT_EQ(receivers(0x66), 0b0001u);
}

TEST_F(ApicRoutingTest, TheEndOfALevelInterruptIsReported) {
  ASSERT_TRUE(raise(Type::HvX64InterruptTypeFixed, kLevel, 2, 0x81));
  vps[2]->apic.acknowledge(0x81);
  const auto effect = vps[2]->apic.write_msr(0x80b, 0);
  ASSERT_TRUE(effect);
  carry_out(*vps[2], *effect);
  EXPECT_EQ(vps[2]->synic.waiting_intercept.ended[0x81 / 64], uint64_t{1} << 0x81 % 64);
  EXPECT_TRUE(environment.ended_levels.empty());
}

// Whatever became of the trigger mode in between: the physical one waits for this.
TEST_F(ApicRoutingTest, EveryEndOfTheRootIsPhysicalToo) {
  Vcpu& root = environment.make_running_vp(environment.root(), 0);
  ASSERT_TRUE(root.apic.write_msr(0x80f, 0x1ff));
  arch::raise_interrupt(root, 0x91, arch::Trigger::level);
  root.apic.acknowledge(0x91);
  arch::raise_interrupt(root, 0x91, arch::Trigger::edge);
  const auto effect = root.apic.write_msr(0x80b, 0);
  ASSERT_TRUE(effect);
  carry_out(root, *effect);
  EXPECT_EQ(environment.ended_levels, std::vector<uint8_t>{0x91});
}

TEST_F(ApicRoutingTest, ATimerWriteMovesTheDeadline) {
  ASSERT_TRUE(vps[0]->apic.write_msr(0x832, 0x31));
  const auto effect = vps[0]->apic.write_msr(0x838, 1000);
  ASSERT_TRUE(effect);
  EXPECT_EQ(vps[0]->deadline, kNever);
  carry_out(*vps[0], *effect);
  EXPECT_EQ(vps[0]->deadline, vps[0]->apic.timer_deadline());
}

}  // namespace
}  // namespace hv::x86
