// SPDX-License-Identifier: MIT
// Operation: one request, from issue to delivery. It belongs to the caller (embed it, derive from
// it, or let a coroutine's frame hold it), so that issuing allocates nothing; it must stay where it
// is until it has been delivered, and may then be used again.
#pragma once

#include <atomic>
#include <cassert>
#include <cstdint>

#include "base/list.h"
#include "base/timer_wheel.h"
#include "runtime/error.h"
#include "runtime/time.h"

namespace runtime {

class CancelSource;
class DescriptorState;
class Engine;
class Port;
class Station;

class Operation;

/// What packets carry to say whose they are; chosen by whoever associates a descriptor.
enum class Key : uint64_t {};

enum class Opcode : uint8_t {
  kNone,
  kPosted,
  kTimer,
  kWallTimer,
  kSignal,
  kRead,
  kWrite,
  kReadVector,
  kWriteVector,
  kReadFixed,
  kWriteFixed,
  kSync,
  kDataSync,
  kAccept,
  kConnect,
  kSend,
  kReceive,
  kSendMessage,
  kReceiveMessage,
  kPoll,
};

/// What an engine needs to know. `address` and `length` are the buffer, the iovec array, the msghdr
/// or the socket address; `offset` is the file's, or kStream.
struct Request {
  static constexpr uint64_t kStream = ~uint64_t{0};

  Opcode code = Opcode::kNone;
  uint16_t buffer_index = 0;  // kReadFixed, kWriteFixed
  uint32_t flags = 0;         // of send, receive, accept; the events of poll
  uint32_t length = 0;
  void* address = nullptr;
  uint64_t offset = kStream;
  uint32_t* address_length = nullptr;  // kAccept
};

bool start_request(Port& port, Operation& operation, const Request& request,
                   DescriptorState* descriptor, Key key, int64_t when);

class Operation : private base::WheelTimer {
 public:
  /// Called by the thread that took the completion off the port, when the operation is the
  /// caller's again. Without one, the completion is a packet of Seat::wait.
  using Handler = void (*)(Operation&);

  explicit Operation(Handler handler = nullptr) : handler_(handler) {}
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() { assert(!pending()); }

  /// Between issue and delivery.
  bool pending() const { return phase_.load(std::memory_order_acquire) != kIdle; }
  /// Of the last completion: a count, a descriptor, poll's events; or minus an errno.
  int32_t result() const { return result_; }
  Result<size_t> value() const {
    if (result_ < 0) return failure(-result_);
    return static_cast<size_t>(result_);
  }
  Key key() const { return key_; }

 private:
  friend class Engine;
  friend class UringEngine;
  friend class EpollEngine;
  friend class BlockingThreads;
  friend class Station;
  friend class Port;
  friend class Seat;
  friend class Descriptor;
  friend class Signal;
  friend class Awaiter;
  friend bool start_request(Port&, Operation&, const Request&, DescriptorState*, Key, int64_t);

  enum Phase : uint8_t {
    kIdle,
    kHanded,   // waits for a thread of the port to issue it
    kStarted,  // with its station: in its engine, its timers, or completed and not delivered
    kQueued,   // completed, in the port's queue
    kPhases = 0x7f,
    kMailed = 0x80,  // another thread asked for a cancel: linked, or being linked, in a mailbox
  };
  enum EngineFlag : uint8_t {
    kInFlight = 1,  // in the engine's list of what is not completed
    kPolling = 2,   // waits for readiness before it is tried again
    kConnecting = 4,
    kCancelAgain = 8,  // the kernel has not seen the cancel
    kCancelSent = 16,  // the cancel is in the submission queue, or further
    kBacklog = 32,     // waits for room in the submission queue
    kOutside = 64,     // with a thread or an object that completes it from outside
  };

  base::ListLink<Operation> link_;         // in flight, ready, handed over or queued
  base::ListLink<Operation> engine_link_;  // the engine's own
  base::ListLink<Operation> mail_link_;    // a station's mailbox, under the port's lock

  Request request_;
  DescriptorState* descriptor_ = nullptr;
  const CancelSource* source_ = nullptr;
  Station* station_ = nullptr;
  Handler handler_;
  Key key_{};
  uint64_t epoch_ = 0;
  int64_t when_ = 0;  // a timer's deadline; when it was queued, for the queue's delay
  int32_t result_ = 0;
  int fd_ = -1;
  std::atomic<uint8_t> phase_ = kIdle;
  uint8_t engine_flags_ = 0;
};

/// A completion, as Seat::wait hands it out.
struct Packet {
  Key key{};
  Operation* operation = nullptr;
  int32_t result = 0;

  Result<size_t> value() const {
    if (result < 0) return failure(-result);
    return static_cast<size_t>(result);
  }
};

}  // namespace runtime
