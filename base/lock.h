// SPDX-License-Identifier: MIT
// Spin locks with ranks. A processor may take a lock only of a higher rank than all it holds;
// builds with PARTITA_LOCK_RANKS check that through lock_rank_enter/leave, which the environment
// supplies. The order is in docs/locking.md.
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__clang__)
#define HV_CAPABILITY(name) __attribute__((capability(name)))
#define HV_SCOPED_CAPABILITY __attribute__((scoped_lockable))
#define HV_GUARDED_BY(lock) __attribute__((guarded_by(lock)))
#define HV_REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define HV_ACQUIRE(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define HV_RELEASE(...) __attribute__((release_capability(__VA_ARGS__)))
#define HV_UNCHECKED __attribute__((no_thread_safety_analysis))
#else
#define HV_CAPABILITY(name)
#define HV_SCOPED_CAPABILITY
#define HV_GUARDED_BY(lock)
#define HV_REQUIRES(...)
#define HV_ACQUIRE(...)
#define HV_RELEASE(...)
#define HV_UNCHECKED
#endif

namespace base {

#if defined(PARTITA_LOCK_RANKS)
void lock_rank_enter(uint8_t rank);
void lock_rank_leave(uint8_t rank);
#else
inline void lock_rank_enter(uint8_t) {}
inline void lock_rank_leave(uint8_t) {}
#endif

class HV_CAPABILITY("spinlock") SpinLock {
 public:
  explicit constexpr SpinLock(uint8_t rank) : rank_(rank) {}
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() HV_ACQUIRE() {
    lock_rank_enter(rank_);
    while (locked_.exchange(true, std::memory_order_acquire)) {
      while (locked_.load(std::memory_order_relaxed)) __builtin_ia32_pause();
    }
  }
  void unlock() HV_RELEASE() {
    locked_.store(false, std::memory_order_release);
    lock_rank_leave(rank_);
  }

 private:
  std::atomic<bool> locked_{false};
  uint8_t rank_;
};

class HV_SCOPED_CAPABILITY Guard {
 public:
  explicit Guard(SpinLock& lock) HV_ACQUIRE(lock) : lock_(lock) { lock_.lock(); }
  ~Guard() HV_RELEASE() { lock_.unlock(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace base
