// SPDX-License-Identifier: MIT
// Starts the application processors by INIT and SIPI [APM2 16.5], one after the other, and sends
// each into the hypervisor.

#include <cstring>

#include "hypervisor/boot/loader.h"

namespace hv::boot {
namespace {

constexpr uint64_t kTrampoline = 0x8000;
constexpr uint32_t kApicBaseMsr = 0x1b, kX2apicIcr = 0x830, kX2apicId = 0x802;
constexpr uint32_t kInit = 0x4500, kStartup = 0x4600;
constexpr unsigned kApStackBytes = 1024;

struct TrampolineData {
  uint64_t page_tables, entry, stack, argument;
};
struct Target {
  const BootInfo* info;
  uint64_t entry;
};

Target target;
volatile uint32_t arrived;
alignas(16) char ap_stacks[kMaxBootLps][kApStackBytes];

uint64_t rdmsr(uint32_t msr) {
  uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
  return uint64_t{high} << 32 | low;
}
void wrmsr(uint32_t msr, uint64_t value) {
  asm volatile("wrmsr"
               :
               : "c"(msr), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32)));
}
bool x2apic() {
  return (rdmsr(kApicBaseMsr) & 0xc00) == 0xc00;
}

volatile uint32_t* apic_register(const BootInfo& info, unsigned offset) {
  return reinterpret_cast<volatile uint32_t*>(info.local_apic_base + offset);
}

uint32_t own_apic_id(const BootInfo& info) {
  return x2apic() ? static_cast<uint32_t>(rdmsr(kX2apicId)) : *apic_register(info, 0x20) >> 24;
}

void send_ipi(const BootInfo& info, uint32_t apic_id, uint32_t command) {
  if (x2apic()) return wrmsr(kX2apicIcr, uint64_t{apic_id} << 32 | command);
  *apic_register(info, 0x310) = apic_id << 24;
  *apic_register(info, 0x300) = command;
  while (*apic_register(info, 0x300) & 0x1000) asm volatile("pause");
}

uint32_t read_pm_timer(const BootInfo& info) {
  uint32_t value;
  asm volatile("inl %w1, %0" : "=a"(value) : "d"(static_cast<uint16_t>(info.pm_timer_port)));
  return value & 0xffffff;
}

// Waits until the time is over or `done` is set, by the ACPI timer. PAUSE lets an emulator that has
// one thread for all processors turn to the one that is waited for.
void wait_milliseconds(const BootInfo& info, uint32_t count, const volatile uint32_t& done) {
  constexpr uint32_t kTicksPerMs = 3580;
  const uint32_t start = read_pm_timer(info);
  while (!done && ((read_pm_timer(info) - start) & 0xffffff) < count * kTicksPerMs)
    asm volatile("pause");
}

[[noreturn]] void ap_main(uint64_t lp) {
  const uint64_t entry = target.entry;
  const BootInfo* info = target.info;
  arrived = 1;
  enter_hypervisor(entry, info, lp, info->page_tables, stack_top(static_cast<unsigned>(lp), 0));
}

bool start(const BootInfo& info, uint32_t apic_id, uint32_t lp) {
  const TrampolineData data = {reinterpret_cast<uint64_t>(loader_pml4),
                               reinterpret_cast<uint64_t>(&ap_main),
                               reinterpret_cast<uint64_t>(ap_stacks[lp] + kApStackBytes), lp};
  memcpy(reinterpret_cast<void*>(kTrampoline + (trampoline_data - trampoline_start)), &data,
         sizeof(data));
  arrived = 0;
  send_ipi(info, apic_id, kInit);
  wait_milliseconds(info, 10, arrived);
  for (const uint32_t patience : {20u, 2000u}) {
    send_ipi(info, apic_id, kStartup | kTrampoline >> 12);
    wait_milliseconds(info, patience, arrived);
    if (arrived) return true;
  }
  return false;
}

}  // namespace

void start_processors(BootInfo& info, uint64_t entry) {
  target = {&info, entry};
  memcpy(reinterpret_cast<void*>(kTrampoline), trampoline_start,
         static_cast<size_t>(trampoline_end - trampoline_start));
  const uint32_t self = own_apic_id(info);
  const uint32_t found = info.lp_count;
  uint32_t ids[kMaxBootLps];
  memcpy(ids, info.lp_apic_ids, sizeof(ids));
  info.lp_apic_ids[0] = self;
  info.lp_count = 1;
  for (uint32_t i = 0; i < found; ++i) {
    if (ids[i] == self) continue;
    info.lp_apic_ids[info.lp_count] = ids[i];
    if (start(info, ids[i], info.lp_count))
      ++info.lp_count;
    else
      say("processor with APIC id ", uint64_t{ids[i]}, " did not start and stays unused");
  }
}

}  // namespace hv::boot
