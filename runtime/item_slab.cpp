// SPDX-License-Identifier: MIT
#include "runtime/item_slab.h"

#include <algorithm>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace runtime::slab {
namespace {

// Free blocks of one size, the last given first.
class Depot {
 public:
  explicit Depot(size_t block_size) : block_size_(block_size) {}

  void take(std::span<void*> blocks) {
    const std::lock_guard lock(mutex_);
    while (free_.size() < blocks.size()) make_blocks();
    const auto first = free_.end() - static_cast<ptrdiff_t>(blocks.size());
    std::copy(first, free_.end(), blocks.begin());
    free_.erase(first, free_.end());
  }

  // There is room for every block that was made.
  void give(std::span<void* const> blocks) noexcept {
    const std::lock_guard lock(mutex_);
    free_.insert(free_.end(), blocks.begin(), blocks.end());
  }

 private:
  static constexpr size_t kChunkBlocks = 1024;

  void make_blocks() {
    if (free_.capacity() < made_ + kChunkBlocks)
      free_.reserve(std::max(2 * free_.capacity(), made_ + kChunkBlocks));
    auto* const chunk = static_cast<std::byte*>(::operator new(kChunkBlocks * block_size_));
    made_ += kChunkBlocks;
    // Taken in the order of addresses, which suits the processor's prefetching.
    for (size_t i = kChunkBlocks; i-- > 0;) free_.push_back(chunk + i * block_size_);
  }

  const size_t block_size_;
  std::mutex mutex_;
  std::vector<void*> free_;
  size_t made_ = 0;
};

// Never destroyed: threads may outlive static objects.
Depot& depot(size_t number) {
  static auto* const depots = new std::array{Depot(kBlockSizes[0]), Depot(kBlockSizes[1])};
  return (*depots)[number];
}

// Gives back what an ending thread has. What such a thread frees even later stays unused.
struct Returner {
  ~Returner() {
    for (size_t number = 0; number < caches.size(); ++number) {
      Cache& cache = caches[number];
      depot(number).give(std::span(cache.blocks).first(std::exchange(cache.count, 0)));
    }
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
  depot(number).take(std::span(cache.blocks).first(Cache::kMove));
  cache.count = Cache::kMove;
}

// Keeps the newer half, which is warm.
void spill(size_t number) noexcept {
  return_at_exit();
  Cache& cache = caches[number];
  depot(number).give(std::span(cache.blocks).first(Cache::kMove));
  std::copy(cache.blocks.begin() + Cache::kMove, cache.blocks.end(), cache.blocks.begin());
  cache.count -= Cache::kMove;
}

}  // namespace runtime::slab
