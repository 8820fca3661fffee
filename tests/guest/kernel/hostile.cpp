// SPDX-License-Identifier: MIT
// The hostile mode: every processor does random operations until the time is over. VP 0 does
// nothing that waits, looks after the others (an NMI, then INIT and SIPI) and has the last word.
#include "tests/guest/kernel/hostile.h"

namespace {

constexpr uint64_t kSecond = 10'000'000;
constexpr uint64_t kPatience = kSecond / 10;

uint64_t seed;
uint64_t restarts;

void operate(Random& random) {
  Cpu& cpu = this_cpu();
  const Operation operation = kOperations[random.below(kOperationCount)];
  if (random.one_in(2)) asm volatile("sti");
  try_to([&] { operation(random); });
  asm volatile("cli");
  restore_processor();
  store_once(cpu.operations, cpu.operations + 1);
  cpu.faults_in_a_row = 0;
  cpu.interrupts_in_a_row = 0;
}

void work() {
  Random random(seed + this_cpu().index + 1000 * this_cpu().operations);
  for (;;) operate(random);
}

// What VP 0 last saw of another processor.
struct Watched {
  uint64_t operations, since;
  bool knocked;
};

void look_after(unsigned index, Watched& watched) {
  const uint64_t time = now();
  const uint64_t operations = load_once(cpu_of(index).operations);
  if (operations != watched.operations || watched.since == 0) {
    watched = {operations, time, false};
  } else if (time - watched.since > 2 * kPatience) {
    restarts += start_processor(index, work);
    watched = {};
  } else if (time - watched.since > kPatience && !watched.knocked) {
    enable_x2apic();
    try_to([&] { send_ipi(index, 0x4400); });
    watched.knocked = true;
  }
}

void count(uint64_t number, const char* what) {
  print(number);
  print(what);
}

}  // namespace

void hostile(uint64_t seconds, uint64_t given_seed) {
  constexpr unsigned kRound = 64;
  seed = given_seed;
  on_hardware = word_in(command_line(), "hardware");
  print("hostile: seed ");
  count(seed, ", ");
  count(processor_count(), " processors, ");
  count(seconds, " s\n");
  memset(reinterpret_cast<void*>(kScratch), 0xc3, kPage);  // RET, below the hypercall page
  restore_processor();
  Watched watched[kMaxProcessors] = {};
  for (unsigned i = 1; i < processor_count(); ++i) start_processor(i, work);
  Random random(seed);
  const uint64_t end = now() + seconds * kSecond;
  while (now() < end) {
    for (unsigned i = 0; i < kRound; ++i) operate(random);
    for (unsigned i = 1; i < processor_count(); ++i) look_after(i, watched[i]);
  }
  for (unsigned i = 1; i < processor_count(); ++i) stop_processor(i);
  uint64_t operations = 0;
  for (unsigned i = 0; i < processor_count(); ++i) operations += load_once(cpu_of(i).operations);
  set_up_console();
  print("hostile: ");
  count(restarts, " restarts of a processor\nhostile: ");
  count(operations, " operations, survived\n");
}
