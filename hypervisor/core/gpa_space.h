// SPDX-License-Identifier: MIT
// A guest-physical address space: the second-level page table of one partition, with 4 KB, 2 MB and
// 1 GB pages. Table pages come from the partition's pool. Walks take no lock: an entry is written
// once, atomically, and a table page that is unlinked is freed only after synchronize_lps().
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

  Result<> init();
  // Frees every table page; the mapping counts must have been dropped before (see unmap).
  void destroy();

  Spa root() const { return root_; }

  // The page that holds `gpa`, or Error::unmapped. Lock-free.
  Result<Mapping> lookup(Gpa gpa) const;

  // Maps one page of `size` (4 KB, 2 MB or 1 GB, all aligned). An existing mapping is replaced.
  // Error: insufficient_memory, with nothing changed. The caller flushes TLBs when it replaced or
  // narrowed something.
  Result<> map(Gpa gpa, Spa spa, uint64_t size, Access access,
               CacheType cache = CacheType::write_back);
  // Removes the 4 KB page at `gpa`, splitting a larger one. Answers what it was.
  Result<Mapping> unmap(Gpa gpa);
  // Removes a whole leaf that starts at `gpa`, whatever its size, without splitting.
  Result<Mapping> unmap_leaf(Gpa gpa);
  // Next leaf at or after `gpa`: returns its start through `gpa`. Error: not_found at the end.
  Result<Mapping> next_leaf(Gpa& gpa) const;

  // Reads accessed/dirty bits of the leaf and sets or clears them as asked.
  enum class Track : uint8_t { keep, clear, set };
  Result<Mapping> access_state(Gpa gpa, Track accessed, Track dirty);

 private:
  uint64_t* entry_for(Gpa gpa, unsigned level, bool create) HV_REQUIRES(lock_);
  Result<> split(uint64_t* entry, unsigned level) HV_REQUIRES(lock_);
  void free_table(Spa table, unsigned level);

  PagePool& pool_;
  base::SpinLock lock_{50};
  Spa root_;
};

}  // namespace hv
