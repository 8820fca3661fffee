// SPDX-License-Identifier: MIT
// What exits leave behind, and what parents see of them.
#include "tests/unit/hypervisor/arch/x86/svm/exit_fixture.h"

namespace hv::svm {
namespace {

using Type = abi::HvInterceptType;
using Message = abi::HvMessageType;
using x86::PendingEvent;

TEST_F(ExitTest, CpuidEndsHereUnlessItsLeafIsIntercepted) {
  code({0x0f, 0xa2});
  v.rax = 0x40000001;
  exit(Exit::cpuid);
  EXPECT_EQ(v.rip, kCode + 2);
  EXPECT_EQ(v.rax, 0x31237648u);

  ASSERT_TRUE(install(Type::HvInterceptTypeX64Cpuid, 0x40000001));
  v.rip = kCode;
  v.rax = 0x40000001;
  vp.gpr[x86::kRcx] = 7;
  exit(Exit::cpuid);
  const auto m = message<abi::HvX64CpuidInterceptMessage>(Message::HvMessageTypeX64CpuidIntercept);
  ASSERT_TRUE(m);
  EXPECT_EQ(v.rip, kCode) << "the parent moves it on";
  EXPECT_EQ(m->header.instruction_length_and_cr8 & 15, 2);
  EXPECT_EQ(m->rax, 0x40000001u);
  EXPECT_EQ(m->rcx, 7u);
  EXPECT_EQ(m->default_result_rax, 0x31237648u);

  v.rax = 0x40000000;
  exit(Exit::cpuid);
  EXPECT_FALSE(vp.is(VpSuspend::intercept_suspend)) << "another leaf";
  v.rip = kCode;
  v.rax = 0x40000001;
  ASSERT_TRUE(install(Type::HvInterceptTypeX64Cpuid, 0x40000001, 0));
  exit(Exit::cpuid);
  EXPECT_FALSE(vp.is(VpSuspend::intercept_suspend)) << "no longer";
  EXPECT_FALSE(child.intercepts.knows_cpuid());
}

TEST_F(ExitTest, WhatAnUnknownMsrDoesIsTheParentsChoice) {
  constexpr uint32_t kUnknown = 0x12345;
  const auto access = [&](bool write) {
    code({0x0f, static_cast<uint8_t>(write ? 0x30 : 0x32)});
    v.rip = kCode;
    v.rax = vp.gpr[x86::kRdx] = 0x55;
    vp.gpr[x86::kRcx] = kUnknown;
    exit(Exit::msr, write);
  };
  for (const bool write : {false, true}) {
    access(write);
    EXPECT_EQ(injected(), 13u);
    EXPECT_EQ(v.rip, kCode);
  }
  // By MSR and kind of access,
  ASSERT_TRUE(child.intercepts.register_msr(
      child,
      {.msr_index = kUnknown,
       .access_type = abi::kHvInterceptAccessReadMask,
       .action = abi::HvUnimplementedMsrAction::HvUnimplementedMsrActionIgnoreWriteReadZero}));
  access(false);
  EXPECT_EQ(injected(), std::nullopt);
  EXPECT_EQ(v.rip, kCode + 2);
  EXPECT_EQ(v.rax | vp.gpr[x86::kRdx], 0u);
  access(true);
  EXPECT_EQ(injected(), 13u);
  // for the whole partition,
  child.unimplemented_msr_action = 1;
  access(true);
  EXPECT_EQ(injected(), std::nullopt);
  EXPECT_EQ(v.rip, kCode + 2);
  // or the parent answers itself.
  ASSERT_TRUE(install(Type::HvInterceptTypeX64Msr, 0, abi::kHvInterceptAccessWriteMask));
  access(true);
  const auto m = message<abi::HvX64MsrInterceptMessage>(Message::HvMessageTypeX64MsrIntercept);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->msr_number, kUnknown);
  EXPECT_EQ(m->rax, 0x55u);
  access(false);
  EXPECT_FALSE(vp.is(VpSuspend::intercept_suspend)) << "only writes";
}

TEST_F(ExitTest, ExceptionsReachAParentThatAskedForThem) {
  constexpr uint32_t kAlways = 1u << 1 | 1u << 17 | 1u << 18;
  EXPECT_EQ(v.intercept_exceptions, kAlways);
  ASSERT_TRUE(install(Type::HvInterceptTypeException, 14));
  ASSERT_TRUE(install(Type::HvInterceptTypeException, 6));
  post_request(vp, VpRequest::evaluate);
  ASSERT_TRUE(process_requests(vp));
  EXPECT_EQ(v.intercept_exceptions, kAlways | 1u << 14 | 1u << 6);

  code({0x90});
  exit(exception(14), 6, 0x123456);
  auto m =
      message<abi::HvX64ExceptionInterceptMessage>(Message::HvMessageTypeX64ExceptionIntercept);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->exception_vector, 14);
  EXPECT_EQ(m->exception_info, 1);
  EXPECT_EQ(m->error_code, 6u);
  EXPECT_EQ(m->exception_parameter, 0x123456u);
  EXPECT_EQ(m->instruction_bytes[0], 0x90);
  EXPECT_EQ(injected(), std::nullopt);

  exit(exception(6));
  m = message<abi::HvX64ExceptionInterceptMessage>(Message::HvMessageTypeX64ExceptionIntercept);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->exception_info, 0);
}

// The parent changed its mind between the entry and the exit.
TEST_F(ExitTest, AnExceptionThatNobodyWantsGoesToTheGuest) {
  exit(exception(14), 2, 0xabc000);
  EXPECT_EQ(PendingEvent::ErrorCode::get(vp.event.raw), 2u);
  EXPECT_EQ(v.cr2, 0xabc000u);
  EXPECT_EQ(injected(), 14u);
  exit(exception(1));
  EXPECT_EQ(injected(), 1u);
  exit(exception(3));
  EXPECT_EQ(injected(), std::nullopt) << "INT3 is executed again";
}

class HypercallExit : public ExitTest {
 protected:
  HypercallExit() {
    code({0x0f, 0x01, 0xd9});
    child.hypercall_msr = 1;
    v.cr0 = x86::cr0::kPe;
    v.cs.attributes |= 1 << 9;
    v.efer |= x86::efer::kLma;
  }
  uint64_t call(uint64_t control, uint64_t input = 0) {
    v.rip = kCode;
    vp.gpr[x86::kRcx] = control;
    vp.gpr[x86::kRdx] = input;
    exit(Exit::vmmcall);
    return v.rax;
  }
  static constexpr uint64_t kFast = 1 << 16;
};

TEST_F(HypercallExit, UnknownCodesAreTheParentsIfItAsked) {
  EXPECT_EQ(call(0x8001), 2u);
  EXPECT_EQ(v.rip, kCode + 3);
  ASSERT_TRUE(install(Type::HvInterceptTypeHypercall));
  fake::cpu().extended.in_use = 3;
  vp.gpr[x86::kR8] = 0x88;
  call(0x8001, 0x77);
  const auto m =
      message<abi::HvX64HypercallInterceptMessage>(Message::HvMessageTypeHypercallIntercept);
  ASSERT_TRUE(m);
  EXPECT_EQ(v.rip, kCode);
  EXPECT_EQ(m->header.instruction_length_and_cr8 & 15, 3);
  EXPECT_EQ(m->rcx, 0x8001u);
  EXPECT_EQ(m->rdx, 0x77u);
  EXPECT_EQ(m->r8, 0x88u);
  EXPECT_EQ(call(0x5d | kFast, 5), 0x12u) << "known here, and another kind";
}

TEST_F(HypercallExit, UnknownConnectionsAreTheParentsIfItAsked) {
  child.privileges = kChildPrivileges;
  EXPECT_EQ(call(0x5d | kFast, 5), 0x12u);
  ASSERT_TRUE(install(Type::HvInterceptTypeUnknownSynicConnection));
  call(0x5d | kFast, 5);
  const auto m =
      message<abi::HvX64HypercallInterceptMessage>(Message::HvMessageTypeHypercallIntercept);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->rdx, 5u);
  EXPECT_EQ(call(0x8001), 2u) << "not every hypercall";
}

// --- NMIs ---

TEST_F(ExitTest, NmisStayBlockedUntilTheIretIsDone) {
  post_request(vp, VpRequest::nmi);
  ASSERT_TRUE(process_requests(vp));
  prepare_injection(vp);
  EXPECT_EQ(PendingEvent::Type::get(v.event_injection), PendingEvent::kNmi);
  post_request(vp, VpRequest::nmi);  // another one, in the handler
  ASSERT_TRUE(process_requests(vp));
  prepare_injection(vp);
  EXPECT_EQ(v.event_injection, 0u);

  exit(Exit::iret);
  EXPECT_TRUE(vp.nmi_blocked);
  prepare_injection(vp);
  EXPECT_EQ(v.event_injection, 0u) << "the handler's stack is still in use";
  EXPECT_NE(vp.deadline, kNever) << "somebody has to look again soon";
  exit(Exit::interrupt);
  EXPECT_TRUE(vp.nmi_blocked) << "it exited before the IRET";
  v.rip = 0x2000;
  exit(Exit::interrupt);
  EXPECT_FALSE(vp.nmi_blocked);
  prepare_injection(vp);
  EXPECT_EQ(PendingEvent::Type::get(v.event_injection), PendingEvent::kNmi);
}

// --- The local APIC page ---

class ApicPage : public ExitTest {
 protected:
  ApicPage() {
    vp.apic.power_on(x86::LocalApic::Mode::xapic, true);
    v.cr0 = x86::cr0::kPe;
    v.cs.attributes |= 1 << 10;  // 32-bit code
  }
  void fault(uint32_t offset, bool write) {
    exit(Exit::nested_page_fault, write ? 2 : 0, x86::kApicDefaultBase + offset);
  }
};

TEST_F(ApicPage, TakesAnyInstruction) {
  code({0x81, 0x0d, 0xf0, 0x00, 0xe0, 0xfe, 0x00, 0x01, 0x00, 0x00});  // or [fee000f0], 100h
  fault(0xf0, true);
  EXPECT_EQ(injected(), std::nullopt);
  EXPECT_EQ(v.rip, kCode + 10);
  EXPECT_EQ(vp.apic.read_mmio(0xf0), 0x1ffu);

  v.rip = kCode;
  code({0xa1, 0x30, 0x00, 0xe0, 0xfe});  // mov eax, [fee00030]
  fault(0x30, false);
  EXPECT_EQ(v.rax, vp.apic.read_mmio(0x30));

  v.rip = kCode;
  code({0xff, 0x35, 0x30, 0x00, 0xe0, 0xfe});  // push [fee00030]: no plain access
  fault(0x30, false);
  EXPECT_EQ(injected(), 13u);
  EXPECT_EQ(v.rip, kCode);

  v.rip = kCode;
  code({0x8a, 0x05, 0x31, 0x00, 0xe0, 0xfe});  // mov al, [fee00031]
  fault(0x31, false);
  EXPECT_EQ(injected(), 13u);
}

}  // namespace
}  // namespace hv::svm
