// SPDX-License-Identifier: MIT
// What a thread does at a port: waits, runs, and tells others.
#include <cerrno>
#include <condition_variable>
#include <optional>

#include "runtime/station.h"
#include "runtime/thread.h"

namespace runtime {

Seat::Seat(std::unique_ptr<Station> station) : station_(std::move(station)) {}
Seat::Seat(Seat&& other) noexcept = default;
Seat::~Seat() = default;

Port& Seat::port() const {
  return station_->port();
}

size_t Seat::wait(std::span<Packet> packets, Instant deadline) {
  return station_->wait(packets, deadline);
}

void Seat::submit() {
  station_->engine_->submit();
}

void Seat::run() {
  while (!port().stopped()) station_->wait({}, kNever);
}

// ---- threads ----------------------------------------------------------------------------------

Result<IoThreads> IoThreads::start(Port& port, unsigned count) {
  IoThreads threads(port);
  for (unsigned i = 0; i < count; ++i) {
    // The thread's own seat decides whether it can serve; its word is waited for.
    std::mutex mutex;
    std::condition_variable said;
    std::optional<std::error_code> word;
    auto body = [&port, &mutex, &said, &word] {
      auto seat = port.take_seat();
      {
        const std::lock_guard guard(mutex);
        word = seat ? std::error_code() : seat.error();
        said.notify_one();
      }
      if (seat) seat->run();
    };
    RT_TRY_ASSIGN(std::jthread thread, start_thread(port.name() + "/" + std::to_string(i), body));
    threads.threads_.push_back(std::move(thread));
    std::unique_lock lock(mutex);
    said.wait(lock, [&word] { return word.has_value(); });
    if (*word) return std::unexpected(*word);
  }
  return threads;
}

IoThreads::~IoThreads() {
  if (threads_.empty()) return;
  port_->stop();
  threads_.clear();  // joins
}

// ---- signals ----------------------------------------------------------------------------------

void Signal::set() {
  Operation* operation;
  {
    const std::lock_guard guard(mutex_);
    operation = waiters_.pop_front();
    if (!operation) set_ = true;
  }
  // In flight until its station hears this, so that the station is still there.
  if (operation) operation->station_->engine_->complete_from_outside(*operation, 0);
}

Io<void> Signal::wait() {
  return {port_, nullptr, {.code = Opcode::kSignal, .address = this}};
}

bool Signal::enroll(Operation& operation) {
  const std::lock_guard guard(mutex_);
  if (std::exchange(set_, false)) return true;
  waiters_.push_back(&operation);
  return false;
}

bool Signal::withdraw(Operation& operation) {
  const std::lock_guard guard(mutex_);
  // That it is linked says nothing: set() may have let it go, and its engine has it. Few wait.
  const Operation* waiter = waiters_.front();
  while (waiter && waiter != &operation) waiter = waiters_.next(waiter);
  if (!waiter) return false;
  waiters_.remove(&operation);
  return true;
}

}  // namespace runtime
