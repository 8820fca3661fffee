// SPDX-License-Identifier: MIT
// The machine around the processors, as far as exits reach it. native/ and tests/fake implement it.
#pragma once

#include <string_view>

#include "hypervisor/core/address.h"

namespace hv::x86 {

// Device memory above RAM enters the root's map when it is first touched. False for what is not the
// root's: the hypervisor's memory and the physical local APIC.
bool map_root_device_memory(Gpa address);

// The root ended an interrupt: its physical EOI, if one is held back until then.
void end_level_interrupt(uint8_t vector);

// The root's processors reached shutdown: resets the machine, as a triple fault does.
void reset_machine(std::string_view reason);

}  // namespace hv::x86
