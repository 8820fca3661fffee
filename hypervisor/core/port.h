// SPDX-License-Identifier: MIT
// Ports and connections of a partition [TLFS 11.10]. A port belongs to the receiver and names a VP
// and SINT; a connection belongs to the sender and names a port. Messages that find their slot busy
// wait in their port. Nodes come from the owner's pool. Two tables are never locked at once.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "abi/tlfs/message.h"
#include "abi/tlfs/partition.h"
#include "base/list.h"
#include "base/lock.h"
#include "hypervisor/core/address.h"
#include "hypervisor/core/error.h"
#include "hypervisor/core/hash_table.h"
#include "hypervisor/core/ids.h"
#include "hypervisor/core/slab.h"

namespace hv {

struct Partition;
struct Vp;

inline constexpr unsigned kMessagesPerPort = 16;  // [TLFS 11.6]; exactly a page of them

struct Port {
  Port* next = nullptr;  // in its bucket
  PortId id;
  PartitionId peer;  // who may connect
  abi::HvPortInfo info;
  base::ListLink<Port> waiting_link;  // while messages are queued, or a doorbell for a full ring
  Spa messages;                       // message ports: a ring of kMessagesPerPort
  uint8_t first = 0;
  uint8_t count = 0;
  uint32_t key() const { return id.value(); }
};

struct Connection {
  Connection* next = nullptr;  // in its bucket
  ConnectionId id;
  PartitionId port_partition;
  PortId port;
  abi::HvConnectionInfo info;
  base::ListLink<Connection> doorbell_link;
  uint32_t key() const { return id.value(); }
};

// The functions below the class are the interface; each takes one table's lock at a time.
class PortTable {
 public:
  // Frees everything, when the partition is torn down.
  void destroy(Partition& owner);
  // Tries again to deliver what waits for this VP.
  void retry(Vp& vp);

  // --- Receiver's side ---
  Result<> create(Partition& owner, PortId id, PartitionId peer, const abi::HvPortInfo& info);
  Result<> remove(Partition& owner, PortId id);
  // Errors: invalid_port_id, access_denied (not for this peer), invalid_parameter (other type).
  Result<> may_connect(PortId id, PartitionId peer, abi::HvPortType type);
  Result<> post(Partition& owner, PortId id, abi::HvMessage& message);
  Result<> signal(Partition& owner, PortId id, uint16_t flag);
  void ring(Partition& owner, PortId id);
  // Doorbells that wait for the ring of `sint` of this VP.
  void refill_ring(Vp& vp, unsigned sint);

  // --- Sender's side ---
  Result<> connect(Partition& owner, ConnectionId id, const Connection& connection);
  Result<> disconnect(Partition& owner, ConnectionId id);
  // A copy: it may be disconnected at any time.
  Result<Connection> find_connection(ConnectionId id);
  bool has_doorbells() const { return doorbell_count_.load(std::memory_order_relaxed) != 0; }
  Result<Connection> find_doorbell(Gpa address, unsigned size, uint64_t value);

 private:
  // Moves queued messages to the slot of a VP, the oldest first.
  void flush(Partition& owner, Port& port, Vp* preferred) HV_REQUIRES(lock_);
  void set_waiting(Port& port, bool waiting) HV_REQUIRES(lock_);
  void free_port(Partition& owner, Port& port) HV_REQUIRES(lock_);

  base::SpinLock lock_{40};
  HashTable<Port, 64> ports_ HV_GUARDED_BY(lock_);
  HashTable<Connection, 64> connections_ HV_GUARDED_BY(lock_);
  base::List<Connection, &Connection::doorbell_link> doorbells_ HV_GUARDED_BY(lock_);
  base::List<Port, &Port::waiting_link> waiting_ HV_GUARDED_BY(lock_);
  Slab<Port> port_slab_ HV_GUARDED_BY(lock_);
  Slab<Connection> connection_slab_ HV_GUARDED_BY(lock_);
  std::atomic<uint32_t> waiting_count_{0};
  std::atomic<uint32_t> doorbell_count_{0};
};

// Ids have 24 bits. Errors: invalid_port_id (not an id, or in use), invalid_parameter,
// invalid_vp_index, insufficient_memory (of the owner).
Result<> create_port(Partition& owner, PortId id, PartitionId peer, const abi::HvPortInfo& info);
// Error: invalid_port_id.
Result<> delete_port(Partition& owner, PortId id);

// Errors: invalid_connection_id (not an id, or in use), invalid_port_id, access_denied (the port is
// for another peer), invalid_parameter, insufficient_memory (of the connecting partition).
Result<> connect_port(Partition& connecting, ConnectionId id, Partition& port_owner, PortId port,
                      const abi::HvConnectionInfo& info);
// Error: invalid_connection_id.
Result<> disconnect_port(Partition& connecting, ConnectionId id);

// Errors: invalid_connection_id (unknown: the parent may have installed an intercept for that),
// invalid_port_id (deleted since), invalid_parameter, invalid_synic_state (no VP takes messages),
// insufficient_buffers.
Result<> post_message(Partition& sender, ConnectionId id, uint32_t type,
                      std::span<const uint8_t> payload);
Result<> signal_event(Partition& sender, ConnectionId id, uint16_t flag);

// For a parent, past ports. Errors: invalid_vp_index, invalid_parameter, invalid_synic_state,
// insufficient_buffers (the slot is busy; the guest was asked for an EOM).
Result<> post_message_direct(Partition& target, VpIndex vp, uint32_t sint,
                             const abi::HvMessage& message);
// True if the flag was clear.
Result<bool> signal_event_direct(Partition& target, VpIndex vp, uint32_t sint, uint16_t flag);

// The consumer drained its full ring: doorbells that found no room are queued now.
// Error: invalid_parameter.
Result<> notify_port_ring_empty(Vp& caller, uint32_t sint);

// A write of `size` bytes to an unmapped address of the child. True if a doorbell took it.
bool ring_doorbell(Partition& child, Gpa address, unsigned size, uint64_t value);

}  // namespace hv
