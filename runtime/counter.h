// SPDX-License-Identifier: MIT
// A number that one thread adds to and any thread reads, at the price of a plain variable.
#pragma once

#include <atomic>
#include <cstdint>

namespace runtime {

/// One writer, any number of readers.
class Counter {
 public:
  void add(uint64_t amount = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_ = 0;
};

}  // namespace runtime
