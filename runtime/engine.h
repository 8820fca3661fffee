// SPDX-License-Identifier: MIT
// Engine: how one I/O thread has requests carried out. Only the owner calls it, but for wake() and
// complete_from_outside(). Nothing is ever refused: a request that cannot even be started completes
// with the error, exactly once like every other.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>

#include "runtime/kernel.h"
#include "runtime/operation.h"
#include "runtime/port_counters.h"

namespace runtime {

class BlockingThreads;

enum class Delivery : uint8_t {
  kDeferred,  // completion work waits for the owner to wait
  kOnIssuer,  // the control arm: it interrupts whatever the issuer does
};

struct EngineOptions {
  Kernel* kernel;
  unsigned entries;
  Delivery delivery;
  std::span<const iovec> fixed_buffers;
};

class Engine {
 public:
  using Operations = base::List<Operation, &Operation::link_>;

  Engine(Kernel& kernel, SeatCounters& counters) : kernel_(kernel), counters_(counters) {}
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  virtual void start(Operation& operation) = 0;
  /// Asks for the end of an operation in flight, which then completes in its own time.
  virtual void cancel(Operation& operation) = 0;
  /// Gives the kernel what was started, and does no completion work. turn() does that as well.
  virtual void submit() {}
  /// Submits what is pending and does the completion work. Waits until something completes, wake()
  /// was called, or `timeout` (nullptr: never) is over; may return early for no reason.
  virtual void turn(const Nanoseconds* timeout) = 0;
  /// Any thread: ends a turn that waits, or the next one that would.
  virtual void wake() = 0;

  /// Enters an operation that is completed by complete() or complete_from_outside().
  void adopt(Operation& operation) {
    operation.engine_flags_ = Operation::kInFlight;
    in_flight_.push_back(&operation);
  }
  void complete(Operation& operation, int32_t result) {
    in_flight_.remove(&operation);
    operation.engine_flags_ = 0;
    operation.result_ = result;
    ready_.push_back(&operation);
  }
  /// Any thread, once for an operation that was entered with adopt() or given to a helper.
  void complete_from_outside(Operation& operation, int32_t result);

  Operations& in_flight() { return in_flight_; }
  Operations& ready() { return ready_; }

 protected:
  void take_from_outside();
  bool outside_waits() const { return outside_waits_.load(std::memory_order_acquire); }

  Kernel& kernel_;
  SeatCounters& counters_;
  Operations in_flight_;
  Operations ready_;

 private:
  std::mutex outside_mutex_;
  base::List<Operation, &Operation::engine_link_> outside_;
  std::atomic<bool> outside_waits_ = false;
};

/// An error says that the kernel refuses io_uring.
Result<std::unique_ptr<Engine>> create_uring_engine(const EngineOptions& options,
                                                    SeatCounters& counters);
Result<std::unique_ptr<Engine>> create_epoll_engine(const EngineOptions& options,
                                                    SeatCounters& counters,
                                                    BlockingThreads& threads);

}  // namespace runtime
