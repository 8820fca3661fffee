/* SPDX-License-Identifier: MIT */
/* Bad arguments of every /dev/mshv call, and the errno that abi/root/mshv.h promises for each. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vm.h"

static const uint8_t spin[] = { 0xeb, 0xfe };

/* Calls and compares the errno; 0 expects success. Returns the call's value. */
static int expect(int want, const char *name, int fd, unsigned long cmd, void *arg)
{
	int value = ioctl(fd, cmd, arg);
	int got = value < 0 ? errno : 0;

	check(got == want, name, "got %s, expected %s", strerror(got), strerror(want));
	return value;
}

#define EXPECT(want, fd, cmd, type, ...) \
	expect(want, #cmd " " #__VA_ARGS__, fd, cmd, &(type){ __VA_ARGS__ })

static void test_device(int dev)
{
	enum { V2 = 1 << MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES };

	expect(ENOTTY, "/dev/mshv unknown call", dev, _IO(MSHV_IOCTL, 0x7f), NULL);
	expect(EFAULT, "MSHV_CREATE_PARTITION NULL", dev, MSHV_CREATE_PARTITION, NULL);
	EXPECT(EINVAL, dev, MSHV_CREATE_PARTITION, struct mshv_create_partition, .pt_flags = 16);
	EXPECT(EINVAL, dev, MSHV_CREATE_PARTITION, struct mshv_create_partition, .pt_isolation = 1);
	EXPECT(EINVAL, dev, MSHV_CREATE_PARTITION, struct mshv_create_partition_v2, .pt_flags = V2);
	EXPECT(EINVAL, dev, MSHV_CREATE_PARTITION, struct mshv_create_partition_v2, .pt_flags = V2,
	       .pt_num_cpu_fbanks = 2, .pt_rsvd = { 1 });
	EXPECT(EINVAL, dev, MSHV_CREATE_PARTITION, struct mshv_create_partition_v2, .pt_flags = V2,
	       .pt_num_cpu_fbanks = 2, .pt_rsvd1 = { 0, 1 });
}

static void test_memory(struct vm *vm)
{
	uint64_t uaddr = (uintptr_t)vm->memory;
	enum { UNMAP = 1 << MSHV_SET_MEM_BIT_UNMAP };

#define MEMORY(want, ...) \
	EXPECT(want, vm->pt, MSHV_SET_GUEST_MEMORY, struct mshv_user_mem_region, __VA_ARGS__)
	expect(EFAULT, "MSHV_SET_GUEST_MEMORY NULL", vm->pt, MSHV_SET_GUEST_MEMORY, NULL);
	MEMORY(EINVAL, .guest_pfn = 0x1000, .userspace_addr = uaddr);
	MEMORY(EINVAL, .size = 0x800, .guest_pfn = 0x1000, .userspace_addr = uaddr);
	MEMORY(EINVAL, .size = 0x1000, .guest_pfn = 0x1000, .userspace_addr = uaddr + 1);
	MEMORY(EINVAL, .size = 0x1000, .guest_pfn = 0x1000, .userspace_addr = uaddr, .flags = 8);
	MEMORY(EINVAL, .size = 0x1000, .guest_pfn = 0x1000, .userspace_addr = uaddr, .rsvd = { 1 });
	MEMORY(EINVAL, .size = 0x2000, .guest_pfn = UINT64_MAX, .userspace_addr = uaddr);
	MEMORY(EFAULT, .size = 0x1000, .guest_pfn = 0x1000, .userspace_addr = 0x1000);
	MEMORY(EEXIST, .size = 0x1000, .guest_pfn = 1, .userspace_addr = uaddr);
	MEMORY(EINVAL, .size = 0x1000, .guest_pfn = 0x1000, .userspace_addr = uaddr, .flags = UNMAP);
	MEMORY(EINVAL, .size = 0x1000, .guest_pfn = 0, .userspace_addr = uaddr, .flags = UNMAP);
	MEMORY(0, .size = VM_MEMORY, .guest_pfn = 0, .userspace_addr = uaddr, .flags = UNMAP);
	MEMORY(0, .size = VM_MEMORY, .guest_pfn = 0, .userspace_addr = uaddr, .flags = 3);
#undef MEMORY
}

static void test_access_bitmap(struct vm *vm)
{
	uint8_t bits[1];
	uint64_t ptr = (uintptr_t)bits;

#define BITMAP(want, ...) \
	EXPECT(want, vm->pt, MSHV_GET_GPAP_ACCESS_BITMAP, struct mshv_gpap_access_bitmap, __VA_ARGS__)
	BITMAP(EINVAL, .access_type = 2, .page_count = 1, .bitmap_ptr = ptr);
	BITMAP(EINVAL, .access_op = 3, .page_count = 1, .bitmap_ptr = ptr);
	BITMAP(EINVAL, .rsvd = { 1 }, .page_count = 1, .bitmap_ptr = ptr);
	BITMAP(EINVAL, .page_count = 0, .bitmap_ptr = ptr);
	BITMAP(EINVAL, .page_count = 1);
	BITMAP(EINVAL, .page_count = 2, .gpap_base = UINT64_MAX, .bitmap_ptr = ptr);
#undef BITMAP
}

static void set_routes(struct vm *vm, int want, const char *name, uint32_t nr, uint32_t rsvd,
		       struct mshv_user_irq_entry a, struct mshv_user_irq_entry b)
{
	struct {
		uint32_t nr;
		uint32_t rsvd;
		struct mshv_user_irq_entry entries[2];
	} table = { nr, rsvd, { a, b } };

	expect(want, name, vm->pt, MSHV_SET_MSI_ROUTING, &table);
}

static void test_routing(struct vm *vm)
{
	struct mshv_user_irq_entry edge = { .gsi = 5, .address_lo = 0xfee00000, .data = 0x40 };
	struct mshv_user_irq_entry level = { .gsi = 6, .address_lo = 0xfee00000, .data = 0x8041 };
	struct mshv_user_irq_entry bad_gsi = edge, high = edge;

	bad_gsi.gsi = 4096;
	high.address_hi = 1;
	set_routes(vm, EINVAL, "MSHV_SET_MSI_ROUTING 4097 entries",
		   4097, 0, edge, level);
	set_routes(vm, EINVAL, "MSHV_SET_MSI_ROUTING reserved field",
		   2, 1, edge, level);
	set_routes(vm, EINVAL, "MSHV_SET_MSI_ROUTING gsi 4096",
		   2, 0, edge, bad_gsi);
	set_routes(vm, EINVAL, "MSHV_SET_MSI_ROUTING address above 4 GB",
		   2, 0, high, level);
	set_routes(vm, EINVAL, "MSHV_SET_MSI_ROUTING one gsi twice",
		   2, 0, edge, edge);
	set_routes(vm, 0, "MSHV_SET_MSI_ROUTING edge 5, level 6",
		   2, 0, edge, level);
}

/* After test_routing(). */
static void test_irqfd(struct vm *vm)
{
	int event = eventfd(0, EFD_CLOEXEC), other = eventfd(0, EFD_CLOEXEC);

#define IRQFD(want, ...) EXPECT(want, vm->pt, MSHV_IRQFD, struct mshv_user_irqfd, __VA_ARGS__)
	IRQFD(EINVAL, .fd = event, .gsi = 5, .flags = 4);
	IRQFD(EBADF, .fd = -1, .gsi = 5);
	IRQFD(EINVAL, .fd = vm->pt, .gsi = 5);
	IRQFD(EINVAL, .fd = event, .resamplefd = other, .gsi = 5, .flags = 2);
	IRQFD(EINVAL, .fd = event, .resamplefd = other, .gsi = 99, .flags = 2);
	IRQFD(EBADF, .fd = event, .resamplefd = -1, .gsi = 6, .flags = 2);
	IRQFD(EBADF, .fd = -1, .gsi = 5, .flags = 1);
	IRQFD(0, .fd = event, .gsi = 5);
	IRQFD(EBUSY, .fd = event, .gsi = 6);
	IRQFD(0, .fd = event, .gsi = 5, .flags = 1);
	IRQFD(0, .fd = event, .resamplefd = other, .gsi = 6, .flags = 2);
	IRQFD(EINVAL, .fd = other, .gsi = 4096);
#undef IRQFD
	close(event); /* takes its irqfd with it */
	close(other);
}

/* Assigns new eventfds until the driver refuses: how many it took and why no more. */
static int fill_irqfds(struct vm *vm, int *events, int count, uint32_t gsi, uint32_t flags)
{
	int taken;

	for (taken = 0; taken < count; taken++) {
		struct mshv_user_irqfd irq = { .gsi = gsi, .flags = flags };

		irq.fd = irq.resamplefd = events[taken] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		need(irq.fd >= 0, "an eventfd");
		if (ioctl(vm->pt, MSHV_IRQFD, &irq))
			break;
	}
	return taken;
}

/* A partition has so many and no more. After test_routing(). */
static void test_limits(struct vm *vm)
{
	enum { IRQFDS = 4096, RESAMPLERS = 64, DOORBELLS = 1024 };
	static int events[IRQFDS + 1];
	struct mshv_user_ioeventfd bell = { .len = 4, .fd = eventfd(0, EFD_CLOEXEC) };
	struct rlimit files = { IRQFDS + 200, IRQFDS + 200 };
	int taken, i;

	need(!setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE");
	taken = fill_irqfds(vm, events, RESAMPLERS + 1, 6, 1 << MSHV_IRQFD_BIT_RESAMPLE);
	check(taken == RESAMPLERS && errno == ENOSPC, "irqfds with RESAMPLE end at 64", "%d, %s",
	      taken, strerror(errno));
	for (i = 0; i <= taken; i++)
		close(events[i]);
	taken = fill_irqfds(vm, events, IRQFDS + 1, 5, 0);
	check(taken == IRQFDS && errno == ENOSPC, "irqfds end at 4096", "%d, %s", taken,
	      strerror(errno));
	for (i = 0; i <= taken; i++)
		close(events[i]);
	for (taken = 0; taken <= DOORBELLS; taken++) {
		bell.addr = 0xf0000000 + 4 * taken;
		if (ioctl(vm->pt, MSHV_IOEVENTFD, &bell))
			break;
	}
	check(taken == DOORBELLS && errno == ENOSPC, "doorbells end at 1024", "%d, %s", taken,
	      strerror(errno));
	close(bell.fd);
}

static void test_ioeventfd(struct vm *vm)
{
	int event = eventfd(0, EFD_CLOEXEC);

#define IOEVENTFD(want, ...) \
	EXPECT(want, vm->pt, MSHV_IOEVENTFD, struct mshv_user_ioeventfd, __VA_ARGS__)
	IOEVENTFD(EOPNOTSUPP, .addr = 0x80, .len = 1, .fd = event, .flags = 2);
	IOEVENTFD(EINVAL, .addr = 0xf0000000, .len = 3, .fd = event);
	IOEVENTFD(EINVAL, .addr = 0xf0000000, .len = 4, .fd = event, .flags = 8);
	IOEVENTFD(EINVAL, .addr = 0xf0000000, .len = 4, .fd = event, .rsvd = { 1 });
	IOEVENTFD(EINVAL, .addr = UINT64_MAX, .len = 4, .fd = event);
	IOEVENTFD(EBADF, .addr = 0xf0000000, .len = 4, .fd = -1);
	IOEVENTFD(EINVAL, .addr = 0xf0000000, .len = 4, .fd = vm->pt);
	IOEVENTFD(ENOENT, .addr = 0xf0000000, .len = 4, .fd = event, .flags = 4);
	IOEVENTFD(0, .addr = 0xf0000000, .len = 4, .fd = event);
	IOEVENTFD(EEXIST, .addr = 0xf0000000, .len = 4, .fd = event, .datamatch = 1, .flags = 1);
	IOEVENTFD(0, .addr = 0xf0000000, .len = 4, .fd = event, .flags = 4);
#undef IOEVENTFD
	close(event);
}

static void test_hvcall(struct vm *vm, int fd)
{
	struct hv_input_get_partition_property in = { .property_code = 0x10000 };
	uint64_t ptr = (uintptr_t)&in, out;

#define HVCALL(want, ...) EXPECT(want, fd, MSHV_ROOT_HVCALL, struct mshv_root_hvcall, __VA_ARGS__)
	HVCALL(EINVAL, .code = 0x40, .in_sz = 16, .in_ptr = ptr);
	HVCALL(EINVAL, .code = 0x44, .in_sz = 4, .in_ptr = ptr);
	HVCALL(EINVAL, .code = 0x44, .in_sz = 4097, .in_ptr = ptr);
	HVCALL(EINVAL, .code = 0x44, .in_sz = 16);
	HVCALL(EINVAL, .code = 0x44, .in_sz = 16, .in_ptr = ptr, .out_sz = 8);
	HVCALL(EINVAL, .code = 0x44, .in_sz = 16, .in_ptr = ptr, .out_ptr = (uintptr_t)&out,
	       .out_sz = 4097);
	HVCALL(EINVAL, .code = 0x44, .in_sz = 16, .in_ptr = ptr, .status = 1);
	HVCALL(EINVAL, .code = 0x44, .in_sz = 16, .in_ptr = ptr, .rsvd = { 1 });
	HVCALL(EINVAL, .code = 0x50, .in_sz = 16, .in_ptr = ptr, .reps = 4096);
	HVCALL(EFAULT, .code = 0x44, .in_sz = 16, .in_ptr = 8);
	if (fd != vm->pt)
		HVCALL(EINVAL, .code = 0x45, .in_sz = 24, .in_ptr = ptr);
#undef HVCALL
}

static void try_mmap(int want, const char *name, int fd, size_t size, int flags, int page)
{
	void *at = mmap(NULL, size, PROT_READ, flags, fd, page * sysconf(_SC_PAGESIZE));
	int got = at == MAP_FAILED ? errno : 0;

	check(got == want, name, "got %s, expected %s", strerror(got), strerror(want));
	if (!got)
		munmap(at, size);
}

static void test_vp(struct vm *vm)
{
	static uint8_t buffer[4096] __attribute__((aligned(4096)));
	uint64_t ptr = (uintptr_t)buffer;
	int fd = vm->vp[0];

	EXPECT(EINVAL, vm->pt, MSHV_CREATE_VP, struct mshv_create_vp, .vp_index = 256);
	EXPECT(EEXIST, vm->pt, MSHV_CREATE_VP, struct mshv_create_vp, .vp_index = 0);
	expect(EFAULT, "MSHV_CREATE_VP NULL", vm->pt, MSHV_CREATE_VP, NULL);
	expect(ENOTTY, "VP unknown call", fd, _IO(MSHV_IOCTL, 0x7f), NULL);
	expect(ENOTTY, "partition unknown call", vm->pt, _IO(MSHV_IOCTL, 0x7f), NULL);

#define STATE(want, ...) \
	EXPECT(want, fd, MSHV_GET_VP_STATE, struct mshv_get_set_vp_state, __VA_ARGS__)
	STATE(EINVAL, .type = 5, .buf_sz = 4096, .buf_ptr = ptr);
	STATE(EINVAL, .rsvd = { 1 }, .buf_sz = 4096, .buf_ptr = ptr);
	STATE(EINVAL, .buf_sz = 0, .buf_ptr = ptr);
	STATE(EINVAL, .buf_sz = 100, .buf_ptr = ptr);
	STATE(EINVAL, .buf_sz = 4096, .buf_ptr = ptr + 8);
	STATE(EFAULT, .type = 4, .buf_sz = 4096, .buf_ptr = 0x1000);
	STATE(0, .type = 0, .buf_sz = 4096, .buf_ptr = ptr);
	STATE(0, .type = 4, .buf_sz = 4096, .buf_ptr = ptr);
#undef STATE
	try_mmap(0, "mmap register page", fd, 4096, MAP_SHARED, 0);
	try_mmap(0, "mmap message page", fd, 4096, MAP_SHARED, 1);
	try_mmap(ENODEV, "mmap GHCB page", fd, 4096, MAP_SHARED, 2);
	try_mmap(EINVAL, "mmap page 3", fd, 4096, MAP_SHARED, 3);
	try_mmap(EINVAL, "mmap two pages", fd, 8192, MAP_SHARED, 0);
	try_mmap(EINVAL, "mmap private", fd, 4096, MAP_PRIVATE, 0);
}

void test_negative(int dev)
{
	struct vm vm;

	test_device(dev);
	vm_create(&vm, dev, 1, spin, sizeof(spin));
	test_memory(&vm);
	test_access_bitmap(&vm);
	test_routing(&vm);
	test_irqfd(&vm);
	test_ioeventfd(&vm);
	test_hvcall(&vm, vm.pt);
	test_hvcall(&vm, vm.vp[0]);
	test_vp(&vm);
	test_limits(&vm);
	vm_destroy(&vm);
}
