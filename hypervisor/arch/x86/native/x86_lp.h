// SPDX-License-Identifier: MIT
// An LP with everything this image keeps for it. GS points at it while the hypervisor runs.
#pragma once

#include <cstdint>

#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/boot/boot_info.h"
#include "hypervisor/core/lp.h"

namespace hv::x86 {

struct [[gnu::packed]] TaskState {  // [APM2 12.2.5]
  uint32_t reserved0;
  uint64_t rsp[3];
  uint64_t reserved1;
  uint64_t ist[7];
  uint8_t reserved2[12];
};

struct X86Lp : Lp {
  X86Lp* self = this;
  alignas(16) uint64_t gdt[5] = {};
  TaskState tss{};
  Spa host_vmcb;           // FS, GS, TR and the system-call MSRs of the hypervisor
  Spa host_save_area;      // VM_HSAVE_PA
  Vcpu* loaded = nullptr;  // whose FPU state is in the processor
  svm::Asids asids;
  uint64_t programmed_deadline = kNever;
  std::atomic<bool> nmi_arrived{false};
  // Level-triggered physical interrupts in service: their EOI follows the root's virtual one.
  uint8_t level_vectors[32] = {};
  bool level_done[32] = {};
  unsigned level_count = 0;
  alignas(64) uint8_t hypercall_pages[2 * 4096] = {};
};

inline X86Lp& this_x86_lp() {
  X86Lp* lp;
  asm("movq %%gs:0, %0" : "=r"(lp));
  return *lp;
}

// interrupts.cpp: GDT, IDT, TSS of this LP; the physical interrupts.
void init_descriptors(X86Lp& lp);
// local_apic_device.cpp: the physical local APIC.
void init_local_apic(const boot::BootInfo& info);
void apic_eoi();
bool apic_is_level(uint8_t vector);
void apic_send_ipi(uint32_t apic_id, uint8_t vector);
void apic_arm_timer(uint64_t deadline);  // TSC value; kNever stops it
void calibrate_clocks(const boot::BootInfo& info);
// The root's virtual EOI of a level-triggered vector.
void level_eoi(X86Lp& lp, uint8_t vector);

// console.cpp
void init_console(boot::Console console);
uint16_t console_port();  // first I/O port that the root must not touch; 0: none

extern boot::BootInfo* boot_info;

}  // namespace hv::x86
