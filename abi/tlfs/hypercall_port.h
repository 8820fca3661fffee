// SPDX-License-Identifier: MIT
// Parameter blocks of ports, connections, messages and events. [TLFS 11, HvCallCreatePort and
// following; Linux hvhdk.h; hvdef]
// Conventions (rep, out, header, reserved fields): hypercall.h.
#pragma once

#include "abi/tlfs/layout.h"
#include "abi/tlfs/message.h"
#include "abi/tlfs/partition.h"

namespace hv::abi {

struct HvInputCreatePort {
  uint64_t port_partition_id;
  uint32_t port_id;
  uint8_t port_vtl;
  uint8_t min_connection_vtl;
  uint16_t padding;
  uint64_t connection_partition_id;
  HvPortInfo port_info;
  HvProximityDomainInfo proximity_domain_info;
};
HV_ABI_STRUCT(HvInputCreatePort, 0x38);
HV_ABI_AT(HvInputCreatePort, port_partition_id, 0x0);
HV_ABI_AT(HvInputCreatePort, port_id, 0x8);
HV_ABI_AT(HvInputCreatePort, port_vtl, 0xc);
HV_ABI_AT(HvInputCreatePort, min_connection_vtl, 0xd);
HV_ABI_AT(HvInputCreatePort, padding, 0xe);
HV_ABI_AT(HvInputCreatePort, connection_partition_id, 0x10);
HV_ABI_AT(HvInputCreatePort, port_info, 0x18);
HV_ABI_AT(HvInputCreatePort, proximity_domain_info, 0x30);

// DeletePort (fast)
struct HvInputDeletePort {
  uint64_t port_partition_id;
  uint32_t port_id;
  uint32_t reserved;
};
HV_ABI_STRUCT(HvInputDeletePort, 0x10);
HV_ABI_AT(HvInputDeletePort, port_partition_id, 0x0);
HV_ABI_AT(HvInputDeletePort, port_id, 0x8);
HV_ABI_AT(HvInputDeletePort, reserved, 0xc);

struct HvInputConnectPort {
  uint64_t connection_partition_id;
  uint32_t connection_id;
  uint8_t connection_vtl;
  uint8_t reserved1[3];
  uint64_t port_partition_id;
  uint32_t port_id;
  uint32_t reserved2;
  HvConnectionInfo connection_info;
  HvProximityDomainInfo proximity_domain_info;
};
HV_ABI_STRUCT(HvInputConnectPort, 0x48);
HV_ABI_AT(HvInputConnectPort, connection_partition_id, 0x0);
HV_ABI_AT(HvInputConnectPort, connection_id, 0x8);
HV_ABI_AT(HvInputConnectPort, connection_vtl, 0xc);
HV_ABI_AT(HvInputConnectPort, reserved1, 0xd);
HV_ABI_AT(HvInputConnectPort, port_partition_id, 0x10);
HV_ABI_AT(HvInputConnectPort, port_id, 0x18);
HV_ABI_AT(HvInputConnectPort, reserved2, 0x1c);
HV_ABI_AT(HvInputConnectPort, connection_info, 0x20);
HV_ABI_AT(HvInputConnectPort, proximity_domain_info, 0x40);

// DisconnectPort (fast). flags bit 0: a doorbell.
struct HvInputDisconnectPort {
  uint64_t connection_partition_id;
  uint32_t connection_id;
  uint32_t flags;
};
HV_ABI_STRUCT(HvInputDisconnectPort, 0x10);
HV_ABI_AT(HvInputDisconnectPort, connection_partition_id, 0x0);
HV_ABI_AT(HvInputDisconnectPort, connection_id, 0x8);
HV_ABI_AT(HvInputDisconnectPort, flags, 0xc);

// PostMessage. The whole block is 256 bytes whatever payload_size says.
struct HvInputPostMessage {
  uint32_t connection_id;
  uint32_t reserved;
  HvMessageType message_type;
  uint32_t payload_size;
  uint8_t payload[kHvMessagePayloadSize];
};
HV_ABI_STRUCT(HvInputPostMessage, 0x100);
HV_ABI_AT(HvInputPostMessage, connection_id, 0x0);
HV_ABI_AT(HvInputPostMessage, reserved, 0x4);
HV_ABI_AT(HvInputPostMessage, message_type, 0x8);
HV_ABI_AT(HvInputPostMessage, payload_size, 0xc);
HV_ABI_AT(HvInputPostMessage, payload, 0x10);

// SignalEvent (fast). R8 is undefined.
struct HvInputSignalEvent {
  uint32_t connection_id;
  uint16_t flag_number;  // relative to the port's base
  uint16_t reserved;
};
HV_ABI_STRUCT(HvInputSignalEvent, 0x8);
HV_ABI_AT(HvInputSignalEvent, connection_id, 0x0);
HV_ABI_AT(HvInputSignalEvent, flag_number, 0x4);
HV_ABI_AT(HvInputSignalEvent, reserved, 0x6);

struct HvInputSignalEventDirect {
  uint64_t target_partition;
  uint32_t target_vp;
  uint8_t target_vtl;
  uint8_t target_sint;
  uint16_t flag_number;
};
HV_ABI_STRUCT(HvInputSignalEventDirect, 0x10);
HV_ABI_AT(HvInputSignalEventDirect, target_partition, 0x0);
HV_ABI_AT(HvInputSignalEventDirect, target_vp, 0x8);
HV_ABI_AT(HvInputSignalEventDirect, target_vtl, 0xc);
HV_ABI_AT(HvInputSignalEventDirect, target_sint, 0xd);
HV_ABI_AT(HvInputSignalEventDirect, flag_number, 0xe);

struct HvOutputSignalEventDirect {
  uint8_t newly_signaled;
  uint8_t reserved[7];
};
HV_ABI_STRUCT(HvOutputSignalEventDirect, 0x8);
HV_ABI_AT(HvOutputSignalEventDirect, newly_signaled, 0x0);
HV_ABI_AT(HvOutputSignalEventDirect, reserved, 0x1);

// PostMessageDirect. `message` is an HvMessage at an offset that is not a multiple of 8. The TLFS
// page shows another layout; hvdef and the driver's bindings agree on this one.
struct HvInputPostMessageDirect {
  uint64_t partition_id;
  uint32_t vp_index;
  uint8_t vtl;
  uint8_t padding1[3];
  uint32_t sint_index;
  uint8_t message[kHvMessageSize];
  uint32_t padding2;
};
HV_ABI_STRUCT(HvInputPostMessageDirect, 0x118);
HV_ABI_AT(HvInputPostMessageDirect, partition_id, 0x0);
HV_ABI_AT(HvInputPostMessageDirect, vp_index, 0x8);
HV_ABI_AT(HvInputPostMessageDirect, vtl, 0xc);
HV_ABI_AT(HvInputPostMessageDirect, padding1, 0xd);
HV_ABI_AT(HvInputPostMessageDirect, sint_index, 0x10);
HV_ABI_AT(HvInputPostMessageDirect, message, 0x14);
HV_ABI_AT(HvInputPostMessageDirect, padding2, 0x114);

// NotifyPortRingEmpty (fast)
struct HvInputNotifyPortRingEmpty {
  uint32_t sint_index;
  uint32_t reserved;
};
HV_ABI_STRUCT(HvInputNotifyPortRingEmpty, 0x8);
HV_ABI_AT(HvInputNotifyPortRingEmpty, sint_index, 0x0);
HV_ABI_AT(HvInputNotifyPortRingEmpty, reserved, 0x4);

}  // namespace hv::abi
