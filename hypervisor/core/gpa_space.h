// SPDX-License-Identifier: MIT
// A guest-physical address space: the second-level page table of one partition, with 4 KB, 2 MB and
// 1 GB pages. Table pages come from the partition's pool. Walks take no lock: entries are written
// atomically, and no table page is unlinked before destroy().
#pragma once

#include <cstdint>

#include "base/lock.h"
#include "hypervisor/core/address.h"
#include "hypervisor/core/error.h"
#include "hypervisor/core/memory.h"

namespace hv {

enum class Access : uint8_t { none = 0, read = 1, write = 2, execute = 4 };
constexpr Access operator|(Access a, Access b) {
  return static_cast<Access>(static_cast<uint8_t>(a) | static_cast<uint8_t>(b));
}
constexpr bool includes(Access have, Access want) {
  return (static_cast<uint8_t>(have) & static_cast<uint8_t>(want)) == static_cast<uint8_t>(want);
}
inline constexpr Access kAllAccess = Access::read | Access::write | Access::execute;

enum class CacheType : uint8_t { write_back, uncached };

// The bits of a second-level entry, supplied by the vendor (hypervisor/arch/x86/svm/slat.cpp).
// A set bit in `inverted_execute` forbids execution (NPT); EPT uses the positive `execute` bit.
struct SlatFormat {
  uint64_t table;  // all bits of an entry that points to a table
  uint64_t present, write, execute, inverted_execute;
  uint64_t large;  // leaf above the last level
  uint64_t accessed, dirty;
  uint64_t uncached, uncached_mask;
  uint64_t leaf;  // bits every leaf carries
};
extern const SlatFormat slat_format;

struct Mapping {
  Spa spa;
  Access access = Access::none;
  uint64_t size = 0;  // of the page that holds it, in bytes
  bool accessed = false;
  bool dirty = false;
};

class GpaSpace {
 public:
  explicit GpaSpace(PagePool& pool) : pool_(pool) {}
  GpaSpace(const GpaSpace&) = delete;
  GpaSpace& operator=(const GpaSpace&) = delete;

  // Allocates the top table; nothing to do when there is one. Error: insufficient_memory.
  Result<> init();
  // Frees every table page; the mapping counts must have been dropped before (see unmap) and no
  // walk may be under way. Bounded: Error::retry asks to be called again.
  Result<> destroy();

  Spa root() const { return root_; }

  // The byte behind `gpa` if its page is mapped with that access, else kNowhere. The exit path's
  // look-up: about ten instructions a level. Asking for write access marks the page as written.
  static constexpr Spa kNowhere{~uint64_t{0}};
  Spa translate(Gpa gpa, Access want) const {
    const Leaf leaf = walk(gpa);
    if (!allows(leaf.entry, want)) [[unlikely]]
      return kNowhere;
    if (includes(want, Access::write) && (leaf.entry & slat_format.dirty) == 0) mark_written(leaf);
    const uint64_t inside = (uint64_t{1} << leaf.shift) - 1;
    return Spa((leaf.entry & kAddressMask & ~inside) | (gpa.value() & inside));
  }

  // The page that holds `gpa`, or Error::unmapped. Lock-free.
  Result<Mapping> lookup(Gpa gpa) const;

  // Maps one page of `size` (4 KB, 2 MB or 1 GB, all aligned; access is not none). Answers the page
  // of that size that it replaced (access none: there was none); the caller flushes TLBs then.
  // Where a table of smaller pages exists, but none of them is mapped, that table is filled.
  // Errors: insufficient_memory; object_in_use where pages of another size are mapped. Nothing has
  // changed then.
  Result<Mapping> map(Gpa gpa, Spa spa, uint64_t size, Access access,
                      CacheType cache = CacheType::write_back);
  // Removes the 4 KB page at `gpa`, splitting a larger one. Answers what it was.
  // Errors: unmapped, insufficient_memory.
  Result<Mapping> unmap(Gpa gpa);
  // Removes a whole leaf that starts at `gpa`, whatever its size, without splitting.
  // Error: unmapped.
  Result<Mapping> unmap_leaf(Gpa gpa);
  // Next leaf that holds or follows `gpa` and starts before `end`: returns its start through `gpa`.
  // Errors: not_found; retry after many empty entries, with `gpa` advanced to where to go on.
  Result<Mapping> next_leaf(Gpa& gpa, Gpa end = Gpa(kMaxPhysicalAddress)) const;

  // Reads accessed/dirty bits of the page as they were, then sets or clears them as asked; to alter
  // those of one 4 KB page, a larger one is split. Errors: unmapped, insufficient_memory.
  enum class Track : uint8_t { keep, clear, set };
  Result<Mapping> access_state(Gpa gpa, Track accessed, Track dirty);

 private:
  static constexpr unsigned kTopShift = 39;
  static constexpr unsigned kBitsPerLevel = 9;
  static constexpr uint64_t kEntries = uint64_t{1} << kBitsPerLevel;
  static constexpr uint64_t kAddressMask = (kMaxPhysicalAddress - 1) & ~(kPageSize - 1);

  struct Leaf {
    uint64_t entry = 0;  // not present: nothing is mapped
    unsigned shift = kPageShift;
    uint64_t* at = nullptr;
  };

  static uint64_t index_at(Gpa gpa, unsigned shift) {
    return (gpa.value() >> shift) & (kEntries - 1);
  }
  static uint64_t* slot(Spa table, Gpa gpa, unsigned shift) {
    return direct_map<uint64_t>(table) + index_at(gpa, shift);
  }
  static uint64_t load(const uint64_t* entry) { return __atomic_load_n(entry, __ATOMIC_ACQUIRE); }
  static void store(uint64_t* entry, uint64_t value) {
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
  }
  static bool is_leaf(uint64_t entry, unsigned shift) {
    return shift == kPageShift || (entry & slat_format.large) != 0;
  }
  static Access access_of(uint64_t entry) {
    const SlatFormat& f = slat_format;
    if ((entry & f.present) == 0) return Access::none;
    const bool execute = ((entry ^ f.inverted_execute) & (f.execute | f.inverted_execute)) != 0;
    return static_cast<Access>(1 | ((entry & f.write) != 0) << 1 | execute << 2);
  }
  static bool allows(uint64_t entry, Access want) {
    const SlatFormat& f = slat_format;
    uint64_t needed = f.present;
    uint64_t looked_at = needed;
    if (includes(want, Access::write)) needed |= f.write;
    if (includes(want, Access::execute)) {
      needed |= f.execute;
      looked_at |= f.inverted_execute;
    }
    return (entry & (looked_at | needed)) == needed;
  }
  static Mapping mapping_of(uint64_t entry, unsigned shift);
  static uint64_t make_leaf(Spa spa, unsigned shift, Access access, CacheType cache);

  Leaf walk(Gpa gpa) const {
    if (gpa.value() >= kMaxPhysicalAddress) [[unlikely]]
      return {};
    // In registers for the whole walk: the loads of entries are ordered before later ones.
    const uint64_t base = direct_map_base;
    const uint64_t present = slat_format.present;
    const uint64_t table_or_leaf = present | slat_format.large;
    uint64_t table = root_.value();
    for (unsigned shift = kTopShift;; shift -= kBitsPerLevel) {
      uint64_t* const at = reinterpret_cast<uint64_t*>(base + table) + index_at(gpa, shift);
      const uint64_t entry = load(at);
      if (shift == kPageShift || (entry & table_or_leaf) != present) return {entry, shift, at};
      table = entry & kAddressMask;
    }
  }

  // Sets accessed and dirty as a processor would; gives up when the entry changed meanwhile.
  static void mark_written(Leaf leaf);
  // The entry at `shift` on the way to `gpa`, tables created and leaves above split as needed.
  Result<uint64_t*> entry_at(Gpa gpa, unsigned shift) HV_REQUIRES(lock_);
  Result<> split(uint64_t* entry, unsigned shift) HV_REQUIRES(lock_);
  // The leaf entry of `gpa` wherever it is; nullptr where nothing is mapped.
  uint64_t* find_leaf(Gpa gpa, unsigned& shift) HV_REQUIRES(lock_);
  Result<> fill(Spa table, unsigned shift, Spa spa, Access access, CacheType cache)
      HV_REQUIRES(lock_);
  Result<> free_tables(Spa table, unsigned shift, unsigned& budget);

  PagePool& pool_;
  base::SpinLock lock_{50};
  Spa root_;
};

}  // namespace hv
