// SPDX-License-Identifier: MIT
// A partition: an id, a parent, privileges, a pool of deposited pages, a GPA space and VPs.
// Look-ups take no lock and are valid until the handler returns; removal unlinks, waits for
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
  // Tables of the GPA space come from `tables`, or from the partition's own pool.
  Partition(PartitionId partition_id, Partition* owner, PagePool* tables = nullptr)
      : id(partition_id), parent(owner), space(tables ? *tables : pool) {}
  Partition(const Partition&) = delete;
  Partition& operator=(const Partition&) = delete;

  // Only an active partition has VPs and mappings; only while it is active do handlers of other
  // VPs touch its space, and none does after its own synchronize_lps().
  enum class State : uint8_t { created, active, finalizing, finalized };

  const PartitionId id;
  Partition* const parent;  // nullptr for the root
  bool is_root() const { return parent == nullptr; }

  std::atomic<State> state{State::created};
  bool is_active() const { return state.load() == State::active; }
  // Held by the one call that removes VPs or the partition itself; others answer Error::retry.
  std::atomic<bool> teardown{false};
  bool quiet = false;   // while finalizing: nobody uses its VPs and space any more
  Gpa teardown_cursor;  // everything below is unmapped; both owned by the holder of `teardown`

  // Privilege mask [TLFS hv_partition_privilege_mask], what its CPUID leaf 0x40000003 shows.
  std::atomic<uint64_t> privileges{0};
  std::atomic<uint64_t> synthetic_features{0};
  std::atomic<uint32_t> processors_per_socket{kMaxVpsPerPartition};
  std::atomic<uint32_t> unimplemented_msr_action{0};  // abi::HvUnimplementedMsrAction

  // Creation and removal of VPs, properties, and the registers of its suspended VPs.
  base::SpinLock lock{20};

  PagePool pool;
  GpaSpace space;
  PortTable ports;
  InterceptTable intercepts;

  std::array<std::atomic<Vp*>, kMaxVpsPerPartition> vps{};
  uint32_t vp_count = 0;  // one above the highest index in use, under `lock`
  Spa stats_page;         // exported to the root; zero until mapped

  // Reference time = (read_tsc() - tsc_base) in 100 ns.
  uint64_t tsc_base = 0;

  // Guest-written identity and page registers shared by the partition's VPs.
  std::atomic<uint64_t> guest_os_id{0};
  std::atomic<uint64_t> hypercall_msr{0};
  std::atomic<uint64_t> reference_tsc_msr{0};
  CrashReport crash;

  Vp* vp(VpIndex index) const {
    return index.value() < kMaxVpsPerPartition ? vps[index.value()].load(std::memory_order_acquire)
                                               : nullptr;
  }
  bool may(uint64_t privilege_bits) const {
    return (privileges.load(std::memory_order_relaxed) & privilege_bits) == privilege_bits;
  }
  uint64_t reference_time() const { return time_scale.ticks_to_100ns(read_tsc() - tsc_base); }
};

// What a parent may give a child at most, and what a child gets that its parent did not configure.
extern const uint64_t kChildPrivileges;
extern const uint64_t kChildSyntheticFeatures;

// The table of all partitions. The root has id 1; ids are never used twice.
inline constexpr PartitionId kRootPartitionId{1};
extern Partition* root_partition;

// nullptr when there is none.
Partition* find_partition(PartitionId id);
// For walks over all partitions: what lives in slot 0 to kMaxPartitions - 1, or nullptr.
Partition* partition_in_slot(unsigned slot);

// --- Life. Each of these is restartable: Error::retry asks to be called again. None keeps a
// reference to anything that another LP may free across its own synchronize_lps().

// Creates a child whose control structures are charged to the parent's pool.
// Errors: insufficient_memory, no_resources.
Result<Partition*> create_partition(Partition& parent);
// Gives it a GPA space, and the privileges its synthetic features stand for unless the parent set
// some; VPs and mappings may come. Errors: insufficient_memory, invalid_partition_state.
Result<> initialize_partition(Partition& partition);
// Removes VPs, ports, mappings and tables. Error: invalid_partition_state (it is not active).
Result<> finalize_partition(Partition& partition);
// Unlinks and frees a partition that is finalized or was never initialized; what is left of its
// deposits returns to the root. Error: invalid_partition_state.
Result<> delete_partition(Partition& partition);

// Builds a VP, explicitly suspended, and hands it to the scheduler.
// Errors: insufficient_memory, invalid_partition_state, invalid_vp_index (none that high),
// object_in_use (it exists).
Result<Vp*> create_vp(Partition& partition, VpIndex index, Lp& home, bool pinned);
// Errors: invalid_vp_index.
Result<> delete_vp(Partition& partition, VpIndex index);
// An online LP for a new VP, in turn.
Lp& next_home();

// --- Pages that change hands between the root and the hypervisor.

// Takes a page out of the root's sight for good. The caller must synchronize_lps() before it uses
// or frees it. Errors: unmapped, access_denied, object_in_use, insufficient_memory.
Result<Spa> take_from_root(Gpa page);
// Zeroes a page of the hypervisor and gives it to the root.
void return_to_root(Spa page);
// Shows a page of the hypervisor to the root, read-write, or stops that (synchronize_lps() before
// it is freed).
Result<> export_to_root(Spa page);
void unexport_from_root(Spa page);

// Pages that the root's second-level tables can need at most for `frames` frames of RAM. The boot
// reserve is this much and what root VPs and the root's children's control structures take.
constexpr uint64_t root_table_pages(uint64_t frames) {
  return frames / 512 + frames / 262144 + 64;
}

// Sets up the root in place, before any LP runs a VP. The reserve is page-aligned RAM that becomes
// the root's pool; page_db and direct_map_base are ready. Map the root's GPA space afterwards.
Partition& create_root_partition(uint64_t reserve_base, uint64_t reserve_bytes);

// For kexec and kdump of the root (it writes its guest OS id to zero): removes all children and the
// root's ports and returns every deposit, the root's own too. Error: retry.
Result<> partition_reset_root();

}  // namespace hv
