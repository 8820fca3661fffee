// SPDX-License-Identifier: MIT
// Interrupt messages on their way to local APICs of a partition: destinations are resolved to VPs,
// delivery modes to requests. arch::raise_interrupt, assert_interrupt and clear_interrupt live
// here.
#pragma once

#include <cstdint>
#include <optional>

#include "hypervisor/arch/x86/local_apic.h"

namespace hv::x86 {

struct Vcpu;

// Sends the message to every VP it is for. `source` is needed for shorthands alone, else nullptr.
void route_ipi(Partition& partition, Vcpu* source, const Ipi& ipi);

// Does what a register write of this VP asked for. Answers the vector of a level-triggered
// interrupt that ended: the caller ends it physically (root) or reports it (report_level_eoi).
std::optional<uint8_t> apply_effect(Vcpu& vcpu, const ApicEffect& effect);

// Tells the parent of a child by an APIC EOI message, which may have to wait for its slot. The VP
// goes on.
void report_level_eoi(Vcpu& vcpu, uint8_t vector);

}  // namespace hv::x86
