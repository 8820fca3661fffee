// SPDX-License-Identifier: MIT
// A child in xAPIC mode reaches its local APIC by memory accesses, which fault and end up here.
#pragma once

#include "hypervisor/arch/x86/svm/svm.h"

namespace hv::svm {

// A general register by its number in the encoding; RAX and RSP are in the control block.
uint64_t guest_register(const Vcpu& vcpu, unsigned number);
void set_guest_register(Vcpu& vcpu, unsigned number, uint64_t value);

// True if the address is the VP's local APIC page: the access was carried out, or an exception is
// queued, or the guest is to execute it again.
bool emulate_apic_access(Vcpu& vcpu, Gpa address);

}  // namespace hv::svm
