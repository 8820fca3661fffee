// SPDX-License-Identifier: MIT
// Waiting for a word to change, and waking who waits. Both may return for no reason: callers look
// at the word. Waking needs the address alone, so the word may be gone by then.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/time.h"

namespace runtime {

/// Returns when the word is not `expected`, when it was woken, or at the deadline.
void futex_wait(std::atomic<uint32_t>& word, uint32_t expected, Instant deadline = kNever);
void futex_wake(std::atomic<uint32_t>& word, int count = 1);

}  // namespace runtime
