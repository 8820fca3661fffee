// SPDX-License-Identifier: MIT
// The io_uring engine: one ring, submitted to and waited on by its owner. Deferred, the kernel does
// completion work only inside turn(); the control arm leaves it to interrupt the owner. Submissions
// are batched until turn(), or submit().
#include <liburing.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/descriptor.h"
#include "runtime/engine.h"

namespace runtime {
namespace {

// What a completion is for: the low bits of its user_data, beside the operation's address.
enum Tag : uint64_t { kOperation = 0, kWake = 1, kNothing = 2, kReadiness = 3, kTags = 3 };

uint64_t tagged(const Operation& operation, Tag tag) {
  return reinterpret_cast<uint64_t>(&operation) | tag;
}

constexpr unsigned kCompletionsPerEntry = 8;
constexpr Nanoseconds kRetryPause = std::chrono::milliseconds(1);

bool transient(int result) {
  return result == -EAGAIN || result == -EBUSY || result == -ENOMEM || result == -EINTR ||
         result == -ETIME;
}

short readiness_of(Opcode code) {
  switch (code) {
    case Opcode::kRead:
    case Opcode::kReadVector:
    case Opcode::kReadFixed:
    case Opcode::kReceive:
    case Opcode::kReceiveMessage:
    case Opcode::kAccept:
      return POLLIN;
    case Opcode::kWrite:
    case Opcode::kWriteVector:
    case Opcode::kWriteFixed:
    case Opcode::kSend:
    case Opcode::kSendMessage:
      return POLLOUT;
    default:
      return 0;
  }
}

}  // namespace

class UringEngine final : public Engine {
 public:
  UringEngine(const EngineOptions& options, SeatCounters& counters)
      : Engine(*options.kernel, counters) {}

  ~UringEngine() override {
    if (mapped_) kernel_.ring_unmap(ring_);
    if (wake_fd_ >= 0) kernel_.close(wake_fd_);
  }

  Result<> open(const EngineOptions& options) {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
    if (options.delivery == Delivery::kDeferred)
      parameters.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    parameters.cq_entries = options.entries * kCompletionsPerEntry;
    const int fd = kernel_.ring_setup(options.entries, parameters);
    if (fd < 0) return failure(-fd);
    if (const int result = kernel_.ring_map(fd, parameters, ring_); result < 0)
      return failure(-result);
    mapped_ = true;
    // An old kernel may lack what the engine is built on without refusing the flags.
    constexpr unsigned kNeeded =
        IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE;
    if ((parameters.features & kNeeded) != kNeeded) return failure(ENOSYS);
    for (unsigned i = 0; i < ring_.sq.ring_entries; ++i) ring_.sq.array[i] = i;
    wake_fd_ = kernel_.event_create();
    if (wake_fd_ < 0) return failure(-wake_fd_);
    if (!options.fixed_buffers.empty())
      fixed_buffers_ =
          kernel_.ring_register(fd, IORING_REGISTER_BUFFERS, options.fixed_buffers.data(),
                                static_cast<unsigned>(options.fixed_buffers.size())) == 0;
    return {};
  }

  void start(Operation& operation) override {
    operation.engine_flags_ = Operation::kInFlight;
    in_flight_.push_back(&operation);
    submit(operation);
  }

  void cancel(Operation& operation) override {
    counters_.cancels.add();
    if (operation.engine_flags_ & Operation::kBacklog) {
      backlog_.remove(&operation);
      complete(operation, -ECANCELED);
    } else {
      operation.engine_flags_ |= Operation::kCancelAgain;
      cancels_pending_ = true;
    }
  }

  void submit() override {
    if (unsubmitted() > 0) submit_now();
  }

  void turn(const Nanoseconds* timeout) override {
    send_backlog();
    send_cancels();
    if (!wake_armed_) arm_wake();
    const bool idle = ready_.empty() && !outside_waits() && io_uring_cq_ready(&ring_) == 0 &&
                      !(timeout && timeout->count() <= 0);
    // What found no room may be all that would ever end the wait.
    const bool wait = idle && wake_armed_ && !cancels_pending_ && backlog_.empty();
    const unsigned to_submit = unsubmitted();
    if (wait || to_submit > 0 || !in_flight_.empty()) {
      const int result =
          enter(to_submit, wait ? 1 : 0, IORING_ENTER_GETEVENTS, wait ? timeout : nullptr);
      reap();
      if (result < 0) refused(result, idle, timeout);
    }
    take_from_outside();
  }

  void wake() override { kernel_.ring(wake_fd_); }

 private:
  // ---- submission -----------------------------------------------------------------------------

  io_uring_sqe* free_entry() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (entry) return entry;
    submit_now();  // the kernel may also leave it as it is
    return io_uring_get_sqe(&ring_);
  }

  void submit(Operation& operation) {
    io_uring_sqe* entry = backlog_.empty() ? free_entry() : nullptr;
    if (!entry) {
      operation.engine_flags_ |= Operation::kBacklog;
      backlog_.push_back(&operation);
      return;
    }
    prepare(operation, *entry);
    RT_KERNEL_TAKES(&operation);
  }

  void send_backlog() {
    while (Operation* operation = backlog_.front()) {
      io_uring_sqe* entry = free_entry();
      if (!entry) return;
      backlog_.remove(operation);
      operation->engine_flags_ &= static_cast<uint8_t>(~Operation::kBacklog);
      prepare(*operation, *entry);
      RT_KERNEL_TAKES(operation);
    }
  }

  // Cancels come after what they cancel in the submission queue. Rare, so a walk is good enough.
  void send_cancels() {
    if (!cancels_pending_) return;
    cancels_pending_ = false;
    for (Operation* operation = in_flight_.front(); operation;
         operation = Operations::next(operation)) {
      if (!(operation->engine_flags_ & Operation::kCancelAgain)) continue;
      io_uring_sqe* entry = free_entry();
      if (!entry) {
        cancels_pending_ = true;
        return;
      }
      operation->engine_flags_ &= static_cast<uint8_t>(~Operation::kCancelAgain);
      operation->engine_flags_ |= Operation::kCancelSent;
      const Tag tag = operation->engine_flags_ & Operation::kPolling ? kReadiness : kOperation;
      io_uring_prep_cancel64(entry, tagged(*operation, tag), 0);
      io_uring_sqe_set_data64(entry, tagged(*operation, kNothing));
    }
  }

  void arm_wake() {
    io_uring_sqe* entry = free_entry();
    if (!entry) return;
    io_uring_prep_poll_multishot(entry, wake_fd_, POLLIN);
    io_uring_sqe_set_data64(entry, kWake);
    wake_armed_ = true;
  }

  void prepare(Operation& operation, io_uring_sqe& entry) {
    const Request& request = operation.request_;
    const int fd = operation.fd_;
    void* const address = request.address;
    const unsigned length = request.length;
    const uint64_t offset = request.offset;
    if (operation.engine_flags_ & Operation::kPolling) {
      io_uring_prep_poll_add(&entry, fd, static_cast<unsigned>(readiness_of(request.code)));
      io_uring_sqe_set_data64(&entry, tagged(operation, kReadiness));
      return;
    }
    switch (request.code) {
      case Opcode::kReadFixed:
        if (fixed_buffers_) {
          io_uring_prep_read_fixed(&entry, fd, address, length, offset, request.buffer_index);
          break;
        }
        [[fallthrough]];
      case Opcode::kRead:
        io_uring_prep_read(&entry, fd, address, length, offset);
        break;
      case Opcode::kWriteFixed:
        if (fixed_buffers_) {
          io_uring_prep_write_fixed(&entry, fd, address, length, offset, request.buffer_index);
          break;
        }
        [[fallthrough]];
      case Opcode::kWrite:
        io_uring_prep_write(&entry, fd, address, length, offset);
        break;
      case Opcode::kReadVector:
        io_uring_prep_readv(&entry, fd, static_cast<const iovec*>(address), length, offset);
        break;
      case Opcode::kWriteVector:
        io_uring_prep_writev(&entry, fd, static_cast<const iovec*>(address), length, offset);
        break;
      case Opcode::kSync:
        io_uring_prep_fsync(&entry, fd, 0);
        break;
      case Opcode::kDataSync:
        io_uring_prep_fsync(&entry, fd, IORING_FSYNC_DATASYNC);
        break;
      case Opcode::kAccept:
        io_uring_prep_accept(&entry, fd, static_cast<sockaddr*>(address), request.address_length,
                             static_cast<int>(request.flags));
        break;
      case Opcode::kConnect:
        io_uring_prep_connect(&entry, fd, static_cast<const sockaddr*>(address), length);
        break;
      case Opcode::kSend:
        io_uring_prep_send(&entry, fd, address, length, static_cast<int>(request.flags));
        break;
      case Opcode::kReceive:
        io_uring_prep_recv(&entry, fd, address, length, static_cast<int>(request.flags));
        entry.ioprio |= receive_hint(operation);
        break;
      case Opcode::kSendMessage:
        io_uring_prep_sendmsg(&entry, fd, static_cast<const msghdr*>(address), request.flags);
        break;
      case Opcode::kReceiveMessage:
        io_uring_prep_recvmsg(&entry, fd, static_cast<msghdr*>(address), request.flags);
        entry.ioprio |= receive_hint(operation);
        break;
      case Opcode::kPoll:
        io_uring_prep_poll_add(&entry, fd, request.flags);
        break;
      case Opcode::kNone:
      case Opcode::kPosted:
      case Opcode::kTimer:
      case Opcode::kWallTimer:
      case Opcode::kSignal:
        io_uring_prep_nop(&entry);
        break;
    }
    io_uring_sqe_set_data64(&entry, tagged(operation, kOperation));
  }

  // A socket whose last receive left nothing behind is not tried before it says that it has more.
  static uint16_t receive_hint(const Operation& operation) {
    const bool try_first =
        operation.descriptor_->more_waits() || (operation.request_.flags & MSG_DONTWAIT) != 0;
    return try_first ? 0 : IORING_RECVSEND_POLL_FIRST;
  }

  unsigned unsubmitted() const {
    return ring_.sq.sqe_tail - io_uring_smp_load_acquire(ring_.sq.khead);
  }

  // Without GETEVENTS a deferring ring does no completion work: a submission that has to make room
  // interrupts nothing.
  void submit_now() { enter(unsubmitted(), 0, 0, nullptr); }

  int enter(unsigned to_submit, unsigned min_complete, unsigned flags, const Nanoseconds* timeout) {
    io_uring_smp_store_release(ring_.sq.ktail, ring_.sq.sqe_tail);
    counters_.turns.add();
    note_interruptions();
    const int result = kernel_.ring_enter(ring_, to_submit, min_complete, flags, timeout);
    seen_tail_ = io_uring_smp_load_acquire(ring_.cq.ktail);
    return result;
  }

  // ---- completion -----------------------------------------------------------------------------

  // Completions that appeared while the owner was not in the kernel on the ring's behalf.
  void note_interruptions() {
    const unsigned tail = io_uring_smp_load_acquire(ring_.cq.ktail);
    if (tail != seen_tail_) counters_.interruptions.add(tail - seen_tail_);
  }

  void reap() {
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* completion;
    io_uring_for_each_cqe(&ring_, head, completion) {
      ++count;
      completed(*completion);
    }
    io_uring_cq_advance(&ring_, count);
  }

  void completed(const io_uring_cqe& completion) {
    const uint64_t tag = completion.user_data & kTags;
    if (tag == kNothing) return;
    if (tag == kWake) {
      if (!(completion.flags & IORING_CQE_F_MORE)) wake_armed_ = false;
      return;
    }
    auto& operation = *reinterpret_cast<Operation*>(completion.user_data & ~uint64_t{kTags});
    RT_KERNEL_GIVES(&operation);
    const int result = completion.res;
    const Opcode code = operation.request_.code;
    if ((code == Opcode::kReceive || code == Opcode::kReceiveMessage) && tag == kOperation)
      operation.descriptor_->set_more_waits(completion.flags & IORING_CQE_F_SOCK_NONEMPTY);
    const bool ready = tag == kReadiness && result >= 0;
    // The descriptor is non-blocking, and the kernel takes that as a wish to be told.
    const bool not_ready = tag == kOperation && result == -EAGAIN && readiness_of(code);
    if (!ready && !not_ready) {
      complete(operation, result);
    } else if (operation.engine_flags_ & (Operation::kCancelAgain | Operation::kCancelSent)) {
      complete(operation, -ECANCELED);  // the cancel looks, or looked, for the other half
    } else {
      operation.engine_flags_ ^= Operation::kPolling;
      submit_later(operation);
    }
  }

  // From within reap(): a submission could enter the kernel, and reap's view would be stale.
  void submit_later(Operation& operation) {
    operation.engine_flags_ |= Operation::kBacklog;
    backlog_.push_back(&operation);
  }

  // ---- when the kernel refuses ----------------------------------------------------------------

  void refused(int result, bool idle, const Nanoseconds* timeout) {
    if (result == -ETIME || result == -EINTR) return;
    counters_.retries.add();
    if (!transient(result)) {
      fail_unsubmitted(result);
      return;
    }
    // Out of memory or room: completions free some. Wait for one without submitting, but not long.
    if (!idle || !ready_.empty()) return;
    const Nanoseconds pause = timeout ? std::min(*timeout, kRetryPause) : kRetryPause;
    enter(0, 1, IORING_ENTER_GETEVENTS, &pause);
    reap();
  }

  // A submission that the kernel will never take: the error goes to each operation that was in it.
  void fail_unsubmitted(int result) {
    const unsigned head = io_uring_smp_load_acquire(ring_.sq.khead);
    for (unsigned i = head; i != ring_.sq.sqe_tail; ++i) {
      const io_uring_sqe& entry = ring_.sq.sqes[i & ring_.sq.ring_mask];
      const uint64_t tag = entry.user_data & kTags;
      if (tag == kWake) {
        wake_armed_ = false;
        continue;
      }
      auto& operation = *reinterpret_cast<Operation*>(entry.user_data & ~uint64_t{kTags});
      if (tag != kNothing) {
        complete(operation, result);
      } else if (is_in_flight(operation) && (operation.engine_flags_ & Operation::kCancelSent)) {
        operation.engine_flags_ |= Operation::kCancelAgain;
        cancels_pending_ = true;
      }
    }
    ring_.sq.sqe_tail = head;
    io_uring_smp_store_release(ring_.sq.ktail, head);
  }

  // By address: a cancel may have outlived its operation.
  bool is_in_flight(const Operation& wanted) const {
    const Operation* operation = in_flight_.front();
    while (operation && operation != &wanted) operation = Operations::next(operation);
    return operation != nullptr;
  }

  io_uring ring_{};
  bool mapped_ = false;
  bool fixed_buffers_ = false;
  bool wake_armed_ = false;
  bool cancels_pending_ = false;
  int wake_fd_ = -1;
  unsigned seen_tail_ = 0;
  base::List<Operation, &Operation::engine_link_> backlog_;
};

Result<std::unique_ptr<Engine>> create_uring_engine(const EngineOptions& options,
                                                    SeatCounters& counters) {
  auto engine = std::make_unique<UringEngine>(options, counters);
  RT_TRY(engine->open(options));
  return engine;
}

}  // namespace runtime
