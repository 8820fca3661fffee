// SPDX-License-Identifier: MIT
// The local APIC in x2APIC mode, and application processors: one at a time through the trampoline.
// A processor that is lost can be started again, which begins with an INIT.
#include "tests/guest/kernel/machine.h"

extern "C" {
extern uint8_t stacks[kMaxProcessors * kStackBytes];
extern uint8_t trampoline[], trampoline_end[], trampoline_cr3[], trampoline_stack[];
}

namespace {

constexpr uint64_t kTrampoline = 0x8000;
constexpr uint32_t kInit = 0x4500, kStartup = 0x4600;
constexpr uint64_t kEnabled = 1 << 11, kExtended = 1 << 10;
constexpr uint64_t kInitTime = 10'000;       // 1 ms
constexpr uint64_t kStartTime = 50'000'000;  // 5 s

void (*volatile next_work)();
uint32_t started;

uint32_t* in_trampoline(const uint8_t* field) {
  return reinterpret_cast<uint32_t*>(kTrampoline + static_cast<uint64_t>(field - trampoline));
}

}  // namespace

// From any mode: only the way through "disabled" leads from one to the other [APM2 16.9].
void enable_x2apic() {
  const uint64_t kept = rdmsr(kMsrApicBase) & 0x100;  // BSP
  try_to([&] {
    if (rdmsr(kMsrApicBase) != (kApicBase | kept | kEnabled | kExtended)) {
      wrmsr(kMsrApicBase, kApicBase | kept);
      wrmsr(kMsrApicBase, kApicBase | kept | kEnabled);
      wrmsr(kMsrApicBase, kApicBase | kept | kEnabled | kExtended);
    }
    wrmsr(kMsrSpurious, 0x1ff);
    wrmsr(kMsrTpr, 0);
  });
}

void send_ipi(uint32_t apic_id, uint32_t command) {
  wrmsr(kMsrIcr, uint64_t{apic_id} << 32 | command);
}

Cpu& cpu_of(unsigned index) {
  return *reinterpret_cast<Cpu*>(stacks + index * kStackBytes);
}

void stop_processor(unsigned index) {
  enable_x2apic();
  send_ipi(index, kInit);
  for (const uint64_t end = now() + kInitTime; now() < end;) pause();
}

bool start_processor(unsigned index, void (*work)()) {
  stop_processor(index);  // its stack is ours now
  memcpy(reinterpret_cast<void*>(kTrampoline), trampoline,
         static_cast<size_t>(trampoline_end - trampoline));
  *in_trampoline(trampoline_cr3) = static_cast<uint32_t>(page_table_root());
  *in_trampoline(trampoline_stack) =
      static_cast<uint32_t>(reinterpret_cast<uint64_t>(stacks + (index + 1) * kStackBytes));
  Cpu& cpu = cpu_of(index);
  const uint64_t operations = cpu.operations;
  memset(&cpu, 0, sizeof(cpu));
  cpu.index = index;
  cpu.operations = operations;
  next_work = work;
  store_once(started, 0);
  send_ipi(index, kStartup | kTrampoline >> 12);
  const uint64_t end = now() + kStartTime;
  while (!load_once(started))
    if (now() > end) return false;
  return true;
}

extern "C" void processor_main() {
  load_tables();
  enable_x2apic();
  void (*const work)() = next_work;
  store_once(started, 1);
  work();
  for (;;) asm volatile("cli; hlt");
}
