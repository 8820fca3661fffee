// SPDX-License-Identifier: MIT
// Reads and writes a disk as hard as it can and checks every byte: disk_load PATH SECONDS [MIB].
// PATH is a file that is made and removed. Four threads, O_DIRECT, blocks of 4 to 128 KiB at random
// places; each block carries its place and generation. The last line gives operations and the
// slowest one: an interrupt that got lost shows as a driver's timeout of many seconds.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { kThreads = 4, kBlock = 4096, kMaxBlocks = 32 };

struct worker {
  pthread_t thread;
  uint64_t first, blocks;  // the part of the file that is this thread's own
  uint32_t* generation;    // what each block was last written with
  uint64_t operations, slowest_us, wrong;
  uint64_t random;
};

static int file;
static double end;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t next_random(uint64_t* state) {  // xorshift64
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void fill(uint64_t* block, uint64_t place, uint32_t generation) {
  for (int i = 0; i < kBlock / 8; i++)
    block[i] = place << 32 ^ (uint64_t)generation << 16 ^ (uint64_t)i;
}

static void die(const char* what) {
  printf("disk_load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void transfer(struct worker* w, int write, uint64_t first, uint64_t count, char* buffer) {
  const double start = now();
  const size_t size = count * kBlock;
  const off_t offset = (off_t)(first * kBlock);
  const ssize_t done =
      write ? pwrite(file, buffer, size, offset) : pread(file, buffer, size, offset);
  if (done != (ssize_t)size) die(write ? "write" : "read");
  const uint64_t took = (uint64_t)((now() - start) * 1e6);
  if (took > w->slowest_us) w->slowest_us = took;
  w->operations++;
}

static void write_blocks(struct worker* w, uint64_t first, uint64_t count, char* buffer) {
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t place = first + i;
    fill((uint64_t*)(void*)(buffer + i * kBlock), place, ++w->generation[place - w->first]);
  }
  transfer(w, 1, first, count, buffer);
}

static void check_blocks(struct worker* w, uint64_t first, uint64_t count, char* buffer) {
  uint64_t expected[kBlock / 8];
  transfer(w, 0, first, count, buffer);
  for (uint64_t i = 0; i < count; i++) {
    fill(expected, first + i, w->generation[first + i - w->first]);
    w->wrong += memcmp(buffer + i * kBlock, expected, kBlock) != 0;
  }
}

static void* work(void* argument) {
  struct worker* w = argument;
  char* buffer = aligned_alloc(kBlock, (size_t)kBlock * kMaxBlocks);
  w->generation = calloc(w->blocks, sizeof *w->generation);
  if (!buffer || !w->generation) die("memory");
  for (uint64_t at = 0; at < w->blocks; at += kMaxBlocks)
    write_blocks(w, w->first + at, kMaxBlocks, buffer);
  while (now() < end) {
    const uint64_t random = next_random(&w->random);
    const uint64_t count = random % kMaxBlocks + 1;
    const uint64_t first = w->first + (random >> 16) % (w->blocks - count + 1);
    (random >> 8 & 3 ? check_blocks : write_blocks)(w, first, count, buffer);
  }
  return NULL;
}

int main(int argc, char** argv) {
  struct worker workers[kThreads] = {0};
  const uint64_t mib = argc > 3 ? strtoull(argv[3], NULL, 10) : 64;
  if (argc < 3 || mib < 4) {
    puts("disk_load PATH SECONDS [MIB of at least 4]");
    return 2;
  }
  file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
  if (file < 0) die(argv[1]);
  if (unlink(argv[1])) die("unlink");
  end = now() + strtod(argv[2], NULL);
  const uint64_t share = mib * 256 / kThreads / kMaxBlocks * kMaxBlocks;
  uint64_t operations = 0, slowest = 0, wrong = 0;
  for (int i = 0; i < kThreads; i++) {
    workers[i] = (struct worker){.first = (uint64_t)i * share,
                                 .blocks = share,
                                 .random = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1)};
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) die("thread");
  }
  for (int i = 0; i < kThreads; i++) {
    pthread_join(workers[i].thread, NULL);
    operations += workers[i].operations;
    wrong += workers[i].wrong;
    if (workers[i].slowest_us > slowest) slowest = workers[i].slowest_us;
  }
  printf("disk_load: %llu operations, slowest %llu ms, %llu wrong blocks\n",
         (unsigned long long)operations, (unsigned long long)slowest / 1000,
         (unsigned long long)wrong);
  return wrong != 0;
}
