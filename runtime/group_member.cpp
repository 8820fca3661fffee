// SPDX-License-Identifier: MIT
#include "runtime/group_member.h"

#include <utility>

#include "runtime/cleanup_group.h"
#include "runtime/futex.h"

namespace runtime {
namespace {

// What this thread is in the middle of: its callable may destroy the handle.
constinit thread_local const GroupMember* running_here = nullptr;

}  // namespace

void GroupMember::enter_group() {
  const std::lock_guard lock(home_.members_mutex_);
  home_.members_.push_back(this);
}

bool GroupMember::cancel() {
  const uint32_t before = revoke();
  return (before & (kArmed | kAgain)) || (before & (kQueued | kRevoked)) == kQueued;
}

uint32_t GroupMember::revoke() {
  uint32_t state = state_.load(std::memory_order_relaxed);
  uint32_t next;
  do {
    next = state & ~(kArmed | kAgain);
    if (state & kQueued) next |= kRevoked;
  } while (next != state && !state_.compare_exchange_weak(state, next, std::memory_order_acq_rel));
  return state;
}

bool GroupMember::end_with_group() {
  // In this order: who arms it after this sees that the group is closed, so the word cannot say
  // armed any more once it has said that it is not.
  withdraw();
  const uint32_t before = revoke();
  return (before & (kDetached | kArmed | kQueued | kRunning)) == (kDetached | kArmed);
}

void GroupMember::abandon() {
  if (!(state_.load(std::memory_order_relaxed) & kDetached)) return;
  leave_group();
  delete this;
}

bool GroupMember::fire(bool stays_armed) {
  uint32_t state = state_.load(std::memory_order_relaxed);
  uint32_t next;
  do {
    if (!(state & kArmed)) return false;
    next = stays_armed ? state : state & ~kArmed;
    if (state & kRunning)
      next |= kAgain;
    else
      next = (next & ~kRevoked) | kQueued;
  } while (!state_.compare_exchange_weak(state, next, std::memory_order_acq_rel));
  if (!(state & (kQueued | kRunning))) home_.post_due(*this);
  return true;
}

void GroupMember::turn(WorkItem& item, Turn turn) noexcept {
  auto& self = static_cast<GroupMember&>(item);
  if (turn == Turn::kRun && self.begin()) {
    const GroupMember* const outer = std::exchange(running_here, &self);
    self.call();
    running_here = outer;
  }
  self.end(turn);
}

bool GroupMember::begin() {
  uint32_t state = state_.load(std::memory_order_relaxed);
  do {
    if (state & kRevoked) return false;
  } while (!state_.compare_exchange_weak(state, (state & ~kQueued) | kRunning,
                                         std::memory_order_acq_rel));
  return true;
}

void GroupMember::end(Turn turn) {
  uint32_t state = state_.load(std::memory_order_relaxed);
  uint32_t next;
  do {
    next = state & ~(kQueued | kRevoked | kRunning | kAgain | kAwaited);
    if ((state & kAgain) && turn == Turn::kRun) next |= kQueued;
  } while (!state_.compare_exchange_weak(state, next, std::memory_order_acq_rel));
  // Once the word says so, the handle may be gone and, with nothing queued, this with it.
  if (state & kAwaited) futex_wake(state_, INT32_MAX);
  if (next & kQueued) {
    home_.post(*this);
  } else if (!(next & kOwned)) {
    delete this;
  } else if ((next & kDetached) && !(next & kArmed)) {
    leave_group();
    delete this;
  }
}

void GroupMember::let_go() {
  cancel();
  withdraw();
  leave_group();
  uint32_t state = state_.load(std::memory_order_acquire);
  while ((state & kRunning) && running_here != this) {
    if (!(state & kAwaited) &&
        !state_.compare_exchange_weak(state, state | kAwaited, std::memory_order_acq_rel))
      continue;
    futex_wait(state_, state | kAwaited);
    state = state_.load(std::memory_order_acquire);
  }
  state = state_.fetch_and(~uint32_t{kOwned}, std::memory_order_acq_rel);
  if (!(state & (kQueued | kRunning))) delete this;
}

void GroupMember::leave_group() {
  const std::lock_guard lock(home_.members_mutex_);
  if (CleanupGroup::Members::contains(this)) home_.members_.remove(this);
}

}  // namespace runtime
