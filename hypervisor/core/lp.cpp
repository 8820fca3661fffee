// SPDX-License-Identifier: MIT
// The LP table and the grace period.

#include "hypervisor/core/lp.h"

#include "hypervisor/core/time.h"

namespace hv {

Lp* lps[kMaxLps];
unsigned lp_count = 0;
std::atomic<uint64_t> mapping_generation{0};
TimeScale time_scale;

void synchronize_lps() {
  mapping_generation.fetch_add(1);
  Lp& self = this_lp();
  uint64_t seen[kMaxLps];
  for (unsigned i = 0; i < lp_count; ++i) {
    if (!lps[i] || !lps[i]->online.load()) continue;
    lps[i]->flush_tlb.store(true);
    seen[i] = lps[i]->epoch.load();
  }
  // This LP keeps no reference while it waits; saying so lets two LPs wait for each other.
  self.leave_guest();
  for (unsigned i = 0; i < lp_count; ++i) {
    Lp* lp = lps[i];
    if (!lp || lp == &self || !lp->online.load()) continue;
    if (!lp->in_hypervisor() && !lp->idle.load()) kick_lp(*lp);
    while (lp->epoch.load() == seen[i] && !(lp->idle.load())) __builtin_ia32_pause();
  }
  self.enter_guest();
}

}  // namespace hv
