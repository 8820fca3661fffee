// SPDX-License-Identifier: MIT
#include "runtime/cleanup_group.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <thread>
#include <utility>

#include "runtime/pool.h"
#include "runtime/thread_ordinal.h"
#include "runtime/worker.h"

namespace runtime {
namespace {

constexpr unsigned kMaxLanes = 16;

unsigned count_lanes() {
  return std::min(kMaxLanes, std::bit_ceil(std::max(std::thread::hardware_concurrency(), 2U)));
}

}  // namespace

CleanupGroup::CleanupGroup(ThreadPool& pool)
    : pool_(pool), lane_count_(count_lanes()), lanes_(new WorkLane[lane_count_ + 1]) {}

CleanupGroup::~CleanupGroup() {
  close();
  assert(members_.empty());
}

void CleanupGroup::append(WorkItem& first, WorkItem& last, Length length) {
  const unsigned lane =
      length == Length::kLong ? lane_count_ : thread_ordinal() & (lane_count_ - 1);
  lanes_[lane].push(first, last);
  const uint32_t state = state_.load(std::memory_order_seq_cst);
  if (state == kReady) return;
  if (state & kClosed)
    drain();  // nobody else may come any more
  else
    pool_.schedule(*this);
}

void CleanupGroup::post_due(WorkItem& item) {
  lanes_[thread_ordinal() & (lane_count_ - 1)].push(item, item);
  if (!(state_.load(std::memory_order_seq_cst) & (kReady | kClosed))) pool_.schedule(*this);
}

unsigned CleanupGroup::take(unsigned start, std::span<WorkItem*> items, bool& more) {
  unsigned count = 0;
  bool ticket = true;
  for (unsigned i = 0; i < lane_count_ && count < items.size(); ++i) {
    WorkLane& lane = lanes_[(start + i) & (lane_count_ - 1)];
    if (lane.empty()) continue;
    if (!lane.try_lock()) {
      more = true;
      continue;
    }
    const unsigned taken = lane.take(items.subspan(count));
    if (taken > 0) lane.add_taken(taken - std::exchange(ticket, false));
    count += taken;
    lane.unlock();
  }
  for (unsigned i = 0; i < lane_count_ + 1 && !more; ++i) more = !lanes_[i].empty();
  return count;
}

WorkItem* CleanupGroup::take_long() {
  WorkLane& lane = long_lane();
  if (lane.empty() || !lane.try_lock()) return nullptr;
  WorkItem* item;
  const unsigned taken = lane.take(std::span(&item, 1));
  lane.unlock();
  return taken > 0 ? item : nullptr;
}

bool CleanupGroup::lanes_empty() const {
  return std::ranges::all_of(lanes(), [](const WorkLane& lane) { return lane.empty(); });
}

void CleanupGroup::finish(uint64_t count) {
  ThreadPool& pool = pool_;
  if (finished_.load(std::memory_order_relaxed) & kAwaited) {
    // Whoever waits needs the lock to see the end, so the group is still there.
    const std::lock_guard lock(pool.mutex_);
    finished_.fetch_add(count, std::memory_order_acq_rel);
    // While it is ready, somebody will settle it, and finish something after that.
    if (!(state_.load(std::memory_order_relaxed) & kReady) && quiet_but(waiters_inside_))
      pool.quiet_.notify_all();
    return;
  }
  const uint64_t before = finished_.fetch_add(count, std::memory_order_acq_rel);
  if (before & kAwaited) pool.notify_quiet();  // since a moment ago
}

void CleanupGroup::requeue(std::span<WorkItem* const> items) {
  WorkBatch batch;
  for (WorkItem* const item : items) batch.add(*item);
  if (batch.empty()) return;
  append(*batch.first_, *batch.last_, Length::kShort);
  finish(items.size());
}

uint64_t CleanupGroup::close() {
  pool_.unschedule_for_good(*this);
  cancel_members();
  // A timer or descriptor that was just coming due has been queued, and none comes any more.
  pool_.pass_through();
  drain();
  wait_until_quiet();
  return cancelled_.load(std::memory_order_relaxed);
}

void CleanupGroup::wait() {
  wait_until_quiet();
}

void CleanupGroup::cancel_members() {
  Members dead;
  {
    const std::lock_guard lock(members_mutex_);
    for (GroupMember* member = members_.front(); member;) {
      GroupMember* const next = Members::next(member);
      if (member->end_with_group()) {
        members_.remove(member);
        dead.push_back(member);
      }
      member = next;
    }
  }
  while (GroupMember* const member = dead.pop_front()) delete member;
}

void CleanupGroup::drain() {
  for (WorkLane& lane : lanes()) drain(lane);
}

void CleanupGroup::drain(WorkLane& lane) {
  std::array<WorkItem*, 64> items;
  while (!lane.empty()) {
    lane.lock();
    const unsigned count = lane.take(items);
    lane.add_taken(count);
    lane.unlock();
    if (count == 0) {
      std::this_thread::yield();  // an append has begun, and will end
      continue;
    }
    for (WorkItem* const item : std::span(items).first(count))
      item->function_(*item, Turn::kCancelled);
    cancelled_.fetch_add(count, std::memory_order_relaxed);
    pool_.count_cancelled(count);
    finish(count);
  }
}

void CleanupGroup::wait_until_quiet() {
  Worker* const worker = Worker::current();
  const bool inside = worker && worker->group() == this;
  if (inside) worker->give_back();
  std::unique_lock lock(pool_.mutex_);
  ++waiters_;
  waiters_inside_ += inside;
  if (inside) pool_.quiet_.notify_all();  // somebody may wait for this item alone
  for (;;) {
    finished_.fetch_or(kAwaited, std::memory_order_seq_cst);
    // Items that wait here do not wait for each other; everybody else waits for them too.
    if (quiet_but(inside ? waiters_inside_ : 0)) break;
    pool_.quiet_.wait(lock);
  }
  waiters_inside_ -= inside;
  if (--waiters_ == 0) finished_.fetch_and(~kAwaited, std::memory_order_relaxed);
}

// What finished is read first: whatever an item did before it finished, posting others above all,
// is then seen below.
bool CleanupGroup::quiet_but(unsigned running) {
  const uint64_t finished = finished_.load(std::memory_order_seq_cst) & ~kAwaited;
  uint64_t taken = tickets_;
  for (WorkLane& lane : lanes()) {
    lane.lock();
    taken += lane.taken();
    const bool empty = lane.empty();
    lane.unlock();
    if (!empty) return false;
  }
  return taken == finished + running;
}

}  // namespace runtime
