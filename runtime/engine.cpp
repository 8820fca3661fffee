// SPDX-License-Identifier: MIT
#include "runtime/engine.h"

namespace runtime {

void Engine::complete_from_outside(Operation& operation, int32_t result) {
  bool first;
  {
    const std::lock_guard guard(outside_mutex_);
    operation.result_ = result;
    outside_.push_back(&operation);
    first = !outside_waits_.exchange(true, std::memory_order_release);
    // Within the lock: the owner may delete this engine as soon as it has taken the operation.
    if (first) wake();
  }
}

void Engine::take_from_outside() {
  if (!outside_waits()) return;
  const std::lock_guard guard(outside_mutex_);
  outside_waits_.store(false, std::memory_order_relaxed);
  while (Operation* operation = outside_.pop_front()) complete(*operation, operation->result_);
}

}  // namespace runtime
