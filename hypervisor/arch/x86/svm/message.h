// SPDX-License-Identifier: MIT
// Intercept messages: what a child's exit looks like to its parent [TLFS 9.5]. Each suspends the
// VP.
#pragma once

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/svm/svm.h"

namespace hv::svm {

void report_io(Vcpu& vcpu);
void report_memory(Vcpu& vcpu, Gpa address, abi::HvInterceptAccessType access);
void report_msr(Vcpu& vcpu, uint32_t msr, bool write, uint8_t length);
void report_cpuid(Vcpu& vcpu, const cpu::CpuidResult& result, uint8_t length);
void report_exception(Vcpu& vcpu, uint8_t vector, bool has_code);
void report_hypercall(Vcpu& vcpu, uint8_t length);
void report_unrecoverable(Vcpu& vcpu);

}  // namespace hv::svm
