// SPDX-License-Identifier: MIT
// One turn in the guest. Everything that another LP may have asked for is looked at after `epoch`
// says "in the guest" and before VMRUN, so a kick is needed only while that is so. An entry that is
// given up leaves nothing behind: not an offered interrupt, an event, or a flush that was asked
// for.

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/core/lp.h"

namespace hv::svm {
namespace {

uint32_t asid_count() {
  static const uint32_t count = cpu::cpuid(0x8000000a, 0).ebx;
  return count;
}

void prepare_tlb(Lp& lp, Asids& asids, Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  v.tlb_control = TlbControl::none;
  bool flush = lp.flush_tlb.load(std::memory_order_relaxed) && lp.flush_tlb.exchange(false);
  if (vcpu.asid_lp != &lp || vcpu.asid_generation != asids.generation) [[unlikely]] {
    if (asids.next == asid_count()) {
      ++asids.generation;
      asids.next = 1;
      flush = true;
    }
    vcpu.asid_lp = &lp;
    vcpu.asid_generation = asids.generation;
    v.asid = asids.next++;
  }
  if (flush) [[unlikely]]
    v.tlb_control = TlbControl::flush_all;
}

bool must_leave(const Lp& lp, const Vcpu& vcpu) {
  return lp.reschedule.load() || lp.flush_tlb.load() || vcpu.requests.load() || vcpu.suspend.load();
}

void give_up(Lp& lp, Vcpu& vcpu) {
  const Vmcb& v = *vcpu.vmcb;
  if (vcpu.offered_vector >= 0) settle_injection(vcpu);
  vcpu.event.raw = v.event_injection;
  if (v.tlb_control == TlbControl::flush_all) lp.flush_tlb.store(true);
}

}  // namespace

void enter(Lp& lp, Asids& asids, Spa host_vmcb, Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  prepare_tlb(lp, asids, vcpu);
  v.virtual_interrupt = VirtualInterrupt::Tpr::set(v.virtual_interrupt, vcpu.apic.tpr() >> 4);
  prepare_injection(vcpu);
  lp.leave_guest();  // the epoch turns even: from here on a kick interrupts the guest
  if (must_leave(lp, vcpu)) [[unlikely]] {
    lp.enter_guest();
    return give_up(lp, vcpu);
  }
  svm_enter(vcpu.gpr.data(), vcpu.vmcb_page.value(), host_vmcb.value());
  lp.enter_guest();
  handle_exit(vcpu);
}

}  // namespace hv::svm
