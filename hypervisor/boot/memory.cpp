// SPDX-License-Identifier: MIT
// The region that the hypervisor keeps for itself.

#include <cstring>

#include "base/bits.h"
#include "hypervisor/boot/loader.h"

namespace hv::boot {
namespace {
constexpr uint64_t k2M = 2 * 1024 * 1024;
constexpr uint64_t k4G = uint64_t{4} << 30;
}  // namespace

uint64_t top_of_ram(const Handover& handover) {
  uint64_t top = 0;
  for (uint32_t i = 0; i < handover.memory_count; ++i) {
    const MemoryRange& range = handover.memory[i];
    if (range.kind == MemoryKind::ram && range.base + range.size > top)
      top = range.base + range.size;
  }
  return top;
}

uint64_t total_ram(const Handover& handover) {
  uint64_t total = 0;
  for (uint32_t i = 0; i < handover.memory_count; ++i)
    if (handover.memory[i].kind == MemoryKind::ram) total += handover.memory[i].size;
  return total;
}

uint64_t take_region(Handover& handover, uint64_t bytes) {
  MemoryRange* best = nullptr;
  uint64_t best_base = 0;
  for (uint32_t i = 0; i < handover.memory_count; ++i) {
    MemoryRange& range = handover.memory[i];
    const uint64_t end = range.base + range.size < k4G ? range.base + range.size : k4G;
    if (range.kind != MemoryKind::ram || end <= range.base + bytes) continue;
    const uint64_t base = base::align_down(end - bytes, k2M);
    if (base > range.base && base > best_base) {
      best = &range;
      best_base = base;
    }
  }
  if (!best) return 0;
  if (handover.memory_count + 2 > kMaxMemoryRanges) stop("the memory map has too many ranges");
  const uint64_t end = best->base + best->size;
  best->size = best_base - best->base;
  handover.memory[handover.memory_count++] = {best_base, bytes, MemoryKind::reserved, 0};
  if (best_base + bytes < end)
    handover.memory[handover.memory_count++] = {best_base + bytes, end - best_base - bytes,
                                                MemoryKind::ram, 0};
  return best_base;
}

uint64_t Region::take(uint64_t bytes, uint64_t alignment) {
  const uint64_t base = base::align_up(next_, alignment);
  bytes = base::align_up(bytes, 4096);
  if (base + bytes > end_) stop("the hypervisor's memory region is too small");
  next_ = base + bytes;
  memset(reinterpret_cast<void*>(base), 0, bytes);
  return base;
}

}  // namespace hv::boot
