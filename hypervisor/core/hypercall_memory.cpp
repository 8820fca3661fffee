// SPDX-License-Identifier: MIT
// Deposits and GPA pages [TLFS 7, 8]. A page that a partition loses is dropped only after
// synchronize_lps(), once for each bounded run of repetitions, and the target is not touched after
// that: another LP may have deleted it.
#include <array>

#include "hypervisor/core/hypercall_handlers.h"

namespace hv {

namespace {

constexpr unsigned kLargePagesPerEntry = 8;

// A page number of the caller as an address; kMaxPhysicalAddress, which nothing maps, if too high.
Gpa gpa_of(uint64_t page) {
  return page < kMaxPhysicalAddress >> kPageShift ? Gpa::from_page(page) : Gpa(kMaxPhysicalAddress);
}

// Pages that were unmapped from a child but may still be in TLBs.
class Unmapped {
 public:
  Unmapped() = default;
  Unmapped(const Unmapped&) = delete;
  Unmapped& operator=(const Unmapped&) = delete;
  ~Unmapped() {
    if (count_ == 0) return;
    synchronize_lps();
    for (unsigned i = 0; i < count_; ++i)
      for (uint64_t offset = 0; offset < pages_[i].size; offset += kPageSize)
        page_db.drop_mapping(pages_[i].spa + offset);
  }
  bool full() const { return count_ == pages_.size(); }
  void add(const Mapping& page) {
    if (page.size != 0) pages_[count_++] = {page.spa, page.size};
  }

 private:
  struct Page {
    Spa spa;
    uint64_t size;
  };
  std::array<Page, kRepsPerEntry> pages_;
  unsigned count_ = 0;
};

// Unmaps [gpa, gpa + size), size being one page. Errors: insufficient_memory; retry when `unmapped`
// is full.
Result<> clear(GpaSpace& space, Gpa gpa, uint64_t size, Unmapped& unmapped) {
  const Gpa end = gpa + size;
  for (;;) {
    Gpa at = gpa;
    const Result<Mapping> leaf = space.next_leaf(at, end);
    if (!leaf) return {};
    if (unmapped.full()) return fail(Error::retry);
    HV_TRY_ASSIGN(const Mapping page, size == kPageSize ? space.unmap(gpa) : space.unmap_leaf(at));
    unmapped.add(page);
  }
}

// What a MapGpaPages call asks for each of its pages.
struct MapRequest {
  uint64_t size = kPageSize;
  Access access = Access::none;
  CacheType cache = CacheType::write_back;

  static Result<MapRequest> parse(const abi::HvInputMapGpaPages& in) {
    constexpr uint32_t kKnown = abi::kHvMapGpaPermissionsMask | abi::kHvMapGpaAdjustableMask |
                                abi::kHvMapGpaNoAccessMask | abi::kHvMapGpaNotCachedMask |
                                abi::kHvMapGpaLargePageMask;
    const uint32_t flags = in.map_flags;
    if ((flags & ~kKnown) != 0 || in.padding != 0) return fail(Error::invalid_parameter);
    MapRequest request;
    if (flags & abi::kHvMapGpaReadableMask) request.access = Access::read;
    if (flags & abi::kHvMapGpaWritableMask) request.access = request.access | Access::write;
    // Kernel and user mode are not told apart.
    if (flags & (abi::kHvMapGpaKernelExecutableMask | abi::kHvMapGpaUserExecutableMask))
      request.access = request.access | Access::execute;
    const bool none = (flags & abi::kHvMapGpaNoAccessMask) != 0;
    if (none ? request.access != Access::none : !includes(request.access, Access::read))
      return fail(Error::invalid_parameter);
    if (flags & abi::kHvMapGpaNotCachedMask) request.cache = CacheType::uncached;
    if (flags & abi::kHvMapGpaLargePageMask) request.size = kLargePageSize;
    return request;
  }
};

void drop_counts(Spa first, uint64_t bytes) {
  for (uint64_t offset = 0; offset < bytes; offset += kPageSize)
    page_db.drop_mapping(first + offset);
}

// Counts a mapping of the caller's page at `source`, which must be its own RAM, contiguous, and
// accessible to the caller as it shall be to the child.
Result<Spa> count_source(const Partition& caller, Gpa source, const MapRequest& request) {
  const Access need = static_cast<Access>(static_cast<uint8_t>(request.access) & 3);
  const Spa first = caller.space.translate(source, need);
  if (first == GpaSpace::kNowhere) return fail(Error::unmapped);
  if (!source.is_aligned(request.size) || !first.is_aligned(request.size))
    return fail(Error::invalid_alignment);
  for (uint64_t offset = 0; offset < request.size; offset += kPageSize) {
    const bool contiguous = caller.space.translate(source + offset, need) == first + offset;
    const Result<> counted = page_db.add_mapping(first + offset);
    if (counted && contiguous) continue;
    drop_counts(first, counted ? offset + kPageSize : offset);
    return fail(counted ? Error::invalid_parameter : counted.error());
  }
  return first;
}

Result<> map_page(const Call& call, Gpa target, uint64_t source_page, const MapRequest& request,
                  Unmapped& unmapped) {
  GpaSpace& space = call.target->space;
  if (target.value() >= kMaxPhysicalAddress) return fail(Error::invalid_parameter);
  if (!target.is_aligned(request.size)) return fail(Error::invalid_alignment);
  if (request.access == Access::none) return clear(space, target, request.size, unmapped);
  HV_TRY_ASSIGN(const Spa spa, count_source(call.partition, gpa_of(source_page), request));
  Result<> cleared = clear(space, target, request.size, unmapped);
  if (cleared && unmapped.full()) cleared = fail(Error::retry);  // room for what map() replaces
  if (cleared) {
    const Result<Mapping> replaced =
        space.map(target, spa, request.size, request.access, request.cache);
    if (replaced) {
      unmapped.add(*replaced);
      return {};
    }
    // Another caller mapped something there meanwhile.
    cleared = fail(replaced.error() == Error::object_in_use ? Error::retry : replaced.error());
  }
  drop_counts(spa, request.size);
  return cleared;
}

// What a repetition names in the target, counted from the call's base.
Gpa target_page(uint64_t base, uint64_t index, uint64_t size) {
  return base < kMaxPhysicalAddress >> kPageShift ? gpa_of(base + index * (size >> kPageShift))
                                                  : Gpa(kMaxPhysicalAddress);
}

}  // namespace

Result<> deposit_memory(Call& call, const abi::HvInputDepositMemory&, Reps<uint64_t>& reps) {
  const PartitionId id = call.target->id;
  std::array<Spa, kRepsPerEntry> taken;
  unsigned count = 0;
  Result<> result;
  for (; count < reps.count; ++count) {
    const Result<Spa> page = take_from_root(gpa_of(reps.in[count]));
    if (!page) {
      result = fail(page.error());
      break;
    }
    taken[count] = *page;
  }
  if (count == 0) return result;
  synchronize_lps();
  Partition* const target = find_partition(id);
  for (unsigned i = 0; i < count; ++i)
    target ? target->pool.deposit(taken[i]) : return_to_root(taken[i]);
  if (!target) return fail(Error::invalid_partition_id);
  reps.done = count;
  return result;
}

Result<> withdraw_memory(Call& call, const abi::HvInputWithdrawMemory&,
                         Reps<Nothing, uint64_t>& reps) {
  for (; reps.done < reps.count; ++reps.done) {
    HV_TRY_ASSIGN(const Spa page, call.target->pool.withdraw());
    return_to_root(page);
    reps.out[reps.done] = page.page();
  }
  return {};
}

Result<> map_gpa_pages(Call& call, const abi::HvInputMapGpaPages& in, Reps<uint64_t>& reps) {
  HV_TRY_ASSIGN(const MapRequest request, MapRequest::parse(in));
  if (!call.target->is_active()) return fail(Error::invalid_partition_state);
  const unsigned limit = request.size == kPageSize ? reps.count : kLargePagesPerEntry;
  Unmapped unmapped;
  for (; reps.done < reps.count && reps.done < limit; ++reps.done) {
    const Gpa target = target_page(in.target_gpa_base, reps.first + reps.done, request.size);
    HV_TRY(map_page(call, target, reps.in[reps.done], request, unmapped));
  }
  return {};
}

Result<> unmap_gpa_pages(Call& call, const abi::HvInputUnmapGpaPages& in, Reps<Nothing>& reps) {
  if ((in.unmap_flags & ~abi::kHvUnmapGpaLargePageMask) != 0 || in.padding != 0)
    return fail(Error::invalid_parameter);
  if (!call.target->is_active()) return fail(Error::invalid_partition_state);
  const uint64_t size = in.unmap_flags != 0 ? kLargePageSize : kPageSize;
  Unmapped unmapped;
  for (; reps.done < reps.count; ++reps.done) {
    const Gpa page = target_page(in.target_gpa_base, reps.first + reps.done, size);
    if (page.value() >= kMaxPhysicalAddress) return fail(Error::invalid_parameter);
    if (!page.is_aligned(size)) return fail(Error::invalid_alignment);
    HV_TRY(clear(call.target->space, page, size, unmapped));
  }
  return {};
}

Result<> get_gpa_pages_access_states(Call& call, const abi::HvInputGetGpaPagesAccessStates& in,
                                     Reps<Nothing, uint8_t>& reps) {
  using Track = GpaSpace::Track;
  const auto asked = [&](unsigned bit) { return (in.flags & privilege(bit)) != 0; };
  const auto track = [&](unsigned clear_bit, unsigned set_bit) {
    return asked(clear_bit) ? Track::clear : asked(set_bit) ? Track::set : Track::keep;
  };
  if (in.flags > 0xf) return fail(Error::invalid_parameter);
  if (!call.target->is_active()) return fail(Error::invalid_partition_state);
  const Track accessed = track(abi::kHvGpaAccessClearAccessedBit, abi::kHvGpaAccessSetAccessedBit);
  const Track dirty = track(abi::kHvGpaAccessClearDirtyBit, abi::kHvGpaAccessSetDirtyBit);
  Result<> result;
  for (; reps.done < reps.count; ++reps.done) {
    const Gpa page = target_page(in.gpa_page_number, reps.first + reps.done, kPageSize);
    const Result<Mapping> state = call.target->space.access_state(page, accessed, dirty);
    if (!state && state.error() != Error::unmapped) {
      result = fail(state.error());
      break;
    }
    reps.out[reps.done] =
        state ? static_cast<uint8_t>(state->accessed << abi::kHvGpaAccessStateAccessedBit |
                                     state->dirty << abi::kHvGpaAccessStateDirtyBit)
              : uint8_t{0};
  }
  // Processors set a cleared bit again only after their cached translation is gone.
  if (accessed == Track::clear || dirty == Track::clear) synchronize_lps();
  return result;
}

}  // namespace hv
