// SPDX-License-Identifier: MIT
// Calls about ports, connections, messages and events [TLFS 11]: parameter checks in front of
// port.h.
#include "hypervisor/core/hypercall_handlers.h"

namespace hv {

namespace {

// A partition that may receive from, or send to, what the caller manages.
Result<Partition*> peer(const Call& call, uint64_t id) {
  if (id == abi::kHvPartitionIdSelf) return &call.partition;
  Partition* const found = find_partition(PartitionId{id});
  if (!found) return fail(Error::invalid_partition_id);
  if (found != &call.partition && found->parent != &call.partition)
    return fail(Error::access_denied);
  return found;
}

bool is_torn_down(const Partition& partition) {
  return partition.state.load() > Partition::State::active;
}

}  // namespace

Result<> create_port_call(Call& call, const abi::HvInputCreatePort& in) {
  if (!is_vtl0(in.port_vtl) || !is_vtl0(in.min_connection_vtl))
    return fail(Error::invalid_parameter);
  if (is_torn_down(*call.target)) return fail(Error::invalid_partition_state);
  HV_TRY_ASSIGN(const Partition* const sender, peer(call, in.connection_partition_id));
  return create_port(*call.target, PortId{in.port_id}, sender->id, in.port_info);
}

Result<> delete_port_call(Call& call, const abi::HvInputDeletePort& in) {
  return delete_port(*call.target, PortId{in.port_id});
}

Result<> connect_port_call(Call& call, const abi::HvInputConnectPort& in) {
  if (!is_vtl0(in.connection_vtl)) return fail(Error::invalid_parameter);
  if (is_torn_down(*call.target)) return fail(Error::invalid_partition_state);
  HV_TRY_ASSIGN(Partition* const owner, peer(call, in.port_partition_id));
  return connect_port(*call.target, ConnectionId{in.connection_id}, *owner, PortId{in.port_id},
                      in.connection_info);
}

Result<> disconnect_port_call(Call& call, const abi::HvInputDisconnectPort& in) {
  return disconnect_port(*call.target, ConnectionId{in.connection_id});
}

Result<> post_message_call(Call& call, const abi::HvInputPostMessage& in) {
  if (in.payload_size > abi::kHvMessagePayloadSize) return fail(Error::invalid_parameter);
  return post_message(call.partition, ConnectionId{in.connection_id},
                      static_cast<uint32_t>(in.message_type), {in.payload, in.payload_size});
}

Result<> signal_event_call(Call& call, const abi::HvInputSignalEvent& in) {
  return signal_event(call.partition, ConnectionId{in.connection_id}, in.flag_number);
}

Result<> notify_port_ring_empty_call(Call& call, const abi::HvInputNotifyPortRingEmpty& in) {
  return notify_port_ring_empty(call.caller, in.sint_index);
}

Result<abi::HvOutputSignalEventDirect> signal_event_direct_call(
    Call& call, const abi::HvInputSignalEventDirect& in) {
  if (!is_vtl0(in.target_vtl)) return fail(Error::invalid_parameter);
  HV_TRY_ASSIGN(const bool newly, signal_event_direct(*call.target, VpIndex{in.target_vp},
                                                      in.target_sint, in.flag_number));
  abi::HvOutputSignalEventDirect out{};
  out.newly_signaled = newly;
  return out;
}

Result<> post_message_direct_call(Call& call, const abi::HvInputPostMessageDirect& in) {
  if (!is_vtl0(in.vtl)) return fail(Error::invalid_parameter);
  abi::HvMessage message;
  static_assert(sizeof(message) == sizeof(in.message));
  __builtin_memcpy(&message, in.message, sizeof(message));
  return post_message_direct(*call.target, VpIndex{in.vp_index}, in.sint_index, message);
}

}  // namespace hv
