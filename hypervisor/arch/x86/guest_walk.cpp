// SPDX-License-Identifier: MIT
// One loop serves every paging mode; a Shape says how a mode differs. Each level costs a look-up of
// the table's page and one load, so that fetching an instruction stays cheap. Only bits that every
// vendor reserves fault as reserved; an address beyond physical memory is simply not backed.
#include "hypervisor/arch/x86/guest_walk.h"

#include <type_traits>

#include "hypervisor/arch/x86/registers.h"

namespace hv::x86 {

namespace {

// Entry bits [APM2 5.4].
constexpr uint64_t kPresent = kBit<0>, kWrite = kBit<1>, kUser = kBit<2>, kAccessed = kBit<5>,
                   kDirty = kBit<6>, kLarge = kBit<7>, kNoExecute = kBit<63>;
// PAE's top level has neither rights nor accessed and dirty bits [APM2 5.2.3].
constexpr uint64_t kPaeTopReserved = Field<63, 52>::kMask | Field<8, 5>::kMask | Field<2, 1>::kMask;

constexpr unsigned kPaeTopShift = 30;
constexpr unsigned kHugeShift = 30;

// Page-fault error code [APM2 8.4.2].
namespace code {
constexpr uint32_t kPresent = 1 << 0, kWrite = 1 << 1, kUser = 1 << 2, kReserved = 1 << 3,
                   kFetch = 1 << 4;
}

constexpr Gpa kNoGpa{~uint64_t{0}};

struct Shape {
  Gpa top;             // of the tables
  unsigned top_shift;  // lowest address bit that indexes it
  uint64_t reserved;   // bits that must be zero at every level
  bool large_pages;    // above the last level
  bool pae;            // the top level is PAE's
};

// Bits that must be zero, besides the mode's, in an entry above the last level that has kLarge.
template <class Word>
uint64_t large_reserved(unsigned shift) {
  if constexpr (std::is_same_v<Word, uint32_t>) return kBit<21>;
  if (shift > kHugeShift) return kLarge;
  return ((uint64_t{1} << shift) - 1) & ~Field<kPageShift, 0>::kMask;  // bit 12 is PAT
}

// The final address, of a page of 1 << shift bytes.
template <class Word>
uint64_t leaf_address(uint64_t entry, unsigned shift, uint64_t address) {
  const uint64_t inside = (uint64_t{1} << shift) - 1;
  uint64_t base = Field<51, 12>::kMask & entry & ~inside;
  if constexpr (std::is_same_v<Word, uint32_t>)
    if (shift != kPageShift) base |= Field<39, 32>::set(0, Field<20, 13>::get(entry));
  return base | (address & inside);
}

// `rights`: the conjunction over all levels, with execution as a positive bit at kNoExecute.
bool allowed(const PagingState& paging, WalkAccess access, uint64_t rights) {
  const bool user_page = (rights & kUser) != 0;
  if (access.user && !user_page) return false;
  if (access.write && (rights & kWrite) == 0 && (access.user || (paging.cr0 & cr0::kWp) != 0))
    return false;
  if (access.execute)
    return (rights & kNoExecute) != 0 &&
           (access.user || !user_page || (paging.cr4 & cr4::kSmep) == 0);
  // An implicit supervisor access made at CPL 3 is not lifted by RFLAGS.AC.
  return access.user || !user_page || (paging.cr4 & cr4::kSmap) == 0 ||
         (paging.alignment_check && paging.cpl != 3);
}

WalkResult page_fault(const PagingState& paging, WalkAccess access, uint32_t reason) {
  uint32_t error = reason;
  if (access.write) error |= code::kWrite;
  if (access.user) error |= code::kUser;
  const bool no_execute = (paging.efer & efer::kNxe) != 0 && (paging.cr4 & cr4::kPae) != 0;
  if (access.execute && (no_execute || (paging.cr4 & cr4::kSmep) != 0)) error |= code::kFetch;
  return {.fault = {.error_code = error, .reserved_bit = (reason & code::kReserved) != 0}};
}

template <class Word>
Word* reach(const Partition& partition, Gpa entry, Access access) {
  const Spa spa = partition.space.translate(entry, access);
  if (spa == GpaSpace::kNowhere || !page_db.is_ram(spa)) [[unlikely]]
    return nullptr;
  return direct_map<Word>(spa);
}

enum class Mark { done, changed, unreachable };

// Sets accessed and dirty bits in an entry that was read as `seen`, unless it has changed since.
template <class Word>
Mark mark(const Partition& partition, Gpa at, Word seen, uint64_t bits) {
  Word wanted = seen | static_cast<Word>(bits);
  if (wanted == seen) return Mark::done;
  Word* const entry = reach<Word>(partition, at, Access::write);
  if (!entry) return Mark::unreachable;
  return __atomic_compare_exchange_n(entry, &seen, wanted, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED)
             ? Mark::done
             : Mark::changed;
}

// `tries`: a guest that keeps changing an entry gets its translation without accessed bits.
template <class Word>
WalkResult walk(const Partition& partition, const PagingState& paging, const Shape& shape,
                uint64_t address, WalkAccess access, unsigned tries) {
  constexpr unsigned kIndexBits = std::is_same_v<Word, uint32_t> ? 10 : 9;
  constexpr WalkResult kUnmapped{.fault = {.gpa_unmapped = true}};
  const bool marks = access.set_accessed && tries != 0;
  uint64_t rights = ~uint64_t{0};
  Gpa table = shape.top;
  for (unsigned shift = shape.top_shift;; shift -= kIndexBits) {
    const uint64_t index = (address >> shift) & ((1u << kIndexBits) - 1);
    const Gpa at = table + index * sizeof(Word);
    const Word* const slot = reach<Word>(partition, at, Access::read);
    if (!slot) [[unlikely]]
      return kUnmapped;
    const Word word = __atomic_load_n(slot, __ATOMIC_RELAXED);
    const uint64_t entry = word;
    if ((entry & kPresent) == 0) [[unlikely]]
      return page_fault(paging, access, 0);

    const bool pae_top = shape.pae && shift == kPaeTopShift;
    const bool large = shape.large_pages && (entry & kLarge) != 0 && shift != kPageShift;
    uint64_t reserved = shape.reserved;
    if (pae_top) [[unlikely]]
      reserved |= kPaeTopReserved;
    else if (large)
      reserved |= large_reserved<Word>(shift);
    if ((entry & reserved) != 0) [[unlikely]]
      return page_fault(paging, access, code::kPresent | code::kReserved);

    if (!pae_top) rights &= entry ^ kNoExecute;
    const bool leaf = large || shift == kPageShift;
    if (leaf && access.check_rights && !allowed(paging, access, rights))
      return page_fault(paging, access, code::kPresent);
    if (marks && !pae_top) {
      const Mark marked =
          mark(partition, at, word, leaf && access.write ? kAccessed | kDirty : kAccessed);
      if (marked == Mark::unreachable) return kUnmapped;
      if (marked == Mark::changed)
        return walk<Word>(partition, paging, shape, address, access, tries - 1);
    }
    if (leaf) return {.ok = true, .gpa = Gpa(leaf_address<Word>(entry, shift, address))};
    table = Gpa(entry & Field<51, 12>::kMask);
  }
}

// The walk that fetches instructions: 4 or 5 levels, translation only, each entry shown to `visit`.
// kNoGpa where anything is out of the ordinary; the walk above knows what.
template <class Visit>
__attribute__((flatten)) Gpa translate_long(const Partition& partition, const Shape& shape,
                                            uint64_t address, Visit visit) {
  uint64_t entry = shape.top.value();
  unsigned shift = shape.top_shift;
  for (;; shift -= 9) {
    const uint64_t offset = (address >> shift & Field<8, 0>::kMask) * sizeof(uint64_t);
    const Spa slot =
        partition.space.translate(Gpa((entry & Field<51, 12>::kMask) + offset), Access::read);
    if (slot == GpaSpace::kNowhere || !page_db.is_ram(slot)) [[unlikely]]
      return kNoGpa;
    entry = __atomic_load_n(direct_map<uint64_t>(slot), __ATOMIC_RELAXED);
    visit(direct_map<const uint64_t>(slot), entry);
    if ((entry & (kPresent | shape.reserved)) != kPresent) [[unlikely]]
      return kNoGpa;
    if (shift == kPageShift)
      return Gpa((entry & Field<51, 12>::kMask) | (address & Field<kPageShift - 1, 0>::kMask));
    if ((entry & kLarge) != 0) break;
  }
  if ((entry & large_reserved<uint64_t>(shift)) != 0) [[unlikely]]
    return kNoGpa;
  return Gpa(leaf_address<uint64_t>(entry, shift, address));
}

Shape long_shape(const PagingState& paging) {
  return {.top = Gpa(paging.cr3 & Field<51, 12>::kMask),
          .top_shift = (paging.cr4 & cr4::kLa57) != 0 ? 48u : 39u,
          .reserved = (paging.efer & efer::kNxe) != 0 ? 0 : kNoExecute,
          .large_pages = true,
          .pae = false};
}

bool is_canonical(const Shape& shape, uint64_t address) {
  const auto sign = static_cast<int64_t>(address) >> (shape.top_shift + 8);
  return sign == 0 || sign == -1;
}

}  // namespace

WalkResult walk_guest(const Partition& partition, const PagingState& paging, Gva address,
                      WalkAccess access) {
  constexpr unsigned kTries = 8;
  const uint64_t linear = address.value();
  if ((paging.cr0 & cr0::kPg) == 0) return {.ok = true, .gpa = Gpa(linear)};
  if ((paging.efer & efer::kLma) != 0) [[likely]] {
    const Shape shape = long_shape(paging);
    if (!is_canonical(shape, linear)) [[unlikely]]
      return page_fault(paging, access, 0);
    if (!access.check_rights && !access.set_accessed) [[likely]] {
      const Gpa gpa = translate_long(partition, shape, linear, [](const uint64_t*, uint64_t) {});
      if (gpa != kNoGpa) [[likely]]
        return {.ok = true, .gpa = gpa};
    }
    return walk<uint64_t>(partition, paging, shape, linear, access, kTries);
  }

  const auto linear32 = static_cast<uint32_t>(linear);
  if ((paging.cr4 & cr4::kPae) != 0) {
    const Shape shape{
        .top = Gpa(paging.cr3 & Field<31, 5>::kMask),
        .top_shift = kPaeTopShift,
        .reserved = ((paging.efer & efer::kNxe) != 0 ? 0 : kNoExecute) | Field<62, 52>::kMask,
        .large_pages = true,
        .pae = true};
    return walk<uint64_t>(partition, paging, shape, linear32, access, kTries);
  }
  const Shape shape{.top = Gpa(paging.cr3 & Field<31, 12>::kMask),
                    .top_shift = 22,
                    .reserved = 0,
                    .large_pages = (paging.cr4 & cr4::kPse) != 0,
                    .pae = false};
  return walk<uint32_t>(partition, paging, shape, linear32, access, kTries);
}

const uint8_t* FetchCache::walk(const Partition& partition, const PagingState& paging, Gva address,
                                uint64_t generation) {
  // Stands for the levels below a large page.
  static constexpr uint64_t kNoEntry = 0;
  Line line{.page = address.page(),
            .generation = generation,
            .cr3 = paging.cr3,
            .cr0 = paging.cr0,
            .cr4 = paging.cr4,
            .efer = paging.efer};
  line.slots.fill(&kNoEntry);

  constexpr uint64_t kRecorded = cr0::kPg;
  const bool recorded = (paging.cr0 & kRecorded) != 0 && (paging.efer & efer::kLma) != 0 &&
                        (paging.cr4 & cr4::kLa57) == 0;
  Gpa gpa = kNoGpa;
  if (recorded) [[likely]] {
    const Shape shape = long_shape(paging);
    if (!is_canonical(shape, address.value())) return nullptr;
    unsigned level = 0;
    gpa = translate_long(partition, shape, address.value(),
                         [&](const uint64_t* slot, uint64_t entry) {
                           line.slots[level] = slot;
                           line.entries[level++] = entry;
                         });
  } else {
    const WalkResult result =
        walk_guest(partition, paging, address, {.execute = true, .check_rights = false});
    if (result.ok) gpa = result.gpa;
  }
  if (gpa == kNoGpa) return nullptr;
  const auto* const bytes = reach<const uint8_t>(partition, gpa.page_base(), Access::read);
  if (!bytes) return nullptr;
  if (recorded) {
    line.bytes = bytes;
    lines_[address.page() % lines_.size()] = line;
  }
  return bytes + gpa.offset();
}

}  // namespace hv::x86
