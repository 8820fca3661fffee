// SPDX-License-Identifier: MIT
// Worker: a place for one thread of a pool, which comes and goes; the place stays. What it runs
// next is in its batch, or forked by what it runs now. A batch is small enough to be done in a
// moment; a worker that does not get on with it, because its first item blocks after all, is
// relieved of the rest by another one.
#pragma once

#include <array>
#include <atomic>
#include <span>
#include <thread>

#include "base/list.h"
#include "runtime/fork_deque.h"
#include "runtime/pool_counters.h"
#include "runtime/time.h"
#include "runtime/work_item.h"
#include "runtime/worker_sight.h"

namespace runtime {

class ThreadPool;

class alignas(64) Worker {
 public:
  Worker(ThreadPool& pool, unsigned index) : pool_(pool), index_(index) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// The calling thread's, or nullptr.
  static Worker* current() { return current_; }

  ThreadPool& pool() const { return pool_; }
  unsigned index() const { return index_; }
  /// The group whose item it runs.
  const CleanupGroup* group() const { return group_; }
  /// Gives the rest of the batch back to the queues, and accounts for what is done, so that the
  /// running item is all that this worker holds of its group.
  void give_back();

  // Fork and join, for what runs on this worker: see fork.h.
  bool push(ForkBase& fork);
  ForkBase* pop() { return forks_.pop(); }
  void join(ForkBase& fork, ForkBase* popped);

 private:
  friend class ThreadPool;

  static constexpr unsigned kBatch = 128;
  static constexpr unsigned kNone = ~0U;

  enum Word : uint32_t {
    kAwake,
    kAsleep,
    kPoked,    // asleep; to look at its timers again
    kJoining,  // asleep until a thief is done
    kCalled,   // taken off the list of sleepers
    kStarting,
  };

  // What the thread does.
  void run();
  void keep_shelf();
  bool search();
  bool take();
  unsigned first_lane();
  void share_backlog();
  void run_batch(CleanupGroup& group, unsigned count);
  bool go_to(unsigned position, unsigned& end);
  void run_item(CleanupGroup& group, WorkItem& item);
  void run_long(CleanupGroup& group, WorkItem& item);
  void account(CleanupGroup& group);
  void adapt(Nanoseconds time, unsigned count, unsigned done);
  bool rescue();
  ForkBase* steal();
  void execute(ForkBase& fork);
  void wait_for(ForkBase& fork);

  static inline constinit thread_local Worker* current_ = nullptr;

  // The thread's own.
  ThreadPool& pool_;
  const unsigned index_;
  CleanupGroup* group_ = nullptr;
  unsigned done_ = 0;       // items of the batch, not yet accounted for
  unsigned dropped_ = 0;    // of these, because the group was closed
  unsigned limit_ = 1;      // items that are done in a moment, by experience
  unsigned turn_ = 0;       // visits to groups
  unsigned fruitless_ = 0;  // visits to a group, in succession
  bool surplus_ = false;    // more run than should
  bool called_ = true;      // to work, since it slept; or it woke up for its timers
  Instant now_;
  Instant backlog_since_ = kNever;

  // Seen by others.
  alignas(64) std::atomic<uint32_t> word_ = kAwake;
  std::atomic<int64_t> sleeps_until_ = 0;
  std::atomic<bool> present_ = false;
  WorkerTraces traces_;
  WorkerCounters counters_;
  ForkDeque forks_;

  // The batch; between batches, position_ is kNone, and the rest the thread's own. It runs the
  // items before position_. Whoever takes the others away sets claimed_, makes a barrier on this
  // thread, and reads position_: see ThreadPool::claim().
  std::array<WorkItem*, kBatch> batch_;
  std::atomic<unsigned> batch_end_ = 0;
  std::atomic<unsigned> position_ = kNone;
  std::atomic<bool> claimed_ = false;

  // Guarded by the pool's lock.
  base::ListLink<Worker> idle_link_;
  bool searching_ = false;
  bool long_ = false;
  bool blocked_ = false;
  std::jthread thread_;

  bool stuck_ = false;

  // The conductor's.
  WorkerSight sight_;
  uint32_t seen_run_ = 0;
  WorkerSight::Verdict verdict_ = WorkerSight::Verdict::kUnclear;
};

}  // namespace runtime
