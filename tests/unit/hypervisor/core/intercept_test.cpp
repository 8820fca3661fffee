// SPDX-License-Identifier: MIT
#include "hypervisor/core/intercept.h"

#include <gtest/gtest.h>

#include "hypervisor/arch/x86/apic_routing.h"
#include "tests/fake/environment.h"

namespace hv {
namespace {

using Type = abi::HvInterceptType;
using Message = abi::HvMessageType;

class InterceptTest : public testing::Test {
 protected:
  InterceptTest() {
    for (x86::Vcpu* vp : {&root0, &root1}) {
      vp->apic.power_on(x86::LocalApic::Mode::x2apic, true);
      EXPECT_TRUE(vp->apic.write_msr(0x80f, 0x1ff));
      const Gpa page = pages[vp->index.value()];
      vp->synic.set_fixed_pages(page.page(), page.page(), page.page());
    }
    for (unsigned i = 0; i < 4; ++i) {
      vps[i] = &environment.make_running_vp(child, i);
      vps[i]->intercept_page = *child.pool.allocate();
    }
  }
  ~InterceptTest() override {
    for (x86::Vcpu* vp : vps) {
      root.intercepts.cancel(*vp);
      child.pool.free(vp->intercept_page);
      vp->intercept_page = Spa();
    }
  }
  void listen(x86::Vcpu& vp) {
    EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSimp, 1));
    EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrScontrol, 1));
    EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSint0, 0xf3));
  }
  abi::HvMessage& slot(x86::Vcpu& vp) {
    return environment.at<abi::HvMessagePage>(root, pages[vp.index.value()]).sint_message[0];
  }
  // Takes an opaque note from the slot: the VP's index, or -1.
  int consume(x86::Vcpu& vp) {
    int index = -1;
    if (slot(vp).header.message_type == Message::HvMessageTypeOpaqueIntercept) {
      memcpy(&index, slot(vp).payload, 4);
      EXPECT_EQ(slot(vp).header.sender, child.id.value());
    }
    slot(vp).header.message_type = Message::HvMessageTypeNone;
    return index;
  }
  void halt(unsigned index) {
    auto message = make_message(Message::HvMessageTypeX64Halt, uint64_t{index} + 100);
    deliver_intercept(*vps[index], message);
  }
  void eom(x86::Vcpu& vp) { EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrEom, 0)); }
  static abi::HvInterceptParameters parameter(uint64_t value) { return {.as_uint64 = value}; }

  fake::Environment environment;
  Partition& root = environment.root();
  Partition& child = environment.make_child();
  x86::Vcpu& root0 = environment.make_running_vp(root, 0, 0);
  x86::Vcpu& root1 = environment.make_running_vp(root, 1, 1);
  Gpa pages[2] = {environment.free_page(), environment.free_page()};
  std::array<x86::Vcpu*, 4> vps{};
};

TEST_F(InterceptTest, TheMessageIsInThePageAndANoteInSint0) {
  listen(root0);
  listen(root1);
  environment.run_on(1);
  halt(2);
  EXPECT_TRUE(vps[2]->is(VpSuspend::intercept_suspend));
  const auto& message = *direct_map<abi::HvMessage>(vps[2]->intercept_page);
  EXPECT_EQ(message.header.message_type, Message::HvMessageTypeX64Halt);
  EXPECT_EQ(message.header.sender, child.id.value());
  EXPECT_EQ(message.payload[0], 102);
  EXPECT_EQ(consume(root1), 2);  // the root VP of this LP
  EXPECT_EQ(consume(root0), -1);
  EXPECT_EQ(root1.apic.highest_pending(), 0xf3);
  environment.run_on(0);
}

TEST_F(InterceptTest, NotesWithoutASlotWaitForOne) {
  listen(root0);
  listen(root1);
  for (unsigned i = 0; i < 4; ++i) halt(i);  // two slots
  EXPECT_TRUE(slot(root0).header.message_flags & 1);
  EXPECT_TRUE(slot(root1).header.message_flags & 1);
  EXPECT_EQ(consume(root0), 0);
  eom(root0);
  EXPECT_EQ(consume(root1), 1);
  eom(root1);
  EXPECT_EQ(consume(root0), 2);
  EXPECT_EQ(consume(root1), 3);
  eom(root0);
  eom(root1);
  EXPECT_EQ(consume(root0), -1);
  EXPECT_EQ(consume(root1), -1);
}

TEST_F(InterceptTest, NotesWaitForARootThatListens) {
  halt(0);
  halt(1);
  listen(root1);  // its last write unmasks SINT0
  EXPECT_EQ(consume(root1), 0);
  eom(root1);
  EXPECT_EQ(consume(root1), 1);
}

TEST_F(InterceptTest, AVpThatGoesAwayLeavesNoNote) {
  halt(0);
  halt(1);
  root.intercepts.cancel(*vps[0]);
  listen(root0);
  EXPECT_EQ(consume(root0), 1);
  eom(root0);
  EXPECT_EQ(consume(root0), -1);
}

TEST_F(InterceptTest, LevelEoisAreMessagesThatDoNotSuspend) {
  halt(3);
  root.intercepts.notify_eoi(root, *vps[3], 0x31);
  root.intercepts.notify_eoi(root, *vps[3], 0xf0);
  root.intercepts.notify_eoi(root, *vps[3], 0x31);
  root.intercepts.notify_eoi(root, *vps[1], 0x44);
  EXPECT_FALSE(vps[1]->is(VpSuspend::intercept_suspend));
  listen(root0);
  std::vector<std::pair<uint32_t, uint32_t>> ends;
  while (slot(root0).header.message_type == Message::HvMessageTypeX64ApicEoi) {
    abi::HvX64ApicEoiMessage payload;
    memcpy(&payload, slot(root0).payload, sizeof(payload));
    EXPECT_EQ(slot(root0).header.sender, child.id.value());
    ends.emplace_back(payload.vp_index, payload.interrupt_vector);
    slot(root0).header.message_type = Message::HvMessageTypeNone;
    eom(root0);
  }
  EXPECT_EQ(ends, (std::vector<std::pair<uint32_t, uint32_t>>{{3, 0x31}, {3, 0xf0}}));
  EXPECT_EQ(consume(root0), 3);
  eom(root0);
  EXPECT_EQ(slot(root0).header.message_type, Message::HvMessageTypeX64ApicEoi);
}

TEST_F(InterceptTest, WhatIsInstalledIsFound) {
  InterceptTable& table = child.intercepts;
  constexpr uint32_t kAll = 7;
  const auto install = [&](Type type, uint64_t value, uint32_t access) {
    return table.install(child, type, parameter(value), access);
  };
  EXPECT_EQ(table.installed(Type::HvInterceptTypeUnknownSynicConnection), 0u);
  ASSERT_TRUE(install(Type::HvInterceptTypeUnknownSynicConnection, 0, 4));
  EXPECT_EQ(table.installed(Type::HvInterceptTypeUnknownSynicConnection), 4u);
  EXPECT_EQ(table.installed(Type::HvInterceptTypeHypercall), 0u);
  ASSERT_TRUE(install(Type::HvInterceptTypeUnknownSynicConnection, 0, 0));
  EXPECT_EQ(table.installed(Type::HvInterceptTypeUnknownSynicConnection), 0u);

  ASSERT_TRUE(install(Type::HvInterceptTypeX64MsrIndex, 0x1234, 3));
  EXPECT_EQ(table.installed(Type::HvInterceptTypeX64MsrIndex, 0x1234), 3u);
  EXPECT_EQ(table.installed(Type::HvInterceptTypeX64MsrIndex, 0x1235), 0u);
  ASSERT_TRUE(install(Type::HvInterceptTypeX64MsrIndex, 0x1234, 1));
  EXPECT_EQ(table.installed(Type::HvInterceptTypeX64MsrIndex, 0x1234), 1u);

  ASSERT_TRUE(install(Type::HvInterceptTypeX64IoPortRange, 0x3ffu << 16 | 0x3f8, 1));
  ASSERT_TRUE(install(Type::HvInterceptTypeX64IoPort, 0x3fa, 2));
  EXPECT_EQ(table.installed(Type::HvInterceptTypeX64IoPort, 0x3f7), 0u);
  EXPECT_EQ(table.installed(Type::HvInterceptTypeX64IoPort, 0x3f8), 1u);
  EXPECT_EQ(table.installed(Type::HvInterceptTypeX64IoPort, 0x3fa), 3u);
  EXPECT_EQ(table.installed(Type::HvInterceptTypeX64IoPort, 0x400), 0u);

  const auto refused = Error::invalid_parameter;
  EXPECT_EQ(install(Type::HvInterceptTypeHypercall, 0, 8).error(), refused);
  EXPECT_EQ(install(static_cast<Type>(0x13), 0, kAll).error(), refused);
  EXPECT_EQ(install(static_cast<Type>(0xffffffff), 0, kAll).error(), refused);
  EXPECT_EQ(install(Type::HvInterceptTypeX64IoPort, 0x10000, kAll).error(), refused);
  EXPECT_EQ(install(Type::HvInterceptTypeX64IoPortRange, 0x10 << 16 | 0x11, kAll).error(), refused);
  EXPECT_EQ(install(Type::HvInterceptTypeException, 32, kAll).error(), refused);
  EXPECT_EQ(table.installed(static_cast<Type>(0xffffffff)), 0u);
}

abi::HvRegisterX64CpuidResultParameters cpuid_result(uint32_t leaf, uint32_t eax, uint32_t mask) {
  abi::HvRegisterX64CpuidResultParameters result{};
  result.input_eax = leaf;
  result.result_eax = eax;
  result.result_eax_mask = mask;
  result.result_edx = 0xd;
  result.result_edx_mask = ~0u;
  return result;
}

TEST_F(InterceptTest, RegisteredCpuidResultsOverride) {
  InterceptTable& table = child.intercepts;
  const auto eax = [&](unsigned vp, uint32_t leaf, uint32_t subleaf) {
    std::array<uint32_t, 4> registers{0xf0f0f0f0, 2, 3, 4};
    table.override_cpuid(VpIndex(vp), leaf, subleaf, registers);
    EXPECT_EQ(registers[1], 2u);
    EXPECT_EQ(registers[3], registers[0] == 0xf0f0f0f0 ? 4u : 0xdu);
    return registers[0];
  };
  EXPECT_EQ(eax(0, 1, 0), 0xf0f0f0f0u);
  ASSERT_TRUE(table.register_cpuid(child, abi::kHvAnyVp, cpuid_result(1, 0x1234, 0xffff)));
  EXPECT_EQ(eax(0, 1, 0), 0xf0f01234u);
  EXPECT_EQ(eax(3, 1, 9), 0xf0f01234u);
  EXPECT_EQ(eax(0, 33, 0), 0xf0f0f0f0u);  // the same bucket
  ASSERT_TRUE(table.register_cpuid(child, 3, cpuid_result(1, 0x5678, 0xffff)));
  EXPECT_EQ(eax(0, 1, 0), 0xf0f01234u);
  EXPECT_EQ(eax(3, 1, 0), 0xf0f05678u);
  auto result = cpuid_result(0xb, 0x99, ~0u);
  result.subleaf_specific = 1;
  result.input_ecx = 1;
  ASSERT_TRUE(table.register_cpuid(child, 0, result));
  EXPECT_EQ(eax(0, 0xb, 0), 0xf0f0f0f0u);
  EXPECT_EQ(eax(0, 0xb, 1), 0x99u);
  result.result_eax = 0x77;
  ASSERT_TRUE(table.register_cpuid(child, 0, result));  // replaces
  EXPECT_EQ(eax(0, 0xb, 1), 0x77u);
  EXPECT_EQ(table.register_cpuid(child, 64, result).error(), Error::invalid_vp_index);
}

TEST_F(InterceptTest, RegisteredMsrActions) {
  InterceptTable& table = child.intercepts;
  abi::HvRegisterX64MsrResultParameters result{};
  result.msr_index = 0x199;
  result.access_type = abi::kHvInterceptAccessReadMask;
  result.action = abi::HvUnimplementedMsrAction::HvUnimplementedMsrActionIgnoreWriteReadZero;
  EXPECT_FALSE(table.ignores_msr(0x199, abi::kHvInterceptAccessReadMask));
  ASSERT_TRUE(table.register_msr(child, result));
  EXPECT_TRUE(table.ignores_msr(0x199, abi::kHvInterceptAccessReadMask));
  EXPECT_FALSE(table.ignores_msr(0x199, abi::kHvInterceptAccessWriteMask));
  EXPECT_EQ(table.installed(Type::HvInterceptTypeX64Msr), 0u);
  result.action = abi::HvUnimplementedMsrAction::HvUnimplementedMsrActionFault;
  ASSERT_TRUE(table.register_msr(child, result));
  EXPECT_FALSE(table.ignores_msr(0x199, abi::kHvInterceptAccessReadMask));
  result.action = static_cast<abi::HvUnimplementedMsrAction>(2);
  EXPECT_EQ(table.register_msr(child, result).error(), Error::invalid_parameter);
}

TEST_F(InterceptTest, TablesAreBoundedAndGiveTheirPagesBack) {
  InterceptTable& table = child.intercepts;
  const uint64_t before = child.pool.free_pages();
  for (uint32_t i = 0; i < InterceptTable::kMaxEntries; ++i)
    ASSERT_TRUE(table.register_cpuid(child, 0, cpuid_result(i, i, ~0u))) << i;
  EXPECT_EQ(table.register_cpuid(child, 0, cpuid_result(~0u, 0, 0)).error(), Error::no_resources);
  EXPECT_EQ(table.install(child, Type::HvInterceptTypeX64MsrIndex, parameter(1), 1).error(),
            Error::no_resources);
  EXPECT_LT(child.pool.free_pages(), before);
  table.destroy(child);
  EXPECT_EQ(child.pool.free_pages(), before);
  while (child.pool.allocate()) {
  }
  EXPECT_EQ(table.register_cpuid(child, 0, cpuid_result(1, 1, 1)).error(),
            Error::insufficient_memory);
}

}  // namespace
}  // namespace hv
