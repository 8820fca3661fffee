// SPDX-License-Identifier: MIT
// A test kernel for a virtual machine. Its command line says what to do: "svm-exits" checks what an
// intercepted instruction leaves behind, "hostile seconds=N seed=S" does whatever a guest may try.
#include "tests/guest/kernel/machine.h"

extern "C" [[noreturn]] void kernel_main(const uint8_t* boot_params) {
  set_up_machine(boot_params);
  const char* words = command_line();
  if (word_in(words, "svm-exits"))
    svm_exits();
  else if (word_in(words, "hostile"))
    hostile(number_in(words, "seconds=", 20), number_in(words, "seed=", 1));
  else
    print("test kernel: say svm-exits, or hostile seconds=N seed=S\n");
  power_off();
}
