// SPDX-License-Identifier: MIT
// WorkItem: one piece of work for a pool. It belongs to the caller (embed it, derive from it), so
// that posting cannot fail and allocates nothing; it must stay in place until its function has been
// called, once, with kRun or kCancelled, and may then be posted again, also by that function.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include "runtime/item_slab.h"

namespace runtime {

class CleanupGroup;

enum class Turn : uint8_t {
  kRun,
  kCancelled,  // its group was closed before it began
};

/// What a pool may assume of an item.
enum class Length : uint8_t {
  kShort,
  kLong,  // blocks or computes for long: gets a worker of its own beside the concurrency limit
};

class WorkItem {
 public:
  using Function = void (*)(WorkItem&, Turn) noexcept;

  explicit constexpr WorkItem(Function function) : function_(function) {}
  WorkItem(const WorkItem&) = delete;
  WorkItem& operator=(const WorkItem&) = delete;

 private:
  friend class WorkBatch;
  friend class WorkLane;
  friend class CleanupGroup;
  friend class Worker;

  std::atomic<WorkItem*> next_ = nullptr;
  const Function function_;
};

/// Items to be posted with one visit to the queue.
class WorkBatch {
 public:
  void add(WorkItem& item) {
    item.next_.store(nullptr, std::memory_order_relaxed);
    if (last_)
      last_->next_.store(&item, std::memory_order_relaxed);
    else
      first_ = &item;
    last_ = &item;
  }
  bool empty() const { return first_ == nullptr; }

 private:
  friend class CleanupGroup;
  WorkItem* first_ = nullptr;
  WorkItem* last_ = nullptr;
};

/// A callable as an item that frees itself; cancelled, it is destroyed without being called.
template <class Body>
class Closure final : public WorkItem {
 public:
  template <class Callable>
  static WorkItem& make(Callable&& body) {
    if constexpr (fits_block<Closure>())
      return *new (allocate_block<Closure>()) Closure(std::forward<Callable>(body));
    else
      return *new Closure(std::forward<Callable>(body));
  }

 private:
  explicit Closure(Body body) : WorkItem(turn), body_(std::move(body)) {}

  static void turn(WorkItem& item, Turn turn) noexcept {
    auto* const self = static_cast<Closure*>(&item);
    if (turn == Turn::kRun) self->body_();
    if constexpr (fits_block<Closure>()) {
      self->~Closure();
      free_block<Closure>(self);
    } else {
      delete self;
    }
  }

  Body body_;
};

}  // namespace runtime
