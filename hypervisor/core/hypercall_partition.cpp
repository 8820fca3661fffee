// SPDX-License-Identifier: MIT
// Calls about partitions: their life, their properties, what a parent intercepts. [TLFS 5, 6, 9]
#include <bit>

#include "hypervisor/core/arch.h"
#include "hypervisor/core/hypercall_handlers.h"
#include "hypervisor/core/scheduler.h"

namespace hv {

namespace {

// Exo and intercept-message-page partitions are the only kind there is; SMT and page sizes are
// hints; every partition has a local APIC. Linux sets the first two always.
constexpr uint64_t kCreationFlags = privilege(abi::kHvCreationSmtEnabledGuestBit) |
                                    privilege(abi::kHvCreationGpaLargePagesDisabledBit) |
                                    privilege(abi::kHvCreationGpaSuperPagesEnabledBit) |
                                    privilege(abi::kHvCreationExoPartitionBit) |
                                    privilege(abi::kHvCreationLapicEnabledBit) |
                                    privilege(abi::kHvCreationInterceptMessagePageEnabledBit) |
                                    privilege(abi::kHvCreationHypercallDoorbellPageEnabledBit) |
                                    privilege(abi::kHvCreationX2ApicCapableBit);

abi::HvProcessorVendor vendor_of(const Vp& vp) {
  switch (arch::guest_cpuid(vp, 0, 0).ebx) {
    case 0x756e6547:
      return abi::HvProcessorVendor::HvProcessorVendorIntel;  // "Genu"
    case 0x6f677948:
      return abi::HvProcessorVendor::HvProcessorVendorHygon;  // "Hygo"
    default:
      return abi::HvProcessorVendor::HvProcessorVendorAmd;
  }
}

}  // namespace

// Feature masks are not applied here: the parent registers CPUID results for what it hides.
Result<abi::HvOutputCreatePartition> create_partition_call(Call& call,
                                                           const abi::HvInputCreatePartition& in) {
  if ((in.flags & ~kCreationFlags) != 0 || in.isolation_properties != 0)
    return fail(Error::invalid_parameter);
  HV_TRY_ASSIGN(const Partition* const created, create_partition(call.partition));
  return abi::HvOutputCreatePartition{created->id.value()};
}

Result<> initialize_partition_call(Call& call, const abi::HvInputPartition&) {
  return initialize_partition(*call.target);
}

Result<> finalize_partition_call(Call& call, const abi::HvInputPartition&) {
  return finalize_partition(*call.target);
}

Result<> delete_partition_call(Call& call, const abi::HvInputPartition&) {
  return delete_partition(*call.target);
}

Result<abi::HvOutputGetPartitionProperty> get_partition_property(
    Call& call, const abi::HvInputGetPartitionProperty& in) {
  using enum abi::HvPartitionPropertyCode;
  const Partition& target = *call.target;
  const auto value = [](uint64_t number) { return abi::HvOutputGetPartitionProperty{number}; };
  const auto xstate = [&] { return arch::guest_cpuid(call.caller, 0xd, 0); };
  switch (in.property_code) {
    case HvPartitionPropertyPrivilegeFlags:
      return value(target.privileges);
    case HvPartitionPropertySyntheticProcFeatures:
      // Of the caller itself: what it may give to a child.
      return value(target.is_root() ? kChildSyntheticFeatures : target.synthetic_features.load());
    case HvPartitionPropertyReferenceTime:
      return value(target.reference_time());
    case HvPartitionPropertyProcessorsPerSocket:
      return value(target.processors_per_socket);
    case HvPartitionPropertyUnimplementedMsrAction:
      return value(target.unimplemented_msr_action);
    case HvPartitionPropertyGpaPageAccessTracking:
      return value(1);
    case HvPartitionPropertyImplementedPhysicalAddressBits:
    case HvPartitionPropertyPhysicalAddressWidth:
      return value(std::countr_zero(kMaxPhysicalAddress));
    case HvPartitionPropertyReferenceTscPageActive:
      return value(target.reference_tsc_msr & 1);
    case HvPartitionPropertyProcessorVendor:
      return value(static_cast<uint64_t>(vendor_of(call.caller)));
    case HvPartitionPropertyProcessorCLFlushSize:
      // CPUID 1 EBX 15:8 counts 8-byte units; the property is log2 of bytes.
      return value(std::bit_width((arch::guest_cpuid(call.caller, 1, 0).ebx >> 8 & 0xff) * 8u) -
                   1u);
    case HvPartitionPropertyCompatibilityVersion:
      return value(abi::kHvCompatibility21H2);
    case HvPartitionPropertyXsaveStates:
      return value(xstate().eax | static_cast<uint64_t>(xstate().edx) << 32);
    case HvPartitionPropertyMaxXsaveDataSize:
      return value(xstate().ecx);
    case HvPartitionPropertyProcessorClockFrequency:
      return value(time_scale.tsc_hz);
    case HvPartitionPropertyGuestOsId:
      return value(target.guest_os_id);
    default:
      return fail(Error::unknown_property);
  }
}

Result<> set_partition_property(Call& call, const abi::HvInputSetPartitionProperty& in) {
  using enum abi::HvPartitionPropertyCode;
  Partition& target = *call.target;
  const uint64_t value = in.property_value;
  base::Guard guard(target.lock);
  const bool created = target.state.load() == Partition::State::created;
  switch (in.property_code) {
    case HvPartitionPropertyPrivilegeFlags:
      if ((value & ~kChildPrivileges) != 0) return fail(Error::property_value_out_of_range);
      target.privileges.store(value);
      return {};
    case HvPartitionPropertySyntheticProcFeatures:
      // Features that do not exist here are not shown; the property reads back what is.
      if (!created) return fail(Error::invalid_partition_state);
      target.synthetic_features.store(value & kChildSyntheticFeatures);
      return {};
    case HvPartitionPropertyProcessorsPerSocket:
      if (value == 0 || value > kMaxVpsPerPartition)
        return fail(Error::property_value_out_of_range);
      target.processors_per_socket.store(static_cast<uint32_t>(value));
      return {};
    case HvPartitionPropertyUnimplementedMsrAction:
      if (value > 1) return fail(Error::property_value_out_of_range);
      target.unimplemented_msr_action.store(static_cast<uint32_t>(value));
      return {};
    case HvPartitionPropertyGpaPageAccessTracking:  // always on
      return value <= 1 ? Result<>() : fail(Error::property_value_out_of_range);
    default:
      return fail(Error::unknown_property);
  }
}

Result<abi::HvOutputGetPartitionId> get_partition_id(Call& call, const Nothing&) {
  return abi::HvOutputGetPartitionId{call.partition.id.value()};
}

Result<abi::HvOutputGetNextChildPartition> get_next_child_partition(
    Call& call, const abi::HvInputGetNextChildPartition& in) {
  uint64_t next = 0;
  for (unsigned slot = 0; slot < kMaxPartitions; ++slot) {
    const Partition* const child = partition_in_slot(slot);
    if (!child || child->parent != &call.partition) continue;
    const uint64_t id = child->id.value();
    if (id > in.previous_child_id && (next == 0 || id < next)) next = id;
  }
  return abi::HvOutputGetNextChildPartition{next};
}

Result<> install_intercept(Call& call, const abi::HvInputInstallIntercept& in) {
  if (call.target->state.load() > Partition::State::active)
    return fail(Error::invalid_partition_state);
  HV_TRY(call.target->intercepts.install(*call.target, in.intercept_type, in.intercept_parameter,
                                         in.access_type_mask));
  // VPs that run look at it before they enter their guest again.
  for (auto& slot : call.target->vps)
    if (Vp* const vp = slot.load()) post_request(*vp, VpRequest::evaluate);
  return {};
}

Result<> register_intercept_result(Call& call, const abi::HvInputRegisterInterceptResult& in) {
  if (call.target->state.load() > Partition::State::active)
    return fail(Error::invalid_partition_state);
  InterceptTable& intercepts = call.target->intercepts;
  switch (in.intercept_type) {
    case abi::HvInterceptType::HvInterceptTypeX64Cpuid:
      return intercepts.register_cpuid(*call.target, in.vp_index, in.cpuid);
    case abi::HvInterceptType::HvInterceptTypeX64Msr:
      return intercepts.register_msr(*call.target, in.msr);
    default:
      return fail(Error::invalid_parameter);
  }
}

}  // namespace hv
