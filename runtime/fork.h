// SPDX-License-Identifier: MIT
// Fork and join: Fork leaves its callable for another worker of the pool to steal, and join() runs
// it here if none did. While it waits for a thief, a worker runs other forks. Nothing is allocated:
// a fork lives where it is declared, and is joined before that place ends.
//
//   Fork right([&] { sort(upper_half); });
//   sort(lower_half);
//   right.join();
//
// On a thread that is no worker, a fork runs at its join; run() brings such a thread's work into a
// pool. A callable must not throw.
#pragma once

#include <atomic>
#include <utility>

#include "runtime/cleanup_group.h"
#include "runtime/futex.h"
#include "runtime/worker.h"

namespace runtime {

class ForkBase {
 public:
  ForkBase(const ForkBase&) = delete;
  ForkBase& operator=(const ForkBase&) = delete;

 protected:
  using Function = void (*)(ForkBase&) noexcept;

  explicit ForkBase(Function function) : function_(function), owner_(Worker::current()) {}
  ~ForkBase() = default;

  enum State : uint32_t { kForked, kAwaited, kDone };

  const Function function_;
  Worker* owner_;  // nullptr: not in a deque
  std::atomic<uint32_t> state_ = kForked;

 private:
  friend class ThreadPool;
  friend class Worker;
};

template <class Body>
class Fork final : private ForkBase {
 public:
  explicit Fork(Body body) : ForkBase(call), body_(std::move(body)) {
    if (owner_ && !owner_->push(*this)) owner_ = nullptr;
  }
  ~Fork() { join(); }

  void join() {
    if (joined_) return;
    joined_ = true;
    if (!owner_) return body_();
    ForkBase* const popped = owner_->pop();
    if (popped == this)
      body_();
    else
      owner_->join(*this, popped);
  }

 private:
  static void call(ForkBase& fork) noexcept { static_cast<Fork&>(fork).body_(); }

  bool joined_ = false;
  Body body_;
};

/// Runs the callable as an item of the group, or at once on a thread that is a worker, and waits
/// for it. False: the group was closed, and it did not run.
template <class Body>
bool run(CleanupGroup& group, Body&& body) {
  if (Worker::current()) {
    body();
    return true;
  }
  struct Call : WorkItem {
    explicit Call(std::remove_reference_t<Body>& callable) : WorkItem(turn), body(callable) {}
    static void turn(WorkItem& item, Turn turn) noexcept {
      auto& self = static_cast<Call&>(item);
      if (turn == Turn::kRun) self.body();
      self.end.store(turn == Turn::kRun ? kRan : kDropped, std::memory_order_release);
      futex_wake(self.end);
    }
    enum End : uint32_t { kWaiting, kRan, kDropped };
    std::remove_reference_t<Body>& body;
    std::atomic<uint32_t> end = kWaiting;
  } call(body);
  group.post(call);
  while (call.end.load(std::memory_order_acquire) == Call::kWaiting)
    futex_wait(call.end, Call::kWaiting);
  return call.end.load(std::memory_order_relaxed) == Call::kRan;
}

}  // namespace runtime
