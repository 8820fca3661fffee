// SPDX-License-Identifier: MIT
#include "hypervisor/arch/x86/lazy_eoi.h"

#include <gtest/gtest.h>

#include "abi/tlfs/synic.h"
#include "tests/fake/environment.h"

namespace hv::x86 {
namespace {

constexpr Gpa kAssistPage = Gpa(0x3000);

class LazyEoiTest : public testing::Test {
 protected:
  LazyEoiTest() {
    vcpu.apic.power_on(LocalApic::Mode::x2apic, true);
    EXPECT_TRUE(vcpu.apic.write_msr(0x80f, 0x1ff));
    vcpu.vp_assist_msr = kAssistPage.value() | 1;
  }
  void deliver(uint8_t vector, arch::Trigger trigger = arch::Trigger::edge) {
    ASSERT_TRUE(vcpu.apic.accept(vector, trigger, false));
    vcpu.apic.acknowledge(vector);
  }
  bool in_service(uint8_t vector) const {
    return vcpu.apic.peek(apic_register::kIsr + vector / 32) >> (vector % 32) & 1;
  }

  fake::Environment environment;
  Partition& child = environment.make_child();
  Vcpu& vcpu = environment.make_running_vp(child, 0);
  uint32_t& assist = environment.at<abi::HvVpAssistPage>(child, kAssistPage).apic_assist;
};

TEST_F(LazyEoiTest, TheGuestTakesTheOffer) {
  assist = 0xf0;
  deliver(0x50);
  EXPECT_TRUE(offer_lazy_eoi(vcpu));
  EXPECT_EQ(assist, 0xf1u);
  settle_lazy_eoi(vcpu);  // an exit before the handler's end: the offer stands
  EXPECT_TRUE(vcpu.apic.skip_offered);
  EXPECT_TRUE(in_service(0x50));
  assist = 0xf0;
  settle_lazy_eoi(vcpu);
  EXPECT_FALSE(in_service(0x50));
  EXPECT_FALSE(vcpu.apic.skip_offered);
}

TEST_F(LazyEoiTest, WhatArrivesTakesTheOfferBack) {
  deliver(0x50);
  ASSERT_TRUE(offer_lazy_eoi(vcpu));
  ASSERT_TRUE(vcpu.apic.accept(0x40, arch::Trigger::edge, false));
  settle_lazy_eoi(vcpu);
  EXPECT_EQ(assist & 1, 0u);
  EXPECT_TRUE(in_service(0x50));  // the guest writes EOI
  EXPECT_FALSE(vcpu.apic.skip_offered);
}

TEST_F(LazyEoiTest, ANestedLevelInterruptIsNotSkipped) {
  deliver(0x50);
  ASSERT_TRUE(offer_lazy_eoi(vcpu));
  deliver(0x60, arch::Trigger::level);
  EXPECT_FALSE(offer_lazy_eoi(vcpu));
  EXPECT_EQ(assist & 1, 0u);
  EXPECT_TRUE(in_service(0x50));
  EXPECT_TRUE(in_service(0x60));
}

TEST_F(LazyEoiTest, WithoutAPageThereIsNoOffer) {
  deliver(0x50);
  vcpu.vp_assist_msr = kAssistPage.value();
  EXPECT_FALSE(offer_lazy_eoi(vcpu));
  vcpu.vp_assist_msr = uint64_t{1} << 40 | 1;  // nothing is mapped there
  EXPECT_FALSE(offer_lazy_eoi(vcpu));
  // The page goes away while the offer stands: the guest will have to write EOI.
  vcpu.vp_assist_msr = kAssistPage.value() | 1;
  ASSERT_TRUE(offer_lazy_eoi(vcpu));
  ASSERT_TRUE(child.space.unmap(kAssistPage));
  settle_lazy_eoi(vcpu);
  EXPECT_FALSE(vcpu.apic.skip_offered);
  EXPECT_TRUE(in_service(0x50));
}

}  // namespace
}  // namespace hv::x86
