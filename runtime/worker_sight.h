// SPDX-License-Identifier: MIT
// Whether a worker's thread is blocked, seen from outside: it used little time since the last look,
// though it did not sleep for want of work, and waits for something now. For the conductor, which
// looks every few milliseconds while work does not move.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <ctime>

#include "runtime/time.h"
#include "runtime/unique_fd.h"

namespace runtime {

/// What a worker shows of itself.
struct WorkerTraces {
  /// By the thread itself, before anything else.
  void introduce();
  void begin_run() { run.exchange(run.load(std::memory_order_relaxed) + 1); }
  void end_run() { run.store(run.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }

  std::atomic<uint32_t> run = 0;  // odd while it is inside items
  std::atomic<clockid_t> cpu_clock = -1;
  std::atomic<pid_t> thread = 0;
};

class WorkerSight {
 public:
  enum class Verdict : uint8_t {
    kUnclear,  // as before
    kBlocked,
    kBusy,
  };

  /// `sleeps`: how often it went to sleep for want of work. Needs no lock.
  Verdict look(const WorkerTraces& traces, uint64_t sleeps, Instant now);
  void forget() { at_ = kNever; }

 private:
  bool is_waiting();

  pid_t thread_ = 0;
  UniqueFd state_;  // /proc's account of it
  Instant at_ = kNever;
  Nanoseconds cpu_{0};
  uint64_t sleeps_ = 0;
};

}  // namespace runtime
