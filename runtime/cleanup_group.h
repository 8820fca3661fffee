// SPDX-License-Identifier: MIT
// CleanupGroup: the items, timers and descriptor waits of one thing, which end together. close()
// cancels what is queued and waits for what runs; afterwards nothing of the group runs, and what is
// posted is cancelled at once. Groups of a pool take turns, so that one cannot starve another.
//
// Counting: an item that left a lane is `taken` until it is `finished`; a worker that visits the
// lanes holds one ticket, taken in advance, that its first item uses. The group is quiet when its
// lanes are empty and the two are equal, and nobody but its owner then knows it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "base/list.h"
#include "runtime/group_member.h"
#include "runtime/time.h"
#include "runtime/work_item.h"
#include "runtime/work_lane.h"

namespace runtime {

class ThreadPool;

class CleanupGroup {
 public:
  explicit CleanupGroup(ThreadPool& pool);
  /// Closes. Calls to post() have returned by then; timers and waits of the group are gone.
  ~CleanupGroup();
  CleanupGroup(const CleanupGroup&) = delete;
  CleanupGroup& operator=(const CleanupGroup&) = delete;

  /// Any thread. Workers take the items of one thread in order; only where one runs at a time, and
  /// none blocks or waits for its group, do they begin in that order too. In a closed group the
  /// item's function is called here, with kCancelled.
  void post(WorkItem& item, Length length = Length::kShort) { append(item, item, length); }
  void post(WorkBatch batch, Length length = Length::kShort) {
    if (!batch.empty()) append(*batch.first_, *batch.last_, length);
  }

  /// Any callable, on the heap for as long as it waits; destroyed uncalled if it is cancelled.
  template <class Body>
    requires std::is_invocable_v<std::decay_t<Body>&>
  void post(Body&& body, Length length = Length::kShort) {
    post(Closure<std::decay_t<Body>>::make(std::forward<Body>(body)), length);
  }

  /// Cancels what is queued and waits for what runs. Any thread, any number of times; from an item
  /// of the group itself it waits for the others. Returns the number of items that the group has
  /// cancelled.
  uint64_t close();
  bool closed() const { return state_.load(std::memory_order_seq_cst) & kClosed; }

  /// Waits until nothing is queued and nothing runs, for a moment at least.
  void wait();

  ThreadPool& pool() const { return pool_; }

 private:
  friend class GroupMember;
  friend class ThreadPool;
  friend class Worker;

  enum State : uint32_t { kReady = 1, kClosed = 2 };
  static constexpr uint64_t kAwaited = uint64_t{1} << 63;  // in finished_

  void append(WorkItem& first, WorkItem& last, Length length);
  /// By a timer shelf or the conductor, with its lock: calls nothing of the user's.
  void post_due(WorkItem& item);

  // The workers' side.
  unsigned take(unsigned start, std::span<WorkItem*> items, bool& more);
  WorkItem* take_long();
  /// Afterwards the group may be gone.
  void finish(uint64_t count);
  void requeue(std::span<WorkItem* const> items);
  bool lanes_empty() const;

  void cancel_members();
  void drain();
  void drain(WorkLane& lane);
  void wait_until_quiet();
  /// But for so many running items. With the pool's lock.
  bool quiet_but(unsigned running);

  std::span<WorkLane> lanes() { return {lanes_.get(), lane_count_ + 1}; }
  std::span<const WorkLane> lanes() const { return {lanes_.get(), lane_count_ + 1}; }
  WorkLane& long_lane() { return lanes_[lane_count_]; }

  ThreadPool& pool_;
  const unsigned lane_count_;          // a power of two
  std::unique_ptr<WorkLane[]> lanes_;  // and one more, for long items

  alignas(64) std::atomic<uint32_t> state_ = 0;  // read by every post, seldom written

  alignas(64) std::atomic<uint64_t> finished_ = 0;
  std::atomic<uint64_t> cancelled_ = 0;

  // Guarded by the pool's lock.
  base::ListLink<CleanupGroup> ready_link_;
  uint64_t tickets_ = 0;
  unsigned waiters_ = 0;
  unsigned waiters_inside_ = 0;  // that are items of the group
  Instant ready_since_ = kNever;

  using Members = base::List<GroupMember, &GroupMember::link_>;
  std::mutex members_mutex_;
  Members members_;
};

}  // namespace runtime
