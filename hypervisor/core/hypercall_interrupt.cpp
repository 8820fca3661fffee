// SPDX-License-Identifier: MIT
// Interrupts a parent asserts, and device interrupts of the root. Root VP i lives on LP i with the
// same APIC id and vector N on LP k is always vector N on VP k, so an entry that Linux maps is
// programmed as it is and there is nothing to remember or undo.
#include <bit>

#include "hypervisor/core/arch.h"
#include "hypervisor/core/hypercall_handlers.h"

namespace hv {

namespace {

// Exceptions have the lowest vectors, the hypervisor itself the highest class.
constexpr uint32_t kFirstDeviceVector = 0x20, kLastDeviceVector = 0xef;
constexpr uint64_t kMsiAddressBase = 0xfee00000;  // [APM2 16.13]; destination in 19:12
constexpr unsigned kMsiDestinationShift = 12;
constexpr unsigned kRteLevelBit = 15;  // I/O APIC redirection entry
constexpr unsigned kRteDestinationShift = 56;

// The target's VPs; for a processor set the header has the bank mask, then the banks.
Result<uint64_t> targets(const Call& call, const abi::HvDeviceInterruptTarget& target) {
  if ((target.flags & abi::kHvDeviceInterruptTargetProcessorSetMask) == 0)
    return vps_in_mask(call.partition, target.mask_or_format);
  if (call.variable.empty()) return fail(Error::invalid_hypercall_input);
  return vps_in_set(call.partition, target.mask_or_format, call.variable[0],
                    call.variable.subspan(1));
}

Result<> check_vector(uint32_t vector) {
  if (vector < kFirstDeviceVector || vector > kLastDeviceVector)
    return fail(Error::invalid_parameter);
  return {};
}

}  // namespace

Result<> assert_virtual_interrupt(Call& call, const abi::HvInputAssertVirtualInterrupt& in) {
  if (!is_vtl0(in.target_vtl) || in.requested_vector > 0xff) return fail(Error::invalid_parameter);
  if (!call.target->is_active()) return fail(Error::invalid_partition_state);
  return arch::assert_interrupt(*call.target, in.interrupt_control, in.destination_address,
                                static_cast<uint8_t>(in.requested_vector));
}

Result<> clear_virtual_interrupt(Call& call, const abi::HvInputClearVirtualInterrupt&) {
  if (!call.target->is_active()) return fail(Error::invalid_partition_state);
  arch::clear_interrupt(*call.target);
  return {};
}

// One destination, the first of the set: physical mode knows no other.
Result<abi::HvOutputMapDeviceInterrupt> map_device_interrupt(
    Call& call, const abi::HvInputMapDeviceInterrupt& in) {
  const abi::HvDeviceInterruptDescriptor& descriptor = in.interrupt_descriptor;
  HV_TRY(check_vector(descriptor.target.vector));
  HV_TRY_ASSIGN(const uint64_t vps, targets(call, descriptor.target));
  if (vps == 0) return fail(Error::invalid_parameter);
  const Vp* const vp = call.partition.vp(VpIndex{static_cast<uint32_t>(std::countr_zero(vps))});
  if (!vp) return fail(Error::invalid_vp_index);
  const uint64_t apic_id = arch::apic_id_of(*vp);
  const uint64_t vector = descriptor.target.vector;
  const bool level =
      descriptor.trigger_mode == abi::HvInterruptTriggerMode::HvInterruptTriggerModeLevel;
  switch (static_cast<abi::HvDeviceType>(in.device_id >> abi::kHvDeviceIdTypeShift)) {
    case abi::HvDeviceType::HvDeviceTypeIoapic:
      return abi::HvOutputMapDeviceInterrupt{{abi::HvInterruptSource::HvInterruptSourceIoApic, 0,
                                              vector |
                                                  static_cast<uint64_t>(level) << kRteLevelBit |
                                                  apic_id << kRteDestinationShift}};
    default:
      return abi::HvOutputMapDeviceInterrupt{{abi::HvInterruptSource::HvInterruptSourceMsi, 0,
                                              kMsiAddressBase | apic_id << kMsiDestinationShift |
                                                  vector << abi::kHvMsiEntryDataShift}};
  }
}

Result<> unmap_device_interrupt(Call&, const abi::HvInputUnmapDeviceInterrupt&) {
  return {};
}

// No device is assigned to a child, and the root's entries are its own to rewrite.
Result<> retarget_device_interrupt(Call& call, const abi::HvInputRetargetDeviceInterrupt& in) {
  HV_TRY(check_vector(in.interrupt_target.vector));
  HV_TRY(targets(call, in.interrupt_target));
  return fail(Error::not_found);
}

}  // namespace hv
