// SPDX-License-Identifier: MIT
// Blocks of one size for closures, which one thread allocates and another frees: the pattern that
// general allocators are slowest at. A thread keeps up to two magazines of blocks; full ones move
// through a depot that all threads share. Memory is kept for reuse until the process ends. Under
// AddressSanitizer every block is an allocation of its own, so that it sees who uses a freed one.
#pragma once

#include <cstddef>
#include <new>

namespace runtime {

inline constexpr size_t kBlockSize = 64;
inline constexpr size_t kBlockAlignment = 16;

#if defined(__SANITIZE_ADDRESS__)
#define RT_PLAIN_BLOCKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RT_PLAIN_BLOCKS 1
#endif
#endif

#if defined(RT_PLAIN_BLOCKS)

inline void* allocate_block() {
  return ::operator new(kBlockSize);
}
inline void free_block(void* block) noexcept {
  ::operator delete(block);
}

#else

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
inline constinit thread_local Cache cache;

// Blocks for an empty cache; room in a full one.
void refill(Cache& cache);
void spill(Cache& cache) noexcept;

}  // namespace slab

inline void* allocate_block() {
  slab::Cache& cache = slab::cache;
  if (cache.current.count == 0) [[unlikely]]
    slab::refill(cache);
  slab::Block* const block = cache.current.first;
  cache.current.first = block->next;
  --cache.current.count;
  return block;
}

inline void free_block(void* memory) noexcept {
  slab::Cache& cache = slab::cache;
  if (cache.current.count == slab::Magazine::kFull) [[unlikely]]
    slab::spill(cache);
  auto* const block = new (memory) slab::Block{cache.current.first, nullptr};
  cache.current.first = block;
  ++cache.current.count;
}

#endif

}  // namespace runtime
