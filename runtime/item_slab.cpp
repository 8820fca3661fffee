// SPDX-License-Identifier: MIT
#include "runtime/item_slab.h"

#if !defined(RT_PLAIN_BLOCKS)

#include <mutex>
#include <utility>

namespace runtime::slab {
namespace {

constexpr size_t kChunkBlocks = 1024;

// Full magazines, and fresh memory. Never destroyed: threads may outlive static objects.
class Depot {
 public:
  Magazine take() {
    const std::lock_guard lock(mutex_);
    if (Block* const first = full_) {
      full_ = first->next_chain;
      return {first, Magazine::kFull};
    }
    if (fresh_left_ == 0) {
      fresh_ = static_cast<std::byte*>(::operator new(kChunkBlocks * kBlockSize));
      fresh_left_ = kChunkBlocks;
    }
    Magazine magazine;
    for (; magazine.count < Magazine::kFull; ++magazine.count) {
      // In the order of addresses, which suits the processor's prefetching.
      void* const memory = fresh_ + (--fresh_left_) * kBlockSize;
      magazine.first = new (memory) Block{magazine.first, nullptr};
    }
    return magazine;
  }

  void give(const Magazine& magazine) noexcept {
    const std::lock_guard lock(mutex_);
    magazine.first->next_chain = full_;
    full_ = magazine.first;
  }

  // What a thread that ends had: not a full magazine.
  void give_loose(Magazine loose) noexcept {
    const std::lock_guard lock(mutex_);
    while (Block* const block = loose.first) {
      loose.first = block->next;
      block->next = loose_.first;
      loose_.first = block;
      if (++loose_.count < Magazine::kFull) continue;
      block->next_chain = full_;
      full_ = block;
      loose_ = {};
    }
  }

 private:
  static_assert(kChunkBlocks % Magazine::kFull == 0);

  std::mutex mutex_;
  Block* full_ = nullptr;
  Magazine loose_;
  std::byte* fresh_ = nullptr;
  size_t fresh_left_ = 0;
};

Depot& depot() {
  static Depot* const depot = new Depot;
  return *depot;
}

// Gives back what an ending thread has. What such a thread frees even later stays unused.
struct Returner {
  ~Returner() {
    for (Magazine* magazine : {&cache.current, &cache.spare})
      depot().give_loose(std::exchange(*magazine, {}));
  }
};

void return_at_exit() {
  static thread_local Returner returner;
  static_cast<void>(returner);
}

}  // namespace

void refill(Cache& cache) {
  return_at_exit();
  cache.current = cache.spare.count ? std::exchange(cache.spare, {}) : depot().take();
}

void spill(Cache& cache) noexcept {
  return_at_exit();
  if (cache.spare.count) depot().give(cache.spare);
  cache.spare = std::exchange(cache.current, {});
}

}  // namespace runtime::slab

#endif
