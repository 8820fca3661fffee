/* SPDX-License-Identifier: MIT */
/*
 * Smoke test of /dev/mshv, for use inside the root partition. A few bytes of real-mode code show
 * that a VP runs, intercepts, rings a doorbell, takes interrupts and stops at a signal; the rest of
 * the interface follows. Prints a line per check and PASS or FAIL at the end. Exit status: 0, 1, or
 * 2 without the device or with a bad command line.
 *
 *   mshv_smoke [--negative] [--cycles N] [--kill N] [--exhaust]
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vm.h"

#define DOORBELL_GPA (VM_DATA_BASE + 4)
#define UNMAPPED_GPA (VM_DATA_BASE + 8)

static const uint8_t code[] = {
	0xb0, 0x5a,	  /* 00: mov al, 0x5a */
	0xe6, 0x10,	  /* 02: out 0x10, al */
	0xb0, 0xa5,	  /* 04: mov al, 0xa5 */
	0xe6, 0x10,	  /* 06: out 0x10, al */
	0xa2, 0x04, 0x00, /* 08: mov [DOORBELL_GPA], al */
	0xa2, 0x08, 0x00, /* 0b: mov [UNMAPPED_GPA], al */
	0xeb, 0xfe,	  /* 0e: jmp 0e */
};
enum { RIP_OUT1 = 0x02, RIP_OUT2 = 0x06, RIP_STORE = 0x0b, RIP_SPIN = 0x0e };

static void on_alarm(int signal)
{
	(void)signal;
}

/* Runs to an `out 0x10, al` at @rip with @al and steps over it. */
static bool run_to_out(struct vm *vm, int index, uint64_t rip, uint8_t al)
{
	struct mshv_run_vp message;
	int error = vp_run(vm->vp[index], &message, HANG_MS);
	uint64_t port = message_field(&message, MESSAGE_IO_PORT, 2);
	uint64_t at = message_field(&message, MESSAGE_RIP, 8);
	uint64_t rax = message_field(&message, MESSAGE_IO_RAX, 8);
	bool ok = !error && message_type(&message) == HVMSG_X64_IOPORT_INTERCEPT && port == 0x10 &&
		  at == rip && (uint8_t)rax == al &&
		  message_field(&message, MESSAGE_ACCESS, 1) == 1 &&
		  (message_field(&message, MESSAGE_IO_INFO, 1) & 7) == 1;

	if (!ok)
		printf("  run: %s, message 0x%x, port 0x%llx, RIP 0x%llx, RAX 0x%llx\n",
		       strerror(error), message_type(&message), (unsigned long long)port,
		       (unsigned long long)at, (unsigned long long)rax);
	vp_set_register(vm->pt, index, HV_X64_REGISTER_RIP, rip + 2, 0);
	return ok;
}

static void test_intercepts(struct vm *vm)
{
	struct mshv_run_vp message;
	const uint8_t *page;
	int error;

	check(run_to_out(vm, 0, RIP_OUT1, 0x5a), "I/O port intercept", NULL);
	check(run_to_out(vm, 0, RIP_OUT2, 0xa5), "second I/O port intercept", NULL);

	error = vp_run(vm->vp[0], &message, HANG_MS);
	check(!error && (message_type(&message) == HVMSG_UNMAPPED_GPA ||
			 message_type(&message) == HVMSG_GPA_INTERCEPT),
	      "memory intercept", "%s, message 0x%x", strerror(error), message_type(&message));
	check(message_field(&message, MESSAGE_MEMORY_GPA, 8) == UNMAPPED_GPA &&
		      message_field(&message, MESSAGE_RIP, 8) == RIP_STORE,
	      "memory intercept's address", "GPA 0x%llx, RIP 0x%llx",
	      (unsigned long long)message_field(&message, MESSAGE_MEMORY_GPA, 8),
	      (unsigned long long)message_field(&message, MESSAGE_RIP, 8));

	page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, vm->vp[0],
		    MSHV_VP_MMAP_OFFSET_INTERCEPT_MESSAGE * 4096);
	check(page != MAP_FAILED && !memcmp(page, message.msg_buf, sizeof(message.msg_buf)),
	      "mapped message page", "%s", strerror(errno));
	if (page != MAP_FAILED)
		munmap((void *)page, 4096);
	vp_set_register(vm->pt, 0, HV_X64_REGISTER_RIP, RIP_SPIN, 0);
}

/* A VP that never intercepts stops at a signal and can go on. */
static void test_signal(struct vm *vm)
{
	struct mshv_run_vp message;
	int first, second;

	first = vp_run(vm->vp[0], &message, 100);
	second = vp_run(vm->vp[0], &message, 100);
	check(first == EINTR && second == EINTR, "a signal ends the run", "%s, then %s",
	      strerror(first), strerror(second));
	check(vp_get_register(vm->pt, 0, HV_X64_REGISTER_RIP) == RIP_SPIN, "the VP is where it was",
	      NULL);
}

static void test_run(int dev)
{
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct mshv_user_ioeventfd doorbell = { .addr = DOORBELL_GPA, .len = 1, .fd = event };
	uint64_t rings = 0;
	struct vm vm;

	vm_create(&vm, dev, 1, code, sizeof(code));
	check(!ioctl(vm.pt, MSHV_IOEVENTFD, &doorbell), "doorbell set up", "%s", strerror(errno));
	test_intercepts(&vm);
	if (read(event, &rings, sizeof(rings)) < 0)
		rings = 0;
	check(rings == 1, "the doorbell rang once", "%llu times", (unsigned long long)rings);
	test_signal(&vm);
	vm_destroy(&vm);
	close(event);
}

/* Doorbells and irqfds, so that what they cost is there to be lost. */
static void add_events(struct vm *vm)
{
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct mshv_user_irqfd irq = { .fd = event, .gsi = 5 };

	for (uint64_t i = 0; i < 100; i++) {
		struct mshv_user_ioeventfd doorbell = {
			.addr = VM_DATA_BASE + 0x1000 + 8 * i, .len = 4, .fd = event,
		};

		need(!ioctl(vm->pt, MSHV_IOEVENTFD, &doorbell), "a doorbell");
	}
	need(!ioctl(vm->pt, MSHV_IRQFD, &irq), "an irqfd");
	close(event); /* takes its irqfd with it, but no doorbell */
}

/* A child whose VP spins is killed at a random moment. */
static bool kill_once(int dev)
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct mshv_run_vp message;
		struct vm vm;

		vm_create(&vm, dev, 2, code, sizeof(code));
		add_events(&vm);
		vp_set_register(vm.pt, 0, HV_X64_REGISTER_RIP, RIP_SPIN, 0);
		vp_run(vm.vp[0], &message, HANG_MS);
		_exit(1); /* unless killed */
	}
	if (child < 0)
		return false;
	usleep(random() % 200000);
	kill(child, SIGKILL);
	return waitpid(child, &status, 0) == child && WIFSIGNALED(status);
}

static bool cycle_once(int dev)
{
	struct vm vm;
	bool ok;

	vm_create(&vm, dev, 2, code, sizeof(code));
	add_events(&vm);
	ok = run_to_out(&vm, 0, RIP_OUT1, 0x5a) && run_to_out(&vm, 1, RIP_OUT1, 0x5a);
	vm_destroy(&vm);
	return ok;
}

/* Repeats @once: the hypervisor and the driver then have exactly what they had before. */
static void test_repeat(const char *name, bool (*once)(int), int dev, int count)
{
	char *before = strdup(statistics());
	const char *after;
	int done = 0;

	while (done < count && once(dev)) {
		if (++done % 10 == 0)
			printf("  %s: %d of %d\n", name, done, count);
	}
	check(done == count, name, "stopped after %d of %d", done, count);
	after = statistics();
	check(!strcmp(before, after), "no page, partition or VP is left", "before:\n%safter:\n%s",
	      before, after);
	free(before);
}

/*
 * So many partitions with so many doorbells that the hypervisor's reserve does not do: the root pays
 * with pages of its own, which come back with the last partition.
 */
static bool exhaust_once(int dev)
{
	enum { PARTITIONS = 100, DOORBELLS = 1024 };
	struct mshv_create_partition create = { .pt_flags = 0 };
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int pt[PARTITIONS], count = 0;
	long paid = 0;

	while (count < PARTITIONS && !paid) {
		pt[count] = ioctl(dev, MSHV_CREATE_PARTITION, &create);
		need(pt[count] >= 0, "MSHV_CREATE_PARTITION");
		need(!ioctl(pt[count], MSHV_INITIALIZE_PARTITION), "MSHV_INITIALIZE_PARTITION");
		for (uint64_t i = 0; i < DOORBELLS; i++) {
			struct mshv_user_ioeventfd bell = { .addr = 8 * i, .len = 4, .fd = event };

			need(!ioctl(pt[count], MSHV_IOEVENTFD, &bell), "MSHV_IOEVENTFD");
		}
		count++;
		paid = statistic("root_deposited_pages");
	}
	printf("  %d partitions, %ld pages of the root\n", count, paid);
	while (count)
		close(pt[--count]);
	close(event);
	return paid > 0;
}

static int usage(const char *problem)
{
	fprintf(stderr, "%s\nusage: mshv_smoke [--negative] [--cycles N] [--kill N] [--exhaust], "
			"N from 1\n", problem);
	return 2;
}

/* The number behind an option, or 0. */
static int parse_count(const char *text)
{
	char *end;
	long value = text ? strtol(text, &end, 10) : 0;

	return value > 0 && value <= 1000000 && !*end ? value : 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_alarm }; /* no SA_RESTART */
	int cycles = 0, kills = 0, dev;
	bool negative = false, exhaust = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--negative"))
			negative = true;
		else if (!strcmp(argv[i], "--exhaust"))
			exhaust = true;
		else if (!strcmp(argv[i], "--cycles") && (cycles = parse_count(argv[i + 1])))
			i++;
		else if (!strcmp(argv[i], "--kill") && (kills = parse_count(argv[i + 1])))
			i++;
		else
			return usage(argv[i]);
	}
	sigaction(SIGALRM, &action, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);

	dev = open_mshv();
	test_run(dev);
	test_events(dev);
	test_state(dev);
	if (negative)
		test_negative(dev);
	if (cycles)
		test_repeat("create, run, destroy", cycle_once, dev, cycles);
	if (kills)
		test_repeat("killed while running", kill_once, dev, kills);
	if (exhaust)
		test_repeat("more than the reserve", exhaust_once, dev, 1);
	printf("%s: mshv_smoke, %u failed\n", failures() ? "FAIL" : "PASS", failures());
	return failures() ? 1 : 0;
}
