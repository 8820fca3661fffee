// SPDX-License-Identifier: MIT
// Port: where requests complete. Threads take a seat at it and wait; a completion, and every posted
// packet, goes to a thread that waits, the latest to have begun first, and never disturbs one that
// computes. At most `concurrency` threads are out with packets at a time.
// A seated thread's own requests complete when it waits again: one that is about to block or to
// compute for long lets another thread issue them.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "runtime/cancel.h"
#include "runtime/descriptor.h"
#include "runtime/engine.h"
#include "runtime/port_counters.h"

namespace runtime {

class Seat;
class Station;

enum class EngineKind : uint8_t { kAutomatic, kUring, kEpoll };

struct PortOptions {
  std::string name = "port";
  unsigned concurrency = 0;  // 0: as many as there are processors
  EngineKind engine = EngineKind::kAutomatic;
  Delivery delivery = Delivery::kDeferred;
  unsigned entries = 256;                          // of each thread's submission queue
  std::span<const iovec> fixed_buffers;            // pinned once per thread; must outlive the port
  std::function<void(std::string_view)> log = {};  // a line for people, without a newline
  Kernel* kernel = &Kernel::real();
};

class Port {
 public:
  static Result<std::unique_ptr<Port>> create(PortOptions options = {});
  /// All seats must have been left; what was never delivered is forgotten.
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  /// Makes this thread one of the port's, until the seat is destroyed on it.
  Result<Seat> take_seat();

  Result<Descriptor> associate(UniqueFd fd, Key key = {}, DescriptorOptions options = {});
  /// The same for a descriptor that the caller closes, after the last delivery.
  Result<Descriptor> borrow(int fd, Key key = {}, DescriptorOptions options = {});

  /// Queues a packet with this key and result; any thread.
  void post(Operation& operation, Key key, int32_t result = 0);

  Io<void> sleep_until(Instant deadline);
  Io<void> sleep_for(Nanoseconds duration);
  /// By the clock that people set: when that is set, this is weighed anew.
  Io<void> sleep_until(WallTime deadline);
  /// Goes to the end of the port's queue, from whichever thread, and on as one of the port's.
  Io<void> turn();

  /// Any thread. False: it is complete already, or was never started.
  bool cancel(Operation& operation);
  void cancel(Key key);

  /// Ends every Seat::run and wait, now and later.
  void stop();
  bool stopped() const { return stopped_.load(std::memory_order_acquire); }

  PortCounters counters() const;
  EngineKind engine() const { return kind_; }
  const std::string& name() const { return options_.name; }
  Kernel& kernel() const { return *options_.kernel; }
  FixedBuffer fixed_buffer(uint16_t index) const;
  /// Whether the calling thread has a seat here.
  bool seated() const;

  // For block_on.
  /// Lets every thread that waits look around and wait again.
  void nudge() { wake_all(); }
  /// One wait of the calling thread's seat, for handlers; also after stop().
  void serve_once();

 private:
  friend class Awaiter;
  friend class CancelSource;
  friend class Descriptor;
  friend class Seat;
  friend class Signal;
  friend class Station;
  friend bool start_request(Port&, Operation&, const Request&, DescriptorState*, Key, int64_t);

  using Operations = base::List<Operation, &Operation::link_>;

  // What to cancel: everything of one descriptor, source or key that was issued before `epoch`.
  struct Selector {
    const DescriptorState* descriptor = nullptr;
    const CancelSource* source = nullptr;
    bool everything = false;
    Key key{};
    uint64_t epoch = 0;

    bool matches(const Operation& operation) const;
    bool same_choice(const Selector& other) const;
  };

  explicit Port(PortOptions options);
  Result<> choose_engine();
  Result<std::unique_ptr<Engine>> create_engine(SeatCounters& counters);
  Result<Descriptor> associate(int fd, bool owned, Key key, DescriptorOptions options);
  void log(const std::string& line) const;

  bool issue(Operation& operation);
  bool try_inline(Operation& operation);
  void hand_over(Operation& operation);
  void cancel(Selector selector);
  void cancel(const CancelSource& source);
  void cancel(const DescriptorState& descriptor);
  void wake_all();

  // With mutex_ held. The stations that they answer are to be woken after the lock, with rouse().
  void enqueue(Operation& operation, SeatCounters* counters);
  Station* enqueue_and_grant(Operation& operation);
  void dequeue(Operations& taken, size_t packets, size_t handlers, SeatCounters& counters);
  Station* grant_queued();
  Station* notify(Station& station);
  Station* notify_latest();
  bool queued_for(bool takes_packets) const;
  void unpark(Station& station);
  static void rouse(Station* station);

  const PortOptions options_;
  EngineKind kind_ = EngineKind::kUring;
  unsigned limit_ = 1;
  std::unique_ptr<BlockingThreads> blocking_;
  std::atomic<uint64_t> epoch_ = 1;
  std::atomic<bool> stopped_ = false;

  mutable std::mutex mutex_;
  Operations packets_;   // completed, for any thread that takes packets
  Operations handlers_;  // completed, for any thread
  Operations handed_;    // to be issued by any thread
  std::vector<Station*> stations_;
  std::vector<Station*> parked_;  // the back waited last
  unsigned active_ = 0;           // threads that are out with packets
  PortCounters past_;             // what left seats had counted, and what no seat counts
};

/// A thread's place at a port: it belongs to the thread that took it.
class Seat {
 public:
  Seat(Seat&& other) noexcept;
  /// Cancels this thread's requests and waits for them; their packets go to other threads.
  ~Seat();

  /// Waits for packets until the deadline; with no room for any, for a handler to have run. Answers
  /// how many there are: 0 when the deadline has passed, when only handlers ran, or on stop().
  size_t wait(std::span<Packet> packets, Instant deadline = kNever);
  /// Lets the kernel begin with what this thread has issued; without it, that is for its next wait.
  void submit();
  /// Runs handlers, coroutines among them, until stop(). Packets wait for somebody else.
  void run();
  Port& port() const;

 private:
  friend class Port;
  explicit Seat(std::unique_ptr<Station> station);
  std::unique_ptr<Station> station_;
};

/// Threads that run a port's coroutines: each takes a seat and runs until the port is stopped.
class IoThreads {
 public:
  static Result<IoThreads> start(Port& port, unsigned count);
  IoThreads(IoThreads&&) noexcept = default;
  /// Stops the port and waits for the threads.
  ~IoThreads();

 private:
  explicit IoThreads(Port& port) : port_(&port) {}
  Port* port_;
  std::vector<std::jthread> threads_;
};

/// An event between threads and coroutines: set() lets one waiter go, or the next one that comes.
class Signal {
 public:
  explicit Signal(Port& port) : port_(port) {}
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  void set();
  Io<void> wait();

 private:
  friend class Station;
  // True: it was set, and `operation` need not wait.
  bool enroll(Operation& operation);
  bool withdraw(Operation& operation);

  Port& port_;
  std::mutex mutex_;
  bool set_ = false;
  base::List<Operation, &Operation::engine_link_> waiters_;
};

}  // namespace runtime
