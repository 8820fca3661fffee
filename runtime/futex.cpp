// SPDX-License-Identifier: MIT
#include "runtime/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace runtime {
namespace {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

uint32_t* address(std::atomic<uint32_t>& word) {
  return reinterpret_cast<uint32_t*>(&word);
}

}  // namespace

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected, Instant deadline) {
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t moment = deadline.time_since_epoch().count();
  const timespec absolute{.tv_sec = moment / kSecond, .tv_nsec = moment % kSecond};
  // With a bit set the timeout is a moment of CLOCK_MONOTONIC.
  ::syscall(SYS_futex, address(word), FUTEX_WAIT_BITSET_PRIVATE, expected,
            deadline == kNever ? nullptr : &absolute, nullptr, FUTEX_BITSET_MATCH_ANY);
}

void futex_wake(std::atomic<uint32_t>& word, int count) {
  ::syscall(SYS_futex, address(word), FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

}  // namespace runtime
