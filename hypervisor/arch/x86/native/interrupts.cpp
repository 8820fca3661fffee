// SPDX-License-Identifier: MIT
// Descriptors and physical interrupts. The hypervisor runs with interrupts off; they are taken in
// two places only (after an exit that one caused, and while idle), so handlers may touch the LP's
// state freely. Device vectors go to the root VP that lives on this LP, under the same number.

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/native/panic_frame.h"
#include "hypervisor/arch/x86/native/x86_lp.h"
#include "hypervisor/core/arch.h"
#include "hypervisor/core/log.h"

namespace hv::x86 {
namespace {

struct [[gnu::packed]] Gate {
  uint16_t offset_low, selector;
  uint8_t ist, type;
  uint16_t offset_middle;
  uint32_t offset_high, reserved;
};
struct [[gnu::packed]] DescriptorPointer {
  uint16_t limit;
  uint64_t base;
};

extern "C" char interrupt_stubs[];
extern "C" void load_descriptors(const void* gdt, const void* idt);
extern "C" char wrmsr_checked_at[], rdmsr_checked_at[], msr_failed[];

constexpr uint64_t kStubBytes = 16;
constexpr uint8_t kInterruptGate = 0x8e;
constexpr uint8_t kFaultStack = 1, kNmiStack = 2;
Gate idt[256];

void init_idt() {
  for (unsigned vector = 0; vector < 256; ++vector) {
    const uint64_t stub = reinterpret_cast<uint64_t>(interrupt_stubs) + vector * kStubBytes;
    const uint8_t ist = vector == vector::kDf || vector == vector::kPf    ? kFaultStack
                        : vector == vector::kNmi || vector == vector::kMc ? kNmiStack
                                                                          : 0;
    idt[vector] = {static_cast<uint16_t>(stub),
                   0x08,
                   ist,
                   kInterruptGate,
                   static_cast<uint16_t>(stub >> 16),
                   static_cast<uint32_t>(stub >> 32),
                   0};
  }
}

bool in_checked_msr_access(const InterruptFrame& frame) {
  return frame.rip == reinterpret_cast<uint64_t>(wrmsr_checked_at) ||
         frame.rip == reinterpret_cast<uint64_t>(rdmsr_checked_at);
}

void forward_to_root(X86Lp& lp, uint8_t vector) {
  Vp* root_vp = root_partition->vp(VpIndex{lp.index.value()});
  const bool level = apic_is_level(vector);
  if (!root_vp || (level && lp.level_count == sizeof(lp.level_vectors))) return apic_eoi();
  if (level) {
    lp.level_vectors[lp.level_count] = vector;
    lp.level_done[lp.level_count++] = false;
  } else {
    apic_eoi();
  }
  arch::raise_interrupt(*root_vp, vector, level ? arch::Trigger::level : arch::Trigger::edge);
}

}  // namespace

void init_descriptors(X86Lp& lp) {
  if (lp.index.value() == 0) init_idt();
  lp.tss.ist[0] = boot::stack_top(lp.index.value(), 1);
  lp.tss.ist[1] = boot::stack_top(lp.index.value(), 2);
  const uint64_t tss = reinterpret_cast<uint64_t>(&lp.tss);
  lp.gdt[1] = 0x00af9b000000ffff;
  lp.gdt[2] = 0x00cf93000000ffff;
  lp.gdt[3] = (sizeof(TaskState) - 1) | (tss & 0xffffff) << 16 | uint64_t{0x89} << 40 |
              (tss >> 24 & 0xff) << 56;
  lp.gdt[4] = tss >> 32;
  const DescriptorPointer gdt = {sizeof(lp.gdt) - 1, reinterpret_cast<uint64_t>(lp.gdt)};
  const DescriptorPointer table = {sizeof(idt) - 1, reinterpret_cast<uint64_t>(idt)};
  load_descriptors(&gdt, &table);
  cpu::wrmsr(msr::kGsBase, reinterpret_cast<uint64_t>(&lp.self));
}

void level_eoi(X86Lp& lp, uint8_t vector) {
  for (unsigned i = 0; i < lp.level_count; ++i)
    if (lp.level_vectors[i] == vector) lp.level_done[i] = true;
  // The APIC ends its highest in-service vector, which is the one that came last.
  while (lp.level_count && lp.level_done[lp.level_count - 1]) {
    --lp.level_count;
    apic_eoi();
  }
}

extern "C" void on_interrupt(InterruptFrame* frame) {
  const auto vector = static_cast<uint8_t>(frame->vector);
  if (vector == vector::kNmi) {
    // No lock may be taken here: the main loop passes it on.
    this_x86_lp().nmi_arrived = true;
    this_x86_lp().reschedule = true;
    return;
  }
  if (vector == vector::kGp && in_checked_msr_access(*frame)) {
    frame->rip = reinterpret_cast<uint64_t>(msr_failed);
    return;
  }
  if (vector < 32) panic_on_exception(*frame);
  switch (vector) {
    case host_vector::kKick:
      stop_if_panicked();
      return apic_eoi();
    case host_vector::kTimer:
      this_x86_lp().programmed_deadline = kNever;
      return apic_eoi();
    case host_vector::kSpurious:
      return;
    default:
      return forward_to_root(this_x86_lp(), vector);
  }
}

}  // namespace hv::x86
