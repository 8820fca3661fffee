// SPDX-License-Identifier: MIT
#include "runtime/blocking_threads.h"

#include <algorithm>
#include <cerrno>

#include "runtime/engine.h"
#include "runtime/thread.h"
#include "runtime/transfer.h"

namespace runtime {

BlockingThreads::~BlockingThreads() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  threads_.clear();  // joins
}

Result<> BlockingThreads::submit(Operation& operation, Engine& engine) {
  const std::lock_guard guard(mutex_);
  if (idle_ <= jobs_.size() && threads_.size() < limit_) {
    auto thread = start_thread("io-blocking", [this] { run(); });
    if (thread)
      threads_.push_back(*std::move(thread));
    else if (threads_.empty())
      return std::unexpected(thread.error());
  }
  jobs_.push_back({&operation, &engine});
  work_.notify_one();
  return {};
}

bool BlockingThreads::withdraw(Operation& operation) {
  const std::lock_guard guard(mutex_);
  return std::erase_if(jobs_, [&](const Job& job) { return job.operation == &operation; }) > 0;
}

void BlockingThreads::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    work_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    --idle_;
    if (jobs_.empty()) return;
    const Job job = jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    job.engine->complete_from_outside(*job.operation, carry_out(*job.operation));
    lock.lock();
  }
}

int32_t BlockingThreads::carry_out(const Operation& operation) {
  const Opcode code = operation.request_.code;
  for (;;) {
    int64_t result = -EINVAL;
    if (code == Opcode::kSync || code == Opcode::kDataSync)
      result = kernel_.sync(operation.fd_, code == Opcode::kDataSync);
    else if (is_file_transfer(code))
      result = transfer(kernel_, operation.fd_, operation.request_, 0);
    if (result != -EINTR) return static_cast<int32_t>(result);
  }
}

}  // namespace runtime
