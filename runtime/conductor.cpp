// SPDX-License-Identifier: MIT
#include "runtime/conductor.h"

#include <sys/epoll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "runtime/pool.h"
#include "runtime/thread.h"

namespace runtime {
namespace {

// After so many ticks with nothing to look after, the conductor sleeps.
constexpr unsigned kQuietTicks = 8;
constexpr int64_t kAlwaysRing = std::numeric_limits<int64_t>::max();

// What epoll says beside ids of waits, which count from one.
constexpr uint64_t kBell = ~uint64_t{0};
constexpr uint64_t kClock = kBell - 1;

uint64_t ticks(Instant moment) {
  return static_cast<uint64_t>(std::max<int64_t>(moment.time_since_epoch().count(), 0));
}

void drain(Kernel& kernel, int fd) {
  uint64_t value;
  const iovec vector{&value, sizeof(value)};
  static_cast<void>(kernel.read(fd, &vector, 1, -1, 0));
}

Result<> add(Kernel& kernel, int epoll, int fd, uint64_t id) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
  if (const int error = kernel.epoll_control(epoll, EPOLL_CTL_ADD, fd, &event); error < 0)
    return failure(-error);
  return {};
}

Result<UniqueFd> own(int fd) {
  if (fd < 0) return failure(-fd);
  return UniqueFd(fd);
}

}  // namespace

Result<std::shared_ptr<Conductor>> Conductor::get(Kernel& kernel) {
  static std::mutex mutex;
  static std::weak_ptr<Conductor> shared;
  const std::lock_guard lock(mutex);
  const bool ours = &kernel == &Kernel::real();
  if (ours)
    if (auto conductor = shared.lock()) return conductor;
  std::shared_ptr<Conductor> conductor(new Conductor(kernel));
  RT_TRY(conductor->open());
  if (ours) shared = conductor;
  return conductor;
}

Result<> Conductor::open() {
  RT_TRY_ASSIGN(epoll_, own(kernel_.epoll_create()));
  RT_TRY_ASSIGN(bell_, own(kernel_.event_create()));
  RT_TRY(add(kernel_, epoll_.get(), bell_.get(), kBell));
  RT_TRY_ASSIGN(clock_, own(kernel_.timer_create(CLOCK_REALTIME)));
  RT_TRY(watch_clock());
  RT_TRY(add(kernel_, epoll_.get(), clock_.get(), kClock));
  RT_TRY_ASSIGN(thread_, start_thread("pool-conductor", [this] { run(); }));
  return {};
}

Conductor::~Conductor() {
  stopping_.store(true, std::memory_order_seq_cst);
  if (bell_) ring();
}

Result<> Conductor::watch_clock() {
  if (const int error = kernel_.timer_watch_clock(clock_.get()); error < 0) return failure(-error);
  return {};
}

void Conductor::attach(ThreadPool& pool) {
  const std::lock_guard lock(mutex_);
  pools_.push_back(&pool);
}

void Conductor::detach(ThreadPool& pool) {
  const std::lock_guard lock(mutex_);
  std::erase(pools_, &pool);
}

void Conductor::ring() {
  kernel_.ring(bell_.get());
}

void Conductor::start_watching() {
  if (!watching_.exchange(true, std::memory_order_seq_cst)) ring();
}

void Conductor::run() {
  std::array<epoll_event, 64> events;
  while (!stopping_.load(std::memory_order_seq_cst)) {
    // Who arms a timer from here on rings; what was armed before is seen.
    wakes_at_.store(kAlwaysRing, std::memory_order_seq_cst);
    const Instant now = kernel_.now();
    Instant wake;
    {
      const std::lock_guard lock(mutex_);
      wake = look(now);
    }
    wakes_at_.store(wake.time_since_epoch().count(), std::memory_order_seq_cst);
    const Nanoseconds left = wake - now;
    const int count = kernel_.epoll_wait(epoll_.get(), events.data(), events.size(),
                                         wake == kNever ? nullptr : &left);
    if (count <= 0) continue;  // the time has come, or a signal
    const std::lock_guard lock(mutex_);
    for (const epoll_event& event : std::span(events).first(static_cast<size_t>(count))) {
      if (event.data.u64 == kBell)
        drain(kernel_, bell_.get());
      else if (event.data.u64 == kClock)
        clock_was_set();
      else
        dispatch(event.data.u64, event.events);
    }
  }
}

Instant Conductor::look(Instant now) {
  deadlines_.advance(ticks(now), [this](base::WheelTimer& link) {
    auto& wait = static_cast<WaitMember&>(link);
    waits_.erase(std::exchange(wait.id_, 0));
    wait.events_.store(0, std::memory_order_relaxed);
    wait.fire(false);
  });
  constexpr auto kEnd = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const auto next = static_cast<int64_t>(std::min(deadlines_.next_expiry(), kEnd));
  Instant wake{Nanoseconds(next)};
  bool needed = false;
  for (ThreadPool* const pool : pools_) {
    wake = std::min(wake, pool->keep_shelves(now));
    needed |= pool->look_after(now);
  }
  if (!watching_.load(std::memory_order_relaxed)) return wake;
  quiet_ticks_ = needed ? 0 : quiet_ticks_ + 1;
  if (quiet_ticks_ < kQuietTicks) return std::min(wake, now + kTick);
  quiet_ticks_ = 0;
  watching_.store(false, std::memory_order_seq_cst);
  // Work that was queued by somebody who still saw `watching`.
  for (ThreadPool* const pool : pools_)
    if (pool->look_after(now)) {
      watching_.store(true, std::memory_order_seq_cst);
      return std::min(wake, now + kTick);
    }
  return wake;
}

void Conductor::clock_was_set() {
  drain(kernel_, clock_.get());
  // Should it fail, timers of the wall clock are no longer early or late by a change's amount only
  // if they are armed after it; there is nothing better to do.
  [[maybe_unused]] const Result<> watched = watch_clock();
  for (ThreadPool* const pool : pools_) pool->clock_was_set();
}

void Conductor::dispatch(uint64_t id, uint32_t events) {
  const auto found = waits_.find(id);
  if (found == waits_.end()) return;  // withdrawn, or armed anew, after epoll had said so
  WaitMember& wait = *found->second;
  waits_.erase(found);
  wait.id_ = 0;
  deadlines_.cancel(wait);
  wait.events_.store(events, std::memory_order_relaxed);
  ThreadPool& pool = wait.group().pool();
  if (wait.fire(false)) pool.count_descriptor();
}

Result<> Conductor::register_wait(WaitMember& wait, uint32_t events, Instant deadline) {
  if (wait.group().closed()) return failure(ECANCELED);
  forget(wait);
  epoll_event event{.events = events | EPOLLONESHOT, .data = {.u64 = ++last_id_}};
  int error = -ENOENT;
  if (wait.registered_)
    error = kernel_.epoll_control(epoll_.get(), EPOLL_CTL_MOD, wait.fd_, &event);
  if (error == -ENOENT)  // also when the descriptor was closed and is another one now
    error = kernel_.epoll_control(epoll_.get(), EPOLL_CTL_ADD, wait.fd_, &event);
  wait.registered_ = error == 0;
  if (error < 0) return failure(-error);
  wait.id_ = last_id_;
  waits_.emplace(wait.id_, &wait);
  wait.set_armed();
  if (deadline != kNever) deadlines_.arm(wait, ticks(deadline));
  return {};
}

void Conductor::forget(WaitMember& wait) {
  if (wait.id_ != 0) waits_.erase(std::exchange(wait.id_, 0));
  deadlines_.cancel(wait);
}

Result<> WaitMember::arm(uint32_t events, Instant deadline) {
  Conductor& conductor = group().pool().conductor();
  {
    const std::lock_guard lock(conductor.mutex_);
    RT_TRY(conductor.register_wait(*this, events, deadline));
  }
  if (deadline != kNever) conductor.wake_by(deadline);
  return {};
}

void WaitMember::withdraw() {
  Conductor& conductor = group().pool().conductor();
  const std::lock_guard lock(conductor.mutex_);
  conductor.forget(*this);
  if (std::exchange(registered_, false))
    static_cast<void>(
        conductor.kernel_.epoll_control(conductor.epoll_.get(), EPOLL_CTL_DEL, fd_, nullptr));
}

}  // namespace runtime
