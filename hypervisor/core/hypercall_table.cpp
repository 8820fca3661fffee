// SPDX-License-Identifier: MIT
// The one table of hypercalls: code, name, handler (whose type gives the parameter blocks), target,
// privileges. A code without a row is INVALID_HYPERCALL_CODE.
#include "hypervisor/core/hypercall_table.h"

#include <array>

#include "hypervisor/core/hypercall_handlers.h"

namespace hv {

namespace {

using enum abi::HvCall;
using enum HypercallTarget;
using abi::HvCallReadHypervisorLog;
constexpr VariableHeader kVariable = VariableHeader::yes;

constexpr uint64_t kCreatePartitions = privilege(abi::kHvPrivilegeCreatePartitionsBit);
constexpr uint64_t kAccessPartitionId = privilege(abi::kHvPrivilegeAccessPartitionIdBit);
constexpr uint64_t kAccessMemoryPool = privilege(abi::kHvPrivilegeAccessMemoryPoolBit);
constexpr uint64_t kPostMessages = privilege(abi::kHvPrivilegePostMessagesBit);
constexpr uint64_t kSignalEvents = privilege(abi::kHvPrivilegeSignalEventsBit);
constexpr uint64_t kCreatePort = privilege(abi::kHvPrivilegeCreatePortBit);
constexpr uint64_t kConnectPort = privilege(abi::kHvPrivilegeConnectPortBit);
constexpr uint64_t kAccessStats = privilege(abi::kHvPrivilegeAccessStatsBit);
constexpr uint64_t kCpuManagement = privilege(abi::kHvPrivilegeCpuManagementBit);
constexpr uint64_t kStartVp = privilege(abi::kHvPrivilegeStartVirtualProcessorBit);

// Names are the TLFS's without HvCall.
#define ROW(name, handler, ...) make_row<handler>(HvCall##name, #name, __VA_ARGS__)

constexpr HypercallRow kTable[] = {
    ROW(FlushVirtualAddressSpace, flush_virtual_address_space, none),
    ROW(FlushVirtualAddressList, flush_virtual_address_list, none),
    ROW(NotifyLongSpinWait, notify_long_spin_wait, none),
    ROW(SendSyntheticClusterIpi, send_cluster_ipi, none),
    ROW(FlushVirtualAddressSpaceEx, flush_virtual_address_space_ex, none, 0, kVariable),
    ROW(FlushVirtualAddressListEx, flush_virtual_address_list_ex, none, 0, kVariable),
    ROW(SendSyntheticClusterIpiEx, send_cluster_ipi_ex, none, 0, kVariable),
    ROW(CreatePartition, create_partition_call, none, kCreatePartitions),
    ROW(InitializePartition, initialize_partition_call, child, kCreatePartitions),
    ROW(FinalizePartition, finalize_partition_call, child, kCreatePartitions),
    ROW(DeletePartition, delete_partition_call, child, kCreatePartitions),
    ROW(GetPartitionProperty, get_partition_property, child_or_self, kCreatePartitions),
    ROW(SetPartitionProperty, set_partition_property, child, kCreatePartitions),
    ROW(GetPartitionId, get_partition_id, none, kAccessPartitionId),
    ROW(GetNextChildPartition, get_next_child_partition, self, kCreatePartitions),
    ROW(DepositMemory, deposit_memory, child_or_self, kAccessMemoryPool),
    ROW(WithdrawMemory, withdraw_memory, child_or_self, kAccessMemoryPool),
    ROW(MapGpaPages, map_gpa_pages, child, kCreatePartitions),
    ROW(UnmapGpaPages, unmap_gpa_pages, child, kCreatePartitions),
    ROW(InstallIntercept, install_intercept, child, kCreatePartitions),
    ROW(CreateVp, create_vp_call, child_or_self, kCreatePartitions),
    ROW(DeleteVp, delete_vp_call, child, kCreatePartitions),
    ROW(GetVpRegisters, get_vp_registers, child, kCreatePartitions),
    ROW(SetVpRegisters, set_vp_registers, child, kCreatePartitions),
    ROW(TranslateVirtualAddress, translate_virtual_address, child, kCreatePartitions),
    ROW(ClearVirtualInterrupt, clear_virtual_interrupt, child, kCreatePartitions),
    ROW(DeletePort, delete_port_call, child_or_self, kCreatePort),
    ROW(DisconnectPort, disconnect_port_call, child_or_self, kConnectPort),
    ROW(PostMessage, post_message_call, none, kPostMessages),
    ROW(SignalEvent, signal_event_call, none, kSignalEvents),
    ROW(MapStatsPage, map_stats_page, none, kAccessStats),
    ROW(UnmapStatsPage, unmap_stats_page, none, kAccessStats),
    ROW(AddLogicalProcessor, add_logical_processor, none, kCpuManagement),
    ROW(GetSystemProperty, get_system_property, none, kCpuManagement),
    ROW(MapDeviceInterrupt, map_device_interrupt, self, kCpuManagement, kVariable),
    ROW(UnmapDeviceInterrupt, unmap_device_interrupt, self, kCpuManagement),
    ROW(RetargetDeviceInterrupt, retarget_device_interrupt, self, 0, kVariable),
    ROW(NotifyPartitionEvent, notify_partition_event, none, kCpuManagement),
    ROW(NotifyPortRingEmpty, notify_port_ring_empty_call, none, kCreatePort),
    ROW(RegisterInterceptResult, register_intercept_result, child, kCreatePartitions),
    ROW(AssertVirtualInterrupt, assert_virtual_interrupt, child, kCreatePartitions),
    ROW(CreatePort, create_port_call, child_or_self, kCreatePort),
    ROW(ConnectPort, connect_port_call, child_or_self, kConnectPort),
    ROW(StartVirtualProcessor, start_virtual_processor, self, kStartVp),
    ROW(GetVpIndexFromApicId, get_vp_index_from_apic_id, child_or_self),
    ROW(SignalEventDirect, signal_event_direct_call, child, kSignalEvents),
    ROW(PostMessageDirect, post_message_direct_call, child, kPostMessages),
    ROW(GetGpaPagesAccessStates, get_gpa_pages_access_states, child, kCreatePartitions),
    ROW(MapVpStatePage, map_vp_state_page, child, kCreatePartitions),
    ROW(UnmapVpStatePage, unmap_vp_state_page, child, kCreatePartitions),
    ROW(GetVpState, get_vp_state, child, kCreatePartitions, kVariable),
    ROW(SetVpState, set_vp_state, child, kCreatePartitions, kVariable),
    ROW(GetVpCpuidValues, get_vp_cpuid_values, child, kCreatePartitions),
    ROW(ReadHypervisorLog, read_hypervisor_log, none, kCpuManagement),
};
#undef ROW

// Where a code's row number is: the TLFS's codes count up from 1, ours follow them.
constexpr size_t kTlfsSlots = 0x110, kSlots = kTlfsSlots + abi::kHvPartitaCallCount;
constexpr size_t slot_of(unsigned code) {
  if (code < kTlfsSlots) return code;
  const unsigned own = code - abi::kHvPartitaCallFirst;  // wraps to a huge number
  return own < abi::kHvPartitaCallCount ? kTlfsSlots + own : kSlots;
}

// Row number + 1 by slot: one load on every hypercall.
constexpr auto kIndex = [] {
  std::array<uint8_t, kSlots> index{};
  for (size_t i = 0; i < std::size(kTable); ++i)
    index[slot_of(static_cast<uint16_t>(kTable[i].code))] = static_cast<uint8_t>(i + 1);
  return index;
}();

constexpr bool is_sorted_and_sound() {
  for (size_t i = 0; i < std::size(kTable); ++i) {
    const HypercallRow& row = kTable[i];
    if (i != 0 && kTable[i - 1].code >= row.code) return false;
    if (row.input > kPageSize || row.output > kPageSize) return false;
    // A target is read from the first field.
    if (row.target != none && row.input < sizeof(uint64_t)) return false;
  }
  return true;
}
static_assert(is_sorted_and_sound());

}  // namespace

constinit const std::span<const HypercallRow> hypercall_table{kTable};

const HypercallRow* find_hypercall(uint16_t code) {
  const size_t slot = slot_of(code);
  if (slot == kSlots || kIndex[slot] == 0) return nullptr;
  return &kTable[kIndex[slot] - 1];
}

}  // namespace hv
