// SPDX-License-Identifier: MIT
// The fallback where io_uring is refused: an epoll instance per I/O thread for what can be waited
// for, and BlockingThreads for what cannot. A request is tried at once, and again when its
// descriptor is ready; requests of one direction of a descriptor are served in order.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <unordered_map>

#include "runtime/blocking_threads.h"
#include "runtime/descriptor.h"
#include "runtime/engine.h"
#include "runtime/transfer.h"

namespace runtime {
namespace {

constexpr int kEventsPerTurn = 128;
constexpr uint64_t kWakeToken = ~uint64_t{0};

bool reads(Opcode code) {
  switch (code) {
    case Opcode::kRead:
    case Opcode::kReadVector:
    case Opcode::kReadFixed:
    case Opcode::kReceive:
    case Opcode::kReceiveMessage:
    case Opcode::kAccept:
      return true;
    default:
      return false;
  }
}

bool syncs(Opcode code) {
  return code == Opcode::kSync || code == Opcode::kDataSync;
}

}  // namespace

class EpollEngine final : public Engine {
 public:
  EpollEngine(const EngineOptions& options, SeatCounters& counters, BlockingThreads& threads)
      : Engine(*options.kernel, counters), threads_(threads) {}

  ~EpollEngine() override {
    if (wake_fd_ >= 0) kernel_.close(wake_fd_);
    if (epoll_ >= 0) kernel_.close(epoll_);
  }

  Result<> open() {
    epoll_ = kernel_.epoll_create();
    if (epoll_ < 0) return failure(-epoll_);
    wake_fd_ = kernel_.event_create();
    if (wake_fd_ < 0) return failure(-wake_fd_);
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = kWakeToken}};
    const int result = kernel_.epoll_control(epoll_, EPOLL_CTL_ADD, wake_fd_, &event);
    if (result < 0) return failure(-result);
    return {};
  }

  void start(Operation& operation) override {
    operation.engine_flags_ = Operation::kInFlight;
    in_flight_.push_back(&operation);
    if (blocks(operation)) {
      give_away(operation);
      return;
    }
    Waiting& waiting = waiting_[operation.fd_];
    Queue& queue = queue_of(waiting, operation);
    // Behind others of its direction it must not overtake; a poll has no order.
    if (queue.empty() || operation.request_.code == Opcode::kPoll) {
      const int32_t result = attempt(operation);
      if (result != -EAGAIN) {
        complete(operation, result);
        return;
      }
    }
    queue.push_back(&operation);
    if (const int result = update(operation.fd_, waiting); result < 0) {
      queue.remove(&operation);
      if (result == -EPERM && operation.request_.code != Opcode::kPoll)
        give_away(operation);  // a device that epoll does not know
      else
        complete(operation, result);
    }
  }

  void cancel(Operation& operation) override {
    counters_.cancels.add();
    if (operation.engine_flags_ & Operation::kOutside) {
      if (threads_.withdraw(operation)) complete(operation, -ECANCELED);
      return;
    }
    const auto found = waiting_.find(operation.fd_);
    queue_of(found->second, operation).remove(&operation);
    complete(operation, -ECANCELED);
    update(operation.fd_, found->second);  // at worst there is one event for nobody
    forget_if_idle(found);
  }

  void turn(const Nanoseconds* timeout) override {
    constexpr Nanoseconds kNoTime{0};
    if (!ready_.empty() || outside_waits()) timeout = &kNoTime;
    std::array<epoll_event, kEventsPerTurn> events;
    counters_.turns.add();
    const int count = kernel_.epoll_wait(epoll_, events.data(), kEventsPerTurn, timeout);
    if (count < 0 && count != -EINTR) counters_.retries.add();
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (event.data.u64 != kWakeToken)
        became_ready(static_cast<int>(event.data.u64), event.events);
    }
    take_from_outside();
  }

  void wake() override { kernel_.ring(wake_fd_); }

 private:
  using Queue = base::List<Operation, &Operation::engine_link_>;
  struct Waiting {
    Queue readers;
    Queue writers;
    bool known = false;  // to epoll
  };

  static Queue& queue_of(Waiting& waiting, const Operation& operation) {
    const Request& request = operation.request_;
    const bool in =
        reads(request.code) || (request.code == Opcode::kPoll && !(request.flags & POLLOUT));
    return in ? waiting.readers : waiting.writers;
  }

  static uint32_t wanted(const Operation& operation) {
    const Request& request = operation.request_;
    if (request.code == Opcode::kPoll) return request.flags;
    return reads(request.code) ? EPOLLIN : EPOLLOUT;
  }

  static bool blocks(const Operation& operation) {
    const int type = operation.descriptor_->file_type();
    return operation.request_.code != Opcode::kPoll &&
           (type == S_IFREG || type == S_IFBLK || type == S_IFDIR ||
            syncs(operation.request_.code));
  }

  void give_away(Operation& operation) {
    operation.engine_flags_ |= Operation::kOutside;
    if (const auto result = threads_.submit(operation, *this); !result)
      complete(operation, -result.error().value());
  }

  // One non-blocking try; -EAGAIN: later. Poll's answer is 0 while nothing that it asks for holds.
  int32_t attempt(Operation& operation) {
    for (;;) {
      const int64_t result = attempt_once(operation);
      if (result != -EINTR) return static_cast<int32_t>(result);
    }
  }

  int64_t attempt_once(Operation& operation) {
    const Request& request = operation.request_;
    const int fd = operation.fd_;
    switch (request.code) {
      case Opcode::kAccept:
        return kernel_.accept(fd, static_cast<sockaddr*>(request.address), request.address_length,
                              static_cast<int>(request.flags));
      case Opcode::kConnect:
        return connect(operation);
      case Opcode::kPoll: {
        const int events = kernel_.poll(fd, static_cast<short>(request.flags));
        return events == 0 ? -EAGAIN : events;
      }
      default:
        return transfer_now(operation);
    }
  }

  // Sockets were made non-blocking when they were associated. Of the rest, most know RWF_NOWAIT;
  // for those that do not, one look decides whether to go on, which is sound while nobody else
  // reads.
  int64_t transfer_now(const Operation& operation) {
    const Request& request = operation.request_;
    const int64_t result = transfer(kernel_, operation.fd_, request, RWF_NOWAIT);
    if (result != -EOPNOTSUPP || !is_file_transfer(request.code)) return result;
    const int events = kernel_.poll(operation.fd_, static_cast<short>(wanted(operation)));
    if (events == 0) return -EAGAIN;
    return events < 0 ? events : transfer(kernel_, operation.fd_, request, 0);
  }

  int64_t connect(Operation& operation) {
    if (operation.engine_flags_ & Operation::kConnecting) {
      const int events = kernel_.poll(operation.fd_, POLLOUT);
      if (events == 0) return -EAGAIN;
      return events < 0 ? events : kernel_.socket_error(operation.fd_);
    }
    const int result =
        kernel_.connect(operation.fd_, static_cast<const sockaddr*>(operation.request_.address),
                        operation.request_.length);
    // EAGAIN of a local socket: its listener's queue is full, and nothing will say when it is not.
    if (result != -EINPROGRESS && result != -EINTR)
      return result == -EAGAIN ? -ECONNREFUSED : result;
    operation.engine_flags_ |= Operation::kConnecting;
    return -EAGAIN;
  }

  void became_ready(int fd, uint32_t events) {
    const auto found = waiting_.find(fd);
    if (found == waiting_.end()) return;
    Waiting& waiting = found->second;
    serve(waiting.readers, events);
    serve(waiting.writers, events);
    if (const int result = update(fd, waiting); result < 0) {
      // Nothing will be said of this descriptor again: its waiters learn why.
      while (Operation* operation = waiting.readers.pop_front()) complete(*operation, result);
      while (Operation* operation = waiting.writers.pop_front()) complete(*operation, result);
    }
    forget_if_idle(found);
  }

  void serve(Queue& queue, uint32_t events) {
    bool blocked = false;
    for (Operation* operation = queue.front(); operation;) {
      Operation* const next = Queue::next(operation);
      const bool poll = operation->request_.code == Opcode::kPoll;
      if ((events & (wanted(*operation) | EPOLLERR | EPOLLHUP)) && (poll || !blocked)) {
        const int32_t result = attempt(*operation);
        if (result != -EAGAIN) {
          queue.remove(operation);
          complete(*operation, result);
        }
        blocked |= result == -EAGAIN && !poll;
      }
      operation = next;
    }
  }

  // Tells epoll what its events are to be: all that somebody waits for, once.
  int update(int fd, Waiting& waiting) {
    uint32_t events = 0;
    for (Operation* operation = waiting.readers.front(); operation;
         operation = Queue::next(operation))
      events |= wanted(*operation);
    for (Operation* operation = waiting.writers.front(); operation;
         operation = Queue::next(operation))
      events |= wanted(*operation);
    if (events == 0) return 0;
    epoll_event event{.events = events | EPOLLONESHOT, .data = {.u64 = static_cast<uint64_t>(fd)}};
    // The number may be a new file's, or the file known under another engine's idea of it.
    int result =
        kernel_.epoll_control(epoll_, waiting.known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    if (result == -ENOENT) result = kernel_.epoll_control(epoll_, EPOLL_CTL_ADD, fd, &event);
    if (result == -EEXIST) result = kernel_.epoll_control(epoll_, EPOLL_CTL_MOD, fd, &event);
    if (result >= 0) waiting.known = true;
    return result;
  }

  // Entries of descriptors that nobody waits for would pile up with the numbers ever used; those of
  // busy ones are kept, to save an epoll_ctl that fails.
  void forget_if_idle(std::unordered_map<int, Waiting>::iterator found) {
    constexpr size_t kKept = 4096;
    if (waiting_.size() > kKept && found->second.readers.empty() && found->second.writers.empty())
      waiting_.erase(found);
  }

  BlockingThreads& threads_;
  int epoll_ = -1;
  int wake_fd_ = -1;
  std::unordered_map<int, Waiting> waiting_;
};

Result<std::unique_ptr<Engine>> create_epoll_engine(const EngineOptions& options,
                                                    SeatCounters& counters,
                                                    BlockingThreads& threads) {
  auto engine = std::make_unique<EpollEngine>(options, counters, threads);
  RT_TRY(engine->open());
  return engine;
}

}  // namespace runtime
