// SPDX-License-Identifier: MIT
// Conductor: the one thread beside the workers, shared by the pools of a process. It waits for
// descriptors; it keeps timer shelves whose worker is away or stuck; and while work is queued that
// no worker is free for, it looks every few milliseconds whether a worker is blocked. It sleeps
// when nothing of that is to be done, and never runs an item itself.
//
// Locks are taken in this order: the conductor's, a shelf's, a pool's, a lane's.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/timer_wheel.h"
#include "runtime/cleanup_group.h"
#include "runtime/error.h"
#include "runtime/kernel.h"
#include "runtime/unique_fd.h"

namespace runtime {

class ThreadPool;

/// What the conductor knows of a descriptor wait.
class WaitMember : public GroupMember, private base::WheelTimer {
 public:
  /// Once, for any of `events` (EPOLLIN, EPOLLOUT, ...) or until the deadline.
  Result<> arm(uint32_t events, Instant deadline);

 protected:
  WaitMember(CleanupGroup& group, int fd) : GroupMember(group, Owner::kHandle), fd_(fd) {}

  /// What came: EPOLLERR and EPOLLHUP among them; 0 at the deadline.
  uint32_t events() const { return events_.load(std::memory_order_relaxed); }

 private:
  friend class Conductor;
  void withdraw() final;

  const int fd_;
  // Guarded by the conductor's lock.
  uint64_t id_ = 0;          // in the conductor's table while it is armed; 0: it is not
  bool registered_ = false;  // with epoll, armed or not
  std::atomic<uint32_t> events_ = 0;
};

class Conductor {
 public:
  /// How late it may notice that work does not move, and how late a stuck worker's timers may be.
  static constexpr Nanoseconds kTick{2'000'000};

  /// The one of this process, for its own kernel; for another one, a new one.
  static Result<std::shared_ptr<Conductor>> get(Kernel& kernel);
  ~Conductor();
  Conductor(const Conductor&) = delete;
  Conductor& operator=(const Conductor&) = delete;

  void attach(ThreadPool& pool);
  void detach(ThreadPool& pool);

  /// Somebody should look after the pools from now on. Cheap when it does so already.
  void watch() {
    if (!watching_.load(std::memory_order_seq_cst)) start_watching();
  }
  /// A shelf is due at `moment`: is this soon enough a wake-up?
  void wake_by(Instant moment) {
    if (moment.time_since_epoch().count() < wakes_at_.load(std::memory_order_seq_cst)) ring();
  }
  /// Whatever was being posted has been.
  void pass_through() { const std::lock_guard lock(mutex_); }

 private:
  friend class WaitMember;

  explicit Conductor(Kernel& kernel) : kernel_(kernel) {}
  Result<> open();
  Result<> watch_clock();
  void run();
  void start_watching();
  void ring();

  // With the lock.
  Instant look(Instant now);
  void dispatch(uint64_t id, uint32_t events);
  Result<> register_wait(WaitMember& wait, uint32_t events, Instant deadline);
  void forget(WaitMember& wait);
  void clock_was_set();

  Kernel& kernel_;
  UniqueFd epoll_;
  UniqueFd bell_;
  UniqueFd clock_;  // a timer that never expires, but fails when the wall clock is set
  std::atomic<bool> watching_ = false;
  std::atomic<int64_t> wakes_at_ = 0;
  std::atomic<bool> stopping_ = false;

  std::mutex mutex_;
  std::vector<ThreadPool*> pools_;
  std::unordered_map<uint64_t, WaitMember*> waits_;
  uint64_t last_id_ = 0;
  base::TimerWheel deadlines_;
  unsigned quiet_ticks_ = 0;

  std::jthread thread_;
};

}  // namespace runtime
