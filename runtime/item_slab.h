// SPDX-License-Identifier: MIT
// Blocks for closures, which one thread allocates and another frees: the pattern that general
// allocators are slowest at. Of each of two sizes a thread keeps up to two magazines; full ones
// move through a depot that all threads share. Memory is kept for reuse until the process ends.
// Under AddressSanitizer every block is an allocation of its own, so that it sees who uses a freed
// one.
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

struct Block {
  Block* next;
  Block* next_chain;  // of the first block of a full magazine in the depot
};

struct Magazine {
  static constexpr unsigned kFull = 64;
  Block* first = nullptr;
  unsigned count = 0;
};

struct Cache {
  Magazine current;
  Magazine spare;  // full or empty
};
inline constinit thread_local std::array<Cache, kBlockSizes.size()> caches{};

// Blocks for an empty cache; room in a full one.
void refill(size_t number);
void spill(size_t number) noexcept;

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
  slab::Magazine& magazine = slab::caches[kNumber].current;
  if (magazine.count == 0) [[unlikely]]
    slab::refill(kNumber);
  slab::Block* const block = magazine.first;
  magazine.first = block->next;
  --magazine.count;
  return block;
#endif
}

template <class T>
void free_block(void* memory) noexcept {
#if defined(RT_PLAIN_BLOCKS)
  ::operator delete(memory);
#else
  constexpr size_t kNumber = slab::number_of(sizeof(T));
  slab::Magazine& magazine = slab::caches[kNumber].current;
  if (magazine.count == slab::Magazine::kFull) [[unlikely]]
    slab::spill(kNumber);
  magazine.first = new (memory) slab::Block{magazine.first, nullptr};
  ++magazine.count;
#endif
}

}  // namespace runtime
