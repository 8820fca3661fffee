/* SPDX-License-Identifier: MIT */
/*
 * What a VMM asks of /dev/mshv beside running: state of a VP as a whole, there and back; each
 * hypercall on MSHV_ROOT_HVCALL's list (one is in events.c), seen to do what it is for; memory in
 * large pages.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

enum { MESSAGES = 0x10000, EVENTS = 0x11000, SINT = 2, VECTOR = 0x50, FLAG = 77 };
enum { OVERRIDDEN_LEAF = 0x40000010, CRASH_CONTROL = 0x40000105, PAGE_ENABLED = 1 };
enum { OUT_PORT = 0x10 };

static const uint8_t code[] = {
	0x66, 0xb8, 0x10, 0x00, 0x00, 0x40, /* 00: mov eax, OVERRIDDEN_LEAF */
	0x0f, 0xa2,			    /* 06: cpuid */
	0x66, 0xe7, OUT_PORT,		    /* 08: out OUT_PORT, eax */
	0x66, 0xb9, 0x05, 0x01, 0x00, 0x40, /* 0b: mov ecx, CRASH_CONTROL */
	0x0f, 0x30,			    /* 11: wrmsr */
	0xeb, 0xfe,			    /* 13: jmp 13 */
};
enum { AFTER_OUT = 0x0b, AT_WRMSR = 0x11 };

static uint8_t buffer[4096] __attribute__((aligned(4096)));

static int transfer(struct vm *vm, unsigned long call, uint8_t type, uint32_t *size)
{
	struct mshv_get_set_vp_state state = {
		.type = type, .buf_sz = sizeof(buffer), .buf_ptr = (uintptr_t)buffer,
	};
	int error = ioctl(vm->vp[0], call, &state) ? errno : 0;

	*size = state.buf_sz;
	return error;
}

/* Gets a state, changes byte @at, sets it, and finds the change when it gets it again. */
static void test_state_of(struct vm *vm, uint8_t type, const char *name, uint32_t size, uint32_t at)
{
	uint8_t changed[sizeof(buffer)];
	uint32_t first, second = 0;
	int get, set, again = 0;

	get = transfer(vm, MSHV_GET_VP_STATE, type, &first);
	buffer[at] ^= 1;
	memcpy(changed, buffer, sizeof(buffer));
	set = transfer(vm, MSHV_SET_VP_STATE, type, &second);
	memset(buffer, 0, sizeof(buffer));
	again = transfer(vm, MSHV_GET_VP_STATE, type, &second);
	check(!get && !set && !again && first == second && (size ? first == size : first >= 512) &&
		      !memcmp(buffer, changed, first),
	      name, "get %s, %u bytes, set %s, get %s, %u bytes, byte %u is %02x", strerror(get), first,
	      strerror(set), strerror(again), second, at, buffer[at]);
}

static void test_states(struct vm *vm)
{
	uint32_t size;
	int get = transfer(vm, MSHV_GET_VP_STATE, MSHV_VP_STATE_SIMP, &size);
	int set = transfer(vm, MSHV_SET_VP_STATE, MSHV_VP_STATE_SIMP, &size);

	check(!get && set == EIO, "a message page that is off has no state to set", "get %s, set %s",
	      strerror(get), strerror(set));
	vp_set_register(vm->pt, 0, HV_REGISTER_SIPP, MESSAGES | PAGE_ENABLED, 0);
	vp_set_register(vm->pt, 0, HV_REGISTER_SIFP, EVENTS | PAGE_ENABLED, 0);
	vp_set_register(vm->pt, 0, HV_REGISTER_SCONTROL, 1, 0);
	vp_set_register(vm->pt, 0, HV_REGISTER_SINT0 + SINT, VECTOR, 0);

	test_state_of(vm, MSHV_VP_STATE_LAPIC, "local APIC state", 4096, 0x11); /* enabled */
	test_state_of(vm, MSHV_VP_STATE_XSAVE, "XSAVE state", 0, 32); /* ST0 */
	test_state_of(vm, MSHV_VP_STATE_SIMP, "SynIC messages", 4096, 0xf20);
	test_state_of(vm, MSHV_VP_STATE_SIEFP, "SynIC event flags", 4096, 0xf20);
	test_state_of(vm, MSHV_VP_STATE_SYNTHETIC_TIMERS, "synthetic timers", 200, 0x12); /* count */
	/* The pages are the guest's. */
	check(vm->memory[MESSAGES + 0xf20] == 1 && vm->memory[EVENTS + 0xf20] == 1,
	      "SynIC pages are the guest's memory", NULL);
	memset(vm->memory + MESSAGES, 0, 0x2000);
}

static uint64_t get_property(struct vm *vm, uint32_t property)
{
	struct hv_input_get_partition_property in = { .property_code = property };
	uint64_t value = 0;
	int error = vm_hvcall(vm->pt, HVCALL_GET_PARTITION_PROPERTY, 0, &in, sizeof(in), &value,
			      sizeof(value));

	check(!error, "GetPartitionProperty", "%s", strerror(error));
	return value;
}

static void test_properties(struct vm *vm)
{
	struct hv_input_set_partition_property in = {
		.property_code = HV_PARTITION_PROPERTY_ACCESS_TRACKING, .property_value = 1,
	};
	int error = vm_hvcall(vm->pt, HVCALL_SET_PARTITION_PROPERTY, 0, &in, sizeof(in), NULL, 0);

	check(!error, "SetPartitionProperty", "%s", strerror(error));
	check(get_property(vm, HV_PARTITION_PROPERTY_ACCESS_TRACKING) == 1,
	      "the property reads back", NULL);
	check((get_property(vm, HV_PARTITION_PROPERTY_XSAVE_STATES) & 3) == 3,
	      "x87 and SSE are XSAVE states", NULL);
}

/* With access tracking on, after the guest ran: its code page is accessed, the next is not. */
static void test_access_states(struct vm *vm)
{
	struct hv_input_get_gpa_pages_access_state in = { .gpa_page_number = 0 };
	struct mshv_gpap_access_bitmap bitmap = {
		.access_type = MSHV_GPAP_ACCESS_TYPE_ACCESSED, .page_count = 2,
		.bitmap_ptr = (uintptr_t)buffer,
	};
	uint8_t states[2] = { 0xff, 0xff };
	int error = vm_hvcall(vm->pt, HVCALL_GET_GPA_PAGES_ACCESS_STATES, 2, &in, sizeof(in), states,
			      sizeof(states));

	check(!error && states[0] & HV_GPA_ACCESS_STATE_ACCESSED && !states[1],
	      "GetGpaPagesAccessStates", "%s, %02x %02x", strerror(error), states[0], states[1]);
	buffer[0] = 0;
	error = ioctl(vm->pt, MSHV_GET_GPAP_ACCESS_BITMAP, &bitmap) ? errno : 0;
	check(!error && buffer[0] == 1, "MSHV_GET_GPAP_ACCESS_BITMAP", "%s, %02x", strerror(error),
	      buffer[0]);
}

static void test_translation(struct vm *vm)
{
	struct {
		uint64_t partition_id;
		uint32_t vp_index, padding;
		uint64_t flags, gva_page;
	} in = { .flags = 0x41 /* for reading, as supervisor */, .gva_page = 5 };
	struct {
		uint32_t code, cache;
		uint64_t gpa_page;
	} out = { .code = ~0u };
	int error = vm_hvcall(vm->vp[0], HVCALL_TRANSLATE_VIRTUAL_ADDRESS, 0, &in, sizeof(in), &out,
			      sizeof(out));

	check(!error && !out.code && out.gpa_page == 5, "TranslateVirtualAddress",
	      "%s, result %u, page 0x%llx", strerror(error), out.code,
	      (unsigned long long)out.gpa_page);
}

/* A registered CPUID result, as the parent reads it and as the guest does. */
static void test_cpuid(struct vm *vm)
{
	struct {
		uint64_t partition_id;
		uint32_t vp_index, type;
		uint32_t leaf, subleaf, flags;
		uint32_t eax, eax_mask, rest[6];
		uint32_t rsvd;
	} result = {
		.vp_index = HV_ANY_VP, .type = HV_INTERCEPT_TYPE_X64_CPUID, .leaf = OVERRIDDEN_LEAF,
		.eax = 0x12345678, .eax_mask = ~0u,
	};
	struct {
		uint64_t partition_id;
		uint32_t vp_index, flags, rsvd, padding;
		uint32_t leaf, subleaf;
		uint64_t xfem, xss;
	} in = { .leaf = 0x40000000 };
	uint32_t out[4] = { 0 };
	struct mshv_run_vp message;
	int error;

	error = vm_hvcall(vm->pt, HVCALL_GET_VP_CPUID_VALUES, 1, &in, sizeof(in), out, sizeof(out));
	check(!error && !memcmp(&out[1], "Microsoft Hv", 12), "GetVpCpuidValues", "%s, %.12s",
	      strerror(error), (const char *)&out[1]);
	error = vm_hvcall(vm->pt, HVCALL_REGISTER_INTERCEPT_RESULT, 0, &result, sizeof(result), NULL,
			  0);
	check(!error, "RegisterInterceptResult", "%s", strerror(error));
	error = vp_run(vm->vp[0], &message, HANG_MS);
	check(!error && message_type(&message) == HVMSG_X64_IOPORT_INTERCEPT &&
		      (uint32_t)message_field(&message, MESSAGE_IO_RAX, 8) == 0x12345678,
	      "the guest reads the registered result", "%s, message 0x%x", strerror(error),
	      message_type(&message));
	vp_set_register(vm->pt, 0, HV_X64_REGISTER_RIP, AFTER_OUT, 0);
}

static void test_msr_intercept(struct vm *vm)
{
	struct {
		uint64_t partition_id;
		uint32_t access_mask, type;
		uint64_t msr;
	} in = { .access_mask = 2, .type = HV_INTERCEPT_TYPE_X64_MSR_INDEX, .msr = CRASH_CONTROL };
	struct mshv_run_vp message;
	int error = vm_hvcall(vm->pt, HVCALL_INSTALL_INTERCEPT, 0, &in, sizeof(in), NULL, 0);

	check(!error, "InstallIntercept", "%s", strerror(error));
	error = vp_run(vm->vp[0], &message, HANG_MS);
	check(!error && message_type(&message) == HVMSG_X64_MSR_INTERCEPT &&
		      message_field(&message, MESSAGE_MSR, 4) == CRASH_CONTROL &&
		      message_field(&message, MESSAGE_RIP, 8) == AT_WRMSR,
	      "the guest's WRMSR is intercepted", "%s, message 0x%x", strerror(error),
	      message_type(&message));
}

/* IRR of the local APIC: whether @vector is requested. */
static bool is_requested(struct vm *vm, unsigned int vector)
{
	uint32_t size;

	return !transfer(vm, MSHV_GET_VP_STATE, MSHV_VP_STATE_LAPIC, &size) &&
	       buffer[0x54 + vector / 8] >> vector % 8 & 1;
}

static void test_interrupts(struct vm *vm)
{
	struct hv_input_assert_virtual_interrupt fixed = { .vector = VECTOR + 1 };
	int error = vm_hvcall(vm->pt, HVCALL_ASSERT_VIRTUAL_INTERRUPT, 0, &fixed, sizeof(fixed), NULL,
			      0);

	check(!error && is_requested(vm, VECTOR + 1), "AssertVirtualInterrupt", "%s",
	      strerror(error));
}

static void test_synic(struct vm *vm)
{
	struct {
		uint64_t partition_id;
		uint32_t vp_index;
		uint8_t vtl, padding[3];
		uint32_t sint;
		uint8_t message[256];
		uint32_t padding2;
	} post = { .sint = SINT, .message = { 1, 0, 0, 0, 4, 0, 0, 0, [16] = 'h', 'e', 'l', 'l' } };
	struct {
		uint64_t partition_id;
		uint32_t vp_index;
		uint8_t vtl, sint;
		uint16_t flag;
	} event = { .sint = SINT, .flag = FLAG };
	uint64_t newly = 0;
	int error = vm_hvcall(vm->pt, HVCALL_POST_MESSAGE_DIRECT, 0, &post, sizeof(post), NULL, 0);

	check(!error && !memcmp(vm->memory + MESSAGES + SINT * 256 + 16, "hell", 4),
	      "PostMessageDirect", "%s", strerror(error));
	check(is_requested(vm, VECTOR), "a message requests the SINT's vector", NULL);
	error = vm_hvcall(vm->pt, HVCALL_SIGNAL_EVENT_DIRECT, 0, &event, sizeof(event), &newly,
			  sizeof(newly));
	check(!error && newly == 1 &&
		      vm->memory[EVENTS + SINT * 256 + FLAG / 8] == 1 << FLAG % 8,
	      "SignalEventDirect", "%s, newly %llu", strerror(error), (unsigned long long)newly);
}

/* Memory that is aligned and contiguous in both spaces is mapped in large pages, and counted so. */
static void test_large_pages(int dev)
{
	enum { LARGE = 2 << 20, PAGES = 2 };
	static const uint8_t nothing[1];
	uint8_t *space = mmap(NULL, (PAGES + 1) * LARGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *memory = (uint8_t *)(((uintptr_t)space + LARGE - 1) / LARGE * LARGE);
	struct mshv_user_mem_region region = {
		.size = PAGES * LARGE, .guest_pfn = 0x40000, .userspace_addr = (uintptr_t)memory,
		.flags = 1 << MSHV_SET_MEM_BIT_WRITABLE,
	};
	long before, during, after;
	struct vm vm;

	vm_create(&vm, dev, 0, nothing, sizeof(nothing));
	madvise(memory, PAGES * LARGE, MADV_HUGEPAGE);
	memset(memory, 1, PAGES * LARGE);
	before = statistic("guest_2m_pages");
	check(!ioctl(vm.pt, MSHV_SET_GUEST_MEMORY, &region), "memory in large pages", "%s",
	      strerror(errno));
	during = statistic("guest_2m_pages");
	region.flags = 1 << MSHV_SET_MEM_BIT_UNMAP;
	check(!ioctl(vm.pt, MSHV_SET_GUEST_MEMORY, &region), "and back", "%s", strerror(errno));
	after = statistic("guest_2m_pages");
	check(during == before + PAGES && after == before, "large pages are used",
	      "%ld, then %ld, then %ld", before, during, after);
	vm_destroy(&vm);
	munmap(space, (PAGES + 1) * LARGE);
}

void test_state(int dev)
{
	struct vm vm;

	vm_create(&vm, dev, 1, code, sizeof(code));
	test_properties(&vm);
	test_states(&vm);
	test_translation(&vm);
	test_cpuid(&vm);
	test_access_states(&vm);
	test_msr_intercept(&vm);
	test_interrupts(&vm);
	test_synic(&vm);
	vm_destroy(&vm);
	test_large_pages(dev);
}
