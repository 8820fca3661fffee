// SPDX-License-Identifier: MIT
// Small costs, counted with RDTSC: under deterministic emulation a tick is an instruction.
//   measure cpuid          CPUID 0x40000000 in user mode
//   measure syscall        getppid()
//   measure clock          clock_gettime(CLOCK_MONOTONIC)
//   measure work           a loop of 10^9 instructions
//   measure read PATH      one 4 KiB O_DIRECT read at depth 1
// Each prints "measure NAME: median M least L" of its samples, the empty pair subtracted.
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kMaxSamples = 2000, kBlock = 4096 };

static int disk = -1;
static uint64_t disk_blocks, disk_next;
static void* buffer;

static inline uint64_t ticks(void) {
  uint32_t low, high;
  __asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t)high << 32 | low;
}

static void run_nothing(void) {}

static void run_cpuid(void) {
  uint32_t a, b, c, d;
  __cpuid(0x40000000, a, b, c, d);
}

static void run_syscall(void) {
  syscall(SYS_getppid);
}

static void run_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
}

static void run_work(void) {  // two instructions a turn
  uint64_t turns = 500000000;
  __asm__ volatile("1: dec %0; jnz 1b" : "+r"(turns) : : "cc");
}

static void run_read(void) {
  // A prime stride: no read follows its neighbour.
  disk_next = (disk_next + 7919) % disk_blocks;
  if (pread(disk, buffer, kBlock, (off_t)(disk_next * kBlock)) != kBlock) {
    printf("measure: read: %s\n", strerror(errno));
    exit(1);
  }
}

static int by_value(const void* a, const void* b) {
  const uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}

static void sample(void (*run)(void), int count, uint64_t* median, uint64_t* least) {
  static uint64_t samples[kMaxSamples];
  run();  // once for the caches and the page tables
  for (int i = 0; i < count; i++) {
    const uint64_t start = ticks();
    run();
    samples[i] = ticks() - start;
  }
  qsort(samples, (size_t)count, sizeof samples[0], by_value);
  *median = samples[count / 2];
  *least = samples[0];
}

static int open_disk(const char* path) {
  disk = open(path, O_RDONLY | O_DIRECT);
  const off_t size = disk < 0 ? -1 : lseek(disk, 0, SEEK_END);
  disk_blocks = size > 0 ? (uint64_t)size / kBlock : 0;
  buffer = aligned_alloc(kBlock, kBlock);
  if (disk_blocks && buffer) return 0;
  printf("measure: %s: %s\n", path, disk < 0 ? strerror(errno) : "too small");
  return 1;
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    void (*run)(void);
    int samples;
  } kinds[] = {{"cpuid", run_cpuid, 2000},
               {"syscall", run_syscall, 2000},
               {"clock", run_clock, 2000},
               {"work", run_work, 3},
               {"read", run_read, 200}};
  prctl(PR_SET_TIMERSLACK, 1);
  for (size_t i = 0; argc > 1 && i < sizeof kinds / sizeof kinds[0]; i++) {
    if (strcmp(argv[1], kinds[i].name) != 0) continue;
    if (kinds[i].run == run_read && (argc < 3 || open_disk(argv[2]))) return 2;
    void (*volatile nothing)(void) = run_nothing;
    uint64_t empty, empty_least, median, least;
    sample(nothing, kMaxSamples, &empty, &empty_least);
    sample(kinds[i].run, kinds[i].samples, &median, &least);
    printf("measure %s: median %llu least %llu\n", argv[1], (unsigned long long)(median - empty),
           (unsigned long long)(least - empty_least));
    return 0;
  }
  puts("measure cpuid | syscall | clock | work | read PATH");
  return 2;
}
