// SPDX-License-Identifier: MIT
// Station: what a port knows of one seated thread. Its engine and timers are the owner's alone; the
// mailbox, and whether it waits, are guarded by the port's lock.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/port.h"

namespace runtime {

class Station {
 public:
  explicit Station(Port& port);
  ~Station();

  Result<> open();
  /// The calling thread's, or nullptr.
  static Station* current();

  enum class OnStop : uint8_t { kReturn, kServe };
  size_t wait(std::span<Packet> packets, Instant deadline, OnStop on_stop = OnStop::kReturn);
  /// Carries out a request of the owner's.
  void start_own(Operation& operation);
  /// One inline completion more before the next wait?
  bool allow_inline() { return inline_left_ > 0 && inline_left_-- > 0; }

  Port& port() const { return port_; }
  SeatCounters& counters() { return counters_; }

 private:
  friend class Port;
  friend class Seat;
  friend class Signal;

  using Operations = Port::Operations;

  // Inline completions between two waits, so that a busy descriptor does not starve the others.
  static constexpr int kInlineShare = 64;

  // What others left for this thread.
  struct Inbox {
    Operations handed;
    std::vector<Operation*> cancels;
    std::vector<Port::Selector> selectors;
  };

  // The steps of wait().
  bool park_unless_work(Inbox& inbox, bool takes_packets);
  void serve(Inbox& inbox);
  void turn(bool poll, Instant deadline);
  void unpark_and_share(Operations& queued, size_t room);
  void end_wait();
  bool deliver_all(Operations& operations, std::span<Packet> packets, size_t& filled);

  void take_handed(Inbox& inbox);
  Station* pass_on_handed(Inbox& inbox);
  void begin(Inbox& inbox);
  void collect(Inbox& inbox);
  void release_slot();
  void spill(Operations& operations);
  void retire(Operation& operation);
  static void retire_to_queue(Operation& operation);
  void cancel_matching(const Port::Selector& selector);
  void leave();

  void start(Operation& operation);
  void cancel(Operation& operation);
  void start_timer(Operation& operation);
  void expire_timers();
  int64_t timer_deadline() const;
  void advance_wall();
  void watch_clock();
  void absorb_clock();
  void take_clock_poll();

  Port& port_;
  Kernel& kernel_;
  SeatCounters counters_;
  std::unique_ptr<Engine> engine_;
  int inline_left_ = kInlineShare;

  base::TimerWheel wheel_;  // of CLOCK_MONOTONIC's nanoseconds
  base::TimerWheel wall_wheel_;
  int64_t wall_seen_ = 0;
  DescriptorState* clock_ = nullptr;  // becomes readable when the wall clock is set
  Operation clock_poll_;

  // Guarded by the port's lock.
  base::List<Operation, &Operation::mail_link_> mail_;  // operations to cancel
  std::vector<Port::Selector> selectors_;
  bool parked_ = false;
  bool active_ = false;  // holds one of the port's concurrency slots
  bool notified_ = false;
  bool takes_packets_ = false;
  std::atomic<unsigned> wakers_ = 0;  // threads about to call engine_->wake()
};

}  // namespace runtime
