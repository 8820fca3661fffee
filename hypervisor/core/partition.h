// SPDX-License-Identifier: MIT
// A partition: an id, a parent, privileges, a pool of deposited pages, a GPA space and VPs. Look-ups
// take no lock and are valid until the handler returns; removal unlinks, waits for
// synchronize_lps(), then frees.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/lock.h"
#include "hypervisor/core/gpa_space.h"
#include "hypervisor/core/ids.h"
#include "hypervisor/core/intercept.h"
#include "hypervisor/core/memory.h"
#include "hypervisor/core/port.h"
#include "hypervisor/core/vp.h"

namespace hv {

struct CrashReport {
  std::array<std::atomic<uint64_t>, 5> parameters{};
  std::atomic<uint64_t> control{0};
};

struct Partition {
  Partition(PartitionId partition_id, Partition* owner)
      : id(partition_id), parent(owner), space(pool) {}
  Partition(const Partition&) = delete;
  Partition& operator=(const Partition&) = delete;

  enum class State : uint8_t { created, active, finalized };

  const PartitionId id;
  Partition* const parent;  // nullptr for the root
  bool is_root() const { return parent == nullptr; }

  std::atomic<State> state{State::created};
  uint64_t creation_flags = 0;
  // Privilege mask [TLFS hv_partition_privilege_mask], what its CPUID leaf 0x40000003 shows.
  std::atomic<uint64_t> privileges{0};
  std::atomic<uint64_t> synthetic_features{0};

  base::SpinLock lock{20};  // creation and removal of VPs, properties

  PagePool pool;
  GpaSpace space;
  PortTable ports;
  InterceptTable intercepts;

  std::array<std::atomic<Vp*>, kMaxVpsPerPartition> vps{};
  uint32_t vp_count = 0;  // one above the highest index in use, under `lock`

  // Reference time = (read_tsc() - tsc_base) in 100 ns; a guest's TSC is the host's plus tsc_offset.
  uint64_t tsc_base = 0;
  uint64_t tsc_offset = 0;

  // Guest-written identity and page registers shared by the partition's VPs.
  std::atomic<uint64_t> guest_os_id{0};
  std::atomic<uint64_t> hypercall_msr{0};
  std::atomic<uint64_t> reference_tsc_msr{0};
  CrashReport crash;

  Vp* vp(VpIndex index) const {
    return index.value() < kMaxVpsPerPartition
               ? vps[index.value()].load(std::memory_order_acquire)
               : nullptr;
  }
  bool may(uint64_t privilege_bits) const {
    return (privileges.load(std::memory_order_relaxed) & privilege_bits) == privilege_bits;
  }
  uint64_t reference_time() const {
    return time_scale.ticks_to_100ns(read_tsc() - tsc_base);
  }
};

// The table of all partitions. The root has id 1.
inline constexpr PartitionId kRootPartitionId{1};
extern Partition* root_partition;

// nullptr when there is none.
Partition* find_partition(PartitionId id);

// Creates a child whose control structures are charged to the parent's pool.
// Errors: insufficient_memory, no_resources.
Result<Partition*> create_partition(Partition& parent);
// Unlinks and frees a finalized partition without VPs whose deposits were withdrawn.
Result<> delete_partition(Partition& partition);

// Sets up the root in place, before any LP runs a VP.
Partition& create_root_partition(uint64_t reserve_base, uint64_t reserve_bytes);

}  // namespace hv
