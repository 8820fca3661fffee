// SPDX-License-Identifier: MIT
// ThreadPool: workers that run items of cleanup groups. As many run at once as the pool's
// concurrency says; one that blocks, or runs a long item, does not count, and another takes its
// place. Workers come when work is queued that nobody is free for, and go when they are idle.
//
// A group with queued items is on the ready list. Workers take the next group in turn, and from it
// as many items as a moment will do. The rule that nothing is forgotten: whoever makes work visible
// then makes sure that somebody looks for it, a worker or the conductor; whoever goes to sleep
// looks once more, with the lock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/list.h"
#include "runtime/cleanup_group.h"
#include "runtime/conductor.h"
#include "runtime/error.h"
#include "runtime/pool_counters.h"
#include "runtime/pool_wait.h"
#include "runtime/timers.h"
#include "runtime/worker.h"

namespace runtime {

struct PoolOptions {
  std::string name = "pool";  // of its threads too, cut to 15 characters
  unsigned concurrency = 0;   // items at once; 0: the processors this process may use
  unsigned max_workers = 0;   // threads at most; 0: 64 more than the concurrency
  unsigned min_workers = 0;   // threads that stay when idle, once they have come
  Nanoseconds idle_time = std::chrono::seconds(10);  // after which a worker goes
  // A control arm for measurements: with 1, all timers are in one wheel, under one lock.
  unsigned timer_wheels = 0;  // 0: one for each of the concurrency
};

class ThreadPool {
 public:
  static Result<std::unique_ptr<ThreadPool>> create(const PoolOptions& options = {},
                                                    Kernel& kernel = Kernel::real());
  /// Cancels what is queued in the pool's own group and waits for what runs. Other groups are gone.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// The group of items that belong to nothing smaller than the pool.
  CleanupGroup& group() { return *own_; }
  template <class... Arguments>
  void post(Arguments&&... arguments) {
    own_->post(std::forward<Arguments>(arguments)...);
  }

  PoolCounters counters() const;
  const std::string& name() const { return options_.name; }
  Kernel& kernel() const { return kernel_; }

 private:
  friend class CleanupGroup;
  friend class Conductor;
  friend class TimerMember;
  friend class WaitMember;
  friend class Worker;

  ThreadPool(const PoolOptions& options, Kernel& kernel, std::shared_ptr<Conductor> conductor);

  // Groups.
  void schedule(CleanupGroup& group);
  void unschedule(CleanupGroup& group);  // with the lock
  void unschedule_for_good(CleanupGroup& group);
  /// Off the ready list, if it has nothing queued.
  void settle(CleanupGroup& group);
  CleanupGroup* next_group(Worker& worker);
  void count_cancelled(uint64_t count) {
    cancelled_outside_.fetch_add(count, std::memory_order_relaxed);
  }
  void count_descriptor() { descriptors_ready_.fetch_add(1, std::memory_order_relaxed); }
  void notify_quiet();
  void pass_through();

  // Workers. Who has been chosen to help, with the lock, is then sent, without it.
  void help();
  void help_fork();
  Worker* choose_helper();
  Worker* call(Worker& worker);
  void send(Worker& helper);
  void start(Worker& worker);
  void introduce(Worker& worker);
  bool enter_search(Worker& worker);
  void leave_search(Worker& worker);
  void begin_long(Worker& worker);
  void end_long(Worker& worker);
  unsigned take_from_stuck(Worker& worker, CleanupGroup*& group);
  unsigned claim(Worker& worker, std::span<WorkItem*, Worker::kBatch> items);
  unsigned claim_own(Worker& worker, std::span<WorkItem*, Worker::kBatch> items);
  unsigned settle_claim(Worker& worker);
  bool sleep_for_fork(Worker& worker, const std::atomic<uint32_t>& state);
  void call_back(Worker& worker);

  // False: the thread is to end.
  bool park(Worker& worker);
  bool sleep(Worker& worker);
  bool forks_in_sight() const;
  bool work_in_sight() const;

  // With the lock.
  void start_counting(Worker& worker);
  void stop_counting(Worker& worker);
  void get_up(Worker& worker);
  void retire(Worker& worker);
  void rouse(Worker& worker);
  void stop_searching(Worker& worker);
  void update_helpable();

  // The conductor's side. A keeper who is awake may be this late.
  static constexpr Nanoseconds kShelfGrace = 2 * Conductor::kTick;
  Conductor& conductor() { return *conductor_; }
  Instant keep_shelves(Instant now);
  bool look_after(Instant now);
  bool watch_batch(Worker& worker);
  void judge(Worker& worker);
  void clock_was_set();

  // Timers.
  TimerShelf& shelf();
  void hurry(const TimerShelf& shelf);
  void expire(TimerShelf& shelf, Instant now);

  PoolOptions options_;
  Kernel& kernel_;
  const unsigned batch_limit_;
  const std::shared_ptr<Conductor> conductor_;
  std::vector<std::unique_ptr<TimerShelf>> shelves_;  // each kept by the worker of its number
  std::vector<std::unique_ptr<Worker>> workers_;      // max_workers; most have no thread

  alignas(64) std::atomic<uint32_t> ready_count_ = 0;
  std::atomic<bool> helpable_ = false;  // somebody could be sent for, and nobody searches
  std::atomic<bool> rescue_ = false;    // a worker is stuck before it could finish its batch
  std::atomic<uint64_t> cancelled_outside_ = 0;
  std::atomic<uint64_t> timers_fired_ = 0;
  std::atomic<uint64_t> descriptors_ready_ = 0;

  alignas(64) mutable std::mutex mutex_;
  std::condition_variable quiet_;
  base::List<CleanupGroup, &CleanupGroup::ready_link_> ready_;
  base::List<Worker, &Worker::idle_link_> parked_;   // who slept last comes first
  base::List<Worker, &Worker::idle_link_> joining_;  // asleep until a fork's thief is done
  bool stopping_ = false;
  unsigned total_ = 0;      // workers with a thread
  unsigned active_ = 0;     // of these: neither asleep, nor blocked, nor with a long item
  unsigned searching_ = 0;  // of these: look for work
  unsigned blocked_ = 0;
  uint64_t wakes_ = 0, started_ = 0, retired_ = 0, start_failures_ = 0, stand_ins_ = 0;
  uint64_t rescued_ = 0;

  std::unique_ptr<CleanupGroup> own_;
};

}  // namespace runtime
