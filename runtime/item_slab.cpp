// SPDX-License-Identifier: MIT
#include "runtime/item_slab.h"

#include <atomic>
#include <mutex>
#include <utility>

namespace runtime::slab {

// The head of a slab. Its count is what was cut from it less what was freed. What was cut is added
// when its thread leaves it, so that the count is zero once only: when all is free for good.
class alignas(kBlockAlignment) Slab {
 public:
  std::byte* first() { return reinterpret_cast<std::byte*>(this + 1); }
  std::byte* end() { return reinterpret_cast<std::byte*>(this) + kSlabSize; }

  /// True: all is free.
  bool leave(uint32_t cut) { return count_.fetch_add(cut, std::memory_order_acq_rel) + cut == 0; }
  bool free(uint32_t bytes) { return count_.fetch_sub(bytes, std::memory_order_acq_rel) == bytes; }

 private:
  friend class Depot;
  std::atomic<uint32_t> count_ = 0;
  Slab* next_ = nullptr;
};

// Slabs that are free, the last given first: it is the one that a processor still has.
class Depot {
 public:
  Slab& take() {
    const std::lock_guard lock(mutex_);
    if (!free_) make_slabs();
    return *std::exchange(free_, free_->next_);
  }

  void give(Slab& slab) noexcept {
    const std::lock_guard lock(mutex_);
    slab.next_ = std::exchange(free_, &slab);
  }

 private:
  static constexpr size_t kMadeAtOnce = 64;

  void make_slabs() {
    auto* const memory = static_cast<std::byte*>(
        ::operator new(kMadeAtOnce * kSlabSize, std::align_val_t(kSlabSize)));
    for (size_t i = kMadeAtOnce; i-- > 0;) {
      auto* const slab = new (memory + i * kSlabSize) Slab;
      slab->next_ = std::exchange(free_, slab);
    }
  }

  std::mutex mutex_;
  Slab* free_ = nullptr;
};

namespace {

// Never destroyed: threads may outlive static objects.
Depot& depot() {
  static auto* const the = new Depot;
  return *the;
}

void leave_slab() noexcept {
  if (!cache.next) return;
  Slab& slab = *slab_of(cache.next - 1);
  const auto cut = static_cast<uint32_t>(std::exchange(cache.next, nullptr) - slab.first());
  cache.end = nullptr;
  if (slab.leave(cut)) depot().give(slab);
}

// At a thread's end. What such a thread allocates or frees even later stays unused.
struct Returner {
  ~Returner() {
    leave_slab();
    turn_to(nullptr);
  }
};

void return_at_exit() {
  static thread_local Returner returner;
  static_cast<void>(returner);
}

}  // namespace

std::byte* change_slab() {
  return_at_exit();
  leave_slab();
  Slab& slab = depot().take();
  cache.end = slab.end();
  return slab.first();
}

void turn_to(Slab* slab) noexcept {
  return_at_exit();
  Slab* const before = std::exchange(cache.freed_of, slab);
  const uint32_t bytes = std::exchange(cache.freed, 0);
  if (before && before->free(bytes)) depot().give(*before);
}

}  // namespace runtime::slab
