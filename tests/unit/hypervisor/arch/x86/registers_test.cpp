// SPDX-License-Identifier: MIT
// VP registers as a parent reads and sets them: where each goes, what is refused, and that no
// parent can bring a VP into a state that VMRUN or XRSTOR would not take.
#include "hypervisor/arch/x86/registers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "abi/tlfs/msr.h"
#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/msr.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/arch/x86/xsave.h"
#include "hypervisor/core/arch.h"
#include "hypervisor/core/scheduler.h"
#include "hypervisor/sched/run_queue.h"
#include "tests/fake/cpu.h"
#include "tests/fake/environment.h"

namespace hv::x86 {
namespace {

using abi::HvRegisterName;
using abi::HvRegisterValue;
using enum abi::HvRegisterName;

HvRegisterName at(HvRegisterName first, uint32_t index) {
  return static_cast<HvRegisterName>(static_cast<uint32_t>(first) + index);
}

HvRegisterValue value_of(uint64_t low, uint64_t high = 0) {
  HvRegisterValue value{};
  value.reg128 = {low, high};
  return value;
}

class Registers : public testing::Test {
 protected:
  Registers() { init_cpuid(); }

  fake::Environment environment;
  Partition& child = environment.make_child();
  Vcpu& vcpu = environment.make_vp(child, 0);
  svm::Vmcb& vmcb = *vcpu.vmcb;

  HvRegisterValue read(HvRegisterName name) {
    const auto value = arch::get_register(vcpu, name);
    EXPECT_TRUE(value) << std::hex << static_cast<uint32_t>(name);
    return value ? *value : HvRegisterValue{};
  }
  uint64_t get(HvRegisterName name) { return read(name).reg64; }
  Result<> set(HvRegisterName name, uint64_t value) {
    return arch::set_register(vcpu, name, value_of(value));
  }
  void expect_set(HvRegisterName name, uint64_t value) {
    EXPECT_TRUE(set(name, value)) << std::hex << static_cast<uint32_t>(name) << " = " << value;
    EXPECT_EQ(get(name), value) << std::hex << static_cast<uint32_t>(name);
  }
  void expect_refused(HvRegisterName name, uint64_t value,
                      Error error = Error::invalid_register_value) {
    const auto before = arch::get_register(vcpu, name);
    const auto result = set(name, value);
    EXPECT_FALSE(result) << std::hex << static_cast<uint32_t>(name) << " = " << value;
    if (!result) {
      EXPECT_EQ(result.error(), error);
    }
    const auto after = arch::get_register(vcpu, name);
    if (before && after) {
      EXPECT_EQ(std::memcmp(&*before, &*after, sizeof(*after)), 0)
          << "changed " << std::hex << static_cast<uint32_t>(name);
    }
  }
  // Every name that can be read.
  std::vector<HvRegisterName> all_names() {
    std::vector<HvRegisterName> names;
    for (uint32_t code = 0; code < 0x100000; ++code)
      if (arch::get_register(vcpu, static_cast<HvRegisterName>(code)))
        names.push_back(static_cast<HvRegisterName>(code));
    return names;
  }
  // As a 64-bit kernel has them.
  void enter_long_mode() {
    expect_set(HvX64RegisterCr4, cr4::kPae);
    EXPECT_TRUE(set(HvX64RegisterEfer, efer::kLme | efer::kLma));
    expect_set(HvX64RegisterCr0, cr0::kPg | cr0::kPe | cr0::kEt);
    HvRegisterValue code{};
    code.segment = {.base = 0, .limit = 0xffffffff, .selector = 0x10, .attributes = 0xa09b};
    EXPECT_TRUE(arch::set_register(vcpu, HvX64RegisterCs, code));
  }
};

TEST_F(Registers, TakeBackWhatTheyRead) {
  const std::vector<HvRegisterName> names = all_names();
  EXPECT_GT(names.size(), 230u);
  const auto read_only = [](HvRegisterName name) {
    return name == HvRegisterHypervisorVersion ||
           (name >= HvRegisterPrivilegesAndFeaturesInfo &&
            name <= HvRegisterIsolationConfiguration) ||
           (name >= HvX64RegisterApicId && name <= HvX64RegisterApicSelfIpi &&
            name != HvX64RegisterApicTpr) ||
           name == HvX64RegisterIcr;
  };
  for (HvRegisterName name : names) {
    const HvRegisterValue value = read(name);
    EXPECT_EQ(arch::set_register(vcpu, name, value).has_value(), !read_only(name))
        << std::hex << static_cast<uint32_t>(name);
    const HvRegisterValue again = read(name);
    EXPECT_EQ(std::memcmp(&value, &again, sizeof(value)), 0)
        << std::hex << static_cast<uint32_t>(name);
  }
  EXPECT_TRUE(fake::cpu().faults().empty());
}

TEST_F(Registers, AreUnknownByOtherNames) {
  for (uint32_t code :
       {0x3u, 0x5u, 0x20012u, 0x40006u, 0x60008u, 0x80018u, 0xd0002u, 0xffffffffu}) {
    const auto name = static_cast<HvRegisterName>(code);
    EXPECT_EQ(arch::get_register(vcpu, name).error(), Error::invalid_parameter) << code;
    EXPECT_EQ(set(name, 0).error(), Error::invalid_parameter) << code;
  }
}

TEST_F(Registers, LieInTheControlBlock) {
  struct {
    HvRegisterName name;
    uint64_t svm::Vmcb::* member;
  } constexpr kPlain[] = {
      {HvX64RegisterRax, &svm::Vmcb::rax},
      {HvX64RegisterRsp, &svm::Vmcb::rsp},
      {HvX64RegisterRip, &svm::Vmcb::rip},
      {HvX64RegisterCr2, &svm::Vmcb::cr2},
      {HvX64RegisterCr3, &svm::Vmcb::cr3},
      {HvX64RegisterKernelGsBase, &svm::Vmcb::kernel_gs_base},
      {HvX64RegisterSysenterCs, &svm::Vmcb::sysenter_cs},
      {HvX64RegisterSysenterEip, &svm::Vmcb::sysenter_eip},
      {HvX64RegisterSysenterEsp, &svm::Vmcb::sysenter_esp},
      {HvX64RegisterStar, &svm::Vmcb::star},
      {HvX64RegisterLstar, &svm::Vmcb::lstar},
      {HvX64RegisterCstar, &svm::Vmcb::cstar},
      {HvX64RegisterSfmask, &svm::Vmcb::sfmask},
  };
  uint64_t value = 0x123456789000;
  for (const auto& plain : kPlain) {
    expect_set(plain.name, ++value);
    EXPECT_EQ(vmcb.*plain.member, value);
  }
  for (uint32_t i = 0; i < 16; ++i) expect_set(at(HvX64RegisterRax, i), 0x1000 + i);
  EXPECT_EQ(vmcb.rax, 0x1000u);
  EXPECT_EQ(vmcb.rsp, 0x1004u);
  EXPECT_EQ(vcpu.gpr[kR15], 0x100fu);
  expect_set(HvX64RegisterPat, 0x0605040100070406);
  EXPECT_EQ(vmcb.pat, 0x0605040100070406u);
  ASSERT_TRUE(set(HvX64RegisterRflags, 0x246));
  EXPECT_EQ(vmcb.rflags, 0x246u);
  ASSERT_TRUE(set(HvX64RegisterRflags, 0));
  EXPECT_EQ(vmcb.rflags, rflags::kReserved1);
}

TEST_F(Registers, ConvertSegments) {
  struct {
    HvRegisterName name;
    svm::Segment svm::Vmcb::* member;
  } constexpr kSegments[] = {
      {HvX64RegisterEs, &svm::Vmcb::es},     {HvX64RegisterCs, &svm::Vmcb::cs},
      {HvX64RegisterSs, &svm::Vmcb::ss},     {HvX64RegisterDs, &svm::Vmcb::ds},
      {HvX64RegisterFs, &svm::Vmcb::fs},     {HvX64RegisterGs, &svm::Vmcb::gs},
      {HvX64RegisterLdtr, &svm::Vmcb::ldtr}, {HvX64RegisterTr, &svm::Vmcb::tr},
  };
  uint16_t selector = 8;
  for (const auto& segment : kSegments) {
    HvRegisterValue value{};
    value.segment = {.base = 0xffff800000001000 + selector,
                     .limit = 0xfffffu + selector,
                     .selector = selector,
                     .attributes = 0xa0fb};
    ASSERT_TRUE(arch::set_register(vcpu, segment.name, value));
    const svm::Segment& s = vmcb.*segment.member;
    EXPECT_EQ(s.base, 0xffff800000001000 + selector);
    EXPECT_EQ(s.limit, 0xfffffu + selector);
    EXPECT_EQ(s.selector, selector);
    EXPECT_EQ(s.attributes, 0xafb);
    const HvRegisterValue back = read(segment.name);
    EXPECT_EQ(std::memcmp(&back, &value, sizeof(value)), 0);
    value.segment.base = uint64_t{1} << 60;
    EXPECT_FALSE(arch::set_register(vcpu, segment.name, value));
    ++selector;
  }
  HvRegisterValue table{};
  table.table.base = 0x123000;
  table.table.limit = 0xfff;
  for (auto [name, member] : {std::pair(HvX64RegisterGdtr, &svm::Vmcb::gdtr),
                              std::pair(HvX64RegisterIdtr, &svm::Vmcb::idtr)}) {
    ++table.table.limit;
    ASSERT_TRUE(arch::set_register(vcpu, name, table));
    EXPECT_EQ((vmcb.*member).base, 0x123000u);
    EXPECT_EQ((vmcb.*member).limit, table.table.limit);
    const HvRegisterValue back = read(name);
    EXPECT_EQ(std::memcmp(&back, &table, sizeof(table)), 0);
  }
}

TEST_F(Registers, TakeThePrivilegeLevelFromTheStackSegment) {
  HvRegisterValue stack{};
  stack.segment.attributes = 0x40f3;
  ASSERT_TRUE(arch::set_register(vcpu, HvX64RegisterSs, stack));
  EXPECT_EQ(vmcb.cpl, 3);
  vmcb.ss.attributes = 0x493;  // what SYSRET leaves
  EXPECT_EQ(read(HvX64RegisterSs).segment.attributes, 0x40f3);
}

TEST_F(Registers, DeriveLongModeInAnyOrder) {
  struct Step {
    HvRegisterName name;
    uint64_t value;
  };
  std::vector<Step> steps = {{HvX64RegisterCr0, cr0::kPg | cr0::kPe},
                             {HvX64RegisterCr4, cr4::kPae},
                             {HvX64RegisterEfer, efer::kLme | efer::kLma}};
  const auto before = [](const Step& a, const Step& b) { return a.name < b.name; };
  do {
    reset(vcpu);
    for (const Step& step : steps) EXPECT_TRUE(set(step.name, step.value));
    EXPECT_EQ(get(HvX64RegisterEfer), efer::kLme | efer::kLma);
    EXPECT_EQ(vmcb.efer, efer::kLme | efer::kLma | efer::kSvme);
    EXPECT_TRUE(set(HvRegisterExplicitSuspend, 0));
    EXPECT_TRUE(set(HvRegisterExplicitSuspend, 1));
  } while (std::next_permutation(steps.begin(), steps.end(), before));
  EXPECT_TRUE(set(HvX64RegisterCr0, cr0::kPe));
  EXPECT_EQ(get(HvX64RegisterEfer), efer::kLme);
}

TEST_F(Registers, RefuseWhatTheProcessorWould) {
  struct {
    HvRegisterName name;
    uint64_t value;
  } constexpr kRefused[] = {
      {HvX64RegisterCr0, cr0::kNw},
      {HvX64RegisterCr0, cr0::kPg},
      {HvX64RegisterCr0, kBit<6>},
      {HvX64RegisterCr0, kBit<32>},
      {HvX64RegisterCr3, kBit<48>},
      {HvX64RegisterCr3, kBit<63>},
      {HvX64RegisterCr4, kBit<13>},
      {HvX64RegisterCr4, kBit<23>},  // no CET in the model
      {HvX64RegisterCr4, cr4::kPcide},
      {HvX64RegisterCr4, kBit<32>},
      {HvX64RegisterCr8, 16},
      {HvX64RegisterXfem, 0},
      {HvX64RegisterXfem, 5},     // AVX without SSE
      {HvX64RegisterXfem, 0x27},  // a part of AVX-512
      {HvX64RegisterXfem, 0xe3},  // AVX-512 without AVX
      {HvX64RegisterXfem, 0x207},
      {HvX64RegisterEfer, efer::kSvme},
      {HvX64RegisterEfer, efer::kLma},
      {HvX64RegisterEfer, efer::kLmsle},
      {HvX64RegisterDr6, kBit<32>},
      {HvX64RegisterDr7, kBit<32>},
      {HvX64RegisterRflags, kBit<22>},
      {HvX64RegisterRflags, kBit<3>},
      {HvX64RegisterPat, 0x0007040600070402},
      {HvX64RegisterPat, 0x0807040600070406},
      {HvX64RegisterLstar, kBit<60>},
      {HvX64RegisterSysenterEsp, kBit<62>},
      {HvX64RegisterTscAux, kBit<32>},
      {HvX64RegisterXss, 1},
      {HvX64RegisterSpecCtrl, 1},
      {HvX64RegisterInitialApicId, 1},
      {HvX64RegisterApicTpr, 0x100},
      {HvX64RegisterMsrMtrrFix4kC0000, 0x0202020202020202},
      {HvRegisterVpIndex, 1},
      {HvRegisterSint0, 5},
      {HvRegisterExplicitSuspend, 2},
      {HvRegisterInterceptSuspend, 2},
      {HvRegisterInternalActivityState, 8},
      {HvRegisterInterruptState, 4},
      {HvRegisterPendingEvent1, 1},
  };
  for (const auto& refused : kRefused) expect_refused(refused.name, refused.value);
  expect_refused(HvX64RegisterDeliverabilityNotifications, 1, Error::feature_unavailable);
}

TEST_F(Registers, NormalizeDebugRegisters) {
  for (uint32_t i = 0; i < 4; ++i) expect_set(at(HvX64RegisterDr0, i), 0x1000 * i);
  EXPECT_EQ(vcpu.dr[3], 0x3000u);
  ASSERT_TRUE(set(HvX64RegisterDr6, 0xffff));
  EXPECT_EQ(vmcb.dr6, 0xffffefffu);
  ASSERT_TRUE(set(HvX64RegisterDr7, 0xffffffff));
  EXPECT_EQ(vmcb.dr7, 0xffff27ffu);
  ASSERT_TRUE(set(HvX64RegisterDr7, 0));
  EXPECT_EQ(vmcb.dr7, 0x400u);
}

// --- Suspension ---
TEST_F(Registers, HoldAndReleaseTheVp) {
  EXPECT_EQ(get(HvRegisterExplicitSuspend), 1u);
  EXPECT_EQ(sched::pick(environment.lp(0)), nullptr);
  ASSERT_TRUE(set(HvRegisterInterceptSuspend, 1));
  ASSERT_TRUE(set(HvRegisterExplicitSuspend, 0));
  EXPECT_EQ(sched::pick(environment.lp(0)), nullptr);
  ASSERT_TRUE(set(HvRegisterInterceptSuspend, 0));
  Vp* const running = sched::pick(environment.lp(0));
  ASSERT_EQ(running, &vcpu);
  environment.load(0, running);

  environment.run_on(1);
  EXPECT_EQ(set(HvRegisterExplicitSuspend, 1).error(), Error::retry);
  EXPECT_EQ(set(HvRegisterExplicitSuspend, 1).error(), Error::retry);
  EXPECT_GE(environment.kicks(0), 1u);
  EXPECT_EQ(get(HvRegisterExplicitSuspend), 1u);
  environment.run_on(0);
  environment.load(0, nullptr);
  sched::put_back(environment.lp(0), vcpu);
  environment.run_on(1);
  EXPECT_TRUE(set(HvRegisterExplicitSuspend, 1));
}

TEST_F(Registers, DoNotLetAVpRunThatCannotBeEntered) {
  enter_long_mode();
  HvRegisterValue code = read(HvX64RegisterCs);
  code.segment.attributes |= 1u << abi::kHvSegmentDefaultBit;
  ASSERT_TRUE(arch::set_register(vcpu, HvX64RegisterCs, code));
  ASSERT_TRUE(set(HvRegisterInterceptSuspend, 1));
  EXPECT_TRUE(set(HvRegisterInterceptSuspend, 0));  // still held
  EXPECT_EQ(set(HvRegisterExplicitSuspend, 0).error(), Error::invalid_register_value);
  EXPECT_EQ(get(HvRegisterExplicitSuspend), 1u);
  code.segment.attributes = 0xa09b;
  ASSERT_TRUE(arch::set_register(vcpu, HvX64RegisterCs, code));
  ASSERT_TRUE(set(HvX64RegisterCr4, 0));
  EXPECT_FALSE(set(HvRegisterExplicitSuspend, 0));
  ASSERT_TRUE(set(HvX64RegisterCr4, cr4::kPae));
  ASSERT_TRUE(set(HvX64RegisterRflags, rflags::kVm));
  EXPECT_FALSE(set(HvRegisterExplicitSuspend, 0));
  ASSERT_TRUE(set(HvX64RegisterRflags, 0));
  EXPECT_TRUE(set(HvRegisterExplicitSuspend, 0));
}

TEST_F(Registers, ShowTheActivityState) {
  EXPECT_EQ(get(HvRegisterInternalActivityState), 0u);
  expect_set(HvRegisterInternalActivityState, 1 << abi::kHvActivityHaltSuspendBit);
  EXPECT_TRUE(vcpu.is(VpSuspend::halted));
  EXPECT_FALSE(vcpu.idle_wait);
  expect_set(HvRegisterInternalActivityState, 1 << abi::kHvActivityIdleSuspendBit);
  EXPECT_TRUE(vcpu.idle_wait);
  expect_set(HvRegisterInternalActivityState, 1 << abi::kHvActivityStartupSuspendBit);
  EXPECT_FALSE(vcpu.is(VpSuspend::halted));
  EXPECT_TRUE(vcpu.is(VpSuspend::wait_for_startup));
  Vcpu& second = environment.make_vp(child, 1);
  EXPECT_EQ(arch::get_register(second, HvRegisterInternalActivityState)->reg64,
            uint64_t{1} << abi::kHvActivityStartupSuspendBit);
}

// --- Events ---
constexpr uint64_t interruption(unsigned type, unsigned vector, unsigned length = 0) {
  return 1 | type << 1 | length << 5 | vector << 16;
}

TEST_F(Registers, ConvertPendingInterruptions) {
  const uint64_t page_fault = interruption(3, 14) | 1 << 4 | uint64_t{0x15} << 32;
  expect_set(HvRegisterPendingInterruption, page_fault);
  EXPECT_EQ(vcpu.event.raw, 0x0000001580000b0eu);
  expect_set(HvRegisterPendingInterruption, interruption(0, 0xff));
  EXPECT_EQ(vcpu.event.raw, 0x800000ffu);
  expect_set(HvRegisterPendingInterruption, 0);
  EXPECT_FALSE(vcpu.event.valid());

  vmcb.rip = 0x1000;
  ASSERT_TRUE(set(HvRegisterPendingInterruption, interruption(4, 0x80, 2)));
  EXPECT_EQ(vcpu.event.raw, 0x80000480u);
  EXPECT_EQ(vmcb.rip, 0x1002u);
  EXPECT_EQ(vmcb.next_rip, 0x1002u);
  ASSERT_TRUE(set(HvRegisterPendingInterruption, interruption(6, 3, 1)));
  EXPECT_EQ(vcpu.event.raw, 0x80000303u);
  EXPECT_EQ(vmcb.rip, 0x1003u);

  expect_set(HvRegisterPendingInterruption, interruption(2, 2));
  EXPECT_TRUE(vcpu.nmi_blocked);
  for (uint64_t bad :
       {interruption(1, 32), interruption(7, 32), interruption(2, 3), interruption(3, 2),
        interruption(3, 9), interruption(3, 15), interruption(3, 20), interruption(3, 32),
        interruption(0, 256), interruption(6, 33)})
    expect_refused(HvRegisterPendingInterruption, bad);
  EXPECT_EQ(vmcb.rip, 0x1003u);
}

TEST_F(Registers, DoNotInjectIntoSixtyFourBitCodeWhatItCannotRaise) {
  enter_long_mode();
  ASSERT_TRUE(set(HvRegisterPendingInterruption, interruption(6, 4, 1)));
  EXPECT_FALSE(set(HvRegisterExplicitSuspend, 0));
  ASSERT_TRUE(set(HvRegisterPendingInterruption, interruption(4, 4, 2)));
  EXPECT_TRUE(set(HvRegisterExplicitSuspend, 0));
}

TEST_F(Registers, ShowInterruptShadowAndNmiMask) {
  expect_set(HvRegisterInterruptState, 3);
  EXPECT_EQ(vmcb.interrupt_shadow, 1u);
  EXPECT_TRUE(vcpu.nmi_blocked);
  EXPECT_TRUE(vmcb.intercept3 & svm::intercept3::kIret);
  expect_set(HvRegisterInterruptState, 0);
  EXPECT_FALSE(vmcb.intercept3 & svm::intercept3::kIret);
}

TEST_F(Registers, QueueExceptionsAndExternalInterrupts) {
  HvRegisterValue event{};
  event.pending_exception_event = {.header = 1,
                                   .flags = 1,
                                   .vector = vector::kPf,
                                   .error_code = 6,
                                   .exception_parameter = 0xdead000};
  ASSERT_TRUE(arch::set_register(vcpu, HvRegisterPendingEvent0, event));
  EXPECT_EQ(get(HvRegisterPendingInterruption), interruption(3, 14) | 1 << 4 | uint64_t{6} << 32);
  EXPECT_EQ(vmcb.cr2, 0xdead000u);
  ASSERT_TRUE(arch::set_register(vcpu, HvRegisterPendingEvent0, event));
  EXPECT_EQ(vcpu.event.raw & 0xff, vector::kDf);
  EXPECT_FALSE(arch::set_register(vcpu, HvRegisterPendingEvent0, event));

  event = {};
  event.pending_ext_int_event.header = 1 | 5 << 1;
  event.pending_ext_int_event.vector = 0x31;
  ASSERT_TRUE(arch::set_register(vcpu, HvRegisterPendingEvent0, event));
  EXPECT_TRUE(vcpu.has(VpRequest::extint));
  EXPECT_EQ(vcpu.extint_vector, 0x31);
  EXPECT_EQ(get(HvRegisterPendingEvent0), 0x310bu);
  ASSERT_TRUE(set(HvRegisterPendingEvent0, 0));
  EXPECT_FALSE(vcpu.has(VpRequest::extint));
  expect_refused(HvRegisterPendingEvent0, 1 | 1 << 1);  // a memory intercept
}

TEST_F(Registers, WatchMessageSlots) {
  // Slots of a SynIC that is off are not free: the request stays.
  expect_set(HvX64RegisterDeliverabilityNotifications,
             uint64_t{0x8004} << abi::kHvNotifySintsShift);
  EXPECT_EQ(vcpu.synic.notify_deliverable(), 0x8004);
}

// --- XSAVE area ---
TEST_F(Registers, ReachVectorAndFloatingPointRegisters) {
  XsaveArea& area = xsave_area(vcpu);
  std::memset(area.xmm, 0xee, sizeof(area.xmm));  // stale: XSTATE_BV says initial
  std::memset(area.st, 0xee, sizeof(area.st));
  area.control = 0xeeee;
  ASSERT_TRUE(arch::set_register(vcpu, at(HvX64RegisterXmm0, 3), value_of(1, 2)));
  EXPECT_EQ(read(HvX64RegisterXmm15).reg128.high, 0u);
  EXPECT_EQ(area.xstate_bv, xstate::kSse);
  EXPECT_EQ(area.xmm[3].low, 1u);
  EXPECT_EQ(area.xmm[3].high, 2u);
  EXPECT_EQ(area.xmm[4].low, 0u);
  EXPECT_EQ(read(HvX64RegisterFpControlStatus).fp_control_status.fp_control, 0x37f);
  ASSERT_TRUE(arch::set_register(vcpu, HvX64RegisterFpMmx7, value_of(7, 0xffff1234)));
  EXPECT_EQ(read(HvX64RegisterFpMmx7).reg128.high, 0x1234u);
  EXPECT_EQ(area.xstate_bv, xstate::kSse | xstate::kX87);

  HvRegisterValue fp{};
  fp.fp_control_status = {.fp_control = 0x27f,
                          .fp_status = 0x3800,
                          .fp_tag = 0x80,
                          .reserved = 0,
                          .last_fp_op = 0x123,
                          .last_fp_rip = 0x4444};
  ASSERT_TRUE(arch::set_register(vcpu, HvX64RegisterFpControlStatus, fp));
  const HvRegisterValue back = read(HvX64RegisterFpControlStatus);
  EXPECT_EQ(std::memcmp(&fp, &back, sizeof(fp)), 0);

  HvRegisterValue xmm{};
  xmm.xmm_control_status.last_fp_rdp = 0x5555;
  xmm.xmm_control_status.xmm_status_control = 0x1fa0 | kBit<17>;
  ASSERT_TRUE(arch::set_register(vcpu, HvX64RegisterXmmControlStatus, xmm));
  EXPECT_EQ(area.mxcsr, 0x1fa0u | kBit<17>);
  EXPECT_EQ(area.data_pointer, 0x5555u);
  for (unsigned bit : {16, 18, 31}) {
    xmm.xmm_control_status.xmm_status_control = 1u << bit;
    EXPECT_FALSE(arch::set_register(vcpu, HvX64RegisterXmmControlStatus, xmm)) << bit;
  }

  ASSERT_TRUE(set(HvX64RegisterXfem, 7));
  load_state(vcpu);
  EXPECT_TRUE(fake::cpu().faults().empty());
  EXPECT_EQ(fake::cpu().xcr0, 7u);
  EXPECT_EQ(fake::cpu().extended.image[160 + 3 * 16], 1);
}

// --- What is behind MSRs and elsewhere ---
TEST_F(Registers, ReachMtrrsInTheirOrder) {
  expect_set(at(HvX64RegisterMsrMtrrPhysBase0, 1), 0x80000006);
  expect_set(at(HvX64RegisterMsrMtrrPhysMask0, 7), 0x800);
  EXPECT_EQ(*read_msr(vcpu, 0x202), 0x80000006u);
  EXPECT_EQ(*read_msr(vcpu, 0x20f), 0x800u);
  expect_set(HvX64RegisterMsrMtrrFix64k00000, 0x0606060606060606);
  expect_set(HvX64RegisterMsrMtrrFix16kA0000, 0x0101010101010101);
  expect_set(HvX64RegisterMsrMtrrFix4kF8000, 0x0505050505050505);
  EXPECT_EQ(*read_msr(vcpu, 0x250), 0x0606060606060606u);
  EXPECT_EQ(*read_msr(vcpu, 0x259), 0x0101010101010101u);
  EXPECT_EQ(*read_msr(vcpu, 0x26f), 0x0505050505050505u);
  expect_set(HvX64RegisterMsrMtrrDefType, 0xc06);
  expect_refused(HvX64RegisterMsrMtrrCap, 0);
}

TEST_F(Registers, ReachSyntheticRegisters) {
  expect_set(HvRegisterGuestOsId, 0x8100'0006'0001'0000);
  EXPECT_EQ(child.guest_os_id, 0x8100'0006'0001'0000u);
  expect_set(HvX64RegisterHypercall, 0x3001);
  expect_set(HvRegisterSipp, 0x5001);
  expect_set(HvRegisterSifp, 0x6001);
  expect_set(HvRegisterScontrol, 1);
  expect_set(at(HvRegisterSint0, 2), 0x20031);
  expect_set(HvRegisterVpAssistPage, 0x7001);
  EXPECT_EQ(*read_msr(vcpu, abi::kHvX64MsrSimp), 0x5001u);
  EXPECT_EQ(*read_msr(vcpu, abi::kHvX64MsrSint0 + 2), 0x20031u);
  EXPECT_EQ(get(HvRegisterVpIndex), 0u);
  EXPECT_EQ(get(HvRegisterTimeRefCount), child.reference_time());
  expect_set(at(HvRegisterStimer0Config, 3), 12345);  // count of timer 1
  expect_set(HvRegisterGuestCrashP0, 11);
  expect_set(HvRegisterGuestCrashP4, 55);
  expect_set(HvRegisterGuestCrashCtl, kBit<63>);
  EXPECT_EQ(child.crash.parameters[4], 55u);
  EXPECT_EQ(child.crash.control, kBit<63>);
  const HvRegisterValue leaf = read(HvRegisterPrivilegesAndFeaturesInfo);
  EXPECT_EQ(leaf.reg128.low, child.privileges);
}

TEST_F(Registers, ReachTimeAndTheLocalApic) {
  ASSERT_TRUE(set(HvX64RegisterTsc, 1'000'000));
  environment.advance(500);
  EXPECT_EQ(get(HvX64RegisterTsc), 1'000'500u);
  EXPECT_EQ(vmcb.tsc_offset, vcpu.tsc_offset);
  expect_set(HvX64RegisterTscAdjust, 0x77);
  expect_set(HvX64RegisterMsrIa32MiscEnable, 0x801);
  expect_set(HvX64RegisterTscAux, 0xffffffff);
  expect_set(HvX64RegisterCr8, 9);
  EXPECT_EQ(vcpu.apic.tpr(), 0x90);
  expect_set(HvX64RegisterTpr, 0x33);
  EXPECT_EQ(get(HvX64RegisterApicTpr), 0x33u);
  EXPECT_EQ(get(HvX64RegisterCr8), 3u);
  EXPECT_EQ(get(HvX64RegisterApicVersion), vcpu.apic.peek(apic_register::kVersion));
  EXPECT_EQ(get(HvX64RegisterApicSpurious), vcpu.apic.peek(apic_register::kSpurious));
  EXPECT_EQ(get(HvX64RegisterApicBase) & ~uint64_t{0xfff}, kApicDefaultBase);
  EXPECT_EQ(get(HvX64RegisterInitialApicId), 0u);
}

TEST_F(Registers, DoNotRestartTheRoot) {
  Vcpu& root_vp = environment.make_vp(environment.root(), 0);
  environment.root().privileges = ~uint64_t{0};
  environment.root().guest_os_id = 5;
  EXPECT_FALSE(arch::set_register(root_vp, HvRegisterGuestOsId, value_of(0)));
  EXPECT_EQ(environment.root().guest_os_id, 5u);
}

// --- Intercept header ---
TEST_F(Registers, FillTheInterceptHeader) {
  enter_long_mode();
  vmcb.rip = 0x1234;
  vmcb.rflags = 0x246;
  vmcb.interrupt_shadow = 1;
  vmcb.dr7 |= 1;
  vmcb.cpl = 3;
  vmcb.cr0 |= cr0::kAm;
  vcpu.event = PendingEvent::exception(vector::kGp, 0);
  ASSERT_TRUE(set(HvX64RegisterCr8, 0xa));
  abi::HvX64InterceptMessageHeader header{};
  arch::fill_intercept_header(vcpu, 5, 1, header);
  EXPECT_EQ(header.vp_index, 0u);
  EXPECT_EQ(header.instruction_length_and_cr8, 0xa5);
  EXPECT_EQ(header.intercept_access_type, abi::HvInterceptAccessType::HvInterceptAccessWrite);
  EXPECT_EQ(header.execution_state, 3 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 12);
  EXPECT_EQ(header.rip, 0x1234u);
  EXPECT_EQ(header.rflags, 0x246u);
  EXPECT_EQ(header.cs_segment.attributes, 0xa09b);
}

// --- A hostile parent ---
// The conditions of [APM2 15.5.1] and [APM2 15.20], written down once more for the fake processor:
// 48 physical address bits; no PCID, CET or VMXE.
testing::AssertionResult vmrun_accepts(const svm::Vmcb& v, PendingEvent event) {
  const auto bad = [](const char* what) { return testing::AssertionFailure() << what; };
  constexpr uint64_t kCr4 =
      0x7ff | kBit<11> | kBit<12> | kBit<16> | kBit<18> | kBit<20> | kBit<21> | kBit<22>;
  if (!(v.efer & efer::kSvme)) return bad("EFER.SVME clear");
  if (v.efer & ~(efer::kSvme | efer::kSce | efer::kLme | efer::kLma | efer::kNxe | efer::kFfxsr))
    return bad("EFER reserved");
  if ((v.cr0 & cr0::kNw) && !(v.cr0 & cr0::kCd)) return bad("CR0.NW without CD");
  if (v.cr0 >> 32) return bad("CR0 high");
  if (v.cr3 >> 48) return bad("CR3 reserved");
  if (v.cr4 & ~kCr4) return bad("CR4 reserved");
  if (v.dr6 >> 32 || v.dr7 >> 32) return bad("DR6 or DR7 high");
  const bool pg = v.cr0 & cr0::kPg, lme = v.efer & efer::kLme;
  if (pg && !(v.cr0 & cr0::kPe)) return bad("PG without PE");
  if (lme && pg && !(v.cr4 & cr4::kPae)) return bad("long mode without PAE");
  if (lme && pg && (v.cs.attributes & 0x600) == 0x600) return bad("CS.L and CS.D");
  if (((v.efer & efer::kLma) != 0) != (lme && pg)) return bad("LMA");
  for (uint64_t pat = v.pat; pat; pat >>= 8)
    if ((pat & 0xff) > 7 || (pat & 0xff) == 2 || (pat & 0xff) == 3) return bad("PAT");
  if (!event.valid()) return testing::AssertionSuccess();
  const uint64_t type = event.raw >> 8 & 7, vector = event.raw & 0xff;
  if (type != 0 && type != 2 && type != 3 && type != 4) return bad("event type");
  if (type == 3 && (vector > 31 || vector == 2)) return bad("event vector");
  if (type == 3 && lme && pg && (v.cs.attributes & 0x200) && (vector == 4 || vector == 5))
    return bad("event in 64-bit code");
  return testing::AssertionSuccess();
}

TEST_F(Registers, CannotBeSetToWhatTheProcessorRefuses) {
  const std::vector<HvRegisterName> names = all_names();
  // Those that decide whether the VP can be entered come more often.
  const HvRegisterName important[] = {HvX64RegisterCr0,
                                      HvX64RegisterCr3,
                                      HvX64RegisterCr4,
                                      HvX64RegisterEfer,
                                      HvX64RegisterCs,
                                      HvX64RegisterSs,
                                      HvX64RegisterDr7,
                                      HvX64RegisterRflags,
                                      HvX64RegisterPat,
                                      HvX64RegisterXfem,
                                      HvX64RegisterXmmControlStatus,
                                      HvRegisterPendingInterruption,
                                      HvRegisterPendingEvent0,
                                      HvX64RegisterTscAux};
  std::mt19937_64 random(20260102);
  unsigned entered = 0;
  for (unsigned round = 0; round < 20'000; ++round) {
    if (round % 8 == 0) reset(vcpu);
    if (round % 16 == 0) enter_long_mode();
    for (unsigned i = 0; i < 6; ++i) {
      const HvRegisterName name = random() % 3 != 0 ? important[random() % std::size(important)]
                                                    : names[random() % names.size()];
      if (name == HvRegisterExplicitSuspend || name == HvRegisterInterceptSuspend) continue;
      const auto current = arch::get_register(vcpu, name);
      HvRegisterValue value = current ? *current : HvRegisterValue{};
      for (unsigned flips = static_cast<unsigned>(random() % 4); flips != 0; --flips) {
        const unsigned bit = static_cast<unsigned>(random() % 128);
        value.bytes[bit / 8] = static_cast<uint8_t>(value.bytes[bit / 8] ^ 1u << bit % 8);
      }
      if (random() % 4 == 0) value.reg64 = random();
      if (random() % 4 == 0) value.reg64 = cr0::kPg | cr0::kPe | (random() & 0xfff);
      (void)arch::set_register(vcpu, name, value);
    }
    if (!set(HvRegisterExplicitSuspend, 0)) continue;
    ++entered;
    ASSERT_TRUE(vmrun_accepts(vmcb, vcpu.event)) << "round " << round;
    load_state(vcpu);
    ASSERT_TRUE(fake::cpu().faults().empty()) << fake::cpu().faults()[0] << ", round " << round;
    save_state(vcpu);
    ASSERT_TRUE(set(HvRegisterExplicitSuspend, 1));
  }
  EXPECT_GT(entered, 5000u);
}

}  // namespace
}  // namespace hv::x86
