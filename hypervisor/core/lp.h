// SPDX-License-Identifier: MIT
// A logical processor as the core sees it, and the grace period that makes lock-free look-ups safe.
// Every LP is either in the hypervisor (odd epoch) or out of it, in a guest or idle (even epoch).
// What was unlinked before synchronize_lps() is unreachable after it, in software and in TLBs.
#pragma once

#include <atomic>
#include <cstdint>

#include "hypervisor/core/ids.h"

namespace hv {

struct Vp;

struct Lp {
  LpIndex index;
  ApicId apic_id;
  std::atomic<bool> online{false};
  std::atomic<uint64_t> epoch{1};
  std::atomic<bool> flush_tlb{false};
  // Set by whoever wants the scheduler to choose again at the next exit.
  std::atomic<bool> reschedule{false};
  // The VP whose state is loaded on this LP; nullptr when idle.
  std::atomic<Vp*> current{nullptr};

  // Set while the LP sleeps with no VP: it holds nothing, and flushes before it enters a guest.
  std::atomic<bool> idle{false};

  void enter_guest() { epoch.fetch_add(1); }
  void leave_guest() { epoch.fetch_add(1); }
  bool in_hypervisor() const { return (epoch.load() & 1) != 0; }
};

extern Lp* lps[kMaxLps];
extern unsigned lp_count;  // LPs that exist; `online` says which run

// Counts removals of mappings: whoever remembers a page across exits compares it.
extern std::atomic<uint64_t> mapping_generation;

Lp& this_lp();

// Waits until every other LP has left whatever guest or hypervisor context it is in now, with TLBs
// flushed before any re-enters a guest. The caller holds no lock and keeps no reference that it got
// before. Bounded: no context lasts longer than one exit.
void synchronize_lps();

// Makes `lp` leave its guest soon (an IPI; nothing if it is in the hypervisor). Supplied by arch.
void kick_lp(Lp& lp);

}  // namespace hv
