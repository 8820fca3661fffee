// SPDX-License-Identifier: MIT
// Events into the guest, in the order of [APM2 8.5]: what an intercept interrupted, NMI, external
// and APIC interrupts. Interrupts are offered as virtual interrupts: the processor delivers one as
// soon as RFLAGS.IF, the interrupt shadow and CR8 allow, without an exit. What it did with the
// offer is read at the next exit. Event injection carries what must arrive at once; not interrupts,
// since an emulator is known that may deliver an injected one a second time.

#include "hypervisor/arch/x86/lazy_eoi.h"
#include "hypervisor/arch/x86/svm/svm.h"

namespace hv::svm {
namespace {

using x86::PendingEvent;

uint64_t make_event(uint64_t type, uint8_t vector) {
  return PendingEvent::Valid::set(PendingEvent::Type::set(vector, type), 1);
}

void offer(Vcpu& vcpu, uint8_t vector, bool ignore_tpr) {
  uint64_t& word = vcpu.vmcb->virtual_interrupt;
  word = VirtualInterrupt::Vector::set(VirtualInterrupt::Irq::set(word, 1), vector);
  word = VirtualInterrupt::Priority::set(VirtualInterrupt::IgnoreTpr::set(word, ignore_tpr),
                                         vector >> 4);
  vcpu.offered_vector = vector;
}

// An interrupt that the guest takes with the entry is in service from now on, so that the lazy EOI
// can be offered with it; one that has to wait stays requested.
void offer_apic_interrupt(Vcpu& vcpu, bool now) {
  if (!vcpu.apic.any_requested()) [[likely]]
    return;
  const auto vector = static_cast<uint8_t>(vcpu.apic.highest_requested());
  if (!vcpu.apic.outranks_service(vector)) return;
  offer(vcpu, vector, false);
  if (!now || vector >> 4 <= vcpu.apic.tpr() >> 4) return;
  vcpu.apic.acknowledge(vector);
  vcpu.offer_acknowledged = true;
  x86::offer_lazy_eoi(vcpu);
}

}  // namespace

void prepare_injection(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  v.event_injection = 0;
  const bool shadow = v.interrupt_shadow & 1;
  bool now = (v.rflags & x86::rflags::kIf) && !shadow;
  if (vcpu.event.valid()) {
    v.event_injection = vcpu.event.raw;
    vcpu.event.raw = 0;
    now = false;
  } else if (vcpu.nmi_pending && !vcpu.nmi_blocked) {
    vcpu.nmi_pending = false;
    vcpu.nmi_blocked = true;
    v.intercept3 |= intercept3::kIret;
    v.event_injection = make_event(PendingEvent::kNmi, x86::vector::kNmi);
    now = false;
  }
  if (vcpu.extint_pending) [[unlikely]] {
    vcpu.offered_extint = true;
    return offer(vcpu, vcpu.extint_vector.load(), true);
  }
  offer_apic_interrupt(vcpu, now);
}

void settle_injection(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  // The exit may have come in the middle of its delivery: then it is offered again.
  const bool interrupted =
      PendingEvent::Valid::test(v.exit_interrupt_info) &&
      PendingEvent::Type::get(v.exit_interrupt_info) == PendingEvent::kInterrupt;
  if (interrupted) v.exit_interrupt_info = 0;
  const bool taken = !interrupted && !VirtualInterrupt::Irq::test(v.virtual_interrupt);
  const auto vector = static_cast<uint8_t>(vcpu.offered_vector);
  if (vcpu.offered_extint) {
    if (taken) vcpu.extint_pending = false;
  } else if (taken && !vcpu.offer_acknowledged) {
    vcpu.apic.acknowledge(vector);
  } else if (!taken && vcpu.offer_acknowledged) {
    x86::withdraw_lazy_eoi(vcpu);
    vcpu.apic.unacknowledge(vector);
  }
  vcpu.counters.interrupts += taken;
  v.virtual_interrupt = VirtualInterrupt::Irq::set(v.virtual_interrupt, 0);
  vcpu.offered_vector = -1;
  vcpu.offer_acknowledged = vcpu.offered_extint = false;
}

void recover_interrupted_event(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  const uint64_t info = v.exit_interrupt_info;
  const uint64_t type = PendingEvent::Type::get(info);
  const uint64_t vector = PendingEvent::Vector::get(info);
  // INT n, INT3 and INTO are executed again instead: RIP still points at them.
  if (type == PendingEvent::kSoftInterrupt) return;
  if (type == PendingEvent::kException && (vector == 3 || vector == 4)) return;
  vcpu.event.raw = info;
}

}  // namespace hv::svm

namespace hv::x86 {

void inject_exception(Vcpu& vcpu, PendingEvent event) {
  constexpr uint64_t kContributory = 1u << 0 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13;
  if (vcpu.event.valid() && PendingEvent::Type::get(vcpu.event.raw) == PendingEvent::kException) {
    const auto first = static_cast<uint8_t>(PendingEvent::Vector::get(vcpu.event.raw));
    const auto second = static_cast<uint8_t>(PendingEvent::Vector::get(event.raw));
    const bool first_contributes = (kContributory >> first & 1) || first == vector::kPf;
    const bool second_contributes =
        (kContributory >> second & 1) || (second == vector::kPf && first == vector::kPf);
    if (first == vector::kDf) {
      vcpu.event.raw = 0;
      return triple_fault(vcpu);
    }
    if (first_contributes && second_contributes) event = PendingEvent::exception(vector::kDf, 0);
  } else if (vcpu.event.valid() && PendingEvent::Type::get(vcpu.event.raw) == PendingEvent::kNmi) {
    // Its delivery was interrupted and comes after the exception.
    vcpu.nmi_pending = true;
    vcpu.nmi_blocked = false;
  }
  vcpu.event = event;
}

}  // namespace hv::x86
