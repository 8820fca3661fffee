// SPDX-License-Identifier: MIT
// A child in xAPIC mode reaches its local APIC by memory accesses, which fault and end up here.
#pragma once

#include "hypervisor/arch/x86/svm/svm.h"

namespace hv::svm {

// True if the address is the VP's local APIC page: the access was carried out, or an exception is
// queued, or the guest is to execute it again.
bool emulate_apic_access(Vcpu& vcpu, Gpa address);

}  // namespace hv::svm
