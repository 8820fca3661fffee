// SPDX-License-Identifier: MIT
// A small number of the calling thread, by which threads are spread over lanes and shelves: given
// in the order in which they first ask.
#pragma once

#include <atomic>

namespace runtime {

inline unsigned thread_ordinal() {
  static constinit std::atomic<unsigned> last = 0;
  static constinit thread_local unsigned ordinal = 0;
  if (ordinal == 0) [[unlikely]]
    ordinal = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return ordinal;
}

}  // namespace runtime
