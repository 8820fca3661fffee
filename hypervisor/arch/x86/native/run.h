// SPDX-License-Identifier: MIT
// The main loop of an LP.
#pragma once

#include "hypervisor/arch/x86/native/x86_lp.h"

namespace hv::x86 {

[[noreturn]] void run_lp();

}  // namespace hv::x86
