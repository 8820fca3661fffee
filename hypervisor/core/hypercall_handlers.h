// SPDX-License-Identifier: MIT
// Handlers of all hypercalls, by family and in the order of their codes. What the validator checked
// before they run: hypercall_table.h. They return what goes to the caller, or the error.
#pragma once

#include "abi/partita/hypercall.h"
#include "abi/tlfs/hypercall.h"
#include "hypervisor/core/hypercall_table.h"

namespace hv {

// --- hypercall_guest.cpp: what a partition asks for itself ---
Result<> flush_virtual_address_space(Call&, const abi::HvInputFlushVirtualAddressSpace&);
Result<> flush_virtual_address_list(Call&, const abi::HvInputFlushVirtualAddressSpace&,
                                    Reps<uint64_t>&);
Result<> notify_long_spin_wait(Call&, const abi::HvInputNotifyLongSpinWait&);
Result<> send_cluster_ipi(Call&, const abi::HvInputSendSyntheticClusterIpi&);
Result<> flush_virtual_address_space_ex(Call&, const abi::HvInputFlushVirtualAddressSpaceEx&);
Result<> flush_virtual_address_list_ex(Call&, const abi::HvInputFlushVirtualAddressSpaceEx&,
                                       Reps<uint64_t>&);
Result<> send_cluster_ipi_ex(Call&, const abi::HvInputSendSyntheticClusterIpiEx&);
Result<> start_virtual_processor(Call&, const abi::HvInputStartVirtualProcessor&);
Result<> get_vp_index_from_apic_id(Call&, const abi::HvInputGetVpIndexFromApicId&,
                                   Reps<uint32_t, uint32_t>&);

// --- hypercall_partition.cpp ---
Result<abi::HvOutputCreatePartition> create_partition_call(Call&,
                                                           const abi::HvInputCreatePartition&);
Result<> initialize_partition_call(Call&, const abi::HvInputPartition&);
Result<> finalize_partition_call(Call&, const abi::HvInputPartition&);
Result<> delete_partition_call(Call&, const abi::HvInputPartition&);
Result<abi::HvOutputGetPartitionProperty> get_partition_property(
    Call&, const abi::HvInputGetPartitionProperty&);
Result<> set_partition_property(Call&, const abi::HvInputSetPartitionProperty&);
Result<abi::HvOutputGetPartitionId> get_partition_id(Call&, const Nothing&);
Result<abi::HvOutputGetNextChildPartition> get_next_child_partition(
    Call&, const abi::HvInputGetNextChildPartition&);
Result<> install_intercept(Call&, const abi::HvInputInstallIntercept&);
Result<> register_intercept_result(Call&, const abi::HvInputRegisterInterceptResult&);

// --- hypercall_memory.cpp ---
Result<> deposit_memory(Call&, const abi::HvInputDepositMemory&, Reps<uint64_t>&);
Result<> withdraw_memory(Call&, const abi::HvInputWithdrawMemory&, Reps<Nothing, uint64_t>&);
Result<> map_gpa_pages(Call&, const abi::HvInputMapGpaPages&, Reps<uint64_t>&);
Result<> unmap_gpa_pages(Call&, const abi::HvInputUnmapGpaPages&, Reps<Nothing>&);
Result<> get_gpa_pages_access_states(Call&, const abi::HvInputGetGpaPagesAccessStates&,
                                     Reps<Nothing, uint8_t>&);

// --- hypercall_vp.cpp ---
Result<> create_vp_call(Call&, const abi::HvInputCreateVp&);
Result<> delete_vp_call(Call&, const abi::HvInputDeleteVp&);
Result<> get_vp_registers(Call&, const abi::HvInputGetVpRegisters&,
                          Reps<abi::HvRegisterName, abi::HvRegisterValue>&);
Result<> set_vp_registers(Call&, const abi::HvInputSetVpRegisters&, Reps<abi::HvRegisterAssoc>&);
Result<abi::HvOutputTranslateVirtualAddress> translate_virtual_address(
    Call&, const abi::HvInputTranslateVirtualAddress&);
Result<abi::HvOutputMapVpStatePage> map_vp_state_page(Call&, const abi::HvInputMapVpStatePage&);
Result<> unmap_vp_state_page(Call&, const abi::HvInputUnmapVpStatePage&);
Result<abi::HvOutputGetVpState> get_vp_state(Call&, const abi::HvInputGetVpState&);
Result<> set_vp_state(Call&, const abi::HvInputSetVpState&);
Result<> get_vp_cpuid_values(Call&, const abi::HvInputGetVpCpuidValues&,
                             Reps<abi::HvCpuidLeafInfo, abi::HvOutputGetVpCpuidValues>&);

// --- hypercall_interrupt.cpp ---
Result<> clear_virtual_interrupt(Call&, const abi::HvInputClearVirtualInterrupt&);
Result<abi::HvOutputMapDeviceInterrupt> map_device_interrupt(Call&,
                                                             const abi::HvInputMapDeviceInterrupt&);
Result<> unmap_device_interrupt(Call&, const abi::HvInputUnmapDeviceInterrupt&);
Result<> retarget_device_interrupt(Call&, const abi::HvInputRetargetDeviceInterrupt&);
Result<> assert_virtual_interrupt(Call&, const abi::HvInputAssertVirtualInterrupt&);

// --- hypercall_synic.cpp ---
Result<> delete_port_call(Call&, const abi::HvInputDeletePort&);
Result<> disconnect_port_call(Call&, const abi::HvInputDisconnectPort&);
Result<> post_message_call(Call&, const abi::HvInputPostMessage&);
Result<> signal_event_call(Call&, const abi::HvInputSignalEvent&);
Result<> notify_port_ring_empty_call(Call&, const abi::HvInputNotifyPortRingEmpty&);
Result<> create_port_call(Call&, const abi::HvInputCreatePort&);
Result<> connect_port_call(Call&, const abi::HvInputConnectPort&);
Result<abi::HvOutputSignalEventDirect> signal_event_direct_call(
    Call&, const abi::HvInputSignalEventDirect&);
Result<> post_message_direct_call(Call&, const abi::HvInputPostMessageDirect&);

// --- hypercall_system.cpp ---
Result<abi::HvOutputMapStatsPage> map_stats_page(Call&, const abi::HvInputMapStatsPage&);
Result<> unmap_stats_page(Call&, const abi::HvInputUnmapStatsPage&);
Result<abi::HvOutputAddLogicalProcessor> add_logical_processor(
    Call&, const abi::HvInputAddLogicalProcessor&);
Result<abi::HvOutputGetSystemProperty> get_system_property(Call&,
                                                           const abi::HvInputGetSystemProperty&);
Result<> notify_partition_event(Call&, const abi::HvInputNotifyPartitionEvent&);
Result<abi::HvOutputReadHypervisorLog> read_hypervisor_log(Call&,
                                                           const abi::HvInputReadHypervisorLog&);

// The VPs a set names, one bit each. Errors: invalid_hypercall_input (banks missing or too many),
// invalid_parameter (format), invalid_vp_index (no such VP).
Result<uint64_t> vps_in_set(const Partition& partition, uint64_t format, uint64_t valid_bank_mask,
                            std::span<const uint64_t> banks);
// The same for a mask. Error: invalid_vp_index.
Result<uint64_t> vps_in_mask(const Partition& partition, uint64_t mask);

// An HV_INPUT_VTL that names VTL 0, the only one there is.
constexpr bool is_vtl0(uint8_t vtl) {
  return (vtl & ~(1u << abi::kHvInputVtlUseTargetBit)) == 0;
}

}  // namespace hv
