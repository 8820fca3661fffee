// SPDX-License-Identifier: MIT
// What neutral code asks of the control block.

#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/msr.h"
#include "hypervisor/arch/x86/svm/svm.h"

namespace hv {
namespace x86 {

uint64_t guest_cr4(const Vcpu& vcpu) {
  return vcpu.vmcb->cr4;
}

// The root never sees SVME, which VMRUN needs set.
uint64_t guest_efer(const Vcpu& vcpu) {
  return vcpu.vmcb->efer & ~efer::kSvme;
}

Result<> set_guest_efer(Vcpu& vcpu, uint64_t value) {
  svm::Vmcb& v = *vcpu.vmcb;
  constexpr uint64_t kWritable = efer::kSce | efer::kLme | efer::kNxe | efer::kFfxsr;
  if (value & ~(kWritable | efer::kLma)) return fail(Error::inject_gp);
  const uint64_t changed = value ^ v.efer;
  if ((changed & efer::kLme) && (v.cr0 & cr0::kPg)) return fail(Error::inject_gp);
  v.efer = (value & kWritable) | (v.efer & efer::kLma) | efer::kSvme;
  return {};
}

uint64_t guest_pat(const Vcpu& vcpu) {
  return vcpu.vmcb->pat;
}
void set_guest_pat(Vcpu& vcpu, uint64_t value) {
  vcpu.vmcb->pat = value;
}
uint64_t guest_debug_ctl(const Vcpu& vcpu) {
  return vcpu.vmcb->debug_ctl;
}
void set_guest_tsc_offset(Vcpu& vcpu, uint64_t offset) {
  vcpu.vmcb->tsc_offset = offset;
}

}  // namespace x86
}  // namespace hv
