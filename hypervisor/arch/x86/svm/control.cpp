// SPDX-License-Identifier: MIT
// The control block of a new VP: what is intercepted, and the permission maps of root and children.

#include <cstring>

#include "hypervisor/arch/x86/svm/svm.h"

namespace hv::svm {
namespace {

alignas(4096) uint8_t root_msrpm[kMsrpmBytes];
alignas(4096) uint8_t child_msrpm[kMsrpmBytes];
alignas(4096) uint8_t root_iopm[kIopmBytes];
alignas(4096) uint8_t child_iopm[kIopmBytes];

// MSRs a VP reads and writes without an exit: the VMCB or the processor switches them with the VP.
constexpr uint32_t kPassThrough[] = {
    x86::msr::kSysenterCs, x86::msr::kSysenterEsp,  x86::msr::kSysenterEip, x86::msr::kStar,
    x86::msr::kLstar,      x86::msr::kCstar,        x86::msr::kSfmask,      x86::msr::kFsBase,
    x86::msr::kGsBase,     x86::msr::kKernelGsBase, x86::msr::kTscAux,
};

// Bit offset of an MSR's pair in the map [APM2 15.11]; SIZE_MAX for those that always exit.
size_t msrpm_bit(uint32_t msr) {
  if (msr < 0x2000) return msr * 2;
  if (msr - 0xc0000000 < 0x2000) return 0x4000 + (msr - 0xc0000000) * 2;
  if (msr - 0xc0010000 < 0x2000) return 0x8000 + (msr - 0xc0010000) * 2;
  return SIZE_MAX;
}

void allow(uint8_t* msrpm, uint32_t msr) {
  const size_t at = msrpm_bit(msr);
  msrpm[at / 8] = static_cast<uint8_t>(msrpm[at / 8] & ~(3u << (at % 8)));
}

Segment real_mode_segment(uint16_t selector, uint16_t attributes) {
  return {selector, attributes, 0xffff, uint64_t{selector} << 4};
}

}  // namespace

void init_maps() {
  memset(root_msrpm, 0xff, sizeof(root_msrpm));
  memset(child_msrpm, 0xff, sizeof(child_msrpm));
  memset(child_iopm, 0xff, sizeof(child_iopm));
  for (uint32_t msr : kPassThrough) {
    allow(root_msrpm, msr);
    allow(child_msrpm, msr);
  }
}

void hide_port_from_root(uint16_t first, unsigned count) {
  for (unsigned port = first; port < first + count; ++port)
    root_iopm[port / 8] = static_cast<uint8_t>(root_iopm[port / 8] | 1u << (port % 8));
}

void refresh_intercepts(Vcpu& vcpu) {
  constexpr uint32_t kAlways =
      1u << x86::vector::kMc | 1u << x86::vector::kDb | 1u << x86::vector::kAc;
  vcpu.vmcb->intercept_exceptions = kAlways | vcpu.partition.intercepts.exceptions();
}

void init_vmcb(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  memset(&v, 0, sizeof(v));
  const bool root = vcpu.partition.is_root();
  refresh_intercepts(vcpu);
  v.intercept3 = intercept3::kIntr | intercept3::kNmi | intercept3::kInit | intercept3::kRdpmc |
                 intercept3::kCpuid | intercept3::kRsm | intercept3::kInvd | intercept3::kHlt |
                 intercept3::kInvlpga | intercept3::kIoio | intercept3::kMsr |
                 intercept3::kShutdown;
  v.intercept4 = intercept4::kVmrun | intercept4::kVmmcall | intercept4::kVmload |
                 intercept4::kVmsave | intercept4::kStgi | intercept4::kClgi | intercept4::kSkinit |
                 intercept4::kMonitor | intercept4::kMwait | intercept4::kXsetbv |
                 intercept4::kRdpru;
  if (!root) v.intercept4 |= intercept4::kWbinvd;
  v.msrpm_base = image_address(root ? root_msrpm : child_msrpm).value();
  v.iopm_base = image_address(root ? root_iopm : child_iopm).value();
  v.virtual_interrupt = VirtualInterrupt::Masking::kMask;
  v.nested_paging = 1;
  v.nested_cr3 = vcpu.partition.space.root().value();
  v.pat = 0x0007040600070406;
}

void reset_vmcb(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  v.event_injection = 0;
  v.interrupt_shadow = 0;
  v.cs = real_mode_segment(0xf000, 0x9b);
  v.cs.base = 0xffff0000;
  v.ds = v.es = v.fs = v.gs = v.ss = real_mode_segment(0, 0x93);
  v.gdtr = v.idtr = {0, 0, 0xffff, 0};
  v.ldtr = {0, 0x82, 0xffff, 0};
  v.tr = {0, 0x8b, 0xffff, 0};
  v.cpl = 0;
  v.efer = x86::efer::kSvme;
  v.cr0 = x86::cr0::kEt | x86::cr0::kCd | x86::cr0::kNw;
  v.cr2 = v.cr3 = v.cr4 = 0;
  v.dr6 = x86::dr6::kInit;
  v.dr7 = 0x400;
  v.rflags = x86::rflags::kReserved1;
  v.rip = 0xfff0;
  v.rsp = v.rax = 0;
  v.star = v.lstar = v.cstar = v.sfmask = v.kernel_gs_base = 0;
  v.sysenter_cs = v.sysenter_esp = v.sysenter_eip = 0;
  v.debug_ctl = 0;
}

}  // namespace hv::svm
