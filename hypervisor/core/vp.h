// SPDX-License-Identifier: MIT
// A virtual processor, as far as no architecture is concerned; hypervisor/arch/x86 derives Vcpu
// from it. Other LPs talk to a VP only through `requests` and `suspend`, then wake() or kick it:
// the LP that runs the VP consumes them before the next entry.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/list.h"
#include "hypervisor/core/address.h"
#include "hypervisor/core/ids.h"
#include "hypervisor/core/lp.h"
#include "hypervisor/core/synic.h"
#include "hypervisor/core/synthetic_timer.h"
#include "hypervisor/core/time.h"

namespace hv {

struct Partition;

// Bits of Vp::requests.
enum class VpRequest : uint64_t {
  interrupt = 1 << 0,  // the virtual local APIC may have something to deliver
  nmi = 1 << 1,        // one NMI is pending
  init = 1 << 2,       // INIT arrived
  startup = 1 << 3,    // SIPI arrived; its vector is in Vp::startup_vector
  extint = 1 << 4,     // an external (8259) vector is pending in Vp::extint_vector
  flush_guest_tlb = 1 << 5,
  timer = 1 << 6,     // a deadline of this VP may have passed
  evaluate = 1 << 7,  // nothing but a reason to look again (registers or suspension changed)
};

// Bits of Vp::suspend; a VP executes only while all are clear.
enum class VpSuspend : uint32_t {
  explicit_suspend = 1 << 0,   // HvRegisterExplicitSuspend
  intercept_suspend = 1 << 1,  // HvRegisterInterceptSuspend: a message waits for the parent
  wait_for_startup = 1 << 2,   // after INIT, until SIPI
  halted = 1 << 3,             // HLT or guest idle, until an event
  stopped = 1 << 4,            // being deleted, or its partition is
};

// While one of these is set, the VP is the parent's to look at and to change.
inline constexpr uint32_t kHeldByParent = static_cast<uint32_t>(VpSuspend::explicit_suspend) |
                                          static_cast<uint32_t>(VpSuspend::intercept_suspend) |
                                          static_cast<uint32_t>(VpSuspend::stopped);

struct VpCounters {
  uint64_t exits = 0, hypercalls = 0, intercepts = 0, interrupts = 0, switches = 0;
  uint64_t cpuid = 0, msr = 0, halts = 0, faults = 0;
  uint64_t runtime_tsc = 0;
};

struct Vp {
  Vp(Partition& owner, VpIndex vp_index) : partition(owner), index(vp_index) {}
  Vp(const Vp&) = delete;
  Vp& operator=(const Vp&) = delete;

  Partition& partition;
  const VpIndex index;

  std::atomic<uint64_t> requests{0};
  std::atomic<uint32_t> suspend{static_cast<uint32_t>(VpSuspend::explicit_suspend)};
  std::atomic<uint8_t> startup_vector{0};
  std::atomic<uint8_t> extint_vector{0};

  // Owned by the scheduler (hypervisor/sched), under the run queue's lock of `home`.
  enum class RunState : uint8_t { blocked, ready, running };
  base::ListLink<Vp> run_link;
  RunState run_state = RunState::blocked;
  std::atomic<Lp*> home{nullptr};
  bool pinned = false;     // root VP i lives on LP i
  uint64_t run_since = 0;  // TSC when it got its LP
  uint64_t slice_end = 0;
  uint64_t virtual_time = 0;  // what it has had of its LP, by its weight; see run_queue.h

  // Earliest TSC at which this VP wants VpRequest::timer; kNever if at no time. Owned by `home`'s
  // LP.
  base::ListLink<Vp> timer_link;
  uint64_t deadline = kNever;

  Synic synic;
  SyntheticTimers timers;

  // Where intercept messages for the parent go, mapped by HvCallMapVpStatePage; zero until mapped.
  Spa intercept_page;
  Spa register_page;
  Spa stats_page;

  VpCounters counters;

  bool has(VpRequest request) const {
    return (requests.load(std::memory_order_acquire) & static_cast<uint64_t>(request)) != 0;
  }
  bool take(VpRequest request) {
    const auto bit = static_cast<uint64_t>(request);
    return (requests.load(std::memory_order_relaxed) & bit) != 0 &&
           (requests.fetch_and(~bit, std::memory_order_acq_rel) & bit) != 0;
  }
  bool is(VpSuspend bit) const {
    return (suspend.load(std::memory_order_acquire) & static_cast<uint32_t>(bit)) != 0;
  }
  void add(VpSuspend bit) { suspend.fetch_or(static_cast<uint32_t>(bit)); }
  void remove(VpSuspend bit) { suspend.fetch_and(~static_cast<uint32_t>(bit)); }
};

}  // namespace hv
