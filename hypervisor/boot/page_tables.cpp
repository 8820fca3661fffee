// SPDX-License-Identifier: MIT
// The hypervisor's own page tables: four levels, the largest page that fits.

#include "base/bits.h"
#include "hypervisor/boot/loader.h"

namespace hv::boot {
namespace {

constexpr uint64_t kPresent = 1, kWrite = 2, kLarge = 0x80, kGlobal = 0x100;
constexpr uint64_t kNoExecute = uint64_t{1} << 63;
constexpr uint64_t kAddress = 0x000ffffffffff000;

bool has_huge_pages() {
  uint32_t eax = 0x80000001, ebx, ecx = 0, edx;
  asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return (edx >> 26) & 1;
}

}  // namespace

uint64_t* PageTables::entry(uint64_t address, unsigned level) {
  uint64_t table = root_;
  for (unsigned at = 3;; --at) {
    auto* slot = reinterpret_cast<uint64_t*>(table) + ((address >> (12 + 9 * at)) & 511);
    if (at == level) return slot;
    if (!(*slot & kPresent)) *slot = region_.take(4096) | kPresent | kWrite;
    table = *slot & kAddress;
  }
}

void PageTables::map(uint64_t address, uint64_t physical, uint64_t bytes, Rights rights) {
  static const bool huge = has_huge_pages();
  const uint64_t flags =
      kPresent | kGlobal | (rights.write ? kWrite : 0) | (rights.execute ? 0 : kNoExecute);
  while (bytes) {
    unsigned level = 0;
    for (unsigned candidate = huge ? 2 : 1; candidate > 0; --candidate) {
      const uint64_t size = uint64_t{4096} << (9 * candidate);
      if (base::is_aligned(address | physical, size) && bytes >= size) {
        level = candidate;
        break;
      }
    }
    const uint64_t size = uint64_t{4096} << (9 * level);
    *entry(address, level) = physical | flags | (level ? kLarge : 0);
    address += size;
    physical += size;
    bytes -= size < bytes ? size : bytes;
  }
}

void PageTables::link_identity(uint64_t table) {
  *entry(0, 3) = *reinterpret_cast<uint64_t*>(table);
}

}  // namespace hv::boot
