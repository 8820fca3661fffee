// SPDX-License-Identifier: MIT
// The root's calls about the machine: logical processors, system properties, statistics, the log.
// A statistics page is an array of counters [Linux mshv_debugfs_counters.c] in the object's pool,
// shown to the root; it is brought up to date by every call that maps it.
#include <utility>

#include "hypervisor/core/hypercall_handlers.h"
#include "hypervisor/core/log_ring.h"

namespace hv {

namespace {

enum HypervisorCounter {
  kHvLogicalProcessors = 1,
  kHvPartitions,
  kHvTotalPages,
  kHvVirtualProcessors
};
enum LpCounter { kLpGlobalTime = 1, kLpRootVpIndex = 19, kLpGlobalTscCount = 21 };
enum PartitionCounter {
  kPartitionVirtualProcessors = 1,
  kPartitionDepositedPages = 5,
  kPartitionPartitionId = 26,
  kPartitionFreePages = 500,  // ours: that list ends long before
};
enum VpCounter {
  kVpTotalRunTime = 1,
  kVpHypercallsCount = 7,
  kVpHltInstructionsCount = 15,
  kVpCpuidInstructionsCount = 19,
  kVpMsrAccessesCount = 21,
  kVpOtherInterceptsCount = 23,
  kVpExternalInterruptsCount = 25,
  kVpNestedPageFaultInterceptsCount = 71,
  kVpLogicalProcessorDispatches = 74,
};

// Pages of objects that never go away, charged to the root; they go when the root restarts.
base::SpinLock machine_lock{30};
MachinePages machine_pages HV_GUARDED_BY(machine_lock);  // of each LP, then of the hypervisor

uint64_t count_vps(const Partition& partition) {
  uint64_t count = 0;
  for (const auto& slot : partition.vps) count += slot.load() != nullptr;
  return count;
}

void fill_hypervisor(uint64_t* counters) {
  uint64_t partitions = 0;
  uint64_t vps = 0;
  for (unsigned slot = 0; slot < kMaxPartitions; ++slot) {
    const Partition* const partition = partition_in_slot(slot);
    if (!partition) continue;
    ++partitions;
    vps += count_vps(*partition);
  }
  counters[kHvLogicalProcessors] = lp_count;
  counters[kHvPartitions] = partitions;
  counters[kHvVirtualProcessors] = vps;
  counters[kHvTotalPages] = root_partition->pool.total_pages();
}

void fill_lp(uint64_t* counters, const Lp& lp) {
  counters[kLpGlobalTime] = root_partition->reference_time();
  counters[kLpRootVpIndex] = lp.index.value();
  counters[kLpGlobalTscCount] = read_tsc();
}

void fill_partition(uint64_t* counters, const Partition& partition) {
  counters[kPartitionVirtualProcessors] = count_vps(partition);
  counters[kPartitionDepositedPages] = partition.pool.total_pages();
  counters[kPartitionPartitionId] = partition.id.value();
  counters[kPartitionFreePages] = partition.pool.free_pages();
}

void fill_vp(uint64_t* counters, const Vp& vp) {
  const VpCounters& c = vp.counters;
  counters[kVpTotalRunTime] = time_scale.ticks_to_100ns(c.runtime_tsc);
  counters[kVpHypercallsCount] = c.hypercalls;
  counters[kVpHltInstructionsCount] = c.halts;
  counters[kVpCpuidInstructionsCount] = c.cpuid;
  counters[kVpMsrAccessesCount] = c.msr;
  counters[kVpOtherInterceptsCount] = c.intercepts;
  counters[kVpExternalInterruptsCount] = c.interrupts;
  counters[kVpNestedPageFaultInterceptsCount] = c.faults;
  counters[kVpLogicalProcessorDispatches] = c.switches;
}

// Calls action(page, pool, fill) with what the identity names, under the lock that guards the page.
template <class Action>
Result<> with_object(const Call& call, const abi::HvInputMapStatsPage& in, Action action) {
  const abi::HvStatsObjectIdentity& id = in.identity;
  const auto named = [&](uint64_t partition_id) -> Partition* {
    Partition* const found = partition_id == abi::kHvPartitionIdSelf
                                 ? &call.partition
                                 : find_partition(PartitionId{partition_id});
    const bool reachable = found && (found == &call.partition || found->parent == &call.partition);
    return reachable ? found : nullptr;
  };
  switch (in.type) {
    case abi::HvStatsObjectType::HvStatsObjectHypervisor: {
      base::Guard guard(machine_lock);
      return action(machine_pages[kMaxLps], root_partition->pool, fill_hypervisor);
    }
    case abi::HvStatsObjectType::HvStatsObjectLogicalProcessor: {
      const uint32_t index = id.lp.lp_index;
      if (index >= lp_count || !lps[index]) return fail(Error::invalid_lp_index);
      base::Guard guard(machine_lock);
      return action(machine_pages[index], root_partition->pool,
                    [&](uint64_t* counters) { fill_lp(counters, *lps[index]); });
    }
    case abi::HvStatsObjectType::HvStatsObjectPartition: {
      Partition* const partition = named(id.partition.partition_id);
      if (!partition) return fail(Error::invalid_partition_id);
      base::Guard guard(partition->lock);
      if (!partition->is_active()) return fail(Error::invalid_partition_state);
      return action(partition->stats_page, partition->pool,
                    [&](uint64_t* counters) { fill_partition(counters, *partition); });
    }
    case abi::HvStatsObjectType::HvStatsObjectVp: {
      Partition* const partition = named(id.vp.partition_id);
      if (!partition) return fail(Error::invalid_partition_id);
      base::Guard guard(partition->lock);
      Vp* const vp = partition->vp(VpIndex{id.vp.vp_index});
      if (!vp) return fail(Error::invalid_vp_index);
      return action(vp->stats_page, partition->pool,
                    [&](uint64_t* counters) { fill_vp(counters, *vp); });
    }
    default:
      return fail(Error::invalid_parameter);
  }
}

}  // namespace

MachinePages take_machine_pages() {
  base::Guard guard(machine_lock);
  return std::exchange(machine_pages, {});
}

Result<abi::HvOutputMapStatsPage> map_stats_page(Call& call, const abi::HvInputMapStatsPage& in) {
  abi::HvOutputMapStatsPage out{};
  HV_TRY(with_object(call, in, [&](Spa& page, PagePool& pool, auto fill) -> Result<> {
    if (page == Spa()) {
      HV_TRY_ASSIGN(page, pool.allocate());
    }
    fill(direct_map<uint64_t>(page));
    out.map_location = page.page();
    return export_to_root(page);
  }));
  return out;
}

// The page stays with its object; only the root stops seeing it.
Result<> unmap_stats_page(Call& call, const abi::HvInputUnmapStatsPage& in) {
  return with_object(call, in, [](const Spa& page, PagePool&, auto) -> Result<> {
    if (page == Spa()) return fail(Error::invalid_parameter);
    unexport_from_root(page);
    return {};
  });
}

// Every LP runs since boot. Keyed on the APIC id: a restarted root may number its CPUs differently.
Result<abi::HvOutputAddLogicalProcessor> add_logical_processor(
    Call&, const abi::HvInputAddLogicalProcessor& in) {
  for (unsigned i = 0; i < lp_count; ++i)
    if (lps[i] && lps[i]->online.load() && lps[i]->apic_id.value() == in.apic_id)
      return abi::HvOutputAddLogicalProcessor{};
  return fail(Error::invalid_lp_index);
}

Result<abi::HvOutputGetSystemProperty> get_system_property(
    Call&, const abi::HvInputGetSystemProperty& in) {
  switch (in.property_id) {
    case abi::HvSystemProperty::HvSystemPropertySchedulerType:
      return abi::HvOutputGetSystemProperty{
          static_cast<uint64_t>(abi::HvSchedulerType::HvSchedulerTypeLp)};
    case abi::HvSystemProperty::HvSystemPropertyDynamicProcessorFeature:
      return abi::HvOutputGetSystemProperty{0};
    default:
      return fail(Error::unknown_property);
  }
}

Result<> notify_partition_event(Call&, const abi::HvInputNotifyPartitionEvent& in) {
  switch (in.event) {
    case abi::HvPartitionEvent::HvPartitionEventRootCrashdump:
    case abi::HvPartitionEvent::HvPartitionAllLogicalProcessorsStarted:
      return {};
    default:
      return fail(Error::invalid_parameter);
  }
}

Result<abi::HvOutputReadHypervisorLog> read_hypervisor_log(
    Call&, const abi::HvInputReadHypervisorLog& in) {
  abi::HvOutputReadHypervisorLog out{};
  out.next_position = in.position;
  out.bytes = static_cast<uint32_t>(read_log(out.next_position, out.text, sizeof(out.text)));
  return out;
}

}  // namespace hv
