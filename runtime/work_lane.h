// SPDX-License-Identifier: MIT
// WorkLane: a queue of items that any thread appends to without waiting (one exchange), first in,
// first out. Consumers take turns by a lock; producers never touch it. An append that has begun
// hides what follows it until it ends, so a lane may be not empty and yet have nothing to take.
#pragma once

#include <mutex>
#include <span>

#include "runtime/work_item.h"

namespace runtime {

class WorkLane {
 public:
  WorkLane() : last_(&sentinel_), first_(&sentinel_) {}
  WorkLane(const WorkLane&) = delete;
  WorkLane& operator=(const WorkLane&) = delete;

  /// A linked chain of items. A full barrier lies between the append and what follows.
  void push(WorkItem& first, WorkItem& last) {
    last.next_.store(nullptr, std::memory_order_relaxed);
    WorkItem* const before = last_.exchange(&last, std::memory_order_seq_cst);
    before->next_.store(&first, std::memory_order_release);
  }

  /// Nothing is in it, and no append has begun; what a consumer is about to take may be. In this
  /// order: first_ may still be an item while last_ is the sentinel.
  bool empty() const {
    return last_.load(std::memory_order_seq_cst) == &sentinel_ &&
           first_.load(std::memory_order_seq_cst) == &sentinel_;
  }

  // The consumers' side: only with the lock held.
  bool try_lock() { return mutex_.try_lock(); }
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

  /// As many as there is room for; fewer: that was all, or an append has begun.
  unsigned take(std::span<WorkItem*> items) {
    unsigned count = 0;
    WorkItem* first = first_.load(std::memory_order_relaxed);
    while (count < items.size()) {
      WorkItem* next = first->next_.load(std::memory_order_acquire);
      if (first == &sentinel_) {
        if (!next) break;
        first = next;
        continue;
      }
      if (!next) {
        if (last_.load(std::memory_order_acquire) != first) break;
        // The last one can only go once something is behind it; an append may still come between.
        push(sentinel_, sentinel_);
        next = first->next_.load(std::memory_order_acquire);
        if (!next) break;
      }
      items[count++] = first;
      first = next;
    }
    first_.store(first, std::memory_order_release);
    return count;
  }

  /// Items that consumers accounted for: see CleanupGroup.
  uint64_t taken() const { return taken_; }
  void add_taken(uint64_t count) { taken_ += count; }

 private:
  alignas(64) std::atomic<WorkItem*> last_;
  alignas(64) std::mutex mutex_;
  std::atomic<WorkItem*> first_;
  uint64_t taken_ = 0;
  WorkItem sentinel_{nullptr};
};

}  // namespace runtime
