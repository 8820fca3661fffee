// SPDX-License-Identifier: MIT
// The register page of a VP [TLFS, Linux hvhdk.h]: with an intercept the parent finds the VP's
// registers there, and leaves those it changed. It may write the page at any time: what is adopted
// is read once and checked like any register it sets.

#include <cstring>

#include "hypervisor/arch/x86/msr.h"
#include "hypervisor/arch/x86/svm/register_events.h"
#include "hypervisor/arch/x86/xsave.h"
#include "hypervisor/core/arch.h"
#include "hypervisor/core/scheduler.h"

namespace hv {
namespace svm {
namespace {

using Name = abi::HvRegisterName;

abi::HvVpRegisterPage& page_of(const Vcpu& vcpu) {
  return *direct_map<abi::HvVpRegisterPage>(vcpu.register_page);
}

// Sets the registers from `first` on to the elements of an array in the page.
template <class T, size_t N>
Result<> adopt(Vcpu& vcpu, Name first, const T (&values)[N]) {
  for (size_t i = 0; i < N; ++i) {
    abi::HvRegisterValue value{};
    std::memcpy(&value, &values[i], sizeof(T));
    HV_TRY(arch::set_register(vcpu, static_cast<Name>(static_cast<uint32_t>(first) + i), value));
  }
  return {};
}

}  // namespace

Result<> adopt_registers(Vcpu& vcpu) {
  if (vcpu.register_page == Spa()) return {};
  abi::HvVpRegisterPage& page = page_of(vcpu);
  const uint32_t dirty = page.is_valid ? __atomic_load_n(&page.dirty, __ATOMIC_ACQUIRE) : 0;
  const auto changed = [&](unsigned bit) { return (dirty >> bit & 1) != 0; };
  // The LP that it intercepted on may still be putting its state away.
  if (dirty != 0 && !is_stopped(vcpu)) return fail(Error::retry);
  page.is_valid = 0;
  if (changed(abi::kHvX64RegisterClassGeneralBit))
    HV_TRY(adopt(vcpu, Name::HvX64RegisterRax, page.gp_registers));
  if (changed(abi::kHvX64RegisterClassIpBit))
    HV_TRY(adopt<uint64_t>(vcpu, Name::HvX64RegisterRip, {page.rip}));
  if (changed(abi::kHvX64RegisterClassFlagsBit))
    HV_TRY(adopt<uint64_t>(vcpu, Name::HvX64RegisterRflags, {page.rflags}));
  if (changed(abi::kHvX64RegisterClassXmmBit))
    HV_TRY(adopt(vcpu, Name::HvX64RegisterXmm0, page.xmm));
  if (changed(abi::kHvX64RegisterClassSegmentBit))
    HV_TRY(adopt(vcpu, Name::HvX64RegisterEs, page.segment));
  return {};
}

}  // namespace svm

void arch::publish_registers(Vp& vp) {
  constexpr auto kFirstSegment = static_cast<uint32_t>(abi::HvRegisterName::HvX64RegisterEs);
  x86::Vcpu& vcpu = x86::as_vcpu(vp);
  const svm::Vmcb& v = *vcpu.vmcb;
  abi::HvVpRegisterPage& page = svm::page_of(vcpu);
  page.version = abi::kHvVpRegisterPageVersion1;
  page.dirty = 0;
  std::memcpy(page.gp_registers, vcpu.gpr.data(), sizeof(page.gp_registers));
  page.gp_registers[x86::kRax] = v.rax;
  page.gp_registers[x86::kRsp] = v.rsp;
  page.rip = v.rip;
  page.rflags = v.rflags;
  x86::save_state(vcpu);
  x86::XsaveArea& area = x86::xsave_area(vcpu);
  x86::materialize(area, x86::xstate::kSse);
  std::memcpy(page.xmm, area.xmm, sizeof(page.xmm));
  for (unsigned i = 0; i < 6; ++i)
    page.segment[i] =
        get_register(vp, static_cast<abi::HvRegisterName>(kFirstSegment + i))->segment;
  page.cr0 = v.cr0;
  page.cr3 = v.cr3;
  page.cr4 = v.cr4;
  page.cr8 = vcpu.apic.tpr() >> 4;
  page.efer = x86::guest_efer(vcpu);
  page.dr7 = v.dr7;
  page.pending_interruption = svm::get_pending_interruption(vcpu, 0)->reg64;
  page.interrupt_state = svm::get_interrupt_state(vcpu, 0)->reg64;
  page.xfem = vcpu.xcr0;
  __atomic_store_n(&page.is_valid, 1, __ATOMIC_RELEASE);
}

}  // namespace hv
