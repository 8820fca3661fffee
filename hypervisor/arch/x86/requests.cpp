// SPDX-License-Identifier: MIT
// Requests in the order of [APM2 8.5]: INIT, SIPI, timers, then whether a halted VP has a reason to
// wake. Interrupts and NMIs are left to prepare_injection().

#include "hypervisor/arch/x86/requests.h"

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/machine.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/core/scheduler.h"

namespace hv::x86 {
namespace {

void take_init(Vcpu& vcpu) {
  reset(vcpu);
  for (unsigned i = 0; i < 4; ++i) cpu::write_debug_register(i, 0);  // it is loaded here
  // The interrupts that its local APIC had in service will never be ended by it.
  for (unsigned v = 0; vcpu.partition.is_root() && v < 256; ++v)
    end_level_interrupt(static_cast<uint8_t>(v));
  vcpu.remove(VpSuspend::halted);
  vcpu.add(VpSuspend::wait_for_startup);
  deadline_changed(vcpu);
}

void take_startup(Vcpu& vcpu) {
  if (!vcpu.is(VpSuspend::wait_for_startup)) return;  // a second SIPI means nothing
  start_at(vcpu, vcpu.startup_vector.load());
  vcpu.remove(VpSuspend::wait_for_startup);
}

void take_timer(Vcpu& vcpu) {
  vcpu.apic.expire(read_tsc());
  vcpu.timers.expire(vcpu);
  deadline_changed(vcpu);
}

// HLT ends with an event the guest can take; the guest-idle MSR with any interrupt [TLFS 10.1.4].
bool wakes(const Vcpu& vcpu) {
  if (vcpu.event.valid() || (vcpu.nmi_pending && !vcpu.nmi_blocked)) return true;
  const bool interrupt = vcpu.extint_pending || vcpu.apic.has_pending();
  return interrupt && (vcpu.idle_wait || svm::interrupts_enabled(vcpu));
}

}  // namespace

bool process_requests(Vcpu& vcpu) {
  const uint64_t requests = vcpu.requests.load(std::memory_order_acquire);
  const uint32_t suspend = vcpu.suspend.load(std::memory_order_acquire);
  if (!requests && !suspend) [[likely]]
    return true;
  // What is asked of a VP that its parent holds waits until it is let go.
  if (suspend & kHeldByParent) return false;
  if (requests) {
    if (vcpu.take(VpRequest::init)) take_init(vcpu);
    if (vcpu.take(VpRequest::startup)) take_startup(vcpu);
    if (vcpu.take(VpRequest::nmi)) {
      vcpu.nmi_pending = true;
      if (vcpu.iret_under_way) deadline_changed(vcpu);
    }
    if (vcpu.take(VpRequest::extint)) vcpu.extint_pending = true;
    if (vcpu.take(VpRequest::timer)) take_timer(vcpu);
    if (vcpu.take(VpRequest::flush_guest_tlb)) vcpu.asid_lp = nullptr;
    vcpu.take(VpRequest::interrupt);
    if (vcpu.take(VpRequest::evaluate)) {
      svm::refresh_intercepts(vcpu);
      if (report_deliverable_sints(vcpu)) return false;
    }
  }
  if (vcpu.is(VpSuspend::halted) && wakes(vcpu)) {
    vcpu.idle_wait = false;
    vcpu.remove(VpSuspend::halted);
  }
  return vcpu.suspend.load(std::memory_order_acquire) == 0;
}

}  // namespace hv::x86
