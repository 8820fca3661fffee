// SPDX-License-Identifier: MIT
// The seam between the runtime and the kernel: every system call that an engine, a port or a timer
// makes is a member here, so that a test can stand in its place and answer EINTR, ENOMEM, a short
// count or a full ring. Calls answer a value, or minus an errno; none retries by itself. Below them
// is what more than one caller makes of them.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "runtime/time.h"

struct epoll_event;
struct io_uring;
struct io_uring_params;
struct itimerspec;

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RT_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define RT_TSAN 1
#endif

// ThreadSanitizer does not see what the kernel orders: that a submission happens before its
// completion, and what a reader of a descriptor learns from its writer.
#if defined(RT_TSAN)
extern "C" void __tsan_acquire(void*);
extern "C" void __tsan_release(void*);
#define RT_KERNEL_TAKES(object) __tsan_release(object)
#define RT_KERNEL_GIVES(object) __tsan_acquire(object)
#else
#define RT_KERNEL_TAKES(object) static_cast<void>(object)
#define RT_KERNEL_GIVES(object) static_cast<void>(object)
#endif

namespace runtime {

class Kernel {
 public:
  virtual ~Kernel() = default;
  /// The kernel that this process runs on.
  static Kernel& real();

  virtual Instant now();
  virtual WallTime wall_now();

  // io_uring. ring_map fills `ring` from what ring_setup answered and owns the descriptor from then
  // on, also when it fails; ring_unmap closes it.
  virtual int ring_setup(unsigned entries, io_uring_params& parameters);
  virtual int ring_map(int fd, io_uring_params& parameters, io_uring& ring);
  virtual void ring_unmap(io_uring& ring);
  virtual int ring_enter(io_uring& ring, unsigned to_submit, unsigned min_complete, unsigned flags,
                         const Nanoseconds* timeout);
  virtual int ring_register(int fd, unsigned opcode, const void* argument, unsigned count);

  virtual int epoll_create();
  virtual int epoll_control(int epoll, int operation, int fd, epoll_event* event);
  virtual int epoll_wait(int epoll, epoll_event* events, int count, const Nanoseconds* timeout);

  /// Makes ready, and then makes, a full memory barrier on every thread of the process.
  virtual int barrier_prepare();
  virtual int barrier();

  virtual int event_create();
  virtual int timer_create(int clock);
  virtual int timer_set(int fd, int flags, const itimerspec& when);
  virtual int close(int fd);

  virtual ssize_t read(int fd, const iovec* vector, int count, int64_t offset, int flags);
  virtual ssize_t write(int fd, const iovec* vector, int count, int64_t offset, int flags);
  virtual int sync(int fd, bool data_only);
  virtual ssize_t receive(int fd, msghdr& message, int flags);
  virtual ssize_t send(int fd, const msghdr& message, int flags);
  virtual int accept(int fd, sockaddr* address, socklen_t* length, int flags);
  virtual int connect(int fd, const sockaddr* address, socklen_t length);
  virtual int socket_error(int fd);
  virtual int poll(int fd, short events);
  virtual int set_nonblocking(int fd);
  /// The file's type (S_IFREG, S_IFSOCK, ...).
  virtual int file_type(int fd);

  /// Adds one to an eventfd. One that is full has been rung often enough.
  void ring(int event);
  /// Sets a timer of CLOCK_REALTIME that never expires, but becomes readable when the clock is set.
  int timer_watch_clock(int timer);
};

}  // namespace runtime
