// SPDX-License-Identifier: MIT
// Interrupt messages to VPs. A VP on another LP is reached by its IRR or a request bit alone.
#include "hypervisor/arch/x86/apic_routing.h"

#include "abi/tlfs/hypercall.h"
#include "hypervisor/arch/x86/machine.h"
#include "hypervisor/arch/x86/vcpu.h"
#include "hypervisor/core/scheduler.h"

namespace hv {

namespace x86 {

namespace {

void deliver(Vcpu& vcpu, const Ipi& ipi) {
  switch (ipi.mode) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority:
      return arch::raise_interrupt(vcpu, ipi.vector, ipi.trigger);
    case DeliveryMode::nmi:
      return post_request(vcpu, VpRequest::nmi);
    case DeliveryMode::init:
      return post_request(vcpu, VpRequest::init);
    case DeliveryMode::startup:
      vcpu.startup_vector = ipi.vector;
      return post_request(vcpu, VpRequest::startup);
    case DeliveryMode::extint:
      vcpu.extint_vector = ipi.vector;
      return post_request(vcpu, VpRequest::extint);
    case DeliveryMode::smi:
    case DeliveryMode::remote_read:
      return;
  }
}

bool is_target(const Vcpu& vcpu, const Vcpu* source, const Ipi& ipi) {
  switch (ipi.shorthand) {
    case Ipi::Shorthand::none:
      return vcpu.apic.matches(ipi);
    case Ipi::Shorthand::self:
      return &vcpu == source;
    case Ipi::Shorthand::all:
      return true;
    case Ipi::Shorthand::others:
      return &vcpu != source;
  }
  return false;
}

}  // namespace

void route_ipi(Partition& partition, Vcpu* source, const Ipi& ipi) {
  Vcpu* lowest = nullptr;
  for (auto& slot : partition.vps) {
    Vp* const vp = slot.load(std::memory_order_acquire);
    if (!vp || !is_target(as_vcpu(*vp), source, ipi)) continue;
    Vcpu& vcpu = as_vcpu(*vp);
    if (ipi.mode != DeliveryMode::lowest_priority)
      deliver(vcpu, ipi);
    else if (!lowest || vcpu.apic.tpr() < lowest->apic.tpr())
      lowest = &vcpu;
  }
  if (lowest) deliver(*lowest, ipi);
}

void carry_out(Vcpu& vcpu, const ApicEffect& effect) {
  switch (effect.kind) {
    case ApicEffect::Kind::none:
      return;
    case ApicEffect::Kind::ipi:
      return route_ipi(vcpu.partition, &vcpu, effect.ipi);
    case ApicEffect::Kind::timer:
      return deadline_changed(vcpu);
    case ApicEffect::Kind::eoi:
      retry_messages(vcpu);
      if (Partition* const parent = vcpu.partition.parent; !parent)
        end_level_interrupt(effect.vector);
      else if (effect.level)
        parent->intercepts.notify_eoi(*parent, vcpu, effect.vector);
      return;
  }
}

}  // namespace x86

namespace arch {

void raise_interrupt(Vp& vp, uint8_t vector, Trigger trigger, bool auto_eoi) {
  if (x86::as_vcpu(vp).apic.accept(vector, trigger, auto_eoi))
    post_request(vp, VpRequest::interrupt);
}

Result<> assert_interrupt(Partition& partition, uint64_t control, uint64_t destination,
                          uint8_t vector) {
  using Type = base::Field<31, 0>;
  using Level = base::Field<abi::kHvInterruptControlLevelTriggeredBit>;
  using Logical = base::Field<abi::kHvInterruptControlLogicalDestModeBit>;
  x86::Ipi ipi{};
  ipi.vector = vector;
  ipi.trigger = Level::test(control) ? Trigger::level : Trigger::edge;
  ipi.logical = Logical::test(control);
  ipi.destination = static_cast<uint32_t>(destination);
  if (ipi.destination != destination) return fail(Error::invalid_parameter);
  const auto type = static_cast<abi::HvInterruptType>(Type::get(control));
  switch (type) {
    case abi::HvInterruptType::HvX64InterruptTypeFixed:
    case abi::HvInterruptType::HvX64InterruptTypeLowestPriority:
      if (vector < 16) return fail(Error::invalid_parameter);
      [[fallthrough]];
    case abi::HvInterruptType::HvX64InterruptTypeNmi:
    case abi::HvInterruptType::HvX64InterruptTypeInit:
    case abi::HvInterruptType::HvX64InterruptTypeSipi:
    case abi::HvInterruptType::HvX64InterruptTypeExtInt:
      ipi.mode = static_cast<x86::DeliveryMode>(type);
      x86::route_ipi(partition, nullptr, ipi);
      return {};
    case abi::HvInterruptType::HvX64InterruptTypeLocalInt0:
    case abi::HvInterruptType::HvX64InterruptTypeLocalInt1:
      break;
    default:
      return fail(Error::invalid_parameter);
  }
  const unsigned pin = type == abi::HvInterruptType::HvX64InterruptTypeLocalInt1 ? 1 : 0;
  for (auto& slot : partition.vps) {
    Vp* const vp = slot.load(std::memory_order_acquire);
    if (vp && x86::as_vcpu(*vp).apic.matches(ipi)) x86::as_vcpu(*vp).apic.assert_lint(pin, vector);
  }
  return {};
}

void clear_interrupt(Partition& partition) {
  for (auto& slot : partition.vps)
    if (Vp* const vp = slot.load(std::memory_order_acquire)) {
      vp->take(VpRequest::extint);
      x86::as_vcpu(*vp).extint_pending = false;
    }
}

}  // namespace arch

}  // namespace hv
