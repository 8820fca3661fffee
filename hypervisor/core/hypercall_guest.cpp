// SPDX-License-Identifier: MIT
// Calls of a partition about its own VPs: TLB flushes, IPIs, spin waits, processor start
// [TLFS 9, 10]. With at most 64 VPs a set of VPs is one word.
#include <bit>

#include "abi/tlfs/registers.h"
#include "hypervisor/core/arch.h"
#include "hypervisor/core/hypercall_handlers.h"
#include "hypervisor/core/scheduler.h"

namespace hv {

namespace {

static_assert(kMaxVpsPerPartition == abi::kHvVpsPerSparseBank, "a VP set is one bank");

uint64_t existing_vps(const Partition& partition) {
  uint64_t mask = 0;
  for (unsigned i = 0; i < kMaxVpsPerPartition; ++i)
    if (partition.vp(VpIndex{i})) mask |= uint64_t{1} << i;
  return mask;
}

template <class Action>
void for_each_vp(const Partition& partition, uint64_t mask, Action action) {
  for (; mask != 0; mask &= mask - 1)
    if (Vp* const vp = partition.vp(VpIndex{static_cast<uint32_t>(std::countr_zero(mask))}))
      action(*vp);
}

// Waits until every LP that executes one of these VPs has left the guest: it looks at the VP's
// requests before it enters again. LPs inside the hypervisor are not waited for, and this one says
// that it keeps no reference meanwhile, so LPs can wait for each other.
void wait_out_of_guest(const Partition& partition, uint64_t vps) {
  struct {
    const Lp* lp;
    uint64_t epoch;
  } waits[kMaxVpsPerPartition];
  unsigned count = 0;
  Lp& self = this_lp();
  for_each_vp(partition, vps, [&](const Vp& vp) {
    const Lp* const lp = vp.home.load();
    if (!lp || lp == &self || lp->current.load() != &vp) return;
    const uint64_t epoch = lp->epoch.load();
    if ((epoch & 1) == 0 && vp.has(VpRequest::flush_guest_tlb)) waits[count++] = {lp, epoch};
  });
  if (count == 0) return;
  self.leave_guest();
  for (unsigned i = 0; i < count; ++i)
    while (waits[i].lp->epoch.load() == waits[i].epoch) __builtin_ia32_pause();
  self.enter_guest();
}

// Address spaces and lists are not told apart: everything that the VPs cached goes.
Result<> flush(const Partition& partition, uint64_t flags, Result<uint64_t> named) {
  if ((flags & ~abi::kHvFlushFlagsMask) != 0) return fail(Error::invalid_parameter);
  uint64_t vps = existing_vps(partition);
  if ((flags & privilege(abi::kHvFlushAllProcessorsBit)) == 0) {
    HV_TRY_ASSIGN(vps, std::move(named));
  }
  for_each_vp(partition, vps, [](Vp& vp) { arch::flush_guest_tlb(vp); });
  wait_out_of_guest(partition, vps);
  return {};
}

Result<uint64_t> vps_in(const Call& call, const abi::HvVpSet& set) {
  return vps_in_set(call.partition, static_cast<uint64_t>(set.format), set.valid_bank_mask,
                    call.variable);
}

Result<> send_ipi(const Partition& partition, uint32_t vector, uint8_t vtl, uint64_t vps) {
  if (vector < abi::kHvIpiLowVector || vector > abi::kHvIpiHighVector || !is_vtl0(vtl))
    return fail(Error::invalid_parameter);
  for_each_vp(partition, vps,
              [&](Vp& vp) { arch::raise_interrupt(vp, static_cast<uint8_t>(vector)); });
  return {};
}

}  // namespace

Result<uint64_t> vps_in_mask(const Partition& partition, uint64_t mask) {
  if ((mask & ~existing_vps(partition)) != 0) return fail(Error::invalid_vp_index);
  return mask;
}

Result<uint64_t> vps_in_set(const Partition& partition, uint64_t format, uint64_t valid_bank_mask,
                            std::span<const uint64_t> banks) {
  switch (static_cast<abi::HvGenericSetFormat>(format)) {
    case abi::HvGenericSetFormat::HvGenericSetAll:
      return existing_vps(partition);
    case abi::HvGenericSetFormat::HvGenericSetSparse4k:
      break;
    default:
      return fail(Error::invalid_parameter);
  }
  if (static_cast<size_t>(std::popcount(valid_bank_mask)) != banks.size())
    return fail(Error::invalid_hypercall_input);
  uint64_t mask = 0;
  for (size_t i = 0; i < banks.size(); ++i, valid_bank_mask &= valid_bank_mask - 1) {
    if ((valid_bank_mask & 1) != 0)
      mask = banks[i];
    else if (banks[i] != 0)
      return fail(Error::invalid_vp_index);
  }
  return vps_in_mask(partition, mask);
}

Result<> flush_virtual_address_space(Call& call, const abi::HvInputFlushVirtualAddressSpace& in) {
  return flush(call.partition, in.flags, vps_in_mask(call.partition, in.processor_mask));
}

Result<> flush_virtual_address_list(Call& call, const abi::HvInputFlushVirtualAddressSpace& in,
                                    Reps<uint64_t>& reps) {
  HV_TRY(flush_virtual_address_space(call, in));
  reps.done = reps.count;
  return {};
}

Result<> flush_virtual_address_space_ex(Call& call,
                                        const abi::HvInputFlushVirtualAddressSpaceEx& in) {
  return flush(call.partition, in.flags, vps_in(call, in.vp_set));
}

Result<> flush_virtual_address_list_ex(Call& call, const abi::HvInputFlushVirtualAddressSpaceEx& in,
                                       Reps<uint64_t>& reps) {
  HV_TRY(flush_virtual_address_space_ex(call, in));
  reps.done = reps.count;
  return {};
}

Result<> notify_long_spin_wait(Call&, const abi::HvInputNotifyLongSpinWait&) {
  this_lp().reschedule.store(true);
  return {};
}

Result<> send_cluster_ipi(Call& call, const abi::HvInputSendSyntheticClusterIpi& in) {
  HV_TRY_ASSIGN(const uint64_t vps, vps_in_mask(call.partition, in.processor_mask));
  return send_ipi(call.partition, in.vector, in.target_vtl, vps);
}

Result<> send_cluster_ipi_ex(Call& call, const abi::HvInputSendSyntheticClusterIpiEx& in) {
  HV_TRY_ASSIGN(const uint64_t vps, vps_in(call, in.vp_set));
  return send_ipi(call.partition, in.vector, in.target_vtl, vps);
}

Result<> start_virtual_processor(Call& call, const abi::HvInputStartVirtualProcessor& in) {
  using enum abi::HvRegisterName;
  if (!is_vtl0(in.target_vtl)) return fail(Error::invalid_parameter);
  base::Guard guard(call.target->lock);
  Vp* const vp = call.target->vp(VpIndex{in.vp_index});
  if (!vp) return fail(Error::invalid_vp_index);
  if (!vp->is(VpSuspend::wait_for_startup)) return fail(Error::invalid_vp_state);
  // Held by hand while its registers change, so that a SIPI does not start it half-way.
  const bool held = vp->is(VpSuspend::explicit_suspend);
  if (!suspend(*vp, VpSuspend::explicit_suspend)) {
    if (!held) resume(*vp, VpSuspend::explicit_suspend);
    return fail(Error::retry);
  }
  const abi::HvInitialVpContext& c = in.vp_context;
  const auto number = [](uint64_t value) { return abi::HvRegisterValue{.reg128 = {value, 0}}; };
  const auto segment = [](const abi::HvX64SegmentRegister& s) {
    return abi::HvRegisterValue{.segment = s};
  };
  const auto table = [](const abi::HvX64TableRegister& t) {
    return abi::HvRegisterValue{.table = t};
  };
  const abi::HvRegisterAssoc values[] = {
      {HvX64RegisterEfer, 0, 0, number(c.efer)},     {HvX64RegisterCr4, 0, 0, number(c.cr4)},
      {HvX64RegisterCr3, 0, 0, number(c.cr3)},       {HvX64RegisterCr0, 0, 0, number(c.cr0)},
      {HvX64RegisterRip, 0, 0, number(c.rip)},       {HvX64RegisterRsp, 0, 0, number(c.rsp)},
      {HvX64RegisterRflags, 0, 0, number(c.rflags)}, {HvX64RegisterPat, 0, 0, number(c.msr_cr_pat)},
      {HvX64RegisterCs, 0, 0, segment(c.cs)},        {HvX64RegisterDs, 0, 0, segment(c.ds)},
      {HvX64RegisterEs, 0, 0, segment(c.es)},        {HvX64RegisterFs, 0, 0, segment(c.fs)},
      {HvX64RegisterGs, 0, 0, segment(c.gs)},        {HvX64RegisterSs, 0, 0, segment(c.ss)},
      {HvX64RegisterTr, 0, 0, segment(c.tr)},        {HvX64RegisterLdtr, 0, 0, segment(c.ldtr)},
      {HvX64RegisterIdtr, 0, 0, table(c.idtr)},      {HvX64RegisterGdtr, 0, 0, table(c.gdtr)},
  };
  Result<> result;
  for (const abi::HvRegisterAssoc& value : values) {
    result = arch::set_register(*vp, value.name, value.value);
    if (!result) break;
  }
  if (result) resume(*vp, VpSuspend::wait_for_startup);
  if (!held) resume(*vp, VpSuspend::explicit_suspend);
  return result;
}

Result<> get_vp_index_from_apic_id(Call& call, const abi::HvInputGetVpIndexFromApicId& in,
                                   Reps<uint32_t, uint32_t>& reps) {
  if (!is_vtl0(in.target_vtl)) return fail(Error::invalid_parameter);
  for (; reps.done < reps.count; ++reps.done) {
    bool found = false;
    for_each_vp(*call.target, existing_vps(*call.target), [&](Vp& vp) {
      if (arch::apic_id_of(vp) != reps.in[reps.done]) return;
      reps.out[reps.done] = vp.index.value();
      found = true;
    });
    if (!found) return fail(Error::invalid_parameter);
  }
  return {};
}

}  // namespace hv
