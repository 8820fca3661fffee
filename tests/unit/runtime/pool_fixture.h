// SPDX-License-Identifier: MIT
// What the pool's tests share. They wait for events, with a limit that only a hang reaches.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <semaphore>
#include <thread>
#include <utility>

#include "runtime/pool.h"

namespace runtime {

using namespace std::chrono_literals;

inline constexpr auto kLimit = 120s;

template <class Condition>
bool eventually(Condition condition) {
  const auto limit = std::chrono::steady_clock::now() + kLimit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(200us);
  }
  return true;
}

/// Holds up whoever passes, until it is opened.
class Gate {
 public:
  void open() { open_.store(true); }
  void pass() const {
    while (!open_.load()) std::this_thread::sleep_for(100us);
  }

 private:
  std::atomic<bool> open_ = false;
};

class PoolTestBase : public testing::Test {
 protected:
  static std::unique_ptr<ThreadPool> make_pool(const PoolOptions& options = {},
                                               Kernel& kernel = Kernel::real()) {
    auto pool = ThreadPool::create(options, kernel);
    EXPECT_TRUE(pool.has_value());
    return pool ? std::move(*pool) : nullptr;
  }
};

}  // namespace runtime
