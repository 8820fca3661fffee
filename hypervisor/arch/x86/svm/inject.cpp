// SPDX-License-Identifier: MIT
// Events into the guest, in the order of [APM2 8.5]: what an intercept interrupted, NMI, external
// and APIC interrupts. One event goes with an entry; for the rest a virtual interrupt is left
// pending, whose delivery is intercepted as soon as the guest could take it.

#include "hypervisor/arch/x86/lazy_eoi.h"
#include "hypervisor/arch/x86/svm/svm.h"

namespace hv::svm {
namespace {

using x86::PendingEvent;

uint64_t make_event(uint64_t type, uint8_t vector) {
  return PendingEvent::Valid::set(PendingEvent::Type::set(vector, type), 1);
}

// An exit as soon as the guest can take an interrupt of this priority class.
void request_window(Vmcb& v, unsigned priority = 15, bool obey_tpr = false) {
  v.virtual_interrupt = VirtualInterrupt::Irq::set(v.virtual_interrupt, 1);
  v.virtual_interrupt = VirtualInterrupt::IgnoreTpr::set(v.virtual_interrupt, !obey_tpr);
  v.virtual_interrupt = VirtualInterrupt::Priority::set(v.virtual_interrupt, priority);
  v.intercept3 |= intercept3::kVintr;
}

void withdraw_window(Vmcb& v) {
  if (!(v.intercept3 & intercept3::kVintr)) return;
  v.virtual_interrupt = VirtualInterrupt::Irq::set(v.virtual_interrupt, 0);
  v.intercept3 &= ~intercept3::kVintr;
}

// What CR8 alone holds back shows up when the guest lowers it, without an exit of ours in between.
void request_tpr_window(Vcpu& vcpu, int highest) {
  if (highest >> 4 <= vcpu.apic.tpr() >> 4)
    request_window(*vcpu.vmcb, static_cast<unsigned>(highest) >> 4, true);
}

void inject_interrupt(Vcpu& vcpu, bool open) {
  const int highest = vcpu.apic.highest_requested();
  if (highest < 0) [[likely]]
    return;
  const int vector = vcpu.apic.highest_pending();
  if (vector < 0) return request_tpr_window(vcpu, highest);
  if (!open) return request_window(*vcpu.vmcb);
  vcpu.apic.acknowledge(static_cast<uint8_t>(vector));
  ++vcpu.counters.interrupts;
  vcpu.vmcb->event_injection = make_event(PendingEvent::kInterrupt, static_cast<uint8_t>(vector));
  x86::offer_lazy_eoi(vcpu);
  if (vcpu.apic.has_pending()) request_window(*vcpu.vmcb);
}

}  // namespace

void prepare_injection(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  withdraw_window(v);
  v.event_injection = 0;
  const bool shadow = v.interrupt_shadow & 1;
  const bool open = (v.rflags & x86::rflags::kIf) && !shadow;
  if (vcpu.event.valid()) {
    v.event_injection = vcpu.event.raw;
    vcpu.event.raw = 0;
    if (vcpu.apic.has_pending()) request_window(v);
  } else if (vcpu.nmi_pending && !vcpu.nmi_blocked && !shadow) {
    vcpu.nmi_pending = false;
    vcpu.nmi_blocked = true;
    v.intercept3 |= intercept3::kIret;
    v.event_injection = make_event(PendingEvent::kNmi, x86::vector::kNmi);
    if (vcpu.apic.has_pending()) request_window(v);
  } else if (vcpu.has(VpRequest::extint)) {
    if (open && vcpu.take(VpRequest::extint))
      v.event_injection = make_event(PendingEvent::kInterrupt, vcpu.extint_vector.load());
    else
      request_window(v);
  } else {
    inject_interrupt(vcpu, open);
  }
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
  if (vcpu.event.valid() &&
      PendingEvent::Type::get(vcpu.event.raw) == PendingEvent::kException) {
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
  }
  vcpu.event = event;
}

}  // namespace hv::x86
