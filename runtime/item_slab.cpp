// SPDX-License-Identifier: MIT
#include "runtime/item_slab.h"

#include <mutex>
#include <utility>

namespace runtime::slab {
namespace {

// Full magazines, and fresh memory.
class Depot {
 public:
  explicit Depot(size_t block_size) : block_size_(block_size) {}

  Magazine take() {
    const std::lock_guard lock(mutex_);
    if (Block* const first = full_) {
      full_ = first->next_chain;
      return {first, Magazine::kFull};
    }
    if (fresh_left_ == 0) {
      fresh_ = static_cast<std::byte*>(::operator new(kChunkBlocks * block_size_));
      fresh_left_ = kChunkBlocks;
    }
    Magazine magazine;
    for (; magazine.count < Magazine::kFull; ++magazine.count) {
      // In the order of addresses, which suits the processor's prefetching.
      void* const memory = fresh_ + (--fresh_left_) * block_size_;
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
  static constexpr size_t kChunkBlocks = 1024;
  static_assert(kChunkBlocks % Magazine::kFull == 0);

  const size_t block_size_;
  std::mutex mutex_;
  Block* full_ = nullptr;
  Magazine loose_;
  std::byte* fresh_ = nullptr;
  size_t fresh_left_ = 0;
};

// Never destroyed: threads may outlive static objects.
Depot& depot(size_t number) {
  static auto* const depots = new std::array{Depot(kBlockSizes[0]), Depot(kBlockSizes[1])};
  return (*depots)[number];
}

// Gives back what an ending thread has. What such a thread frees even later stays unused.
struct Returner {
  ~Returner() {
    for (size_t number = 0; number < caches.size(); ++number)
      for (Magazine* magazine : {&caches[number].current, &caches[number].spare})
        depot(number).give_loose(std::exchange(*magazine, {}));
  }
};

void return_at_exit() {
  static thread_local Returner returner;
  static_cast<void>(returner);
}

}  // namespace

void refill(size_t number) {
  return_at_exit();
  Cache& cache = caches[number];
  cache.current = cache.spare.count ? std::exchange(cache.spare, {}) : depot(number).take();
}

void spill(size_t number) noexcept {
  return_at_exit();
  Cache& cache = caches[number];
  if (cache.spare.count) depot(number).give(cache.spare);
  cache.spare = std::exchange(cache.current, {});
}

}  // namespace runtime::slab
