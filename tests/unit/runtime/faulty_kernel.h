// SPDX-License-Identifier: MIT
// A kernel that fails on purpose: at random with a seed, or once, by script. What it injects is
// what the real one may do: interrupted and refused calls, submissions taken in part, short
// transfers, and descriptors that are no longer there.
#pragma once

#include <liburing.h>
#include <sys/epoll.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <random>

#include "runtime/kernel.h"

namespace runtime {

class FaultyKernel : public Kernel {
 public:
  FaultyKernel(unsigned seed, double rate) : random_(seed), rate_(rate) {}

  uint64_t faults() const { return faults_.load(); }
  void set_rate(double rate) {
    const std::lock_guard guard(mutex_);
    rate_ = rate;
  }
  /// The next calls of ring_enter or epoll_wait fail with this.
  void fail_turns(int error, int times) {
    turn_error_ = error;
    turns_to_fail_ = times;
  }
  /// Whether requests may find their descriptor gone (EBADF).
  void lose_descriptors(bool on) { lose_ = on; }

  int ring_enter(io_uring& ring, unsigned to_submit, unsigned min_complete, unsigned flags,
                 const Nanoseconds* timeout) override {
    if (const int error = scripted()) return error;
    if (fault()) return one_of({-EINTR, -EAGAIN, -EBUSY, -ENOMEM});
    if (to_submit > 1 && fault()) {
      to_submit = 1 + pick(to_submit - 1);
      min_complete = 0;  // as the kernel does: it answers at once
    }
    const unsigned head = *ring.sq.khead;
    for (unsigned i = 0; i < to_submit; ++i) spoil(ring.sq.sqes[(head + i) & ring.sq.ring_mask]);
    return Kernel::ring_enter(ring, to_submit, min_complete, flags, timeout);
  }

  int epoll_wait(int epoll, epoll_event* events, int count, const Nanoseconds* timeout) override {
    if (const int error = scripted()) return error;
    if (fault()) return -EINTR;
    return Kernel::epoll_wait(epoll, events, fault() ? 1 : count, timeout);
  }

  ssize_t read(int fd, const iovec* vector, int count, int64_t offset, int flags) override {
    if (fault()) return broken();
    const iovec less = shortened(*vector);
    return count == 1 ? Kernel::read(fd, &less, 1, offset, flags)
                      : Kernel::read(fd, vector, count, offset, flags);
  }
  ssize_t write(int fd, const iovec* vector, int count, int64_t offset, int flags) override {
    // Eight bytes may be an eventfd's, whose count is all or nothing.
    if (vector->iov_len == sizeof(uint64_t)) {
      if (fault()) return -EINTR;
      return Kernel::write(fd, vector, count, offset, flags);
    }
    if (fault()) return broken();
    const iovec less = shortened(*vector);
    return count == 1 ? Kernel::write(fd, &less, 1, offset, flags)
                      : Kernel::write(fd, vector, count, offset, flags);
  }
  ssize_t receive(int fd, msghdr& message, int flags) override {
    if (fault()) return broken();
    return Kernel::receive(fd, message, flags);
  }
  ssize_t send(int fd, const msghdr& message, int flags) override {
    if (fault()) return broken();
    return Kernel::send(fd, message, flags);
  }

 private:
  int scripted() {
    if (turns_to_fail_.load() <= 0 || turns_to_fail_.fetch_sub(1) <= 0) return 0;
    ++faults_;
    return turn_error_;
  }
  bool fault() {
    const std::lock_guard guard(mutex_);
    if (std::uniform_real_distribution<>(0, 1)(random_) >= rate_) return false;
    ++faults_;
    return true;
  }
  unsigned pick(unsigned below) {
    const std::lock_guard guard(mutex_);
    return std::uniform_int_distribution<unsigned>(0, below - 1)(random_);
  }
  int one_of(std::initializer_list<int> errors) {
    return errors.begin()[pick(static_cast<unsigned>(errors.size()))];
  }
  int broken() { return lose_ && fault() ? -EBADF : -EINTR; }
  iovec shortened(const iovec& whole) {
    iovec less = whole;
    if (less.iov_len > 1 && fault())
      less.iov_len = 1 + pick(static_cast<unsigned>(less.iov_len - 1));
    return less;
  }

  // Before the kernel sees it; the engine has done with the entry.
  void spoil(io_uring_sqe& entry) {
    // Requests only: the engine's own entries have a tag in the low bits.
    if (entry.user_data & 3) return;
    switch (entry.opcode) {
      case IORING_OP_READ:
      case IORING_OP_WRITE:
      case IORING_OP_RECV:
      case IORING_OP_SEND:
        if (entry.len > 1 && entry.len != sizeof(uint64_t) && fault())
          entry.len = 1 + pick(entry.len - 1);
        [[fallthrough]];
      case IORING_OP_POLL_ADD:
      case IORING_OP_READV:
        if (lose_ && fault()) entry.fd = -1;
        break;
      default:
        break;
    }
  }

  std::mutex mutex_;
  std::mt19937 random_;
  double rate_;
  std::atomic<uint64_t> faults_ = 0;
  std::atomic<int> turns_to_fail_ = 0;
  std::atomic<int> turn_error_ = 0;
  std::atomic<bool> lose_ = false;
};

}  // namespace runtime
