// SPDX-License-Identifier: MIT
// What CPUID 0x40000000 costs in a guest of KVM, in RDTSC ticks: the peer of "measure cpuid". A few
// real-mode instructions take 2,000 samples of an RDTSC pair, empty and around CPUID, and halt;
// KVM answers CPUID in the kernel, so nothing of this program runs between the two readings.
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { kSamples = 2000, kMemory = 0x10000, kCode = 0x1000, kResults = 0x4000 };

// Stores CX differences of 4 bytes at ES:DI; the two bytes at kSlot are "nop nop" or CPUID.
static const uint8_t code[] = {
    0x0f, 0xae, 0xe8,                    // lfence
    0x0f, 0x31,                          // rdtsc
    0x0f, 0xae, 0xe8,                    // lfence
    0x66, 0x89, 0xc6,                    // mov esi, eax
    0x66, 0x89, 0xcd,                    // mov ebp, ecx
    0x66, 0xb8, 0x00, 0x00, 0x00, 0x40,  // mov eax, 0x40000000
    0x90, 0x90,                          // kSlot
    0x0f, 0xae, 0xe8,                    // lfence
    0x0f, 0x31,                          // rdtsc
    0x0f, 0xae, 0xe8,                    // lfence
    0x66, 0x89, 0xe9,                    // mov ecx, ebp
    0x66, 0x29, 0xf0,                    // sub eax, esi
    0x66, 0xab,                          // stosd
    0xe2, 0xd8,                          // loop to the start
    0xf4,                                // hlt
};
enum { kSlot = 20 };

static void die(const char* what) {
  printf("kvm_cpuid: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int by_value(const void* a, const void* b) {
  const uint32_t x = *(const uint32_t*)a, y = *(const uint32_t*)b;
  return (x > y) - (x < y);
}

static void set_up(int vcpu) {
  struct kvm_sregs system;
  if (ioctl(vcpu, KVM_GET_SREGS, &system)) die("KVM_GET_SREGS");
  system.cs.base = system.cs.selector = 0;
  system.es.base = system.es.selector = 0;
  if (ioctl(vcpu, KVM_SET_SREGS, &system)) die("KVM_SET_SREGS");
  struct kvm_regs registers = {.rip = kCode, .rflags = 2, .rcx = kSamples, .rdi = kResults};
  if (ioctl(vcpu, KVM_SET_REGS, &registers)) die("KVM_SET_REGS");
}

static uint32_t median(int vcpu, struct kvm_run* run, uint8_t* memory, int with_cpuid) {
  memcpy(memory + kCode, code, sizeof code);
  memcpy(memory + kCode + kSlot, with_cpuid ? "\x0f\xa2" : "\x90\x90", 2);
  set_up(vcpu);
  if (ioctl(vcpu, KVM_RUN, 0)) die("KVM_RUN");
  if (run->exit_reason != KVM_EXIT_HLT) {
    printf("kvm_cpuid: exit %u, not a halt\n", run->exit_reason);
    exit(1);
  }
  uint32_t* samples = (uint32_t*)(void*)(memory + kResults);
  qsort(samples, kSamples, sizeof samples[0], by_value);
  return samples[kSamples / 2];
}

int main(void) {
  const int kvm = open("/dev/kvm", O_RDWR);
  if (kvm < 0) die("/dev/kvm");
  const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  uint8_t* memory = mmap(NULL, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (vm < 0 || memory == MAP_FAILED) die("KVM_CREATE_VM");
  struct kvm_userspace_memory_region region = {.memory_size = kMemory,
                                               .userspace_addr = (uintptr_t)memory};
  if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region)) die("KVM_SET_USER_MEMORY_REGION");
  const int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  const int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (vcpu < 0 || size < 0) die("KVM_CREATE_VCPU");
  struct kvm_run* run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) die("mmap");
  const uint32_t empty = median(vcpu, run, memory, 0);
  printf("kvm_cpuid: median %u\n", median(vcpu, run, memory, 1) - empty);
  return 0;
}
