// SPDX-License-Identifier: MIT
// Saved state, address translation and requests, as a VP's parent asks for them.
#include "hypervisor/core/arch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "abi/tlfs/hypercall_vp.h"
#include "abi/tlfs/msr.h"
#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/arch/x86/xsave.h"
#include "tests/fake/cpu.h"
#include "tests/fake/environment.h"

namespace hv::x86 {
namespace {

using abi::HvVpStateType;
using enum abi::HvVpStateType;
using Bytes = std::vector<uint8_t>;

template <class T>
Bytes bytes_of(const T& value) {
  Bytes bytes(sizeof(T));
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}
template <class T>
T from(const Bytes& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

class State : public testing::Test {
 protected:
  State() { init_cpuid(); }

  fake::Environment environment;
  Partition& child = environment.make_child();
  Vcpu& vcpu = environment.make_vp(child, 0);
  svm::Vmcb& vmcb = *vcpu.vmcb;

  Bytes get(HvVpStateType type, size_t room = kPageSize) {
    Bytes out(room, 0xee);
    const auto size = arch::get_state(vcpu, type, out);
    EXPECT_TRUE(size);
    EXPECT_TRUE(std::all_of(out.begin() + static_cast<ptrdiff_t>(size.value_or(0u)), out.end(),
                            [](uint8_t byte) { return byte == 0; }));
    return out;
  }
  Result<> set(HvVpStateType type, const Bytes& in) { return arch::set_state(vcpu, type, in); }
  void enable_synic() {
    ASSERT_TRUE(vcpu.synic.write(vcpu, abi::kHvX64MsrSimp, 0x5001));
    ASSERT_TRUE(vcpu.synic.write(vcpu, abi::kHvX64MsrSiefp, 0x6001));
  }
};

TEST_F(State, ChecksTypeAndSize) {
  Bytes room(kPageSize);
  for (uint32_t type : {0u, 3u, 5u, 0x80000004u, 0xffffffffu}) {
    EXPECT_EQ(arch::get_state(vcpu, HvVpStateType{type}, room).error(), Error::invalid_parameter);
    EXPECT_EQ(set(HvVpStateType{type}, room).error(), Error::invalid_parameter);
  }
  const std::pair<HvVpStateType, size_t> sizes[] = {
      {HvGetSetVpStateLapicState, sizeof(abi::HvLocalInterruptControllerState)},
      {HvGetSetVpStateXsave, 2688},
      {HvGetSetVpStateSimPage, kPageSize},
      {HvGetSetVpStateSiefPage, kPageSize},
      {HvGetSetVpStateSyntheticTimers, sizeof(abi::HvSyntheticTimersState)}};
  enable_synic();
  for (const auto& [type, size] : sizes) {
    Bytes small(size - 1);
    EXPECT_EQ(arch::get_state(vcpu, type, small).error(), Error::invalid_parameter);
    EXPECT_EQ(arch::get_state(vcpu, type, room).value_or(0u), size);
    if (type == HvGetSetVpStateXsave) small.resize(575);
    EXPECT_EQ(set(type, small).error(), Error::invalid_parameter);
  }
}

TEST_F(State, MovesTheLocalApicToAnotherVp) {
  vcpu.apic.set_tpr(0x20);
  vcpu.apic.write_mmio(apic_register::kSpurious << 4, 0x1ff);
  ASSERT_TRUE(vcpu.apic.accept(0x31, arch::Trigger::edge, false));
  const Bytes saved = get(HvGetSetVpStateLapicState);
  const auto state = from<abi::HvLocalInterruptControllerState>(saved);
  EXPECT_EQ(state.apic_irr[1], 1u << 17);

  Partition& other = environment.make_child();
  Vcpu& target = environment.make_vp(other, 0);
  ASSERT_TRUE(arch::set_state(target, HvGetSetVpStateLapicState, saved));
  EXPECT_EQ(target.apic.highest_pending(), 0x31);
  EXPECT_TRUE(target.has(VpRequest::interrupt));
}

TEST_F(State, MovesTheXsaveArea) {
  XsaveArea& area = xsave_area(vcpu);
  area.xstate_bv = xstate::kX87 | xstate::kSse | xstate::kAvx512;
  area.control = 0x27f;
  area.xmm[5] = {5, 6};
  area.extended[2687 - 576] = 0x99;
  const Bytes saved = get(HvGetSetVpStateXsave);

  area.xmm[5] = {};
  area.extended[2687 - 576] = 0;
  area.extended[3000 - 576] = 1;
  ASSERT_TRUE(set(HvGetSetVpStateXsave, saved));
  EXPECT_EQ(area.control, 0x27f);
  EXPECT_EQ(area.xmm[5].high, 6u);
  EXPECT_EQ(area.extended[2687 - 576], 0x99);
  EXPECT_EQ(area.extended[3000 - 576], 0);
  load_state(vcpu);
  EXPECT_TRUE(fake::cpu().faults().empty());
  EXPECT_EQ(fake::cpu().extended.in_use, area.xstate_bv);
}

TEST_F(State, RefusesAnXsaveAreaThatWouldNotLoad) {
  const XsaveArea& area = xsave_area(vcpu);
  const Bytes good = get(HvGetSetVpStateXsave);
  const auto expect_refused = [&](size_t offset, uint64_t bits) {
    Bytes bad = good;
    const uint64_t value =
        from<uint64_t>({bad.begin() + static_cast<ptrdiff_t>(offset), bad.end()});
    const Bytes changed = bytes_of(value | bits);
    std::copy(changed.begin(), changed.end(), bad.begin() + static_cast<ptrdiff_t>(offset));
    const XsaveArea before = area;
    EXPECT_EQ(set(HvGetSetVpStateXsave, bad).error(), Error::invalid_register_value) << offset;
    EXPECT_EQ(std::memcmp(&before, &area, sizeof(area)), 0) << offset;
  };
  expect_refused(24, 1 << 16);   // MXCSR
  expect_refused(512, kBit<3>);  // a component the processor lacks
  expect_refused(512, kBit<63>);
  expect_refused(520, kBit<63>);  // compacted
  for (size_t offset = 520; offset < 576; offset += 8) expect_refused(offset, 1);

  Bytes cut(good.begin(), good.begin() + 2687);
  cut[512] = 0x80;  // reaches to 2688
  EXPECT_EQ(set(HvGetSetVpStateXsave, cut).error(), Error::invalid_parameter);
  cut[512] = 0x3;
  cut.resize(576);
  EXPECT_TRUE(set(HvGetSetVpStateXsave, cut));
}

TEST_F(State, LoadsWhateverWasAccepted) {
  std::mt19937_64 random(20260103);
  unsigned accepted = 0;
  for (unsigned round = 0; round < 5'000; ++round) {
    Bytes bytes(kPageSize);
    for (size_t at = 0; at < 512; at += 8) {
      const uint64_t value = random();
      std::memcpy(&bytes[at], &value, 8);
    }
    if (random() % 8 != 0) std::memset(&bytes[26], 0, 2);  // MXCSR 31:16
    const uint64_t components = random() & (random() % 8 != 0 ? 0xe7 : ~uint64_t{0});
    std::memcpy(&bytes[512], &components, 8);
    if (random() % 4 == 0) bytes[520 + random() % 56] = static_cast<uint8_t>(random());
    bytes.resize(random() % 4 == 0 ? 576 + random() % 3520 : kPageSize);
    if (!set(HvGetSetVpStateXsave, bytes)) continue;
    ++accepted;
    load_state(vcpu);
    ASSERT_TRUE(fake::cpu().faults().empty()) << fake::cpu().faults()[0];
    save_state(vcpu);
  }
  EXPECT_GT(accepted, 1000u);
}

TEST_F(State, CopiesTheSynicPages) {
  EXPECT_EQ(get(HvGetSetVpStateSimPage), Bytes(kPageSize));  // off: empty
  EXPECT_EQ(set(HvGetSetVpStateSimPage, Bytes(kPageSize)).error(), Error::invalid_synic_state);
  enable_synic();
  Bytes page(kPageSize);
  for (size_t i = 0; i < page.size(); ++i) page[i] = static_cast<uint8_t>(i * 7);
  ASSERT_TRUE(set(HvGetSetVpStateSimPage, page));
  EXPECT_EQ(environment.at<uint8_t>(child, Gpa(0x5001)), 7);
  EXPECT_EQ(get(HvGetSetVpStateSimPage), page);
  EXPECT_EQ(get(HvGetSetVpStateSiefPage), Bytes(kPageSize));
  page[0] = 0x55;
  ASSERT_TRUE(set(HvGetSetVpStateSiefPage, page));
  EXPECT_EQ(environment.at<uint8_t>(child, Gpa(0x6000)), 0x55);

  ASSERT_TRUE(child.space.unmap(Gpa(0x5000)));
  Bytes room(kPageSize);
  EXPECT_EQ(arch::get_state(vcpu, HvGetSetVpStateSimPage, room).error(), Error::unmapped);
  EXPECT_EQ(set(HvGetSetVpStateSimPage, room).error(), Error::unmapped);
}

TEST_F(State, MovesTheSyntheticTimers) {
  ASSERT_TRUE(vcpu.timers.write(vcpu, abi::kHvX64MsrStimer0Count + 2, 123456789));
  const Bytes saved = get(HvGetSetVpStateSyntheticTimers);
  EXPECT_EQ(from<abi::HvSyntheticTimersState>(saved).timers[1].count, 123456789u);
  Partition& other = environment.make_child();
  Vcpu& target = environment.make_vp(other, 0);
  ASSERT_TRUE(arch::set_state(target, HvGetSetVpStateSyntheticTimers, saved));
  EXPECT_EQ(*target.timers.read(abi::kHvX64MsrStimer0Count + 2), 123456789u);
}

TEST_F(State, AsksForTranslationsToBeDropped) {
  EXPECT_FALSE(vcpu.has(VpRequest::flush_guest_tlb));
  arch::flush_guest_tlb(vcpu);
  EXPECT_TRUE(vcpu.has(VpRequest::flush_guest_tlb));
  EXPECT_EQ(arch::apic_id_of(environment.make_vp(child, 3)), 3u);
}

// --- Translation ---
class Translate : public State {
 protected:
  static constexpr uint64_t kP = 1, kW = 2, kU = 4, kA = 0x20, kD = 0x40, kNx = kBit<63>;
  static constexpr uint64_t kRead = 1 << abi::kHvTranslateGvaValidateReadBit,
                            kWrite = 1 << abi::kHvTranslateGvaValidateWriteBit,
                            kExecute = 1 << abi::kHvTranslateGvaValidateExecuteBit,
                            kExempt = 1 << abi::kHvTranslateGvaPrivilegeExemptBit,
                            kSetBits = 1 << abi::kHvTranslateGvaSetPageTableBitsBit,
                            kSupervisor = 1 << abi::kHvTranslateGvaSupervisorAccessBit,
                            kAsUser = 1 << abi::kHvTranslateGvaUserAccessBit,
                            kEnforceSmap = 1 << abi::kHvTranslateGvaEnforceSmapBit,
                            kOverrideSmap = 1 << abi::kHvTranslateGvaOverrideSmapBit;
  using Code = abi::HvTranslateGvaResultCode;
  using enum abi::HvTranslateGvaResultCode;

  Translate() {
    vmcb.cr0 = cr0::kPg | cr0::kPe | cr0::kWp;
    vmcb.cr4 = cr4::kPae;
    vmcb.efer = efer::kLme | efer::kLma | efer::kNxe | efer::kSvme;
    vmcb.cr3 = 0x1000;
    entry(0x1000) = 0x2000 | kP | kW | kU;
    entry(0x2000) = 0x3000 | kP | kW | kU;
    entry(0x3000) = 0x4000 | kP | kW | kU;
    map(kP | kW | kU);
  }
  uint64_t& entry(uint64_t gpa) { return environment.at<uint64_t>(child, Gpa(gpa)); }
  void map(uint64_t rights) { entry(0x4000) = 0x5000 | rights; }
  Code code(uint64_t flags, uint64_t address = 0x10) {
    const arch::Translation result = arch::translate_gva(vcpu, Gva(address), flags);
    if (static_cast<Code>(result.result_code) == HvTranslateGvaSuccess) {
      EXPECT_EQ(result.gpa, Gpa(0x5000 + address));
    }
    return static_cast<Code>(result.result_code);
  }
};

TEST_F(Translate, AnswersWithTlfsCodes) {
  EXPECT_EQ(code(0), HvTranslateGvaSuccess);
  EXPECT_EQ(code(kRead | kWrite | kExecute), HvTranslateGvaSuccess);
  EXPECT_EQ(code(kRead, 0x1000), HvTranslateGvaPageNotPresent);
  EXPECT_EQ(code(kRead, kBit<50>), HvTranslateGvaPageNotPresent);
  map(kP | kU);
  EXPECT_EQ(code(kRead), HvTranslateGvaSuccess);
  EXPECT_EQ(code(kWrite), HvTranslateGvaPrivilegeViolation);
  map(kP | kU | kNx);
  EXPECT_EQ(code(kRead), HvTranslateGvaSuccess);
  EXPECT_EQ(code(kRead | kExecute), HvTranslateGvaPrivilegeViolation);
  EXPECT_EQ(code(0), HvTranslateGvaSuccess);
  vmcb.efer &= ~efer::kNxe;
  EXPECT_EQ(code(0), HvTranslateGvaInvalidPageTableFlags);
  EXPECT_EQ(code(kRead), HvTranslateGvaInvalidPageTableFlags);
  entry(0x2000) = kP | (uint64_t{1} << 40);
  EXPECT_EQ(code(0), HvTranslateGvaGpaUnmapped);
}

TEST_F(Translate, ChoosesThePrivilegeLevel) {
  map(kP | kW);
  vmcb.cpl = 3;
  EXPECT_EQ(code(kRead), HvTranslateGvaPrivilegeViolation);
  EXPECT_EQ(code(kRead | kSupervisor), HvTranslateGvaSuccess);
  EXPECT_EQ(code(kRead | kExempt), HvTranslateGvaSuccess);
  vmcb.cpl = 0;
  EXPECT_EQ(code(kRead), HvTranslateGvaSuccess);
  EXPECT_EQ(code(kRead | kAsUser), HvTranslateGvaPrivilegeViolation);
}

TEST_F(Translate, ObeysSmapAndSmepUnlessToldOtherwise) {
  vmcb.cr4 |= cr4::kSmap | cr4::kSmep;
  EXPECT_EQ(code(kRead), HvTranslateGvaPrivilegeViolation);
  EXPECT_EQ(code(kRead | kOverrideSmap), HvTranslateGvaSuccess);
  EXPECT_EQ(code(kExecute | kOverrideSmap), HvTranslateGvaPrivilegeViolation);
  EXPECT_EQ(code(kRead | kExecute | kExempt), HvTranslateGvaSuccess);
  vmcb.rflags |= rflags::kAc;
  EXPECT_EQ(code(kRead), HvTranslateGvaSuccess);
  EXPECT_EQ(code(kRead | kEnforceSmap), HvTranslateGvaPrivilegeViolation);
}

TEST_F(Translate, SetsPageTableBitsWhenAsked) {
  EXPECT_EQ(code(kWrite), HvTranslateGvaSuccess);
  EXPECT_EQ(entry(0x4000) & (kA | kD), 0u);
  EXPECT_EQ(code(kRead | kSetBits), HvTranslateGvaSuccess);
  EXPECT_EQ(entry(0x4000) & (kA | kD), kA);
  EXPECT_EQ(code(kWrite | kSetBits), HvTranslateGvaSuccess);
  EXPECT_EQ(entry(0x4000) & (kA | kD), kA | kD);
}

}  // namespace
}  // namespace hv::x86
