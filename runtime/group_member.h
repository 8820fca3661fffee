// SPDX-License-Identifier: MIT
// GroupMember: what waits for something and then runs as an item of its group: the part that timers
// and descriptor waits share. One word says where it is, and is all that cancel() touches. It never
// runs twice at once: what comes due while it runs makes it run once more, and what comes due while
// it is queued is one with that.
//
// It belongs to a handle, or to itself (detached: it runs once). It is freed when the owner has let
// go and it is neither queued nor running.
#pragma once

#include "base/list.h"
#include "runtime/work_item.h"

namespace runtime {

class GroupMember : public WorkItem {
 public:
  /// Once it is complete: from here on the group's end finds it.
  void enter_group();

  /// Any thread, without a lock. True: a run that was to come will not come. What runs, runs on.
  bool cancel();

  /// By the handle's destructor: nothing of the member runs when it returns, unless this is called
  /// by the member's own callable.
  void let_go();

 protected:
  enum class Owner : uint8_t { kHandle, kItself };

  GroupMember(CleanupGroup& group, Owner owner)
      : WorkItem(turn),
        home_(group),
        state_(owner == Owner::kItself ? kOwned | kDetached : uint32_t{kOwned}) {}
  virtual ~GroupMember() = default;

  bool is_armed() const { return state_.load(std::memory_order_acquire) & kArmed; }
  void set_armed() { state_.fetch_or(kArmed, std::memory_order_acq_rel); }
  /// It is due. By whoever it waits at, whose lock the caller holds: see CleanupGroup::close.
  /// False: it had been cancelled.
  bool fire(bool stays_armed);

  /// Instead of arming, in a group that is closed.
  void abandon();

  CleanupGroup& group() const { return home_; }

  virtual void call() = 0;
  /// Out of where it waits, with the lock of that place.
  virtual void withdraw() = 0;

 private:
  friend class CleanupGroup;

  enum State : uint32_t {
    kOwned = 1,
    kDetached = 2,  // for good
    kArmed = 4,
    kQueued = 8,    // the group has it
    kRevoked = 16,  // queued, but cancelled: will not be called
    kRunning = 32,
    kAgain = 64,     // due while it ran
    kAwaited = 128,  // somebody waits for the end of the run
  };

  static void turn(WorkItem& item, Turn turn) noexcept;
  bool begin();
  void end(Turn turn);
  /// The state before.
  uint32_t revoke();
  /// True: the caller removes it from the group and frees it.
  bool end_with_group();
  void leave_group();

  CleanupGroup& home_;
  base::ListLink<GroupMember> link_;
  std::atomic<uint32_t> state_;
};

}  // namespace runtime
