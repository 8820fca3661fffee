// SPDX-License-Identifier: MIT
// Blocks for closures, which one thread allocates and another frees: the pattern that general
// allocators are slowest at. A thread keeps some blocks of each of two sizes, as pointers, so that
// it can have the processor fetch a block, which another one wrote last, before its turn comes. A
// depot that all threads share takes and gives them by the dozen. Memory is kept for reuse until
// the process ends. Under AddressSanitizer every block is an allocation of its own, so that it sees
// who uses a freed one.
#pragma once

#include <array>
#include <cstddef>
#include <new>

namespace runtime {

inline constexpr std::array<size_t, 2> kBlockSizes = {32, 64};
inline constexpr size_t kBlockAlignment = 16;

#if defined(__SANITIZE_ADDRESS__)
#define RT_PLAIN_BLOCKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RT_PLAIN_BLOCKS 1
#endif
#endif

namespace slab {

struct Cache {
  static constexpr unsigned kCapacity = 128;
  static constexpr unsigned kMove = kCapacity / 2;  // at once to or from the depot
  static constexpr unsigned kAhead = 8;  // blocks that are on their way to this processor

  unsigned count = 0;
  std::array<void*, kCapacity> blocks{};
};
inline constinit thread_local std::array<Cache, kBlockSizes.size()> caches{};

// Blocks for an empty cache; room in a full one.
void refill(size_t number);
void spill(size_t number) noexcept;

inline void fetch_for_writing(const void* block) {
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(block)));
}

constexpr size_t number_of(size_t size) {
  size_t number = 0;
  while (kBlockSizes[number] < size) ++number;
  return number;
}

}  // namespace slab

template <class T>
constexpr bool fits_block() {
  return sizeof(T) <= kBlockSizes.back() && alignof(T) <= kBlockAlignment;
}

/// Memory for a T that fits.
template <class T>
void* allocate_block() {
#if defined(RT_PLAIN_BLOCKS)
  return ::operator new(sizeof(T));
#else
  constexpr size_t kNumber = slab::number_of(sizeof(T));
  slab::Cache& cache = slab::caches[kNumber];
  if (cache.count == 0) [[unlikely]]
    slab::refill(kNumber);
  void* const block = cache.blocks[--cache.count];
  // What lies below the bottom is a block that was here before, or nothing: harmless.
  slab::fetch_for_writing(cache.blocks[(cache.count - slab::Cache::kAhead) % cache.kCapacity]);
  return block;
#endif
}

template <class T>
void free_block(void* memory) noexcept {
#if defined(RT_PLAIN_BLOCKS)
  ::operator delete(memory);
#else
  constexpr size_t kNumber = slab::number_of(sizeof(T));
  slab::Cache& cache = slab::caches[kNumber];
  if (cache.count == cache.kCapacity) [[unlikely]]
    slab::spill(kNumber);
  cache.blocks[cache.count++] = memory;
#endif
}

}  // namespace runtime
