// SPDX-License-Identifier: MIT
// Builds the root partition from what the loader left.
#pragma once

#include "hypervisor/boot/boot_info.h"

namespace hv::x86 {

void build_root(boot::BootInfo& info);

}  // namespace hv::x86
