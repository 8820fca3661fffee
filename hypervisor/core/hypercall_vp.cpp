// SPDX-License-Identifier: MIT
// Calls about virtual processors [TLFS 7]. Registers and state are read and written while the VP is
// suspended and off its LP; the partition's lock keeps it there, since only calls that hold it
// resume a VP from those suspensions.
#include <algorithm>

#include "hypervisor/core/arch.h"
#include "hypervisor/core/guest_memory.h"
#include "hypervisor/core/hypercall_handlers.h"
#include "hypervisor/core/scheduler.h"

namespace hv {

namespace {

Result<Vp*> find_vp(const Call& call, uint32_t index) {
  Vp* const vp = call.target->vp(VpIndex{index});
  if (!vp) return fail(Error::invalid_vp_index);
  return vp;
}

// With the partition's lock held. Errors: invalid_vp_state (it may run); retry (it has to leave its
// LP first).
Result<> check_suspended(const Vp& vp) {
  if (!vp.is(VpSuspend::explicit_suspend) && !vp.is(VpSuspend::intercept_suspend))
    return fail(Error::invalid_vp_state);
  return is_stopped(vp) ? Result<>() : fail(Error::retry);
}

// The suspension a register stands for; none for other registers.
constexpr VpSuspend suspension_of(abi::HvRegisterName name) {
  switch (name) {
    case abi::HvRegisterName::HvRegisterExplicitSuspend: return VpSuspend::explicit_suspend;
    case abi::HvRegisterName::HvRegisterInterceptSuspend: return VpSuspend::intercept_suspend;
    default: return VpSuspend{};
  }
}

abi::HvRegisterValue number(uint64_t value) { return {.reg128 = {value, 0}}; }

uint64_t activity_of(const Vp& vp) {
  return static_cast<uint64_t>(vp.is(VpSuspend::wait_for_startup))
             << abi::kHvActivityStartupSuspendBit |
         static_cast<uint64_t>(vp.is(VpSuspend::halted)) << abi::kHvActivityHaltSuspendBit;
}

Result<> set_activity(Vp& vp, uint64_t value) {
  constexpr uint64_t kHalt = privilege(abi::kHvActivityHaltSuspendBit);
  constexpr uint64_t kIdle = privilege(abi::kHvActivityIdleSuspendBit);
  constexpr uint64_t kStartup = privilege(abi::kHvActivityStartupSuspendBit);
  if ((value & ~(kHalt | kIdle | kStartup)) != 0) return fail(Error::invalid_register_value);
  const auto apply = [&](VpSuspend bit, bool on) { on ? vp.add(bit) : vp.remove(bit); };
  apply(VpSuspend::halted, (value & (kHalt | kIdle)) != 0);
  apply(VpSuspend::wait_for_startup, (value & kStartup) != 0);
  return {};
}

Result<abi::HvRegisterValue> read_register(Vp& vp, abi::HvRegisterName name) {
  const VpSuspend suspension = suspension_of(name);
  if (suspension != VpSuspend{}) return number(vp.is(suspension));
  if (name == abi::HvRegisterName::HvRegisterInternalActivityState) return number(activity_of(vp));
  HV_TRY(check_suspended(vp));
  return arch::get_register(vp, name);
}

Result<> write_register(Vp& vp, const abi::HvRegisterAssoc& assoc) {
  const VpSuspend suspension = suspension_of(assoc.name);
  if (suspension != VpSuspend{}) {
    // Suspended means that it no longer executes: the caller may look for an intercept message.
    if ((assoc.value.reg64 & privilege(abi::kHvSuspendedBit)) != 0)
      return suspend(vp, suspension) ? Result<>() : fail(Error::retry);
    resume(vp, suspension);
    return {};
  }
  HV_TRY(check_suspended(vp));
  if (assoc.name == abi::HvRegisterName::HvRegisterInternalActivityState)
    return set_activity(vp, assoc.value.reg64);
  return arch::set_register(vp, assoc.name, assoc.value);
}

// This LP's output page stages state that goes to pages of the caller.
std::span<uint8_t> staging(size_t pages) {
  return {hypercall_buffer() + kPageSize, std::min<size_t>(pages * kPageSize, kPageSize)};
}

// The guest's own message or event flags page, by its SynIC register.
Result<Gpa> synic_page(const Vp& vp, abi::HvVpStateType type) {
  const bool messages = type == abi::HvVpStateType::HvGetSetVpStateSimPage;
  HV_TRY_ASSIGN(const uint64_t value,
                vp.synic.read(messages ? abi::kHvX64MsrSimp : abi::kHvX64MsrSiefp));
  if ((value & privilege(abi::kHvMsrPageEnableBit)) == 0) return fail(Error::invalid_synic_state);
  return Gpa(value).page_base();
}

bool is_synic_page(abi::HvVpStateType type) {
  return type == abi::HvVpStateType::HvGetSetVpStateSimPage ||
         type == abi::HvVpStateType::HvGetSetVpStateSiefPage;
}

// Pages of this size or smaller take part in one transfer, so neither list nor data is unbounded.
Result<size_t> read_state(const Call& call, Vp& vp, abi::HvVpStateType type,
                          std::span<uint8_t> out) {
  if (!is_synic_page(type)) return arch::get_state(vp, type, out);
  if (out.size() < kPageSize) return fail(Error::invalid_parameter);
  HV_TRY_ASSIGN(const Gpa page, synic_page(vp, type));
  HV_TRY(copy_in_bytes(*call.target, page, out.data(), kPageSize));
  return kPageSize;
}

Result<> write_state(const Call& call, Vp& vp, abi::HvVpStateType type,
                     std::span<const uint8_t> in) {
  if (!is_synic_page(type)) return arch::set_state(vp, type, in);
  if (in.size() < kPageSize) return fail(Error::invalid_parameter);
  HV_TRY_ASSIGN(const Gpa page, synic_page(vp, type));
  return copy_out_bytes(*call.target, page, in.data(), kPageSize);
}

bool has_pages(abi::HvVpStateType type) {
  return (static_cast<uint32_t>(type) & abi::kHvVpStateTypePfnMask) != 0;
}

Gpa page_of_caller(uint64_t page) {
  return page < kMaxPhysicalAddress >> kPageShift ? Gpa::from_page(page) : Gpa(kMaxPhysicalAddress);
}

}  // namespace

// The root's VPs live since boot, and a restarted root creates them again [Linux 6.1 mshyperv.c].
Result<> create_vp_call(Call& call, const abi::HvInputCreateVp& in) {
  if (call.target->is_root())
    return call.target->vp(VpIndex{in.vp_index}) ? Result<>() : fail(Error::invalid_vp_index);
  HV_TRY(create_vp(*call.target, VpIndex{in.vp_index}, next_home(), false));
  return {};
}

Result<> delete_vp_call(Call& call, const abi::HvInputDeleteVp& in) {
  return delete_vp(*call.target, VpIndex{in.vp_index});
}

Result<> get_vp_registers(Call& call, const abi::HvInputGetVpRegisters& in,
                          Reps<abi::HvRegisterName, abi::HvRegisterValue>& reps) {
  if (!is_vtl0(in.input_vtl)) return fail(Error::invalid_parameter);
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(Vp* const vp, find_vp(call, in.vp_index));
  for (; reps.done < reps.count; ++reps.done) {
    HV_TRY_ASSIGN(reps.out[reps.done], read_register(*vp, reps.in[reps.done]));
  }
  return {};
}

Result<> set_vp_registers(Call& call, const abi::HvInputSetVpRegisters& in,
                          Reps<abi::HvRegisterAssoc>& reps) {
  if (!is_vtl0(in.input_vtl)) return fail(Error::invalid_parameter);
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(Vp* const vp, find_vp(call, in.vp_index));
  for (; reps.done < reps.count; ++reps.done) HV_TRY(write_register(*vp, reps.in[reps.done]));
  return {};
}

Result<abi::HvOutputTranslateVirtualAddress> translate_virtual_address(
    Call& call, const abi::HvInputTranslateVirtualAddress& in) {
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(Vp* const vp, find_vp(call, in.vp_index));
  HV_TRY(check_suspended(*vp));
  const arch::Translation translation =
      arch::translate_gva(*vp, Gva::from_page(in.gva_page), in.control_flags);
  abi::HvOutputTranslateVirtualAddress out{};
  out.result_code = static_cast<abi::HvTranslateGvaResultCode>(translation.result_code);
  out.gpa_page = translation.gpa.page();
  return out;
}

// The pages stay with the VP until it is freed; unmapping only takes them out of the root's sight.
Result<abi::HvOutputMapVpStatePage> map_vp_state_page(Call& call,
                                                      const abi::HvInputMapVpStatePage& in) {
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(Vp* const vp, find_vp(call, in.vp_index));
  Spa* page = nullptr;
  switch (in.type) {
    case abi::HvVpStatePageType::HvVpStatePageRegisters: page = &vp->register_page; break;
    case abi::HvVpStatePageType::HvVpStatePageInterceptMessage: page = &vp->intercept_page; break;
    default: return fail(Error::invalid_parameter);
  }
  if (*page == Spa()) {
    HV_TRY_ASSIGN(*page, call.target->pool.allocate());
  }
  HV_TRY(export_to_root(*page));
  return abi::HvOutputMapVpStatePage{page->page()};
}

Result<> unmap_vp_state_page(Call& call, const abi::HvInputUnmapVpStatePage& in) {
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(const Vp* const vp, find_vp(call, in.vp_index));
  const bool registers = in.type == abi::HvVpStatePageType::HvVpStatePageRegisters;
  const Spa page = registers ? vp->register_page : vp->intercept_page;
  if (page == Spa()) return fail(Error::invalid_parameter);
  unexport_from_root(page);
  return {};
}

Result<abi::HvOutputGetVpState> get_vp_state(Call& call, const abi::HvInputGetVpState& in) {
  if (!is_vtl0(in.input_vtl)) return fail(Error::invalid_parameter);
  const abi::HvVpStateType type = in.state_data.type;
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(Vp* const vp, find_vp(call, in.vp_index));
  HV_TRY(check_suspended(*vp));
  abi::HvOutputGetVpState out{};
  if (!has_pages(type)) {
    if (type != abi::HvVpStateType::HvGetSetVpStateSyntheticTimers)
      return fail(Error::invalid_parameter);
    vp->timers.save(out.synthetic_timers_state);
    return out;
  }
  const std::span<uint8_t> bytes = staging(call.variable.size());
  HV_TRY_ASSIGN(const size_t size, read_state(call, *vp, type, bytes));
  if (size > bytes.size()) return fail(Error::invalid_parameter);
  if (size != 0) {
    HV_TRY(copy_out_bytes(call.partition, page_of_caller(call.variable[0]), bytes.data(), size));
  }
  return out;
}

Result<> set_vp_state(Call& call, const abi::HvInputSetVpState& in) {
  if (!is_vtl0(in.input_vtl)) return fail(Error::invalid_parameter);
  const abi::HvVpStateType type = in.state_data.type;
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(Vp* const vp, find_vp(call, in.vp_index));
  HV_TRY(check_suspended(*vp));
  if (!has_pages(type)) {
    abi::HvSyntheticTimersState timers{};
    if (type != abi::HvVpStateType::HvGetSetVpStateSyntheticTimers ||
        call.variable.size_bytes() != sizeof(timers))
      return fail(Error::invalid_parameter);
    __builtin_memcpy(&timers, call.variable.data(), sizeof(timers));
    return vp->timers.restore(*vp, timers);
  }
  if (call.variable.empty()) return fail(Error::invalid_parameter);
  const std::span<uint8_t> bytes = staging(call.variable.size());
  HV_TRY(copy_in_bytes(call.partition, page_of_caller(call.variable[0]), bytes.data(),
                       bytes.size()));
  return write_state(call, *vp, type, bytes);
}

Result<> get_vp_cpuid_values(Call& call, const abi::HvInputGetVpCpuidValues& in,
                             Reps<abi::HvCpuidLeafInfo, abi::HvOutputGetVpCpuidValues>& reps) {
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(const Vp* const vp, find_vp(call, in.vp_index));
  for (; reps.done < reps.count; ++reps.done) {
    const abi::HvCpuidLeafInfo& leaf = reps.in[reps.done];
    const arch::CpuidValue value = arch::guest_cpuid(*vp, leaf.eax, leaf.ecx);
    reps.out[reps.done] = {value.eax, value.ebx, value.ecx, value.edx};
  }
  return {};
}

}  // namespace hv
