// SPDX-License-Identifier: MIT
// Suspension, activity and events of a VP as registers. The parent sets them in any order; what
// depends on several is checked when it lets the VP run.
#include "hypervisor/arch/x86/svm/register_events.h"

#include "hypervisor/core/scheduler.h"

namespace hv::svm {

namespace cr0 = x86::cr0;
namespace cr4 = x86::cr4;
namespace efer = x86::efer;
namespace rflags = x86::rflags;
using Value = abi::HvRegisterValue;
using x86::PendingEvent;

namespace {

// What must hold among registers for VMRUN to succeed, beyond what each was checked for. CPL
// follows from SS but in real and virtual-8086 mode.
bool settle(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  constexpr uint16_t kLong = 1 << 9, kBig = 1 << 10;
  constexpr uint64_t kCet = kBit<23>;
  const bool long_mode = (v.efer & efer::kLma) != 0;
  const bool code64 = long_mode && (v.cs.attributes & kLong) != 0;
  if (long_mode && (v.cr4 & cr4::kPae) == 0) return false;
  if (long_mode && (v.rflags & rflags::kVm) != 0) return false;
  if (code64 && (v.cs.attributes & kBig) != 0) return false;
  if (!long_mode && (v.cr4 & cr4::kPcide) != 0) return false;
  if ((v.cr4 & kCet) != 0 && (v.cr0 & cr0::kWp) == 0) return false;
  if ((v.cr0 & cr0::kPe) == 0) v.cpl = 0;
  if ((v.rflags & rflags::kVm) != 0) v.cpl = 3;
  // INTO and BOUND do not exist in 64-bit code.
  const uint64_t vector = PendingEvent::Vector::get(vcpu.event.raw);
  return !(code64 && vcpu.event.valid() && (vector == 4 || vector == 5) &&
           PendingEvent::Type::get(vcpu.event.raw) == PendingEvent::kException);
}

using StartupSuspend = Field<abi::kHvActivityStartupSuspendBit>;
using HaltSuspend = Field<abi::kHvActivityHaltSuspendBit>;
using IdleSuspend = Field<abi::kHvActivityIdleSuspendBit>;

using Pending = Field<abi::kHvPendingInterruptionPendingBit>;
using PendingType =
    Field<abi::kHvPendingInterruptionTypeShift + 2, abi::kHvPendingInterruptionTypeShift>;
using PendingHasCode = Field<abi::kHvPendingInterruptionDeliverErrorCodeBit>;
using PendingLength = Field<abi::kHvPendingInterruptionInstructionLengthShift + 3,
                            abi::kHvPendingInterruptionInstructionLengthShift>;
using PendingVector =
    Field<abi::kHvPendingInterruptionVectorShift + 15, abi::kHvPendingInterruptionVectorShift>;
using PendingCode = Field<63, abi::kHvPendingInterruptionErrorCodeShift>;

// Vectors that EVENTINJ takes as exceptions [APM2 15.20].
bool is_exception(uint64_t vector) {
  constexpr uint64_t kExceptions = Field<19, 0>::kMask & ~(kBit<2> | kBit<9> | kBit<15>);
  return vector < 32 && (kExceptions >> vector & 1) != 0;
}

// IRET is watched while NMIs are blocked.
void block_nmis(Vcpu& vcpu, bool blocked) {
  uint32_t& intercepts = vcpu.vmcb->intercept3;
  vcpu.nmi_blocked = blocked;
  intercepts = blocked ? intercepts | intercept3::kIret : intercepts & ~intercept3::kIret;
}

using InterruptShadow = Field<abi::kHvInterruptShadowBit>;
using NmiMasked = Field<abi::kHvNmiMaskedBit>;

using EventPending = Field<abi::kHvPendingEventPendingBit>;
using EventType = Field<abi::kHvPendingEventTypeShift + 2, abi::kHvPendingEventTypeShift>;

Result<> set_pending_exception(Vcpu& vcpu, const abi::HvX64PendingExceptionEvent& in) {
  // Onto a double fault there would be a shutdown.
  const bool double_fault =
      vcpu.event.valid() && PendingEvent::Vector::get(vcpu.event.raw) == x86::vector::kDf;
  if (!is_exception(in.vector) || double_fault) return fail(Error::invalid_register_value);
  const auto vector = static_cast<uint8_t>(in.vector);
  if (vector == x86::vector::kPf) vcpu.vmcb->cr2 = in.exception_parameter;
  if (vector == x86::vector::kDb) vcpu.vmcb->dr6 |= in.exception_parameter & Field<15, 0>::kMask;
  const bool has_code = (in.flags >> abi::kHvPendingExceptionDeliverErrorCodeBit & 1) != 0;
  x86::inject_exception(vcpu, has_code ? PendingEvent::exception(vector, in.error_code)
                                       : PendingEvent::exception(vector));
  return {};
}

// Of what can become deliverable, the SynIC's message slots are watched.
using NotifySints =
    Field<abi::kHvNotifySintsShift + abi::kHvNotifySintsWidth - 1, abi::kHvNotifySintsShift>;

}  // namespace

Result<Value> get_suspend(Vcpu& vcpu, VpSuspend bit) {
  return word(vcpu.is(bit));
}
Result<> set_suspend(Vcpu& vcpu, VpSuspend bit, const Value& value) {
  if (value.reg64 > 1) return fail(Error::invalid_register_value);
  if (value.reg64 != 0) return hv::suspend(vcpu, bit) ? Result<>{} : fail(Error::retry);
  if (vcpu.is(bit) && (vcpu.suspend.load() & kHeldByParent & ~static_cast<uint32_t>(bit)) == 0) {
    HV_TRY(adopt_registers(vcpu));
    if (!settle(vcpu)) return fail(Error::invalid_register_value);
  }
  resume(vcpu, bit);
  return {};
}

Result<Value> get_activity(Vcpu& vcpu, uint32_t) {
  const bool halted = vcpu.is(VpSuspend::halted);
  uint64_t state = StartupSuspend::set(0, vcpu.is(VpSuspend::wait_for_startup));
  state = HaltSuspend::set(state, halted && !vcpu.idle_wait);
  return word(IdleSuspend::set(state, halted && vcpu.idle_wait));
}
Result<> set_activity(Vcpu& vcpu, uint32_t, const Value& value) {
  const uint64_t state = value.reg64;
  if ((state & ~(StartupSuspend::kMask | HaltSuspend::kMask | IdleSuspend::kMask)) != 0)
    return fail(Error::invalid_register_value);
  const bool halted = HaltSuspend::test(state) || IdleSuspend::test(state);
  vcpu.idle_wait = IdleSuspend::test(state);
  halted ? vcpu.add(VpSuspend::halted) : resume(vcpu, VpSuspend::halted);
  StartupSuspend::test(state) ? vcpu.add(VpSuspend::wait_for_startup)
                              : resume(vcpu, VpSuspend::wait_for_startup);
  return {};
}

Result<Value> get_pending_interruption(Vcpu& vcpu, uint32_t) {
  const uint64_t event = vcpu.event.raw;
  if (!vcpu.event.valid()) return word(0);
  uint64_t out = PendingType::set(Pending::set(0, 1), PendingEvent::Type::get(event));
  out = PendingVector::set(out, PendingEvent::Vector::get(event));
  if (PendingEvent::HasErrorCode::test(event))
    out = PendingCode::set(PendingHasCode::set(out, 1), PendingEvent::ErrorCode::get(event));
  return word(out);
}

Result<> set_pending_interruption(Vcpu& vcpu, uint32_t, const Value& value) {
  const uint64_t in = value.reg64;
  if (!Pending::test(in)) {
    vcpu.event.raw = 0;
    return {};
  }
  const uint64_t vector = PendingVector::get(in);
  uint64_t type = PendingType::get(in);
  const bool software = type >= PendingEvent::kSoftInterrupt;
  // Software exceptions (INT1, INT3, INTO) are exceptions here, whose RIP is behind the
  // instruction.
  if (type == 5 || type == 6) type = PendingEvent::kException;
  const bool valid = type == PendingEvent::kNmi         ? vector == x86::vector::kNmi
                     : type == PendingEvent::kException ? is_exception(vector)
                                                        : type != 1 && type != 7 && vector < 256;
  if (!valid) return fail(Error::invalid_register_value);
  uint64_t event = PendingEvent::Valid::set(PendingEvent::Type::set(vector, type), 1);
  if (type == PendingEvent::kException && PendingHasCode::test(in))
    event = PendingEvent::ErrorCode::set(PendingEvent::HasErrorCode::set(event, 1),
                                         PendingCode::get(in));
  if (software) {
    vcpu.vmcb->rip += PendingLength::get(in);
    vcpu.vmcb->next_rip = vcpu.vmcb->rip;
  }
  if (type == PendingEvent::kNmi) block_nmis(vcpu, true);
  vcpu.event.raw = event;
  return {};
}

Result<Value> get_interrupt_state(Vcpu& vcpu, uint32_t) {
  const uint64_t state = InterruptShadow::set(0, vcpu.vmcb->interrupt_shadow & 1);
  return word(NmiMasked::set(state, vcpu.nmi_blocked));
}
Result<> set_interrupt_state(Vcpu& vcpu, uint32_t, const Value& value) {
  if ((value.reg64 & ~(InterruptShadow::kMask | NmiMasked::kMask)) != 0)
    return fail(Error::invalid_register_value);
  vcpu.vmcb->interrupt_shadow = InterruptShadow::get(value.reg64);
  block_nmis(vcpu, NmiMasked::test(value.reg64));
  return {};
}

// An exception goes to PendingInterruption at once; only an ExtINT is seen waiting here.
Result<Value> get_pending_event(Vcpu& vcpu, uint32_t) {
  Value out = word(0);
  if (!vcpu.has(VpRequest::extint) && !vcpu.extint_pending) return out;
  const auto type = static_cast<uint64_t>(abi::HvX64PendingEventType::HvX64PendingEventExtInt);
  out.pending_ext_int_event.header =
      static_cast<uint8_t>(EventType::set(EventPending::set(0, 1), type));
  out.pending_ext_int_event.vector = vcpu.extint_vector.load();
  return out;
}

Result<> set_pending_event(Vcpu& vcpu, uint32_t, const Value& value) {
  if (!EventPending::test(value.reg8)) {
    vcpu.take(VpRequest::extint);
    vcpu.extint_pending = false;
    return {};
  }
  switch (static_cast<abi::HvX64PendingEventType>(EventType::get(value.reg8))) {
    case abi::HvX64PendingEventType::HvX64PendingEventException:
      return set_pending_exception(vcpu, value.pending_exception_event);
    case abi::HvX64PendingEventType::HvX64PendingEventExtInt:
      vcpu.extint_vector.store(value.pending_ext_int_event.vector);
      post_request(vcpu, VpRequest::extint);
      return {};
    default:
      return fail(Error::invalid_register_value);
  }
}

Result<Value> get_notifications(Vcpu& vcpu, uint32_t) {
  return word(NotifySints::set(0, vcpu.synic.notify_deliverable()));
}
Result<> set_notifications(Vcpu& vcpu, uint32_t, const Value& value) {
  if ((value.reg64 & ~NotifySints::kMask) != 0) return fail(Error::feature_unavailable);
  vcpu.synic.set_notify_deliverable(vcpu, static_cast<uint16_t>(NotifySints::get(value.reg64)));
  return {};
}

}  // namespace hv::svm
