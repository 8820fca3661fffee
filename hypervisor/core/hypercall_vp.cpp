// SPDX-License-Identifier: MIT
// Calls about virtual processors [TLFS 7]. Registers and state are read and written while the VP is
// suspended and off its LP; the partition's lock keeps it there, since only calls that hold it
// resume a VP from those suspensions.
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

// With the partition's lock held. Errors: invalid_vp_state (nobody holds it, it may run); retry (it
// has to leave its LP first).
Result<> check_held(const Vp& vp) {
  if (!vp.is(VpSuspend::explicit_suspend) && !vp.is(VpSuspend::intercept_suspend))
    return fail(Error::invalid_vp_state);
  return is_stopped(vp) ? Result<>() : fail(Error::retry);
}

// Suspension itself can be read and asked for at any time.
Result<> check_reachable(const Vp& vp, abi::HvRegisterName name) {
  const bool suspension = name == abi::HvRegisterName::HvRegisterExplicitSuspend ||
                          name == abi::HvRegisterName::HvRegisterInterceptSuspend;
  return suspension ? Result<>() : check_held(vp);
}

// This LP's output page stages state that goes to pages of the caller.
std::span<uint8_t> staging() {
  return {hypercall_buffer() + kPageSize, kPageSize};
}

bool has_pages(abi::HvVpStateType type) {
  return (static_cast<uint32_t>(type) & abi::kHvVpStateTypePfnMask) != 0;
}

// State is at most a page: the first of the list. kMaxPhysicalAddress, which nothing maps, if there
// is none.
Gpa page_of_caller(std::span<const uint64_t> pages) {
  const bool valid = !pages.empty() && pages[0] < kMaxPhysicalAddress >> kPageShift;
  return valid ? Gpa::from_page(pages[0]) : Gpa(kMaxPhysicalAddress);
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
    HV_TRY(check_reachable(*vp, reps.in[reps.done]));
    HV_TRY_ASSIGN(reps.out[reps.done], arch::get_register(*vp, reps.in[reps.done]));
  }
  return {};
}

Result<> set_vp_registers(Call& call, const abi::HvInputSetVpRegisters& in,
                          Reps<abi::HvRegisterAssoc>& reps) {
  if (!is_vtl0(in.input_vtl)) return fail(Error::invalid_parameter);
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(Vp* const vp, find_vp(call, in.vp_index));
  for (; reps.done < reps.count; ++reps.done) {
    const abi::HvRegisterAssoc& assoc = reps.in[reps.done];
    HV_TRY(check_reachable(*vp, assoc.name));
    HV_TRY(arch::set_register(*vp, assoc.name, assoc.value));
  }
  return {};
}

Result<abi::HvOutputTranslateVirtualAddress> translate_virtual_address(
    Call& call, const abi::HvInputTranslateVirtualAddress& in) {
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(Vp* const vp, find_vp(call, in.vp_index));
  HV_TRY(check_held(*vp));
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
    case abi::HvVpStatePageType::HvVpStatePageRegisters:
      page = &vp->register_page;
      break;
    case abi::HvVpStatePageType::HvVpStatePageInterceptMessage:
      page = &vp->intercept_page;
      break;
    default:
      return fail(Error::invalid_parameter);
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
  HV_TRY(check_held(*vp));
  abi::HvOutputGetVpState out{};
  if (!has_pages(type)) {
    HV_TRY(arch::get_state(*vp, type, {reinterpret_cast<uint8_t*>(&out), sizeof(out)}));
    return out;
  }
  HV_TRY_ASSIGN(const size_t size, arch::get_state(*vp, type, staging()));
  HV_TRY(copy_out_bytes(call.partition, page_of_caller(call.variable), staging().data(), size));
  return out;
}

Result<> set_vp_state(Call& call, const abi::HvInputSetVpState& in) {
  if (!is_vtl0(in.input_vtl)) return fail(Error::invalid_parameter);
  const abi::HvVpStateType type = in.state_data.type;
  base::Guard guard(call.target->lock);
  HV_TRY_ASSIGN(Vp* const vp, find_vp(call, in.vp_index));
  HV_TRY(check_held(*vp));
  if (!has_pages(type))
    return arch::set_state(
        *vp, type,
        {reinterpret_cast<const uint8_t*>(call.variable.data()), call.variable.size_bytes()});
  HV_TRY(copy_in_bytes(call.partition, page_of_caller(call.variable), staging().data(), kPageSize));
  return arch::set_state(*vp, type, staging());
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
