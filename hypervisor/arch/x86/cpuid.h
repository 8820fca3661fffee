// SPDX-License-Identifier: MIT
// CPUID as partitions see it: the processor's answer through a per-register mask, then what the
// virtual processor adds (its APIC id, XSAVE size), then the "Microsoft Hv" leaves.
#pragma once

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/vcpu.h"

namespace hv::x86 {

// Reads the processor once, on the boot LP.
void init_cpuid();

cpu::CpuidResult guest_cpuid(const Vcpu& vcpu, uint32_t leaf, uint32_t subleaf);

// XCR0 bits that a guest may set.
uint64_t supported_xcr0();
// Every TSC is constant and equal here; the partition's privileges say whether it is told so.
bool partition_has_invariant_tsc(const Partition& partition);
// Supplied by the vendor: the guest's CR4, which CPUID.OSXSAVE mirrors.
uint64_t guest_cr4(const Vcpu& vcpu);

}  // namespace hv::x86
