// SPDX-License-Identifier: MIT
// The guest clears the bit with an atomic exchange, so do we: exactly one side ends the interrupt.
#include "hypervisor/arch/x86/lazy_eoi.h"

#include <atomic>

#include "abi/tlfs/synic.h"
#include "hypervisor/arch/x86/apic_routing.h"
#include "hypervisor/arch/x86/vcpu.h"
#include "hypervisor/core/guest_memory.h"

namespace hv::x86 {

namespace {

constexpr uint32_t kNoEoiRequired = 1u << abi::kHvApicAssistNoEoiRequiredBit;

// The first word of the assist page, or nullptr while it is off or not mapped.
uint32_t* assist_word(Vcpu& vcpu) {
  const uint64_t value = vcpu.vp_assist_msr;
  if ((value & 1u << abi::kHvMsrPageEnableBit) == 0) return nullptr;
  const auto page = pin_page(vcpu.partition, Gpa(value).page_base(), Access::write);
  return page ? &direct_map<abi::HvVpAssistPage>(*page)->apic_assist : nullptr;
}

void end_interrupt(Vcpu& vcpu) {
  vcpu.apic.skip_offered = false;
  carry_out(vcpu, vcpu.apic.write_eoi());
}

}  // namespace

bool offer_lazy_eoi(Vcpu& vcpu) {
  if (!vcpu.apic.can_skip_eoi()) {
    withdraw_lazy_eoi(vcpu);
    return false;
  }
  uint32_t* const word = assist_word(vcpu);
  if (!word) return false;
  std::atomic_ref(*word).fetch_or(kNoEoiRequired);
  vcpu.apic.skip_offered = true;
  return true;
}

void settle_lazy_eoi(Vcpu& vcpu) {
  if (!vcpu.apic.skip_offered) [[likely]]
    return;
  uint32_t* const word = assist_word(vcpu);
  if (word && (std::atomic_ref(*word).load() & kNoEoiRequired) == 0) return end_interrupt(vcpu);
  if (!word || !vcpu.apic.can_skip_eoi()) withdraw_lazy_eoi(vcpu);
}

void withdraw_lazy_eoi(Vcpu& vcpu) {
  if (!vcpu.apic.skip_offered) return;
  uint32_t* const word = assist_word(vcpu);
  if (word && (std::atomic_ref(*word).fetch_and(~kNoEoiRequired) & kNoEoiRequired) == 0)
    return end_interrupt(vcpu);
  vcpu.apic.skip_offered = false;
}

}  // namespace hv::x86
