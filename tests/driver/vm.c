/* SPDX-License-Identifier: MIT */
/* The VM of the driver's tests: creation, registers, runs, and the lines that the tests print. */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

static unsigned int failed;

void check(bool ok, const char *name, const char *detail, ...)
{
	va_list args;

	printf("%s: %s", ok ? "PASS" : "FAIL", name);
	if (!ok && detail) {
		printf(": ");
		va_start(args, detail);
		vprintf(detail, args);
		va_end(args);
	}
	printf("\n");
	fflush(stdout);
	failed += !ok;
}

unsigned int failures(void)
{
	return failed;
}

void need(bool ok, const char *what)
{
	if (ok)
		return;
	printf("FAIL: %s: %s\n", what, strerror(errno));
	exit(1);
}

int open_mshv(void)
{
	int dev = open("/dev/mshv", O_RDWR | O_CLOEXEC);

	if (dev < 0) {
		fprintf(stderr,
			"/dev/mshv: %s. Did this machine boot under the hypervisor, and is the "
			"mshv module loaded?\n",
			strerror(errno));
		exit(2);
	}
	return dev;
}

int vm_hvcall(int fd, uint16_t code, uint16_t reps, void *in, uint16_t in_size, void *out,
	      uint16_t out_size)
{
	int tries = 100;

	for (;;) {
		struct mshv_root_hvcall call = {
			.code = code,
			.reps = reps,
			.in_sz = in_size,
			.out_sz = out_size,
			.in_ptr = (uintptr_t)in,
			.out_ptr = (uintptr_t)out,
		};

		if (!ioctl(fd, MSHV_ROOT_HVCALL, &call))
			return 0;
		if (errno != EAGAIN || !tries--)
			return errno;
	}
}

void vp_set_register(int pt, uint32_t vp, uint32_t name, uint64_t low, uint64_t high)
{
	struct {
		struct hv_input_vp_registers header;
		struct hv_register_assoc reg;
	} in = { .header.vp_index = vp, .reg = { .name = name, .value = { low, high } } };

	errno = vm_hvcall(pt, HVCALL_SET_VP_REGISTERS, 1, &in, sizeof(in), NULL, 0);
	need(!errno, "setting a register");
}

uint64_t vp_get_register(int pt, uint32_t vp, uint32_t name)
{
	struct {
		struct hv_input_vp_registers header;
		uint32_t name;
	} in = { .header.vp_index = vp, .name = name };
	uint64_t value[2];

	errno = vm_hvcall(pt, HVCALL_GET_VP_REGISTERS, 1, &in, offsetof(typeof(in), name) + 4,
			  value, sizeof(value));
	need(!errno, "getting a register");
	return value[0];
}

/* A segment as real mode has it: 64 KB, present, writable data or readable code. */
static uint64_t segment_high(uint16_t selector, bool code)
{
	return 0xffff | (uint64_t)selector << 32 | (uint64_t)(code ? 0x9b : 0x93) << 48;
}

void vm_create(struct vm *vm, int dev, int vps, const uint8_t *code, size_t size)
{
	struct mshv_create_partition create = {
		.pt_flags = 1 << MSHV_PT_BIT_LAPIC | 1 << MSHV_PT_BIT_X2APIC |
			    1 << MSHV_PT_BIT_GPA_SUPER_PAGES,
	};
	struct mshv_user_mem_region region = {
		.size = VM_MEMORY,
		.flags = 1 << MSHV_SET_MEM_BIT_WRITABLE | 1 << MSHV_SET_MEM_BIT_EXECUTABLE,
	};

	memset(vm, -1, sizeof(*vm));
	vm->pt = ioctl(dev, MSHV_CREATE_PARTITION, &create);
	need(vm->pt >= 0, "MSHV_CREATE_PARTITION");
	need(!ioctl(vm->pt, MSHV_INITIALIZE_PARTITION), "MSHV_INITIALIZE_PARTITION");

	vm->memory = mmap(NULL, VM_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(vm->memory != MAP_FAILED, "mmap of guest memory");
	memcpy(vm->memory, code, size);
	region.userspace_addr = (uintptr_t)vm->memory;
	need(!ioctl(vm->pt, MSHV_SET_GUEST_MEMORY, &region), "MSHV_SET_GUEST_MEMORY");

	for (int i = 0; i < vps; i++) {
		struct mshv_create_vp vp = { .vp_index = i };

		vm->vp[i] = ioctl(vm->pt, MSHV_CREATE_VP, &vp);
		need(vm->vp[i] >= 0, "MSHV_CREATE_VP");
		vp_set_register(vm->pt, i, HV_X64_REGISTER_CS, 0, segment_high(0, true));
		/* A base beyond what the selector says, as after a visit to protected mode. */
		vp_set_register(vm->pt, i, HV_X64_REGISTER_DS, VM_DATA_BASE, segment_high(0, false));
		vp_set_register(vm->pt, i, HV_X64_REGISTER_RFLAGS, 2, 0);
		vp_set_register(vm->pt, i, HV_X64_REGISTER_RIP, 0, 0);
		if (i) /* it waits for a SIPI */
			vp_set_register(vm->pt, i, HV_REGISTER_INTERNAL_ACTIVITY_STATE, 0, 0);
	}
}

void vm_destroy(struct vm *vm)
{
	for (int i = 0; i < 2; i++)
		if (vm->vp[i] >= 0)
			close(vm->vp[i]);
	close(vm->pt);
	munmap(vm->memory, VM_MEMORY);
}

/* A timer that goes on: its first signal may come before the call that it is to end. */
static void set_timer(int ms)
{
	struct timeval at = { ms / 1000, ms % 1000 * 1000 };

	setitimer(ITIMER_REAL, &(struct itimerval){ at, at }, NULL);
}

int vp_run(int fd, struct mshv_run_vp *message, int timeout_ms)
{
	int error;

	memset(message, 0, sizeof(*message));
	set_timer(timeout_ms);
	error = ioctl(fd, MSHV_RUN_VP, message) ? errno : 0;
	set_timer(0);
	return error;
}

uint64_t message_field(const struct mshv_run_vp *message, size_t payload_offset, size_t bytes)
{
	uint64_t value = 0;

	memcpy(&value, message->msg_buf + 16 + payload_offset, bytes);
	return value;
}

uint32_t message_type(const struct mshv_run_vp *message)
{
	uint32_t type;

	memcpy(&type, message->msg_buf, sizeof(type));
	return type;
}

const char *statistics(void)
{
	static char text[2048];
	int fd = open("/sys/kernel/debug/mshv/statistics", O_RDONLY | O_CLOEXEC);
	ssize_t size;

	need(fd >= 0, "mshv/statistics in debugfs");
	size = read(fd, text, sizeof(text) - 1);
	need(size > 0, "reading mshv/statistics");
	text[size] = 0;
	close(fd);
	return text;
}

long statistic(const char *name)
{
	const char *at = strstr(statistics(), name);

	errno = ENOENT;
	need(at && at[strlen(name)] == ' ', name);
	return strtol(at + strlen(name), NULL, 10);
}
