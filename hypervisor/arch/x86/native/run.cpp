// SPDX-License-Identifier: MIT
// The main loop of an LP: choose a VP, run it until something else should run, idle.

#include "hypervisor/arch/x86/native/run.h"

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/machine.h"
#include "hypervisor/arch/x86/msr.h"
#include "hypervisor/arch/x86/requests.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/core/hypercall.h"
#include "hypervisor/core/log.h"
#include "hypervisor/sched/run_queue.h"

namespace hv {

Lp& this_lp() {
  return x86::this_x86_lp();
}
uint8_t* hypercall_buffer() {
  return x86::this_x86_lp().hypercall_pages;
}

void kick_lp(Lp& lp) {
  if (&lp != &this_lp() && !lp.in_hypervisor())
    x86::apic_send_ipi(lp.apic_id.value(), x86::host_vector::kKick);
}

namespace x86 {
namespace {

void arm_timer(X86Lp& lp, const Vp* running) {
  const uint64_t next = sched::next_event(lp, running);
  if (next == lp.programmed_deadline) return;
  lp.programmed_deadline = next;
  apic_arm_timer(next);
}

void load(X86Lp& lp, Vcpu& vcpu) {
  if (lp.loaded == &vcpu) return;
  if (lp.loaded) save_state(*lp.loaded);
  load_state(vcpu);
  lp.loaded = &vcpu;
  ++vcpu.counters.switches;
}

// A VP that others may look at, move or free must be whole in memory.
void unload(X86Lp& lp, Vcpu& vcpu) {
  if (vcpu.pinned || lp.loaded != &vcpu) return;
  save_state(vcpu);
  lp.loaded = nullptr;
}

// The timer fired or was never armed: deadlines may have passed, and the VP's slice may be over.
bool timer_says_leave(X86Lp& lp, const Vcpu& vcpu) {
  const uint64_t now = read_tsc();
  sched::expire(lp, now);
  return now >= vcpu.slice_end && sched::others_wait(lp);
}

void run_vp(X86Lp& lp, Vcpu& vcpu) {
  load(lp, vcpu);
  for (;;) {
    if (lp.programmed_deadline == kNever && timer_says_leave(lp, vcpu)) break;
    if (!process_requests(vcpu) || lp.reschedule.load(std::memory_order_relaxed)) break;
    arm_timer(lp, &vcpu);
    svm::enter(lp, lp.asids, lp.host_vmcb, vcpu);
  }
  unload(lp, vcpu);
  sched::put_back(lp, vcpu);
}

void idle(X86Lp& lp) {
  lp.idle.store(true);
  lp.leave_guest();
  sched::expire(lp, read_tsc());
  arm_timer(lp, nullptr);
  if (!lp.reschedule.load()) cpu::wait_for_interrupt();
  lp.enter_guest();
  lp.idle.store(false);
  sched::expire(lp, read_tsc());
}

}  // namespace

void end_level_interrupt(uint8_t vector) {
  level_eoi(this_x86_lp(), vector);
}

void run_lp() {
  X86Lp& lp = this_x86_lp();
  for (;;) {
    // A physical NMI is the root's, whatever it interrupted.
    Vp* const root_vp = root_partition->vp(VpIndex{lp.index.value()});
    if (lp.nmi_arrived.exchange(false) && root_vp) post_request(*root_vp, VpRequest::nmi);
    if (Vp* vp = sched::pick(lp))
      run_vp(lp, as_vcpu(*vp));
    else
      idle(lp);
  }
}

}  // namespace x86
}  // namespace hv
