// SPDX-License-Identifier: MIT
// MSR policy: one table says what each intercepted MSR is for root and children. What is in no row
// raises #GP in a child, and is logged once; the root gets the processor's own register for what it
// may manage.
#pragma once

#include "hypervisor/arch/x86/vcpu.h"

namespace hv::x86 {

// Errors: inject_gp; not_found (no such MSR). After Error::retry the instruction is executed again.
Result<uint64_t> read_msr(Vcpu& vcpu, uint32_t msr);
Result<> write_msr(Vcpu& vcpu, uint32_t msr, uint64_t value);

// Supplied by the vendor, whose control block holds them.
uint64_t guest_efer(const Vcpu& vcpu);
Result<> set_guest_efer(Vcpu& vcpu, uint64_t value);
uint64_t guest_pat(const Vcpu& vcpu);
void set_guest_pat(Vcpu& vcpu, uint64_t value);
uint64_t guest_debug_ctl(const Vcpu& vcpu);
void set_guest_tsc_offset(Vcpu& vcpu, uint64_t offset);

}  // namespace hv::x86
