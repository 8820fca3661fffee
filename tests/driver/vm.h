/* SPDX-License-Identifier: MIT */
/*
 * What the driver's tests share: a small VM behind /dev/mshv, and the line per check that they
 * print. Functions that cannot go on after a failure print it and exit with status 1.
 */
#ifndef TESTS_DRIVER_VM_H
#define TESTS_DRIVER_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/root/hvcalls.h"
#include "abi/root/mshv.h"

#define VM_MEMORY (2u << 20)	/* bytes, at GPA 0 */
#define VM_DATA_BASE 0x300000u	/* where DS points: behind the memory */
#define HANG_MS 20000 /* nothing a VP does takes this long, not even in software emulation */

struct vm {
	int pt;
	int vp[2];
	uint8_t *memory;
};

/* Prints PASS or FAIL and counts; @detail (may be NULL) explains a failure. */
void check(bool ok, const char *name, const char *detail, ...)
	__attribute__((format(printf, 3, 4)));
unsigned int failures(void);
/* For a step without which the rest makes no sense: says errno and ends the program. */
void need(bool ok, const char *what);

/* Opens /dev/mshv; without it says why and exits with status 2. */
int open_mshv(void);

/* A VM with memory and @vps VPs, each about to run @code at 0 in real mode. */
void vm_create(struct vm *vm, int dev, int vps, const uint8_t *code, size_t size);
void vm_destroy(struct vm *vm);

/* One MSHV_ROOT_HVCALL with its retries: 0 or an errno. */
int vm_hvcall(int fd, uint16_t code, uint16_t reps, void *in, uint16_t in_size, void *out,
	      uint16_t out_size);
void vp_set_register(int pt, uint32_t vp, uint32_t name, uint64_t low, uint64_t high);
uint64_t vp_get_register(int pt, uint32_t vp, uint32_t name);

/* MSHV_RUN_VP: 0 or an errno, EINTR after @timeout_ms. The caller handles SIGALRM. */
int vp_run(int fd, struct mshv_run_vp *message, int timeout_ms);

/* mshv/statistics in debugfs, whole and by name; failing that, the test has failed. */
const char *statistics(void);
long statistic(const char *name);

/* Fields of an intercept message [TLFS HV_X64_INTERCEPT_MESSAGE_HEADER and its kin]. */
uint64_t message_field(const struct mshv_run_vp *message, size_t payload_offset, size_t bytes);
uint32_t message_type(const struct mshv_run_vp *message);

enum {
	MESSAGE_INSTRUCTION_LENGTH = 0x04, /* low half; 0: not decoded */
	MESSAGE_ACCESS = 0x05,
	MESSAGE_RIP = 0x18,
	MESSAGE_IO_PORT = 0x28,
	MESSAGE_IO_INFO = 0x2a,
	MESSAGE_IO_RAX = 0x30,
	MESSAGE_MEMORY_GPA = 0x38,
	MESSAGE_MSR = 0x28,
};

#define HVMSG_UNMAPPED_GPA 0x80000000u
#define HVMSG_GPA_INTERCEPT 0x80000001u
#define HVMSG_X64_IOPORT_INTERCEPT 0x80010000u
#define HVMSG_X64_MSR_INTERCEPT 0x80010001u

#define HV_INTERCEPT_TYPE_X64_CPUID 2
#define HV_INTERCEPT_TYPE_X64_MSR_INDEX 12
#define HV_PARTITION_PROPERTY_ACCESS_TRACKING 0x00050005u

#define HV_REGISTER_INTERNAL_ACTIVITY_STATE 0x00000004u
#define HV_X64_REGISTER_RSP 0x20004u
#define HV_X64_REGISTER_RIP 0x20010u
#define HV_X64_REGISTER_RFLAGS 0x20011u
#define HV_X64_REGISTER_CS 0x60001u
#define HV_X64_REGISTER_SS 0x60002u
#define HV_X64_REGISTER_DS 0x60003u
#define HV_REGISTER_SINT0 0xa0000u
#define HV_REGISTER_SCONTROL 0xa0010u
#define HV_REGISTER_SIFP 0xa0012u
#define HV_REGISTER_SIPP 0xa0013u

/* events.c: irqfds deliver. state.c: VP state, hypercalls, large pages. negative.c: bad arguments. */
void test_events(int dev);
void test_state(int dev);
void test_negative(int dev);

#endif
