// SPDX-License-Identifier: MIT
#include "hypervisor/arch/x86/requests.h"

#include "tests/unit/hypervisor/arch/x86/svm/exit_fixture.h"

namespace hv::x86 {
namespace {

using RequestsTest = svm::ExitTest;

TEST_F(RequestsTest, WhatIsAskedOfAHeldVpWaits) {
  vp.add(VpSuspend::intercept_suspend);
  post_request(vp, VpRequest::init);
  EXPECT_FALSE(process_requests(vp));
  EXPECT_TRUE(vp.has(VpRequest::init));
  vp.remove(VpSuspend::intercept_suspend);
  EXPECT_FALSE(process_requests(vp));
  EXPECT_TRUE(vp.is(VpSuspend::wait_for_startup));
}

TEST_F(RequestsTest, InitAndStartup) {
  vp.asid_lp = &environment.lp(0);
  fake::cpu().debug_registers = {1, 2, 3, 4};
  v.rip = 0x12345;
  post_request(vp, VpRequest::init);
  vp.startup_vector = 0x9a;
  post_request(vp, VpRequest::startup);
  EXPECT_TRUE(process_requests(vp));
  EXPECT_EQ(v.cs.base, 0x9a000u);
  EXPECT_EQ(v.rip, 0u);
  EXPECT_EQ(vp.asid_lp, nullptr) << "what it translated before is void";
  EXPECT_EQ(fake::cpu().debug_registers, (std::array<uint64_t, 4>{}));
  vp.startup_vector = 0x10;
  post_request(vp, VpRequest::startup);
  EXPECT_TRUE(process_requests(vp));
  EXPECT_EQ(v.cs.base, 0x9a000u) << "a second SIPI means nothing";
}

TEST_F(RequestsTest, AnInitOfTheRootEndsItsLevelInterrupts) {
  Vcpu& root = environment.make_running_vp(environment.root(), 0);
  post_request(root, VpRequest::init);
  EXPECT_FALSE(process_requests(root));
  EXPECT_EQ(std::ranges::count(environment.ended_levels, 0x31), 1);
}

TEST_F(RequestsTest, AHaltEndsWithWhatTheGuestCanTake) {
  ASSERT_TRUE(vp.apic.write_base(apic_base::Extended::set(vp.apic.base(), 1)));
  ASSERT_TRUE(vp.apic.write_msr(0x80f, 0x1ff));
  vp.add(VpSuspend::halted);
  arch::raise_interrupt(vp, 0x55);
  EXPECT_FALSE(process_requests(vp)) << "interrupts are off";
  v.rflags |= rflags::kIf;
  post_request(vp, VpRequest::evaluate);
  EXPECT_TRUE(process_requests(vp));
  vp.add(VpSuspend::halted);
  v.rflags &= ~rflags::kIf;
  vp.idle_wait = true;  // the guest-idle MSR
  post_request(vp, VpRequest::evaluate);
  EXPECT_TRUE(process_requests(vp));
}

}  // namespace
}  // namespace hv::x86
