// SPDX-License-Identifier: MIT
// PoolWait: waits for a descriptor and then runs its callable in the pool, as an item of its group.
// For what is ready now and then; a completion port is the way for I/O that performance hangs on.
#pragma once

#include <sys/epoll.h>

#include "runtime/conductor.h"

namespace runtime {

template <class Body>
class WaitClosure final : public WaitMember {
 public:
  template <class Callable>
  WaitClosure(CleanupGroup& group, int fd, Callable&& body)
      : WaitMember(group, fd), body_(std::forward<Callable>(body)) {}

 private:
  void call() override { body_(events()); }

  Body body_;
};

class PoolWait {
 public:
  /// The callable gets what came: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP; 0 at the deadline. It may
  /// arm the wait again. The descriptor stays the caller's, who closes it after the wait is gone
  /// or, at least, before it arms the wait for another one of the same number.
  template <class Body>
    requires std::is_invocable_v<std::decay_t<Body>&, uint32_t>
  PoolWait(CleanupGroup& group, int fd, Body&& body)
      : member_(*new WaitClosure<std::decay_t<Body>>(group, fd, std::forward<Body>(body))) {
    member_.enter_group();
  }
  /// Waits for the callable's end, unless it is the callable that destroys the wait.
  ~PoolWait() { member_.let_go(); }
  PoolWait(const PoolWait&) = delete;
  PoolWait& operator=(const PoolWait&) = delete;

  /// For one run. EPERM: the descriptor cannot be waited for (a plain file); EEXIST: another wait
  /// of the process has it; ECANCELED: the group is closed.
  Result<> arm(uint32_t events, Instant deadline = kNever) { return member_.arm(events, deadline); }
  /// Any thread, without a lock. True: a run that was to come will not come.
  bool cancel() { return member_.cancel(); }

 private:
  WaitMember& member_;
};

}  // namespace runtime
