// SPDX-License-Identifier: MIT
// ForkDeque: a worker's forks. Its owner pushes and pops at one end, without a lock; others steal
// the oldest, which tend to be the largest, from the other end. Of fixed size: whoever finds it
// full runs the fork at once, so that forking cannot fail. Every operation that decides between
// owner and thief is sequentially consistent, in one total order.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace runtime {

class ForkBase;

class ForkDeque {
 public:
  /// The owner. False: full. A full barrier lies between the push and what follows.
  bool push(ForkBase& fork) {
    const int64_t bottom = bottom_.load(std::memory_order_relaxed);
    if (bottom - top_.load(std::memory_order_acquire) >= kCapacity) return false;
    slot(bottom).store(&fork, std::memory_order_relaxed);
    bottom_.exchange(bottom + 1, std::memory_order_seq_cst);
    return true;
  }

  /// The owner: the newest, or nullptr.
  ForkBase* pop() {
    const int64_t bottom = bottom_.load(std::memory_order_relaxed) - 1;
    bottom_.exchange(bottom, std::memory_order_seq_cst);
    int64_t top = top_.load(std::memory_order_seq_cst);
    if (top > bottom) {
      bottom_.store(bottom + 1, std::memory_order_release);
      return nullptr;
    }
    ForkBase* fork = slot(bottom).load(std::memory_order_relaxed);
    if (top == bottom) {  // the last one: a thief may be after it
      if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst)) fork = nullptr;
      bottom_.store(bottom + 1, std::memory_order_release);
    }
    return fork;
  }

  /// Any thread: the oldest, or nullptr for none or for a race that was lost.
  ForkBase* steal() {
    int64_t top = top_.load(std::memory_order_seq_cst);
    if (top >= bottom_.load(std::memory_order_seq_cst)) return nullptr;
    ForkBase* const fork = slot(top).load(std::memory_order_relaxed);
    if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst)) return nullptr;
    return fork;
  }

  /// Any thread.
  bool empty() const {
    return top_.load(std::memory_order_seq_cst) >= bottom_.load(std::memory_order_seq_cst);
  }

 private:
  static constexpr int64_t kCapacity = 512;
  static_assert((kCapacity & (kCapacity - 1)) == 0);

  std::atomic<ForkBase*>& slot(int64_t index) {
    return slots_[static_cast<uint64_t>(index) & (kCapacity - 1)];
  }

  alignas(64) std::atomic<int64_t> bottom_ = 0;
  alignas(64) std::atomic<int64_t> top_ = 0;
  alignas(64) std::array<std::atomic<ForkBase*>, kCapacity> slots_{};
};

}  // namespace runtime
