// SPDX-License-Identifier: MIT
// Lazy EOI through the VP assist page [TLFS 10.3.5]: bit 0 of its first word tells the guest that
// it may clear the bit instead of writing EOI. The guest's answer is read at the next exit, before
// anything looks at the APIC.
#pragma once

namespace hv::x86 {

struct Vcpu;

// After an interrupt was acknowledged, before entry. True if the offer stands; an older one for
// what the new interrupt interrupts is taken back.
bool offer_lazy_eoi(Vcpu& vcpu);
// At every exit: ends the interrupt if the guest took the offer; takes the offer back if it would
// now hide something.
void settle_lazy_eoi(Vcpu& vcpu);
// Takes the offer back: before the assist page register changes or the APIC state is read.
void withdraw_lazy_eoi(Vcpu& vcpu);

}  // namespace hv::x86
