// SPDX-License-Identifier: MIT
// What a pool counts. Workers add to numbers of their own, without a lock or a shared cache line;
// ThreadPool::counters() sums them on reading.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/counter.h"

namespace runtime {

struct PoolCounters {
  uint64_t items = 0;      // that ran
  uint64_t cancelled = 0;  // that a closed group dropped
  uint64_t batches = 0;    // visits to the queues that brought some
  uint64_t long_items = 0;
  uint64_t timers = 0;          // expiries that made an item run
  uint64_t descriptors = 0;     // the same, of descriptors
  uint64_t forks = 0;           // that were left for others to steal
  uint64_t steals = 0;          // and were stolen
  uint64_t rescued = 0;         // items taken back from a worker that did not get to them
  uint64_t parks = 0;           // times that a worker went to sleep
  uint64_t wakes = 0;           // times that another thread woke one
  uint64_t started = 0;         // workers
  uint64_t retired = 0;         // workers
  uint64_t start_failures = 0;  // threads that the system refused
  uint64_t stand_ins = 0;       // workers added for one that was blocked
  uint64_t delays = 0;          // items whose time in the queue was measured: not all are
  uint64_t delay_ns = 0;        // their sum
  uint64_t delay_max_ns = 0;
  unsigned workers = 0;  // now
  unsigned parked = 0;   // of these
  unsigned blocked = 0;  // of these, as far as the pool has noticed
};

struct WorkerCounters {
  Counter items, cancelled, batches, long_items, forks, steals, parks, delays, delay_ns;
  std::atomic<uint64_t> delay_max_ns = 0;

  void add_delay(uint64_t nanoseconds) {
    delays.add();
    delay_ns.add(nanoseconds);
    if (nanoseconds > delay_max_ns.load(std::memory_order_relaxed))
      delay_max_ns.store(nanoseconds, std::memory_order_relaxed);
  }
  void add_to(PoolCounters& sum) const {
    sum.items += items.get();
    sum.cancelled += cancelled.get();
    sum.batches += batches.get();
    sum.long_items += long_items.get();
    sum.forks += forks.get();
    sum.steals += steals.get();
    sum.parks += parks.get();
    sum.delays += delays.get();
    sum.delay_ns += delay_ns.get();
    const uint64_t longest = delay_max_ns.load(std::memory_order_relaxed);
    if (longest > sum.delay_max_ns) sum.delay_max_ns = longest;
  }
};

}  // namespace runtime
