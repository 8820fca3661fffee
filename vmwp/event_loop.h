// SPDX-License-Identifier: MIT
// One thread that waits for descriptors (epoll) and runs their callbacks. Small on purpose: the I/O
// runtime replaces it. Only the thread that runs the loop may call it, but for stop().
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "vmwp/failure.h"
#include "vmwp/unique_fd.h"

namespace vmwp {

class EventLoop {
 public:
  using Callback = std::function<void(uint32_t events)>;

  static Result<std::unique_ptr<EventLoop>> create();

  /// Calls back while `events` (EPOLLIN, EPOLLOUT, 0 for errors only) hold; replaces an earlier
  /// registration of the descriptor. False: the descriptor cannot be waited for (a plain file).
  bool watch(int fd, uint32_t events, Callback callback);
  void modify(int fd, uint32_t events);
  void forget(int fd);

  /// Runs until stop(), from a callback or another thread; not at all if it was called before.
  void run();
  void stop();
  /// Forgets earlier calls of stop(): before the next run(), and before those who may stop that
  /// one.
  void rearm() { stopped_ = false; }

 private:
  EventLoop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}

  void drain_wake() const;

  UniqueFd epoll_;
  UniqueFd wake_;
  std::atomic<bool> stopped_ = false;
  std::map<int, std::shared_ptr<Callback>> callbacks_;
};

/// An eventfd as a doorbell: ring() from any thread, drain() by who waits for it.
class Doorbell {
 public:
  Doorbell();
  int fd() const { return fd_.get(); }
  void ring() const;
  void drain() const;

 private:
  UniqueFd fd_;
};

/// A timerfd set to moments of CLOCK_MONOTONIC.
class Timer {
 public:
  Timer();
  int fd() const { return fd_.get(); }
  /// UINT64_MAX disarms. Any thread.
  void arm(uint64_t deadline_ns) const;
  void drain() const;

 private:
  UniqueFd fd_;
};

}  // namespace vmwp
