// SPDX-License-Identifier: MIT
// Interrupt messages on their way to local APICs of a partition: destinations are resolved to VPs,
// delivery modes to requests. arch::raise_interrupt, assert_interrupt and clear_interrupt live
// here.
#pragma once

#include <cstdint>

#include "hypervisor/arch/x86/local_apic.h"

namespace hv::x86 {

struct Vcpu;

// Sends the message to every VP it is for. `source` is needed for shorthands alone, else nullptr.
void route_ipi(Partition& partition, Vcpu* source, const Ipi& ipi);

// Does what a register write of this VP asked for. An interrupt that ended is ended physically for
// the root, which may have got it from a level-triggered line; the parent of a child hears of a
// level-triggered one.
void carry_out(Vcpu& vcpu, const ApicEffect& effect);

}  // namespace hv::x86
