// SPDX-License-Identifier: MIT
// Life and death of partitions and VPs. Whatever look-ups can reach is unlinked first, then every
// LP passes through synchronize_lps(), then it is freed. Calls that wait so hold `teardown`, which
// keeps the partition alive for them, or look it up again.
#include "hypervisor/core/partition.h"

#include <cstring>
#include <new>
#include <utility>

#include "hypervisor/core/arch.h"
#include "hypervisor/core/hypercall.h"
#include "hypervisor/core/log.h"
#include "hypervisor/core/scheduler.h"

namespace hv {

Partition* root_partition = nullptr;

namespace {

static_assert(sizeof(Partition) <= kPageSize, "a partition's control structure is one page");

constexpr unsigned kPagesPerCall = 256;

base::SpinLock table_lock{10};
std::array<std::atomic<Partition*>, kMaxPartitions> table;
uint64_t last_id HV_GUARDED_BY(table_lock) = 0;

// The root's second-level tables have pages of their own, enough for every 4 KB page of RAM, so
// that taking a page out of the root's map and putting it back cannot fail for want of a table.
PagePool root_tables;

class Teardown {
 public:
  static Result<Teardown> begin(Partition& partition) {
    if (partition.teardown.exchange(true)) return fail(Error::retry);
    return Teardown(partition);
  }
  Teardown(Teardown&& other) noexcept : partition_(other.partition_) { other.partition_ = nullptr; }
  Teardown& operator=(Teardown&&) = delete;
  ~Teardown() {
    if (partition_) partition_->teardown.store(false);
  }
  void forget() { partition_ = nullptr; }

 private:
  explicit Teardown(Partition& partition) : partition_(&partition) {}
  Partition* partition_;
};

// Ids name their slot: id % kMaxPartitions.
template <class Make>
Result<Partition*> link(Make make) {
  base::Guard guard(table_lock);
  for (unsigned tries = 0; tries < kMaxPartitions; ++tries) {
    const PartitionId id{++last_id};
    std::atomic<Partition*>& slot = table[id.value() % kMaxPartitions];
    if (slot.load(std::memory_order_relaxed) != nullptr) continue;
    Partition* const partition = make(id);
    slot.store(partition, std::memory_order_release);
    return partition;
  }
  return fail(Error::no_resources);
}

constexpr uint64_t bit(unsigned number) {
  return uint64_t{1} << number;
}

struct FeaturePrivilege {
  unsigned feature, privilege;
};
constexpr FeaturePrivilege kFeaturePrivileges[] = {
    {abi::kHvSyntheticAccessVpRunTimeRegBit, abi::kHvPrivilegeAccessVpRuntimeBit},
    {abi::kHvSyntheticAccessPartitionReferenceCounterBit,
     abi::kHvPrivilegeAccessPartitionReferenceCounterBit},
    {abi::kHvSyntheticAccessSynicRegsBit, abi::kHvPrivilegeAccessSynicRegsBit},
    {abi::kHvSyntheticAccessSynicRegsBit, abi::kHvPrivilegePostMessagesBit},
    {abi::kHvSyntheticAccessSyntheticTimerRegsBit, abi::kHvPrivilegeAccessSyntheticTimerRegsBit},
    {abi::kHvSyntheticAccessIntrCtrlRegsBit, abi::kHvPrivilegeAccessIntrCtrlRegsBit},
    {abi::kHvSyntheticAccessHypercallRegsBit, abi::kHvPrivilegeAccessHypercallMsrsBit},
    {abi::kHvSyntheticAccessVpIndexBit, abi::kHvPrivilegeAccessVpIndexBit},
    {abi::kHvSyntheticAccessPartitionReferenceTscBit,
     abi::kHvPrivilegeAccessPartitionReferenceTscBit},
    {abi::kHvSyntheticAccessGuestIdleRegBit, abi::kHvPrivilegeAccessGuestIdleMsrBit},
    {abi::kHvSyntheticAccessFrequencyRegsBit, abi::kHvPrivilegeAccessFrequencyMsrsBit},
    {abi::kHvSyntheticStartVirtualProcessorBit, abi::kHvPrivilegeStartVirtualProcessorBit},
    {abi::kHvSyntheticSignalEventsBit, abi::kHvPrivilegeSignalEventsBit},
};

uint64_t privileges_of(uint64_t features) {
  uint64_t privileges = 0;
  for (const FeaturePrivilege& row : kFeaturePrivileges)
    if (features & bit(row.feature)) privileges |= bit(row.privilege);
  return privileges;
}

// Stops every VP it can reach; false while one of them still has to leave its guest.
bool stop_vps(Partition& partition) {
  bool stopped = true;
  for (auto& slot : partition.vps)
    if (Vp* const vp = slot.load()) stopped &= suspend(*vp, VpSuspend::stopped);
  return stopped;
}

void unexport(Spa& page) {
  if (page != Spa()) unexport_from_root(page);
}

void free_page(PagePool& pool, Spa& page) {
  if (page != Spa()) pool.free(page);
  page = Spa();
}

// Takes the VP out of every look-up; free_vp() follows after synchronize_lps().
void unlink_vp(Partition& partition, Vp& vp) {
  {
    base::Guard guard(partition.lock);
    partition.vps[vp.index.value()].store(nullptr);
    while (partition.vp_count != 0 && !partition.vps[partition.vp_count - 1].load())
      --partition.vp_count;
  }
  unexport(vp.intercept_page);
  unexport(vp.register_page);
  unexport(vp.stats_page);
}

void free_vp(Partition& partition, Vp& vp) {
  unschedule(vp);
  partition.parent->intercepts.cancel(vp);
  free_page(partition.pool, vp.intercept_page);
  free_page(partition.pool, vp.register_page);
  free_page(partition.pool, vp.stats_page);
  arch::destroy_vp(vp);
}

void free_tables(Partition& partition) {
  partition.ports.destroy(partition);
  partition.intercepts.destroy(partition);
}

// The first half of finalization: VPs and all that others could reach through look-ups.
Result<> quieten(Partition& partition) {
  if (!stop_vps(partition)) return fail(Error::retry);
  std::array<Vp*, kMaxVpsPerPartition> vps;
  unsigned count = 0;
  for (auto& slot : partition.vps) {
    Vp* const vp = slot.load();
    if (!vp) continue;
    unlink_vp(partition, *vp);
    vps[count++] = vp;
  }
  unexport(partition.stats_page);
  synchronize_lps();
  free_page(partition.pool, partition.stats_page);
  for (unsigned i = 0; i < count; ++i) free_vp(partition, *vps[i]);
  free_tables(partition);
  partition.quiet = true;
  return {};
}

// Statistics pages that the root asked for about itself and the machine: gone from its sight, and
// from where it could ask for them again, before the wait after which they are free.
void free_root_pages() {
  std::array<Spa, kMaxVpsPerPartition + 1> own{};
  MachinePages machine = take_machine_pages();
  {
    base::Guard guard(root_partition->lock);
    size_t count = 0;
    own[count++] = std::exchange(root_partition->stats_page, Spa());
    for (auto& slot : root_partition->vps)
      if (Vp* const vp = slot.load()) own[count++] = std::exchange(vp->stats_page, Spa());
  }
  for (Spa& page : own) unexport(page);
  for (Spa& page : machine) unexport(page);
  synchronize_lps();
  for (Spa& page : own) free_page(root_partition->pool, page);
  for (Spa& page : machine) free_page(root_partition->pool, page);
}

// Drops mappings until none is left, at most kPagesPerCall leaves a call. Nobody uses the space any
// more, neither a VP nor a handler.
Result<> unmap_all(Partition& partition) {
  Gpa& cursor = partition.teardown_cursor;
  for (unsigned leaves = 0; leaves < kPagesPerCall; ++leaves) {
    const Result<Mapping> leaf = partition.space.next_leaf(cursor);
    if (!leaf) return leaf.error() == Error::not_found ? Result<>() : fail(leaf.error());
    HV_TRY(partition.space.unmap_leaf(cursor));
    for (uint64_t offset = 0; offset < leaf->size; offset += kPageSize)
      page_db.drop_mapping(leaf->spa + offset);
  }
  return fail(Error::retry);
}

}  // namespace

const uint64_t kChildSyntheticFeatures =
    bit(abi::kHvSyntheticHypervisorPresentBit) | bit(abi::kHvSyntheticHv1Bit) |
    bit(abi::kHvSyntheticAccessVpRunTimeRegBit) |
    bit(abi::kHvSyntheticAccessPartitionReferenceCounterBit) |
    bit(abi::kHvSyntheticAccessSynicRegsBit) | bit(abi::kHvSyntheticAccessSyntheticTimerRegsBit) |
    bit(abi::kHvSyntheticAccessIntrCtrlRegsBit) | bit(abi::kHvSyntheticAccessHypercallRegsBit) |
    bit(abi::kHvSyntheticAccessVpIndexBit) | bit(abi::kHvSyntheticAccessPartitionReferenceTscBit) |
    bit(abi::kHvSyntheticAccessGuestIdleRegBit) | bit(abi::kHvSyntheticAccessFrequencyRegsBit) |
    bit(abi::kHvSyntheticStartVirtualProcessorBit) |
    bit(abi::kHvSyntheticDirectSyntheticTimersBit) |
    bit(abi::kHvSyntheticExtendedProcessorMasksBit) | bit(abi::kHvSyntheticTbFlushHypercallsBit) |
    bit(abi::kHvSyntheticSyntheticClusterIpiBit) | bit(abi::kHvSyntheticNotifyLongSpinWaitBit) |
    bit(abi::kHvSyntheticSignalEventsBit) | bit(abi::kHvSyntheticRetargetDeviceInterruptBit);

const uint64_t kChildPrivileges = privileges_of(kChildSyntheticFeatures) |
                                  bit(abi::kHvPrivilegeAccessPartitionIdBit) |
                                  bit(abi::kHvPrivilegeAccessTscInvariantControlsBit);

Partition* find_partition(PartitionId id) {
  Partition* const partition = table[id.value() % kMaxPartitions].load(std::memory_order_acquire);
  return partition && partition->id == id ? partition : nullptr;
}

Partition* partition_in_slot(unsigned slot) {
  return table[slot].load(std::memory_order_acquire);
}

Result<Partition*> create_partition(Partition& parent) {
  HV_TRY_ASSIGN(PooledPage page, PooledPage::allocate(parent.pool));
  HV_TRY_ASSIGN(Partition* const partition, link([&](PartitionId id) {
                  auto* const created = new (direct_map(page.spa())) Partition(id, &parent);
                  created->synthetic_features = kChildSyntheticFeatures;
                  created->tsc_base = read_tsc();
                  return created;
                }));
  page.release();
  return partition;
}

Result<> initialize_partition(Partition& partition) {
  base::Guard guard(partition.lock);
  if (partition.state.load() != Partition::State::created)
    return fail(Error::invalid_partition_state);
  HV_TRY(partition.space.init());
  if (partition.privileges.load() == 0)
    partition.privileges = privileges_of(partition.synthetic_features);
  partition.state.store(Partition::State::active);
  return {};
}

Result<> finalize_partition(Partition& partition) {
  HV_TRY_ASSIGN(Teardown teardown, Teardown::begin(partition));
  {
    base::Guard guard(partition.lock);
    if (!partition.is_active() && partition.state.load() != Partition::State::finalizing)
      return fail(Error::invalid_partition_state);
    partition.state.store(Partition::State::finalizing);
  }
  if (!partition.quiet) HV_TRY(quieten(partition));
  HV_TRY(unmap_all(partition));
  HV_TRY(partition.space.destroy());
  partition.state.store(Partition::State::finalized);
  return {};
}

Result<> delete_partition(Partition& partition) {
  HV_TRY_ASSIGN(Teardown teardown, Teardown::begin(partition));
  {
    base::Guard guard(partition.lock);
    const Partition::State state = partition.state.load();
    if (partition.is_root() ||
        (state != Partition::State::created && state != Partition::State::finalized))
      return fail(Error::invalid_partition_state);
    partition.state.store(Partition::State::finalized);
  }
  for (unsigned pages = 0; partition.pool.free_pages() != 0; ++pages) {
    if (pages == kPagesPerCall) return fail(Error::retry);
    const Result<Spa> page = partition.pool.withdraw();
    if (page) return_to_root(*page);
  }
  table[partition.id.value() % kMaxPartitions].store(nullptr);
  synchronize_lps();
  // Ports, intercepts and deposits may have come until it was unlinked.
  free_tables(partition);
  while (const Result<Spa> page = partition.pool.withdraw()) return_to_root(*page);
  if (partition.pool.total_pages() != 0)
    log(LogLevel::error, "partition {}: {} pages lost", partition.id.value(),
        partition.pool.total_pages());
  teardown.forget();
  PagePool& parent_pool = partition.parent->pool;
  const Spa page(reinterpret_cast<uint64_t>(&partition) - direct_map_base);
  partition.~Partition();
  parent_pool.free(page);
  return {};
}

Result<Vp*> create_vp(Partition& partition, VpIndex index, Lp& home, bool pinned) {
  if (index.value() >= kMaxVpsPerPartition) return fail(Error::invalid_vp_index);
  base::Guard guard(partition.lock);
  if (!partition.is_active()) return fail(Error::invalid_partition_state);
  std::atomic<Vp*>& slot = partition.vps[index.value()];
  if (slot.load() != nullptr) return fail(Error::object_in_use);
  HV_TRY_ASSIGN(Vp* const vp, arch::create_vp(partition, index));
  schedule_new(*vp, home, pinned);
  slot.store(vp, std::memory_order_release);
  if (index.value() >= partition.vp_count) partition.vp_count = index.value() + 1;
  return vp;
}

Result<> delete_vp(Partition& partition, VpIndex index) {
  HV_TRY_ASSIGN(Teardown teardown, Teardown::begin(partition));
  Vp* const vp = partition.vp(index);
  if (!vp) return fail(Error::invalid_vp_index);
  if (!suspend(*vp, VpSuspend::stopped)) return fail(Error::retry);
  unlink_vp(partition, *vp);
  synchronize_lps();
  free_vp(partition, *vp);
  return {};
}

Lp& next_home() {
  static constinit std::atomic<unsigned> turn{0};
  for (;;) {
    Lp* const lp = lps[turn.fetch_add(1, std::memory_order_relaxed) % lp_count];
    if (lp && lp->online.load(std::memory_order_relaxed)) return *lp;
  }
}

Result<Spa> take_from_root(Gpa page) {
  GpaSpace& space = root_partition->space;
  const Spa spa = space.translate(page, Access::read | Access::write);
  if (spa == GpaSpace::kNowhere) return fail(Error::unmapped);
  HV_TRY(page_db.acquire(spa));
  if (const Result<Mapping> was = space.unmap(page); !was) {
    page_db.release(spa);
    return fail(was.error());
  }
  return spa;
}

void return_to_root(Spa page) {
  std::memset(direct_map(page), 0, kPageSize);
  const auto mapped = root_partition->space.map(Gpa(page.value()), page, kPageSize, kAllAccess);
  HV_ASSERT(mapped);
  page_db.release(page);
}

Result<> export_to_root(Spa page) {
  HV_TRY(
      root_partition->space.map(Gpa(page.value()), page, kPageSize, Access::read | Access::write));
  return {};
}

void unexport_from_root(Spa page) {
  // A page that the root has unmapped before is hidden already.
  (void)root_partition->space.unmap(Gpa(page.value()));
}

Partition& create_root_partition(uint64_t reserve_base, uint64_t reserve_bytes) {
  // Hosted tests start over with every new root.
  for (auto& slot : table) slot.store(nullptr);
  {
    base::Guard guard(table_lock);
    last_id = 0;
  }
  new (&root_tables) PagePool();

  const Spa begin(reserve_base), end = begin + reserve_bytes;
  uint64_t for_tables = root_table_pages(page_db.frames());
  if (for_tables > reserve_bytes / kPageSize / 2) for_tables = reserve_bytes / kPageSize / 2;
  const Spa tables = begin + kPageSize, rest = tables + for_tables * kPageSize;
  root_tables.keep(tables, rest);
  const auto root = link(
      [&](PartitionId id) { return new (direct_map(begin)) Partition(id, nullptr, &root_tables); });
  HV_ASSERT(root && (*root)->id == kRootPartitionId);
  root_partition = *root;
  root_partition->pool.keep(rest, end);
  for (Spa page = begin; page < end; page = page + kPageSize)
    if (!page_db.owned_by_hypervisor(page)) HV_ASSERT(page_db.acquire(page));
  HV_ASSERT(root_partition->space.init());
  root_partition->tsc_base = 0;
  root_partition->state.store(Partition::State::active);
  return *root_partition;
}

Result<> partition_reset_root() {
  for (unsigned slot = 0; slot < kMaxPartitions; ++slot) {
    Partition* const child = partition_in_slot(slot);
    if (!child || child->is_root()) continue;
    const Result<> finalized = finalize_partition(*child);
    if (!finalized && finalized.error() == Error::retry) return finalized;
    HV_TRY(delete_partition(*child));
  }
  root_partition->ports.destroy(*root_partition);
  free_root_pages();
  while (const Result<Spa> page = root_partition->pool.withdraw()) return_to_root(*page);
  return {};
}

}  // namespace hv
