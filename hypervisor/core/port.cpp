// SPDX-License-Identifier: MIT
// Ports, connections and doorbells. A message is queued in its port first and moved to the slot
// then, so that an EOM between the two finds it.
#include "hypervisor/core/port.h"

#include <cstring>

#include "hypervisor/core/arch.h"
#include "hypervisor/core/intercept.h"

namespace hv {

namespace {

using abi::HvPortType;

constexpr bool is_id(uint32_t value, uint32_t mask) {
  return (value & ~mask) == 0;
}

// Where a port's target is in its type's part of the union, which all types here share.
uint32_t target_sint(const Port& port) {
  return port.info.message.target_sint;
}
uint32_t target_vp(const Port& port) {
  return port.info.message.target_vp;
}

bool is_usable(const Vp& vp, const Port& port) {
  switch (port.info.port_type) {
    case HvPortType::HvPortTypeMessage:
      return vp.synic.accepts_messages();
    case HvPortType::HvPortTypeEvent:
      return vp.synic.accepts_events(target_sint(port));
    case HvPortType::HvPortTypeDoorbell:
      return vp.synic.has_ring();
    default:
      return false;
  }
}

bool is_for(const Port& port, const Vp& vp) {
  return target_vp(port) == abi::kHvAnyVp || target_vp(port) == vp.index.value();
}

// The VP that gets the port's next message or event; nullptr if none takes it now. Of any VP: the
// preferred one, the one that lives on this LP, the first.
Vp* choose_target(const Partition& owner, const Port& port, Vp* preferred) {
  if (target_vp(port) != abi::kHvAnyVp) {
    Vp* const vp = owner.vp(VpIndex(target_vp(port)));
    return vp && is_usable(*vp, port) ? vp : nullptr;
  }
  if (preferred && is_usable(*preferred, port)) return preferred;
  Vp* const near = owner.vp(VpIndex(this_lp().index.value()));
  if (near && is_usable(*near, port)) return near;
  for (const auto& slot : owner.vps)
    if (Vp* const vp = slot.load(std::memory_order_acquire); vp && is_usable(*vp, port)) return vp;
  return nullptr;
}

abi::HvMessage* buffer(const Port& port, unsigned number) {
  return direct_map<abi::HvMessage>(port.messages) + (port.first + number) % kMessagesPerPort;
}
static_assert(kMessagesPerPort * sizeof(abi::HvMessage) == kPageSize);

Result<> check(const Partition& owner, PortId id, const abi::HvPortInfo& info) {
  if (info.message.target_sint >= abi::kHvSynicSintCount) return fail(Error::invalid_parameter);
  if (info.message.target_vp != abi::kHvAnyVp && info.message.target_vp >= kMaxVpsPerPartition)
    return fail(Error::invalid_vp_index);
  switch (info.port_type) {
    case HvPortType::HvPortTypeMessage:
      return {};
    case HvPortType::HvPortTypeEvent:
      if (uint32_t{info.event.base_flag_number} + info.event.flag_count > abi::kHvEventFlagsCount)
        break;
      return {};
    case HvPortType::HvPortTypeDoorbell:
      // In a ring, 0 is an entry that is free.
      if (!owner.is_root() || id.value() == 0) break;
      return {};
    default:
      break;
  }
  return fail(Error::invalid_parameter);
}

// Whether a doorbell connection answers to a write of `size` bytes.
bool triggers(const abi::HvConnectionInfo& info, unsigned size, uint64_t value) {
  const uint64_t code = info.doorbell.flags & abi::kHvDoorbellTriggerSizeMask;
  if (code != abi::kHvDoorbellTriggerSizeAny && size != 1u << (code - 1)) return false;
  if ((info.doorbell.flags & abi::kHvDoorbellTriggerAnyValueMask) != 0) return true;
  const uint64_t mask = size >= 8 ? ~uint64_t{0} : (uint64_t{1} << (size * 8)) - 1;
  return (value & mask) == (info.doorbell.trigger_value & mask);
}

}  // namespace

// --- Receiver's side ---

Result<> PortTable::create(Partition& owner, PortId id, PartitionId peer,
                           const abi::HvPortInfo& info) {
  if (!is_id(id.value(), abi::kHvPortIdMask)) return fail(Error::invalid_port_id);
  HV_TRY(check(owner, id, info));
  base::Guard guard(lock_);
  if (ports_.find(id.value())) return fail(Error::invalid_port_id);
  Spa messages;
  if (info.port_type == HvPortType::HvPortTypeMessage) {
    HV_TRY_ASSIGN(messages, owner.pool.allocate());
  }
  const auto port = port_slab_.create(owner.pool);
  if (!port) {
    if (messages != Spa()) owner.pool.free(messages);
    return fail(port.error());
  }
  (*port)->id = id;
  (*port)->peer = peer;
  (*port)->info = info;
  (*port)->messages = messages;
  ports_.insert(*port);
  return {};
}

Result<> PortTable::remove(Partition& owner, PortId id) {
  base::Guard guard(lock_);
  Port* const port = ports_.find(id.value());
  if (!port) return fail(Error::invalid_port_id);
  ports_.remove(port);
  free_port(owner, *port);
  return {};
}

void PortTable::free_port(Partition& owner, Port& port) {
  set_waiting(port, false);
  if (port.messages != Spa()) owner.pool.free(port.messages);
  port_slab_.destroy(owner.pool, &port);
}

void PortTable::set_waiting(Port& port, bool waiting) {
  if (waiting_.contains(&port) == waiting) return;
  if (waiting)
    waiting_.push_back(&port);
  else
    waiting_.remove(&port);
  waiting_count_ = static_cast<uint32_t>(waiting_.size());
}

Result<> PortTable::may_connect(PortId id, PartitionId peer, HvPortType type) {
  base::Guard guard(lock_);
  const Port* const port = ports_.find(id.value());
  if (!port) return fail(Error::invalid_port_id);
  if (port->peer != peer) return fail(Error::access_denied);
  if (port->info.port_type != type) return fail(Error::invalid_parameter);
  return {};
}

Result<> PortTable::post(Partition& owner, PortId id, abi::HvMessage& message) {
  base::Guard guard(lock_);
  Port* const port = ports_.find(id.value());
  if (!port || port->info.port_type != HvPortType::HvPortTypeMessage)
    return fail(Error::invalid_port_id);
  if (!choose_target(owner, *port, nullptr)) return fail(Error::invalid_synic_state);
  if (port->count == kMessagesPerPort) flush(owner, *port, nullptr);
  if (port->count == kMessagesPerPort) return fail(Error::insufficient_buffers);
  message.header.sender = id.value();
  std::memcpy(buffer(*port, port->count), &message, sizeof(message));
  ++port->count;
  set_waiting(*port, true);
  flush(owner, *port, nullptr);
  return {};
}

void PortTable::flush(Partition& owner, Port& port, Vp* preferred) {
  while (port.count != 0) {
    Vp* const vp = choose_target(owner, port, preferred);
    if (!vp || vp->synic.post(*vp, target_sint(port), *buffer(port, 0)) != Synic::Post::posted)
      break;
    port.first = static_cast<uint8_t>((port.first + 1) % kMessagesPerPort);
    --port.count;
  }
  set_waiting(port, port.count != 0);
}

void PortTable::retry(Vp& vp) {
  if (waiting_count_ == 0) return;
  base::Guard guard(lock_);
  for (Port* port = waiting_.front(); port;) {
    Port* const next = waiting_.next(port);
    if (port->info.port_type == HvPortType::HvPortTypeMessage && is_for(*port, vp))
      flush(vp.partition, *port, &vp);
    port = next;
  }
}

Result<> PortTable::signal(Partition& owner, PortId id, uint16_t flag) {
  base::Guard guard(lock_);
  const Port* const port = ports_.find(id.value());
  if (!port || port->info.port_type != HvPortType::HvPortTypeEvent)
    return fail(Error::invalid_port_id);
  if (flag >= port->info.event.flag_count) return fail(Error::invalid_parameter);
  Vp* const vp = choose_target(owner, *port, nullptr);
  if (!vp) return fail(Error::invalid_synic_state);
  HV_TRY(vp->synic.signal(*vp, target_sint(*port), port->info.event.base_flag_number + flag));
  return {};
}

void PortTable::ring(Partition& owner, PortId id) {
  base::Guard guard(lock_);
  Port* const port = ports_.find(id.value());
  if (!port || port->info.port_type != HvPortType::HvPortTypeDoorbell) return;
  Vp* const vp = choose_target(owner, *port, nullptr);
  set_waiting(*port, !(vp && vp->synic.push_ring(*vp, target_sint(*port), id)));
}

void PortTable::refill_ring(Vp& vp, unsigned sint) {
  base::Guard guard(lock_);
  for (Port* port = waiting_.front(); port;) {
    Port* const next = waiting_.next(port);
    if (port->info.port_type == HvPortType::HvPortTypeDoorbell && is_for(*port, vp) &&
        target_sint(*port) == sint) {
      if (!vp.synic.push_ring(vp, sint, port->id)) return;
      set_waiting(*port, false);
    }
    port = next;
  }
}

// --- Sender's side ---

Result<> PortTable::connect(Partition& owner, ConnectionId id, const Connection& connection) {
  if (!is_id(id.value(), abi::kHvConnectionIdMask)) return fail(Error::invalid_connection_id);
  base::Guard guard(lock_);
  if (connections_.find(id.value())) return fail(Error::invalid_connection_id);
  HV_TRY_ASSIGN(Connection* const node, connection_slab_.create(owner.pool));
  *node = connection;
  node->id = id;
  connections_.insert(node);
  if (node->info.port_type == HvPortType::HvPortTypeDoorbell) {
    doorbells_.push_back(node);
    ++doorbell_count_;
  }
  return {};
}

Result<> PortTable::disconnect(Partition& owner, ConnectionId id) {
  base::Guard guard(lock_);
  Connection* const node = connections_.find(id.value());
  if (!node) return fail(Error::invalid_connection_id);
  connections_.remove(node);
  if (doorbells_.contains(node)) {
    doorbells_.remove(node);
    --doorbell_count_;
  }
  connection_slab_.destroy(owner.pool, node);
  return {};
}

Result<Connection> PortTable::find_connection(ConnectionId id) {
  base::Guard guard(lock_);
  const Connection* const node = connections_.find(id.value());
  if (!node) return fail(Error::invalid_connection_id);
  return Connection(*node);
}

Result<Connection> PortTable::find_doorbell(Gpa address, unsigned size, uint64_t value) {
  if (doorbell_count_ == 0) return fail(Error::not_found);
  base::Guard guard(lock_);
  for (const Connection* node = doorbells_.front(); node; node = doorbells_.next(node))
    if (node->info.doorbell.gpa == address.value() && triggers(node->info, size, value))
      return Connection(*node);
  return fail(Error::not_found);
}

void PortTable::destroy(Partition& owner) {
  base::Guard guard(lock_);
  while (Port* const port = ports_.pop()) free_port(owner, *port);
  while (doorbells_.pop_front()) {
  }
  doorbell_count_ = 0;
  while (Connection* const node = connections_.pop()) connection_slab_.destroy(owner.pool, node);
}

// --- Interface ---

Result<> create_port(Partition& owner, PortId id, PartitionId peer, const abi::HvPortInfo& info) {
  return owner.ports.create(owner, id, peer, info);
}

Result<> delete_port(Partition& owner, PortId id) {
  return owner.ports.remove(owner, id);
}

Result<> connect_port(Partition& connecting, ConnectionId id, Partition& port_owner, PortId port,
                      const abi::HvConnectionInfo& info) {
  HV_TRY(port_owner.ports.may_connect(port, connecting.id, info.port_type));
  Connection connection{};
  connection.port_partition = port_owner.id;
  connection.port = port;
  connection.info = info;
  return connecting.ports.connect(connecting, id, connection);
}

Result<> disconnect_port(Partition& connecting, ConnectionId id) {
  return connecting.ports.disconnect(connecting, id);
}

Result<> post_message(Partition& sender, ConnectionId id, uint32_t type,
                      std::span<const uint8_t> payload) {
  HV_TRY_ASSIGN(const Connection connection, sender.ports.find_connection(id));
  if (connection.info.port_type != HvPortType::HvPortTypeMessage)
    return fail(Error::invalid_connection_id);
  if (type == 0 || (type & abi::kHvMessageTypeHypervisorMask) != 0 ||
      payload.size() > abi::kHvMessagePayloadSize)
    return fail(Error::invalid_parameter);
  Partition* const owner = find_partition(connection.port_partition);
  if (!owner) return fail(Error::invalid_port_id);
  abi::HvMessage message{};
  message.header.message_type = static_cast<abi::HvMessageType>(type);
  message.header.payload_size = static_cast<uint8_t>(payload.size());
  std::memcpy(message.payload, payload.data(), payload.size());
  return owner->ports.post(*owner, connection.port, message);
}

Result<> signal_event(Partition& sender, ConnectionId id, uint16_t flag) {
  HV_TRY_ASSIGN(const Connection connection, sender.ports.find_connection(id));
  if (connection.info.port_type != HvPortType::HvPortTypeEvent)
    return fail(Error::invalid_connection_id);
  Partition* const owner = find_partition(connection.port_partition);
  if (!owner) return fail(Error::invalid_port_id);
  return owner->ports.signal(*owner, connection.port, flag);
}

Result<> post_message_direct(Partition& target, VpIndex index, uint32_t sint,
                             const abi::HvMessage& message) {
  Vp* const vp = target.vp(index);
  if (!vp) return fail(Error::invalid_vp_index);
  if (sint >= abi::kHvSynicSintCount ||
      message.header.message_type == abi::HvMessageType::HvMessageTypeNone ||
      message.header.payload_size > abi::kHvMessagePayloadSize)
    return fail(Error::invalid_parameter);
  switch (vp->synic.post(*vp, sint, message)) {
    case Synic::Post::posted:
      return {};
    case Synic::Post::busy:
      return fail(Error::insufficient_buffers);
    case Synic::Post::disabled:
      break;
  }
  return fail(Error::invalid_synic_state);
}

Result<bool> signal_event_direct(Partition& target, VpIndex index, uint32_t sint, uint16_t flag) {
  Vp* const vp = target.vp(index);
  if (!vp) return fail(Error::invalid_vp_index);
  if (sint >= abi::kHvSynicSintCount || flag >= abi::kHvEventFlagsCount)
    return fail(Error::invalid_parameter);
  return vp->synic.signal(*vp, sint, flag);
}

Result<> notify_port_ring_empty(Vp& caller, uint32_t sint) {
  if (sint >= abi::kHvSynicSintCount) return fail(Error::invalid_parameter);
  caller.partition.ports.refill_ring(caller, sint);
  return {};
}

bool ring_doorbell(Partition& child, Gpa address, unsigned size, uint64_t value) {
  const auto connection = child.ports.find_doorbell(address, size, value);
  if (!connection) return false;
  if (Partition* const owner = find_partition(connection->port_partition))
    owner->ports.ring(*owner, connection->port);
  return true;
}

}  // namespace hv
