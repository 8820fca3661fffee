// SPDX-License-Identifier: MIT
// The vendor's side of hypervisor/arch/x86; vmx/ will have the same file and function names.
#pragma once

#include <cstdint>

#include "base/x86/decoder.h"
#include "hypervisor/arch/x86/guest_walk.h"
#include "hypervisor/arch/x86/svm/vmcb.h"
#include "hypervisor/arch/x86/vcpu.h"

namespace hv::svm {

using x86::Vcpu;

// --- control.cpp: the control block of a new VP, and the permission maps ---
void init_maps();
void init_vmcb(Vcpu& vcpu);
// Registers in the control block after INIT [APM2 14.1.3].
void reset_vmcb(Vcpu& vcpu);
// Where an object of the image lies in physical memory.
Spa image_address(const void* object);
// Port ranges the root must not touch (the hypervisor's own console).
void hide_port_from_root(uint16_t first, unsigned count);

// --- Views that neutral code needs ---
inline x86::PagingState paging_state(const Vcpu& vcpu) {
  const Vmcb& v = *vcpu.vmcb;
  return {v.cr0, v.cr3, v.cr4, v.efer, v.cpl, (v.rflags & x86::rflags::kAc) != 0};
}
inline base::x86::Mode code_mode(const Vcpu& vcpu) {
  constexpr uint16_t kLong = 1 << 9, kDefaultBig = 1 << 10;
  const Vmcb& v = *vcpu.vmcb;
  if ((v.efer & x86::efer::kLma) && (v.cs.attributes & kLong)) [[likely]]
    return base::x86::Mode::k64;
  return v.cs.attributes & kDefaultBig ? base::x86::Mode::k32 : base::x86::Mode::k16;
}
inline bool interrupts_enabled(const Vcpu& vcpu) {
  return vcpu.vmcb->rflags & x86::rflags::kIf;
}
abi::HvX64SegmentRegister to_abi(const Segment& segment);

// Exceptions that the parent asked for, and those that are intercepted always.
void refresh_intercepts(Vcpu& vcpu);

// --- instruction.cpp: the instruction an exit is about ---
// Reads and decodes the instruction at RIP. False where it cannot be fetched, or where another VP
// has rewritten it meanwhile (`expected` differs): the caller lets the guest execute again.
bool fetch_instruction(Vcpu& vcpu, base::x86::Instruction& instruction);
bool fetch_expected(Vcpu& vcpu, base::x86::Op expected, base::x86::Instruction& instruction);
// The same where only the length matters; 0 for false. Costs a comparison if the instruction is in
// its usual encoding, without prefixes, as it is nearly always.
uint8_t intercepted_length(Vcpu& vcpu, base::x86::Op expected);
// Up to 15 bytes at RIP, for messages to the parent. Returns the bytes read.
unsigned fetch_bytes(Vcpu& vcpu, uint8_t (&bytes)[15]);
// Moves RIP past an emulated instruction: ends the interrupt shadow, raises #DB when
// single-stepping.
void complete_instruction(Vcpu& vcpu, uint8_t length);

// --- inject.cpp: events into the guest ---
// Chooses what the next entry delivers or offers.
void prepare_injection(Vcpu& vcpu);
// After an exit, or instead of the entry, if an interrupt was offered: did the guest take it?
void settle_injection(Vcpu& vcpu);
// After an exit that interrupted the delivery of an event: it is delivered again.
void recover_interrupted_event(Vcpu& vcpu);

// --- exit.cpp ---
void handle_exit(Vcpu& vcpu);

// --- enter.cpp ---
// TLB tags of an LP, handed out anew when they run out.
struct Asids {
  uint64_t generation = 1;
  uint32_t next = 1;
};
// Runs the guest until its next exit and handles that, or gives up if somebody wants VP or LP.
void enter(Lp& lp, Asids& asids, Spa host_vmcb, Vcpu& vcpu);

// --- native/svm_enter.S ---
extern "C" void svm_enter(uint64_t* gpr, uint64_t guest_vmcb, uint64_t host_vmcb);

}  // namespace hv::svm
