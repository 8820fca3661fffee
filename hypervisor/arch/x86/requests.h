// SPDX-License-Identifier: MIT
// What other LPs asked of a VP, done on its own LP between exits.
#pragma once

#include "hypervisor/arch/x86/vcpu.h"

namespace hv::x86 {

// Consumes the VP's requests. True if it may enter its guest now; false if it stays suspended.
bool process_requests(Vcpu& vcpu);

}  // namespace hv::x86
