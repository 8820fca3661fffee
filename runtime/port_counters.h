// SPDX-License-Identifier: MIT
// What a port counts. Each seat adds to its own numbers, without a lock or a shared cache line;
// Port::counters() sums them on reading. Sums of different numbers may be of slightly different
// instants.
#pragma once

#include <cstdint>

#include "runtime/counter.h"

namespace runtime {

struct PortCounters {
  uint64_t operations = 0;     // completions delivered, posted packets among them
  uint64_t batches = 0;        // waits that delivered at least one
  uint64_t hand_overs = 0;     // requests issued for a thread that has no seat
  uint64_t wakeups = 0;        // waiting threads that another thread woke
  uint64_t turns = 0;          // visits to the kernel to submit, complete or wait
  uint64_t retries = 0;        // visits that the kernel refused for want of something
  uint64_t interruptions = 0;  // completions done while their owner computed (control arm)
  uint64_t inline_completions = 0;
  uint64_t cancels = 0;         // cancel requests given to an engine
  uint64_t queued = 0;          // packets that went through the port's queue
  uint64_t queue_delay_ns = 0;  // their time in it, summed
};

struct alignas(64) SeatCounters {
  Counter operations, batches, hand_overs, turns, retries, interruptions, inline_completions,
      cancels, queued, queue_delay_ns;

  void add_to(PortCounters& sum) const {
    sum.operations += operations.get();
    sum.batches += batches.get();
    sum.hand_overs += hand_overs.get();
    sum.turns += turns.get();
    sum.retries += retries.get();
    sum.interruptions += interruptions.get();
    sum.inline_completions += inline_completions.get();
    sum.cancels += cancels.get();
    sum.queued += queued.get();
    sum.queue_delay_ns += queue_delay_ns.get();
  }
};

}  // namespace runtime
