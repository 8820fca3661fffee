// SPDX-License-Identifier: MIT
#include "runtime/kernel.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace runtime {
namespace {

template <class T>
T answer(T value) {
  return value < 0 ? static_cast<T>(-errno) : value;
}

__kernel_timespec to_timespec(Nanoseconds duration) {
  const int64_t nanoseconds = std::max<int64_t>(duration.count(), 0);
  return {.tv_sec = nanoseconds / 1'000'000'000, .tv_nsec = nanoseconds % 1'000'000'000};
}

}  // namespace

Kernel& Kernel::real() {
  static Kernel kernel;
  return kernel;
}

Instant Kernel::now() {
  return std::chrono::steady_clock::now();
}
WallTime Kernel::wall_now() {
  return std::chrono::system_clock::now();
}

int Kernel::ring_setup(unsigned entries, io_uring_params& parameters) {
  return io_uring_setup(entries, &parameters);
}

int Kernel::ring_map(int fd, io_uring_params& parameters, io_uring& ring) {
  const int result = io_uring_queue_mmap(fd, &parameters, &ring);
  if (result < 0) ::close(fd);
  return result;
}

void Kernel::ring_unmap(io_uring& ring) {
  io_uring_queue_exit(&ring);
}

int Kernel::ring_enter(io_uring& ring, unsigned to_submit, unsigned min_complete, unsigned flags,
                       const Nanoseconds* timeout) {
  if (!timeout)
    return io_uring_enter2(static_cast<unsigned>(ring.ring_fd), to_submit, min_complete, flags,
                           nullptr, _NSIG / 8);
  const __kernel_timespec time = to_timespec(*timeout);
  io_uring_getevents_arg argument{};
  argument.ts = reinterpret_cast<uint64_t>(&time);
  // liburing 2.3 declares the argument as a signal set; with EXT_ARG the kernel reads this instead.
  return io_uring_enter2(static_cast<unsigned>(ring.ring_fd), to_submit, min_complete,
                         flags | IORING_ENTER_EXT_ARG, reinterpret_cast<sigset_t*>(&argument),
                         sizeof(argument));
}

int Kernel::ring_register(int fd, unsigned opcode, const void* argument, unsigned count) {
  return io_uring_register(static_cast<unsigned>(fd), opcode, argument, count);
}

int Kernel::epoll_create() {
  return answer(::epoll_create1(EPOLL_CLOEXEC));
}

int Kernel::epoll_control(int epoll, int operation, int fd, epoll_event* event) {
  return answer(::epoll_ctl(epoll, operation, fd, event));
}

int Kernel::epoll_wait(int epoll, epoll_event* events, int count, const Nanoseconds* timeout) {
  if (!timeout) return answer(::epoll_wait(epoll, events, count, -1));
  const __kernel_timespec time = to_timespec(*timeout);
  return answer(static_cast<int>(
      ::syscall(SYS_epoll_pwait2, epoll, events, count, &time, nullptr, _NSIG / 8)));
}

int Kernel::barrier_prepare() {
  return answer(
      static_cast<int>(::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0)));
}
int Kernel::barrier() {
  return answer(
      static_cast<int>(::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)));
}

int Kernel::event_create() {
  return answer(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}
int Kernel::timer_create(int clock) {
  return answer(::timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK));
}
int Kernel::timer_set(int fd, int flags, const itimerspec& when) {
  return answer(::timerfd_settime(fd, flags, &when, nullptr));
}
int Kernel::close(int fd) {
  return answer(::close(fd));
}

ssize_t Kernel::read(int fd, const iovec* vector, int count, int64_t offset, int flags) {
  return answer(::preadv2(fd, vector, count, offset, flags));
}
ssize_t Kernel::write(int fd, const iovec* vector, int count, int64_t offset, int flags) {
  return answer(::pwritev2(fd, vector, count, offset, flags));
}
int Kernel::sync(int fd, bool data_only) {
  return answer(data_only ? ::fdatasync(fd) : ::fsync(fd));
}
ssize_t Kernel::receive(int fd, msghdr& message, int flags) {
  return answer(::recvmsg(fd, &message, flags));
}
ssize_t Kernel::send(int fd, const msghdr& message, int flags) {
  return answer(::sendmsg(fd, &message, flags));
}
int Kernel::accept(int fd, sockaddr* address, socklen_t* length, int flags) {
  return answer(::accept4(fd, address, length, flags));
}
int Kernel::connect(int fd, const sockaddr* address, socklen_t length) {
  return answer(::connect(fd, address, length));
}
int Kernel::socket_error(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return -errno;
  return -error;
}
int Kernel::poll(int fd, short events) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  const int count = ::poll(&entry, 1, 0);
  return count < 0 ? -errno : entry.revents;
}
int Kernel::set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  return answer(::fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}
int Kernel::file_type(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) < 0) return -errno;
  return static_cast<int>(status.st_mode & S_IFMT);
}

void Kernel::ring(int event) {
  const uint64_t one = 1;
  const iovec vector{.iov_base = const_cast<uint64_t*>(&one), .iov_len = sizeof(one)};
  while (write(event, &vector, 1, -1, 0) == -EINTR) {
  }
}

int Kernel::timer_watch_clock(int timer) {
  itimerspec never{};
  never.it_value.tv_sec = std::numeric_limits<int32_t>::max();
  return timer_set(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, never);
}

}  // namespace runtime
