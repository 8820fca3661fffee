// SPDX-License-Identifier: MIT
#include "vmwp/event_loop.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vmwp {

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll || !wake) return fail(fmt::format("event loop: {}", std::strerror(errno)));
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(epoll), std::move(wake)));
  const EventLoop* self = loop.get();
  if (!loop->watch(loop->wake_.get(), EPOLLIN, [self](uint32_t) { self->drain_wake(); })) {
    return fail(fmt::format("event loop: {}", std::strerror(errno)));
  }
  return loop;
}

bool EventLoop::watch(int fd, uint32_t events, Callback callback) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  const int operation = callbacks_.contains(fd) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) < 0) return false;
  callbacks_[fd] = std::make_shared<Callback>(std::move(callback));
  return true;
}

void EventLoop::modify(int fd, uint32_t events) {
  if (!callbacks_.contains(fd)) return;
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::forget(int fd) {
  if (callbacks_.erase(fd) != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::run() {
  std::array<epoll_event, 16> events;
  while (!stopped_) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    for (int i = 0; i < count && !stopped_; ++i) {
      const auto found = callbacks_.find(events[static_cast<size_t>(i)].data.fd);
      if (found == callbacks_.end()) continue;  // forgotten by a callback before
      const auto callback = found->second;      // it may forget itself
      (*callback)(events[static_cast<size_t>(i)].events);
    }
  }
}

void EventLoop::drain_wake() const {
  uint64_t count;
  if (::read(wake_.get(), &count, sizeof(count)) < 0) return;
}

void EventLoop::stop() {
  stopped_ = true;
  const uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof(one)) < 0) return;  // full: it wakes up anyway
}

Doorbell::Doorbell() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void Doorbell::ring() const {
  const uint64_t one = 1;
  if (::write(fd_.get(), &one, sizeof(one)) < 0) return;  // full: it is ringing already
}

void Doorbell::drain() const {
  uint64_t count;
  if (::read(fd_.get(), &count, sizeof(count)) < 0) return;
}

Timer::Timer() : fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {}

void Timer::arm(uint64_t deadline_ns) const {
  constexpr uint64_t kNsPerSecond = 1'000'000'000;
  itimerspec when{};
  if (deadline_ns != UINT64_MAX) {
    deadline_ns = std::max<uint64_t>(deadline_ns, 1);  // 0 would disarm
    when.it_value.tv_sec = static_cast<time_t>(deadline_ns / kNsPerSecond);
    when.it_value.tv_nsec = static_cast<long>(deadline_ns % kNsPerSecond);
  }
  ::timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Timer::drain() const {
  uint64_t count;
  if (::read(fd_.get(), &count, sizeof(count)) < 0) return;
}

}  // namespace vmwp
