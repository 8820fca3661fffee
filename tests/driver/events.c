/* SPDX-License-Identifier: MIT */
/*
 * Interrupts by eventfd: an edge and a level triggered irqfd reach the guest's handler, and the end
 * of the level one, nothing else, comes back by the resample eventfd. One of an 8259 is asserted and
 * withdrawn by hypercall. The guest is real-mode code that halts, and handlers that say where they
 * are.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vm.h"

enum { VECTOR = 0x41, EXT_VECTOR = 0x42, EDGE_GSI = 7, LEVEL_GSI = 8 };
enum { MAIN = 0x1000, HANDLER = 0x2000, EXT_HANDLER = 0x3000, STACK = 0x8000 };
enum { BEFORE_EOI = 0x20, AFTER_EOI = 0x21, EXTERNAL = 0x22 }; /* ports */
enum { SPURIOUS_VECTOR_REGISTER = 4, APIC_ENABLED = 0x1ff }; /* of the LAPIC state, in words */

static const uint8_t main_code[] = {
	0xfb,	    /* 00: sti */
	0xf4,	    /* 01: hlt */
	0xeb, 0xfd, /* 02: jmp 01 */
};
static const uint8_t handler[] = {
	0xe6, BEFORE_EOI,			    /* 00: out BEFORE_EOI, al */
	0x67, 0x66, 0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, /* 02: mov dword [0xfee000b0], 0 */
	0x00, 0x00, 0x00, 0x00,			    /* 0a */
	0xe6, AFTER_EOI,			    /* 0e: out AFTER_EOI, al */
	0xcf,					    /* 10: iret */
};
static const uint8_t ext_handler[] = {
	0xe6, EXTERNAL, /* 00: out EXTERNAL, al */
	0xcf,		/* 02: iret */
};
enum { HANDLER_EOI = HANDLER + 0x02, HANDLER_IRET = HANDLER + 0x10, EXT_IRET = EXT_HANDLER + 2 };

/* Runs to an OUT of @port and steps over it to @next. */
static bool run_to_port(struct vm *vm, uint16_t port, uint64_t next)
{
	struct mshv_run_vp message;
	int error = vp_run(vm->vp[0], &message, HANG_MS);
	bool ok = !error && message_type(&message) == HVMSG_X64_IOPORT_INTERCEPT &&
		  message_field(&message, MESSAGE_IO_PORT, 2) == port;

	if (ok)
		vp_set_register(vm->pt, 0, HV_X64_REGISTER_RIP, next, 0);
	return ok;
}

static bool enable_apic(struct vm *vm)
{
	static uint32_t apic[1024] __attribute__((aligned(4096)));
	struct mshv_get_set_vp_state state = {
		.type = MSHV_VP_STATE_LAPIC, .buf_sz = sizeof(apic), .buf_ptr = (uintptr_t)apic,
	};

	if (ioctl(vm->vp[0], MSHV_GET_VP_STATE, &state))
		return false;
	apic[SPURIOUS_VECTOR_REGISTER] = APIC_ENABLED;
	state.buf_sz = sizeof(apic);
	return !ioctl(vm->vp[0], MSHV_SET_VP_STATE, &state);
}

static bool prepare(struct vm *vm)
{
	struct {
		uint32_t nr, rsvd;
		struct mshv_user_irq_entry entries[2];
	} routes = { 2, 0, {
		{ .gsi = EDGE_GSI, .address_lo = 0xfee00000, .data = VECTOR },
		{ .gsi = LEVEL_GSI, .address_lo = 0xfee00000, .data = 0x8000 | VECTOR },
	} };

	memcpy(vm->memory + MAIN, main_code, sizeof(main_code));
	memcpy(vm->memory + HANDLER, handler, sizeof(handler));
	memcpy(vm->memory + EXT_HANDLER, ext_handler, sizeof(ext_handler));
	memcpy(vm->memory + VECTOR * 4, &(uint32_t){ HANDLER }, 4);
	memcpy(vm->memory + EXT_VECTOR * 4, &(uint32_t){ EXT_HANDLER }, 4);
	vp_set_register(vm->pt, 0, HV_X64_REGISTER_RIP, MAIN, 0);
	vp_set_register(vm->pt, 0, HV_X64_REGISTER_RSP, STACK, 0);
	vp_set_register(vm->pt, 0, HV_X64_REGISTER_SS, 0, 0xffff | (uint64_t)0x93 << 48);
	vp_set_register(vm->pt, 0, HV_X64_REGISTER_DS, 0, 0xffffffff | (uint64_t)0x8093 << 48);
	return enable_apic(vm) && !ioctl(vm->pt, MSHV_SET_MSI_ROUTING, &routes);
}

static bool signal_event(int event)
{
	return write(event, &(uint64_t){ 1 }, 8) == 8;
}

/* How often the eventfd was signalled; waits for the first time. */
static uint64_t signals(int event, int timeout_ms)
{
	struct pollfd ready = { .fd = event, .events = POLLIN };
	uint64_t count = 0;

	if (poll(&ready, 1, timeout_ms) <= 0 || read(event, &count, sizeof(count)) < 0)
		return 0;
	return count;
}

/* An interrupt from an 8259 goes to the VP as it is, and can be taken back until it does. */
static void test_external(struct vm *vm, int edge)
{
	struct hv_input_assert_virtual_interrupt in = { .interrupt_type = 7, .vector = EXT_VECTOR };
	uint64_t partition_id = 0;
	int error = vm_hvcall(vm->pt, HVCALL_ASSERT_VIRTUAL_INTERRUPT, 0, &in, sizeof(in), NULL, 0);

	check(!error && run_to_port(vm, EXTERNAL, EXT_IRET), "external interrupt", "%s",
	      strerror(error));
	vm_hvcall(vm->pt, HVCALL_ASSERT_VIRTUAL_INTERRUPT, 0, &in, sizeof(in), NULL, 0);
	error = vm_hvcall(vm->pt, HVCALL_CLEAR_VIRTUAL_INTERRUPT, 0, &partition_id,
			  sizeof(partition_id), NULL, 0);
	check(!error && signal_event(edge) && run_to_port(vm, BEFORE_EOI, HANDLER_EOI),
	      "ClearVirtualInterrupt: only the next one comes", "%s", strerror(error));
}

void test_events(int dev)
{
	static const uint8_t nothing[1];
	int edge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int level = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct mshv_user_irqfd edge_irq = { .fd = edge, .gsi = EDGE_GSI };
	struct mshv_user_irqfd level_irq = {
		.fd = level, .resamplefd = ended, .gsi = LEVEL_GSI, .flags = 1 << MSHV_IRQFD_BIT_RESAMPLE,
	};
	struct vm vm;

	vm_create(&vm, dev, 1, nothing, sizeof(nothing));
	check(prepare(&vm), "local APIC and routes set", "%s", strerror(errno));
	/* A signal from before the eventfd has its meaning counts too. */
	check(signal_event(edge) && !ioctl(vm.pt, MSHV_IRQFD, &edge_irq) &&
		      !ioctl(vm.pt, MSHV_IRQFD, &level_irq),
	      "irqfds assigned", "%s", strerror(errno));

	check(run_to_port(&vm, BEFORE_EOI, HANDLER_EOI), "edge irqfd reaches the handler", NULL);
	check(run_to_port(&vm, AFTER_EOI, HANDLER_IRET), "the handler ends it", NULL);
	check(signal_event(level) && run_to_port(&vm, BEFORE_EOI, HANDLER_EOI),
	      "level irqfd reaches the handler", NULL);
	check(!signals(ended, 0), "no resample before an EOI, nor after that of an edge", NULL);
	check(run_to_port(&vm, AFTER_EOI, HANDLER_IRET) && signals(ended, HANG_MS) == 1,
	      "one resample after the EOI of a level", NULL);
	test_external(&vm, edge);
	vm_destroy(&vm);
	close(edge);
	close(level);
	close(ended);
}
