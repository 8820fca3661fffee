// SPDX-License-Identifier: MIT
// A byte of the real-time clock's memory: cmos CELL prints it, cmos CELL VALUE sets it. CELL is 14
// to 127, the part without registers.
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

int main(int argc, char** argv) {
  enum { kIndex = 0x70, kData = 0x71 };
  const unsigned long cell = argc > 1 ? strtoul(argv[1], NULL, 0) : 0;
  if (cell < 14 || cell > 127) {
    puts("cmos CELL [VALUE]");
    return 2;
  }
  if (ioperm(kIndex, 2, 1)) {
    perror("cmos");
    return 1;
  }
  outb((unsigned char)cell, kIndex);
  if (argc > 2)
    outb((unsigned char)strtoul(argv[2], NULL, 0), kData);
  else
    printf("%u\n", inb(kData));
  return 0;
}
