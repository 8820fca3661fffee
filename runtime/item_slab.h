// SPDX-License-Identifier: MIT
// Blocks for closures, which one thread allocates and another frees: the pattern that general
// allocators are slowest at. A thread cuts its blocks from a slab, one behind the other, which is
// the order in which processors fetch memory ahead. Freeing counts bytes; the slab whose blocks are
// all free goes to a depot that all threads share, and from there to whoever needs one. A block
// that stays keeps its slab of a page. Memory is kept for reuse until the process ends. Under
// AddressSanitizer every block is an allocation of its own, so that it sees who uses a freed one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace runtime {

inline constexpr size_t kBlockAlignment = 16;
inline constexpr size_t kLargestBlock = 256;

#if defined(__SANITIZE_ADDRESS__)
#define RT_PLAIN_BLOCKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RT_PLAIN_BLOCKS 1
#endif
#endif

namespace slab {

class Slab;
inline constexpr size_t kSlabSize = 4096;  // and alignment

/// A thread's own.
struct Cache {
  // Where the next block is cut, and where the slab ends.
  std::byte* next = nullptr;
  std::byte* end = nullptr;
  // The slab that it last freed blocks of, and how many bytes that the slab does not know yet.
  Slab* freed_of = nullptr;
  uint32_t freed = 0;
};
inline constinit thread_local Cache cache{};

/// The beginning of another slab; the one before is left to those who free its blocks.
std::byte* change_slab();
/// Tells the slab what was freed, and turns to another.
void turn_to(Slab* slab) noexcept;

inline Slab* slab_of(void* block) {
  return reinterpret_cast<Slab*>(reinterpret_cast<uintptr_t>(block) & ~(kSlabSize - 1));
}

template <class T>
constexpr size_t kSizeOf = (sizeof(T) + kBlockAlignment - 1) & ~(kBlockAlignment - 1);

}  // namespace slab

template <class T>
constexpr bool fits_block() {
  return sizeof(T) <= kLargestBlock && alignof(T) <= kBlockAlignment;
}

/// Memory for a T that fits.
template <class T>
void* allocate_block() {
#if defined(RT_PLAIN_BLOCKS)
  return ::operator new(sizeof(T));
#else
  constexpr size_t kSize = slab::kSizeOf<T>;
  slab::Cache& cache = slab::cache;
  std::byte* block = cache.next;
  if (static_cast<size_t>(cache.end - block) < kSize) [[unlikely]]
    block = slab::change_slab();
  cache.next = block + kSize;
  return block;
#endif
}

template <class T>
void free_block(void* memory) noexcept {
#if defined(RT_PLAIN_BLOCKS)
  ::operator delete(memory);
#else
  slab::Cache& cache = slab::cache;
  slab::Slab* const slab = slab::slab_of(memory);
  if (slab != cache.freed_of) [[unlikely]]
    slab::turn_to(slab);
  cache.freed += slab::kSizeOf<T>;
#endif
}

}  // namespace runtime
