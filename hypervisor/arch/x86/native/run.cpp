// SPDX-License-Identifier: MIT
// The main loop of an LP: choose a VP, run it until something else should run, idle. Everything
// that another LP may have asked for is looked at after `epoch` says "in the guest" and before
// VMRUN, so a kick is needed only while that is so.

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

uint32_t asid_count() {
  static const uint32_t count = cpu::cpuid(0x8000000a, 0).ebx;
  return count;
}

// Tags are handed out anew per LP; when they run out, or memory changed hands, all are flushed.
void prepare_tlb(X86Lp& lp, Vcpu& vcpu) {
  svm::Vmcb& v = *vcpu.vmcb;
  v.tlb_control = svm::TlbControl::none;
  bool flush = lp.flush_tlb.load(std::memory_order_relaxed) && lp.flush_tlb.exchange(false);
  if (vcpu.asid_lp != &lp || vcpu.asid_generation != lp.asid_generation) [[unlikely]] {
    if (lp.next_asid == asid_count()) {
      ++lp.asid_generation;
      lp.next_asid = 1;
      flush = true;
    }
    vcpu.asid_lp = &lp;
    vcpu.asid_generation = lp.asid_generation;
    v.asid = lp.next_asid++;
  }
  if (flush) [[unlikely]]
    v.tlb_control = svm::TlbControl::flush_all;
}

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

bool must_leave(const X86Lp& lp, const Vcpu& vcpu) {
  return lp.reschedule.load() || lp.flush_tlb.load() || vcpu.requests.load() || vcpu.suspend.load();
}

void enter(X86Lp& lp, Vcpu& vcpu) {
  svm::Vmcb& v = *vcpu.vmcb;
  prepare_tlb(lp, vcpu);
  v.virtual_interrupt = svm::VirtualInterrupt::Tpr::set(v.virtual_interrupt, vcpu.apic.tpr() >> 4);
  svm::prepare_injection(vcpu);
  lp.leave_guest();  // the epoch turns even: from here on a kick interrupts the guest
  if (must_leave(lp, vcpu)) [[unlikely]] {
    lp.enter_guest();
    // Nothing was delivered: keep the event for the next try.
    if (vcpu.offered_vector >= 0) svm::settle_injection(vcpu);
    vcpu.event.raw = v.event_injection;
    return;
  }
  svm::svm_enter(vcpu.gpr.data(), vcpu.vmcb_page.value(), lp.host_vmcb.value());
  lp.enter_guest();
  svm::handle_exit(vcpu);
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
    enter(lp, vcpu);
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

Vcpu& current_vcpu() {
  return *this_x86_lp().loaded;
}

void end_level_interrupt(uint8_t vector) {
  level_eoi(this_x86_lp(), vector);
}

void take_nmi() {
  // With GIF set again it is taken through the IDT before the next instruction.
  X86Lp& lp = this_x86_lp();
  lp.nmi_arrived = false;
  if (Vp* root_vp = root_partition->vp(VpIndex{lp.index.value()}))
    post_request(*root_vp, VpRequest::nmi);
}

void run_lp() {
  X86Lp& lp = this_x86_lp();
  for (;;) {
    if (Vp* vp = sched::pick(lp))
      run_vp(lp, as_vcpu(*vp));
    else
      idle(lp);
  }
}

}  // namespace x86
}  // namespace hv
