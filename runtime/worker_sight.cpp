// SPDX-License-Identifier: MIT
#include "runtime/worker_sight.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace runtime {
namespace {

/// Shorter times say nothing.
constexpr Nanoseconds kLeastTime{1'000'000};

/// Nothing: the thread has ended.
std::optional<Nanoseconds> cpu_time(clockid_t clock) {
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) return std::nullopt;
  return std::chrono::seconds(time.tv_sec) + Nanoseconds(time.tv_nsec);
}

}  // namespace

void WorkerTraces::introduce() {
  clockid_t clock;
  if (::pthread_getcpuclockid(::pthread_self(), &clock) != 0) clock = -1;
  cpu_clock.store(clock, std::memory_order_relaxed);
  thread.store(::gettid(), std::memory_order_release);
}

WorkerSight::Verdict WorkerSight::look(const WorkerTraces& traces, uint64_t sleeps, Instant now) {
  const pid_t thread = traces.thread.load(std::memory_order_acquire);
  const auto cpu = cpu_time(traces.cpu_clock.load(std::memory_order_relaxed));
  if (thread == 0 || !cpu) {
    forget();
    return Verdict::kUnclear;
  }
  if (thread != thread_) {
    const std::string file = "/proc/self/task/" + std::to_string(thread) + "/stat";
    state_ = UniqueFd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    thread_ = thread;
    forget();
  }
  Verdict verdict = Verdict::kUnclear;
  if (at_ != kNever && sleeps_ == sleeps) {
    const Nanoseconds time = now - at_;
    if (time < kLeastTime) return Verdict::kUnclear;
    if (*cpu - cpu_ >= time / 4) {
      verdict = Verdict::kBusy;
    } else {
      // Between items it may wait for a lock of the pool, which is no reason to replace it.
      const uint32_t run = traces.run.load(std::memory_order_acquire);
      if (run % 2 == 1 && is_waiting() && traces.run.load(std::memory_order_acquire) == run)
        verdict = Verdict::kBlocked;
    }
  }
  at_ = now;
  cpu_ = *cpu;
  sleeps_ = sleeps;
  return verdict;
}

// Neither running nor ready to run. Where /proc cannot be read, what used no time counts as such.
bool WorkerSight::is_waiting() {
  if (!state_) return true;
  std::array<char, 128> text;
  const ssize_t length = ::pread(state_.get(), text.data(), text.size(), 0);
  if (length <= 0) return false;
  const std::string_view words(text.data(), static_cast<size_t>(length));
  const size_t name_end = words.rfind(") ");  // a name may have parentheses of its own
  return name_end != words.npos && words.substr(name_end + 2).substr(0, 1) != "R";
}

}  // namespace runtime
