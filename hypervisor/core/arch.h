// SPDX-License-Identifier: MIT
// What the core asks of the architecture. hypervisor/arch/x86 implements it for both vendors;
// hosted tests link the same code over a fake CPU. VPs passed to the register functions are stopped
// (is_stopped) unless a function says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "abi/tlfs/message.h"
#include "abi/tlfs/partition.h"
#include "abi/tlfs/registers.h"
#include "hypervisor/core/partition.h"

namespace hv::arch {

// --- VP life ---
// Builds a VP from the partition's pool in the INIT state (explicitly suspended).
Result<Vp*> create_vp(Partition& partition, VpIndex index);
void destroy_vp(Vp& vp);

// --- Registers and state ---
Result<abi::HvRegisterValue> get_register(Vp& vp, abi::HvRegisterName name);
Result<> set_register(Vp& vp, abi::HvRegisterName name, const abi::HvRegisterValue& value);
// Local APIC page and XSAVE area as hypercalls 0xe3/0xe4 carry them; sizes are checked by callee.
Result<size_t> get_state(Vp& vp, abi::HvVpStateType type, std::span<uint8_t> out);
Result<> set_state(Vp& vp, abi::HvVpStateType type, std::span<const uint8_t> in);

// --- Interrupts; callable for any VP, from any LP ---
enum class Trigger : uint8_t { edge, level };
// A fixed interrupt into the VP's local APIC. `auto_eoi`: it never becomes in-service (SINTs).
void raise_interrupt(Vp& vp, uint8_t vector, Trigger trigger = Trigger::edge,
                     bool auto_eoi = false);
// Delivers an interrupt message as an I/O APIC or MSI would, to APIC destinations.
// Errors: invalid_parameter (vector below 16, unknown type).
Result<> assert_interrupt(Partition& partition, uint64_t control, uint64_t destination,
                          uint8_t vector);
void clear_interrupt(Partition& partition);

// Earliest TSC at which the VP's timers (local APIC and synthetic) want attention.
uint64_t next_deadline(Vp& vp);

// --- Address translation ---
struct Translation {
  uint32_t result_code;  // abi::HvTranslateGvaResultCode
  Gpa gpa;
};
Translation translate_gva(Vp& vp, Gva gva, uint64_t control_flags);
// Has every VP in the mask drop its translations before it executes again.
void flush_guest_tlb(Vp& vp);

// --- Intercepts ---
// Fills the header from the VP's state at the intercept.
void fill_intercept_header(Vp& vp, uint8_t instruction_length, uint8_t access,
                           abi::HvX64InterceptMessageHeader& header);

// Fills the VP's register page at an intercept; the VP is loaded on this LP.
void publish_registers(Vp& vp);

// CPUID as the VP sees it: {eax, ebx, ecx, edx}.
struct CpuidValue {
  uint32_t eax, ebx, ecx, edx;
};
CpuidValue guest_cpuid(const Vp& vp, uint32_t leaf, uint32_t subleaf);

uint32_t apic_id_of(const Vp& vp);

}  // namespace hv::arch
