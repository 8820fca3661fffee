// SPDX-License-Identifier: MIT
// Threads that carry out what would block an I/O thread of the epoll engine: files and devices that
// cannot be waited for. They come with the first request, up to a limit, and stay until the end.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/kernel.h"
#include "runtime/operation.h"

namespace runtime {

class BlockingThreads {
 public:
  BlockingThreads(Kernel& kernel, unsigned limit) : kernel_(kernel), limit_(limit) {}
  ~BlockingThreads();

  /// The result goes to `engine`, from outside. An error means that nothing was accepted.
  Result<> submit(Operation& operation, Engine& engine);
  /// True: it had not begun, and will not.
  bool withdraw(Operation& operation);

 private:
  struct Job {
    Operation* operation;
    Engine* engine;
  };

  void run();
  int32_t carry_out(const Operation& operation);

  Kernel& kernel_;
  const unsigned limit_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Job> jobs_;
  std::vector<std::jthread> threads_;
  unsigned idle_ = 0;
  bool stopping_ = false;
};

}  // namespace runtime
