// SPDX-License-Identifier: MIT
// What a parent finds in a VP's register page, and what becomes of what it leaves there.
#include "hypervisor/sched/run_queue.h"
#include "tests/unit/hypervisor/arch/x86/svm/exit_fixture.h"

namespace hv::svm {
namespace {

class RegisterPageTest : public ExitTest {
 protected:
  RegisterPageTest() {
    code({0x0f, 0xa2});
    EXPECT_TRUE(install(abi::HvInterceptType::HvInterceptTypeX64Cpuid, 0x123));
    v.rax = 0x123;
    vp.gpr[x86::kRbx] = 0xb0b;
    v.rsp = 0x5000;
    EXPECT_EQ(sched::pick(environment.lp(0)), &vp);
    exit(Exit::cpuid);
    sched::put_back(environment.lp(0), vp);
  }
  Result<> let_go() {
    return arch::set_register(vp, abi::HvRegisterName::HvRegisterInterceptSuspend, {});
  }
  void change(unsigned register_class) { page.dirty |= 1u << register_class; }

  const Spa spa = vp.register_page = *child.pool.allocate();
  abi::HvVpRegisterPage& page = *direct_map<abi::HvVpRegisterPage>(spa);
};

TEST_F(RegisterPageTest, ShowsTheRegistersOfTheIntercept) {
  EXPECT_EQ(page.version, abi::kHvVpRegisterPageVersion1);
  EXPECT_EQ(page.is_valid, 1);
  EXPECT_EQ(page.dirty, 0u);
  EXPECT_EQ(page.gp_registers[x86::kRax], 0x123u);
  EXPECT_EQ(page.gp_registers[x86::kRbx], 0xb0bu);
  EXPECT_EQ(page.gp_registers[x86::kRsp], 0x5000u);
  EXPECT_EQ(page.rip, kCode);
  EXPECT_EQ(page.rflags, 2u);
  EXPECT_EQ(page.segment[1].limit, 0xffffu);
  EXPECT_EQ(page.cr0, v.cr0);
  EXPECT_EQ(page.efer, 0u) << "not the hypervisor's SVME";
  EXPECT_EQ(page.xfem, 1u);
}

TEST_F(RegisterPageTest, TakesBackWhatIsMarked) {
  page.gp_registers[x86::kRax] = 0xa;
  page.gp_registers[x86::kRcx] = 0xc;
  page.rip = kCode + 2;
  page.rflags = 0x202;
  page.xmm[5] = {1, 2};
  page.segment[3].base = 0x30000;
  change(abi::kHvX64RegisterClassGeneralBit);
  change(abi::kHvX64RegisterClassIpBit);
  change(abi::kHvX64RegisterClassXmmBit);
  ASSERT_TRUE(let_go());
  EXPECT_EQ(page.is_valid, 0);
  EXPECT_EQ(v.rax, 0xau);
  EXPECT_EQ(vp.gpr[x86::kRcx], 0xcu);
  EXPECT_EQ(v.rip, kCode + 2);
  EXPECT_EQ(arch::get_register(vp, abi::HvRegisterName::HvX64RegisterXmm15)->reg128.low, 0u);
  EXPECT_EQ(
      arch::get_register(vp, static_cast<abi::HvRegisterName>(
                                 static_cast<uint32_t>(abi::HvRegisterName::HvX64RegisterXmm0) + 5))
          ->reg128.high,
      2u);
  EXPECT_EQ(v.rflags, 2u) << "not marked";
  EXPECT_EQ(v.ds.base, 0u) << "not marked";
}

TEST_F(RegisterPageTest, TakesSegmentsAndFlags) {
  page.segment[3].base = 0x30000;
  page.rflags = 0x246;
  change(abi::kHvX64RegisterClassSegmentBit);
  change(abi::kHvX64RegisterClassFlagsBit);
  ASSERT_TRUE(let_go());
  EXPECT_EQ(v.ds.base, 0x30000u);
  EXPECT_EQ(v.rflags, 0x246u);
}

TEST_F(RegisterPageTest, RefusesWhatNoRegisterTakes) {
  page.rflags = 1 << 15;
  change(abi::kHvX64RegisterClassFlagsBit);
  EXPECT_EQ(let_go().error(), Error::invalid_register_value);
  EXPECT_TRUE(vp.is(VpSuspend::intercept_suspend));
  EXPECT_TRUE(let_go()) << "the page is no longer valid: the VP goes on as it was";
}

TEST_F(RegisterPageTest, WaitsForTheLpThatIsPuttingItsStateAway) {
  change(abi::kHvX64RegisterClassGeneralBit);
  vp.run_state = Vp::RunState::running;
  EXPECT_EQ(let_go().error(), Error::retry);
  vp.run_state = Vp::RunState::blocked;
  EXPECT_TRUE(let_go());
}

}  // namespace
}  // namespace hv::svm
