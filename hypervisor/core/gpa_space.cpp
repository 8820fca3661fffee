// SPDX-License-Identifier: MIT
// Writers hold the space's lock; processors walk the tables and set accessed and dirty bits at any
// time, so a leaf is taken out with an exchange and altered with atomic bit operations only.
#include "hypervisor/core/gpa_space.h"

#include "hypervisor/core/log.h"

namespace hv {

namespace {

constexpr unsigned shift_of(uint64_t size) {
  return static_cast<unsigned>(__builtin_ctzll(size));
}

}  // namespace

Mapping GpaSpace::mapping_of(uint64_t entry, unsigned shift) {
  const uint64_t size = uint64_t{1} << shift;
  return {.spa = Spa(entry & kAddressMask & ~(size - 1)),
          .access = access_of(entry),
          .size = size,
          .accessed = (entry & slat_format.accessed) != 0,
          .dirty = (entry & slat_format.dirty) != 0};
}

uint64_t GpaSpace::make_leaf(Spa spa, unsigned shift, Access access, CacheType cache) {
  const SlatFormat& f = slat_format;
  uint64_t entry = spa.value() | f.leaf | f.present;
  if (includes(access, Access::write)) entry |= f.write;
  entry |= includes(access, Access::execute) ? f.execute : f.inverted_execute;
  if (shift != kPageShift) entry |= f.large;
  if (cache == CacheType::uncached) entry = (entry & ~f.uncached_mask) | f.uncached;
  return entry;
}

Result<> GpaSpace::init() {
  base::Guard guard(lock_);
  if (root_ == Spa()) {
    HV_TRY_ASSIGN(root_, pool_.allocate());
  }
  return {};
}

Result<> GpaSpace::split(uint64_t* entry, unsigned shift) {
  HV_TRY_ASSIGN(const Spa table, pool_.allocate());
  uint64_t* const children = direct_map<uint64_t>(table);
  const unsigned child_shift = shift - kBitsPerLevel;
  uint64_t old = load(entry);
  do {
    uint64_t child = child_shift == kPageShift ? old & ~slat_format.large : old;
    for (uint64_t i = 0; i < kEntries; ++i, child += uint64_t{1} << child_shift)
      children[i] = child;
  } while (!__atomic_compare_exchange_n(entry, &old, table.value() | slat_format.table, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
  return {};
}

Result<uint64_t*> GpaSpace::entry_at(Gpa gpa, unsigned shift) {
  Spa table = root_;
  for (unsigned level = kTopShift;; level -= kBitsPerLevel) {
    uint64_t* const entry = slot(table, gpa, level);
    if (level == shift) return entry;
    if ((load(entry) & slat_format.present) == 0) {
      HV_TRY_ASSIGN(const Spa created, pool_.allocate());
      store(entry, created.value() | slat_format.table);
    } else if (is_leaf(load(entry), level)) {
      HV_TRY(split(entry, level));
    }
    table = Spa(load(entry) & kAddressMask);
  }
}

uint64_t* GpaSpace::find_leaf(Gpa gpa, unsigned& shift) {
  if (gpa.value() >= kMaxPhysicalAddress) return nullptr;
  Spa table = root_;
  for (shift = kTopShift;; shift -= kBitsPerLevel) {
    uint64_t* const entry = slot(table, gpa, shift);
    const uint64_t value = load(entry);
    if ((value & slat_format.present) == 0) return nullptr;
    if (is_leaf(value, shift)) return entry;
    table = Spa(value & kAddressMask);
  }
}

// Fills a table whose pages are all unmapped, so that they map what a leaf above it would have.
Result<> GpaSpace::fill(Spa table, unsigned shift, Spa spa, Access access, CacheType cache) {
  uint64_t* const entries = direct_map<uint64_t>(table);
  for (uint64_t i = 0; i < kEntries; ++i)
    if ((load(&entries[i]) & slat_format.present) != 0) return fail(Error::object_in_use);
  for (uint64_t i = 0; i < kEntries; ++i)
    store(&entries[i], make_leaf(spa + (i << shift), shift, access, cache));
  return {};
}

void GpaSpace::mark_written(Leaf leaf) {
  const SlatFormat& f = slat_format;
  while ((leaf.entry & (f.present | f.dirty)) == f.present &&
         !__atomic_compare_exchange_n(leaf.at, &leaf.entry, leaf.entry | f.accessed | f.dirty,
                                      false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
  }
}

Result<Mapping> GpaSpace::lookup(Gpa gpa) const {
  const Leaf leaf = walk(gpa);
  if ((leaf.entry & slat_format.present) == 0) return fail(Error::unmapped);
  return mapping_of(leaf.entry, leaf.shift);
}

Result<Mapping> GpaSpace::map(Gpa gpa, Spa spa, uint64_t size, Access access, CacheType cache) {
  HV_ASSERT(size == kPageSize || size == kLargePageSize || size == kHugePageSize);
  HV_ASSERT(gpa.is_aligned(size) && spa.is_aligned(size) && spa.value() < kMaxPhysicalAddress);
  if (gpa.value() >= kMaxPhysicalAddress) return fail(Error::invalid_parameter);
  const unsigned shift = shift_of(size);
  base::Guard guard(lock_);
  unsigned present_shift = 0;
  if (find_leaf(gpa, present_shift) && present_shift > shift) return fail(Error::object_in_use);
  HV_TRY_ASSIGN(uint64_t* const entry, entry_at(gpa, shift));
  const uint64_t old = load(entry);
  if ((old & slat_format.present) != 0 && !is_leaf(old, shift)) {
    HV_TRY(fill(Spa(old & kAddressMask), shift - kBitsPerLevel, spa, access, cache));
    return Mapping{};
  }
  const uint64_t replaced =
      __atomic_exchange_n(entry, make_leaf(spa, shift, access, cache), __ATOMIC_ACQ_REL);
  return (replaced & slat_format.present) != 0 ? mapping_of(replaced, shift) : Mapping{};
}

Result<Mapping> GpaSpace::unmap(Gpa gpa) {
  base::Guard guard(lock_);
  unsigned shift = 0;
  if (!find_leaf(gpa, shift)) return fail(Error::unmapped);
  HV_TRY_ASSIGN(uint64_t* const entry, entry_at(gpa, kPageShift));
  return mapping_of(__atomic_exchange_n(entry, 0, __ATOMIC_ACQ_REL), kPageShift);
}

Result<Mapping> GpaSpace::unmap_leaf(Gpa gpa) {
  base::Guard guard(lock_);
  unsigned shift = 0;
  uint64_t* const entry = find_leaf(gpa, shift);
  if (!entry || !gpa.is_aligned(uint64_t{1} << shift)) return fail(Error::unmapped);
  return mapping_of(__atomic_exchange_n(entry, 0, __ATOMIC_ACQ_REL), shift);
}

Result<Mapping> GpaSpace::next_leaf(Gpa& gpa, Gpa end) const {
  for (unsigned budget = 4096; gpa < end; --budget) {
    const Leaf leaf = walk(gpa);
    const uint64_t size = uint64_t{1} << leaf.shift;
    gpa = Gpa(base::align_down(gpa.value(), size));
    if ((leaf.entry & slat_format.present) != 0) return mapping_of(leaf.entry, leaf.shift);
    gpa = gpa + size;
    if (budget == 0) return fail(Error::retry);
  }
  return fail(Error::not_found);
}

Result<Mapping> GpaSpace::access_state(Gpa gpa, Track accessed, Track dirty) {
  const SlatFormat& f = slat_format;
  uint64_t clear = 0;
  uint64_t set = 0;
  (accessed == Track::clear ? clear : set) |= accessed == Track::keep ? 0 : f.accessed;
  (dirty == Track::clear ? clear : set) |= dirty == Track::keep ? 0 : f.dirty;
  base::Guard guard(lock_);
  unsigned shift = 0;
  uint64_t* entry = find_leaf(gpa, shift);
  if (!entry) return fail(Error::unmapped);
  if ((clear | set) != 0 && shift != kPageShift) {
    HV_TRY_ASSIGN(entry, entry_at(gpa, kPageShift));
    shift = kPageShift;
  }
  uint64_t old = load(entry);
  while ((clear | set) != 0 &&
         !__atomic_compare_exchange_n(entry, &old, (old & ~clear) | set, false, __ATOMIC_ACQ_REL,
                                      __ATOMIC_ACQUIRE)) {
  }
  return mapping_of(old, shift);
}

Result<> GpaSpace::destroy() {
  if (root_ == Spa()) return {};
  unsigned budget = 256;
  HV_TRY(free_tables(root_, kTopShift, budget));
  root_ = Spa();
  return {};
}

Result<> GpaSpace::free_tables(Spa table, unsigned shift, unsigned& budget) {
  for (uint64_t i = 0; shift != kPageShift && i < kEntries; ++i) {
    uint64_t* const entry = direct_map<uint64_t>(table) + i;
    const uint64_t value = load(entry);
    if ((value & slat_format.present) == 0 || is_leaf(value, shift)) continue;
    HV_TRY(free_tables(Spa(value & kAddressMask), shift - kBitsPerLevel, budget));
    store(entry, 0);
  }
  if (budget == 0) return fail(Error::retry);
  --budget;
  pool_.free(table);
  return {};
}

}  // namespace hv
