// SPDX-License-Identifier: GPL-2.0-only
/*
 * The root's end of the SynIC. Each CPU has a message page and an event ring page, both chosen by
 * the hypervisor. SINT0 carries messages (intercepts of VPs, ends of asynchronous calls, doorbells'
 * notice), SINT5 the doorbells: it is an intercept SINT, so its ring is announced by a message in
 * SINT0's slot. Both use vector f3, whose handler slot stock hv_vmbus leaves free on a root.
 *
 * The handler runs on its own CPU's pages with interrupts off and takes no lock. A slot is always
 * released, even after a message that nobody knows, or the CPU would never see another.
 */
#define pr_fmt(fmt) "mshv: " fmt

#include <linux/cpuhotplug.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/workqueue.h>

#include <asm/irq_vectors.h>
#include <asm/msr.h>

#include "mshv_driver.h"

/* One of the hypervisor's pages, mapped. */
struct synic_page {
	u32 msr;
	void *va;
};

enum { PAGE_MESSAGES, PAGE_EVENT_FLAGS, PAGE_EVENT_RINGS, PAGE_COUNT };

/* Doorbells rung before whatever else the CPU has to do gets a turn. */
#define RING_BUDGET (4 * HV_SYNIC_EVENT_RING_MESSAGE_COUNT)

struct cpu_synic {
	struct synic_page pages[PAGE_COUNT];
	u32 ring_tail; /* where the next doorbell is expected */
	struct work_struct ring_rest;
};

static DEFINE_PER_CPU(struct cpu_synic, cpu_synic);
static int cpuhp_state = -1;
static bool cpus_stay; /* from the last one's start to the stop of all */

/* Takes a port id from the ring: looks at @span entries from the tail on. 0: none there. */
static u32 ring_take(struct hv_synic_event_ring *ring, u32 *tail, u32 span)
{
	u32 i;

	for (i = 0; i < span; i++) {
		u32 at = (*tail + i) % HV_SYNIC_EVENT_RING_MESSAGE_COUNT;
		u32 port = READ_ONCE(ring->data[at]);

		if (!port)
			continue;
		WRITE_ONCE(ring->data[at], 0);
		*tail = (at + 1) % HV_SYNIC_EVENT_RING_MESSAGE_COUNT;
		return port;
	}
	return 0;
}

/*
 * Rings every doorbell in the queue, then lets the hypervisor signal again and looks once more for
 * what came in between. A first look at an empty tail means that the hypervisor and we disagree
 * where the queue goes on (the page was re-enabled): search all of it. Interrupts are off.
 * True: there was no end of them (guests ring on other processors meanwhile). The hypervisor stays
 * silent then, so the caller has to come back.
 */
static bool ring_doorbells(struct cpu_synic *synic)
{
	struct hv_synic_event_ring_page *page = synic->pages[PAGE_EVENT_RINGS].va;
	struct hv_synic_event_ring *ring = &page->sint_event_ring[HV_SYNIC_DOORBELL_SINT_INDEX];
	u32 span = HV_SYNIC_EVENT_RING_MESSAGE_COUNT;
	u32 rung = 0;
	u32 port;

	if (!page)
		return false;
	while (rung < RING_BUDGET) {
		port = ring_take(ring, &synic->ring_tail, span);
		if (!port && READ_ONCE(ring->ring_full)) {
			WRITE_ONCE(ring->ring_full, 0);
			hv_do_fast_hypercall8(HVCALL_NOTIFY_PORT_RING_EMPTY,
					      HV_SYNIC_DOORBELL_SINT_INDEX);
			port = ring_take(ring, &synic->ring_tail, span);
		}
		if (!port) {
			WRITE_ONCE(ring->signal_masked, 0);
			mb(); /* the unmask is seen before the last look is taken */
			port = ring_take(ring, &synic->ring_tail, span);
			if (!port)
				return false;
			WRITE_ONCE(ring->signal_masked, 1);
		}
		mshv_doorbell_ring(port);
		span = 1;
		rung++;
	}
	return true;
}

/* A work item of the CPU: other tasks have their turn between two of these. */
static void ring_rest(struct work_struct *work)
{
	struct cpu_synic *synic = container_of(work, struct cpu_synic, ring_rest);
	unsigned long flags;
	bool more;

	local_irq_save(flags);
	more = ring_doorbells(synic);
	local_irq_restore(flags);
	if (more)
		queue_work_on(smp_processor_id(), system_highpri_wq, work);
}

/* Payload {u32 vp}: the intercept itself is in the VP's message page. */
static bool kick_vp(u64 partition_id, u32 index)
{
	struct mshv_partition *pt;
	struct mshv_vp *vp = NULL;

	rcu_read_lock();
	pt = mshv_partition_find_rcu(partition_id);
	if (pt && index < MSHV_MAX_VPS)
		vp = smp_load_acquire(&pt->vps[index]);
	if (vp) {
		WRITE_ONCE(vp->kicked, true);
		wake_up(&vp->wait);
	}
	rcu_read_unlock();
	return vp;
}

static void finish_async(u64 partition_id, u32 status)
{
	struct mshv_partition *pt;

	rcu_read_lock();
	pt = mshv_partition_find_rcu(partition_id);
	if (pt) {
		pt->async_status = status;
		complete(&pt->async);
	}
	rcu_read_unlock();
}

static void ack_irqfds(u64 partition_id, u32 vector)
{
	struct mshv_partition *pt;

	rcu_read_lock();
	pt = mshv_partition_find_rcu(partition_id);
	if (pt)
		mshv_irqfd_ack(pt, vector);
	rcu_read_unlock();
}

static void handle_message(struct cpu_synic *synic, const struct hv_message *msg)
{
	const u32 *words = (const u32 *)msg->u.payload;

	switch (msg->header.message_type) {
	case HVMSG_OPAQUE_INTERCEPT:
		kick_vp(msg->header.sender, words[0]);
		break;
	case HVMSG_SYNIC_SINT_INTERCEPT:
		if (words[0] == HV_SYNIC_DOORBELL_SINT_INDEX && ring_doorbells(synic))
			queue_work_on(smp_processor_id(), system_highpri_wq, &synic->ring_rest);
		break;
	case HVMSG_X64_APIC_EOI:
		ack_irqfds(msg->header.sender, words[1]);
		break;
	case HVMSG_ASYNC_CALL_COMPLETION:
		finish_async(msg->u.payload[0], words[2]);
		break;
	default:
		pr_warn_ratelimited("unknown message type 0x%x from 0x%llx\n",
				    msg->header.message_type, msg->header.sender);
	}
}

/* Takes the message in SINT0's slot, if any: then true. Interrupts are off. */
static bool take_message(void)
{
	struct cpu_synic *synic = this_cpu_ptr(&cpu_synic);
	struct hv_message_page *page = synic->pages[PAGE_MESSAGES].va;
	struct hv_message *msg;

	if (!page)
		return false;
	msg = &page->sint_message[HV_SYNIC_INTERCEPTION_SINT_INDEX];
	if (READ_ONCE(msg->header.message_type) == HVMSG_NONE)
		return false;

	handle_message(synic, msg);
	WRITE_ONCE(msg->header.message_type, HVMSG_NONE);
	mb(); /* the slot is free before we ask whether someone waits for it */
	if (msg->header.message_flags.msg_pending)
		wrmsrl(HV_REGISTER_EOM, 0); /* the hypervisor delivers the next, and interrupts */
	return true;
}

/* Takes messages whose interrupt is lost: it came while the SINT was masked. */
static void take_messages(void)
{
	unsigned long flags;

	local_irq_save(flags);
	while (take_message())
		;
	local_irq_restore(flags);
}

static void mshv_isr(void)
{
	take_message();
	add_interrupt_randomness(HYPERVISOR_CALLBACK_VECTOR);
}

static int enable_page(struct synic_page *page, u32 msr)
{
	u64 value;

	rdmsrl(msr, value);
	if (!(value >> PAGE_SHIFT)) {
		pr_err("CPU %u: the hypervisor gives no page by MSR 0x%x\n", smp_processor_id(), msr);
		return -ENXIO;
	}
	page->msr = msr;
	page->va = memremap(value & PAGE_MASK, PAGE_SIZE, MEMREMAP_WB);
	if (!page->va)
		return -ENOMEM;
	wrmsrl(msr, value | HV_SYNIC_PAGE_ENABLE);
	return 0;
}

static void disable_page(struct synic_page *page)
{
	u64 value;

	if (!page->va)
		return;
	rdmsrl(page->msr, value);
	wrmsrl(page->msr, value & ~HV_SYNIC_PAGE_ENABLE);
	memunmap(page->va);
	page->va = NULL;
}

static void mask_sint(u32 index)
{
	u64 value;

	rdmsrl(HV_REGISTER_SINT0 + index, value);
	wrmsrl(HV_REGISTER_SINT0 + index, value | HV_SYNIC_SINT_MASKED);
}

/*
 * Hotplug callbacks: on the CPU itself, in its thread, with interrupts on.
 *
 * A root's CPU cannot leave: this kernel frees its hypercall pages before it moves its device
 * interrupts away, which takes a hypercall, and dies. Whoever asks is refused before that.
 */
static int synic_offline(unsigned int cpu)
{
	struct cpu_synic *synic = this_cpu_ptr(&cpu_synic);
	unsigned long flags;
	u64 value;
	int i;

	if (READ_ONCE(cpus_stay))
		return -EBUSY;
	mask_sint(HV_SYNIC_DOORBELL_SINT_INDEX);
	mask_sint(HV_SYNIC_INTERCEPTION_SINT_INDEX);

	/* What is queued here already belongs to somebody. */
	take_messages();
	cancel_work_sync(&synic->ring_rest);
	local_irq_save(flags);
	ring_doorbells(synic);
	local_irq_restore(flags);

	rdmsrl(HV_REGISTER_SCONTROL, value);
	wrmsrl(HV_REGISTER_SCONTROL, value & ~HV_SYNIC_CONTROL_ENABLE);
	for (i = PAGE_COUNT; i-- > 0;)
		disable_page(&synic->pages[i]);
	return 0;
}

static int synic_online(unsigned int cpu)
{
	static const u32 msrs[PAGE_COUNT] = {
		[PAGE_MESSAGES] = HV_REGISTER_SIMP,
		[PAGE_EVENT_FLAGS] = HV_REGISTER_SIEFP,
		[PAGE_EVENT_RINGS] = HV_MSR_SIRBP,
	};
	struct cpu_synic *synic = this_cpu_ptr(&cpu_synic);
	u64 sint = HYPERVISOR_CALLBACK_VECTOR;
	u64 value;
	int i, ret;

	INIT_WORK(&synic->ring_rest, ring_rest);
	if (!(ms_hyperv.hints & HV_DEPRECATING_AEOI_RECOMMENDED))
		sint |= HV_SYNIC_SINT_AUTO_EOI; /* then the stub of f3 sends no EOI */

	for (i = 0; i < PAGE_COUNT; i++) {
		ret = enable_page(&synic->pages[i], msrs[i]);
		if (ret) {
			while (i >= 0)
				disable_page(&synic->pages[i--]);
			return ret;
		}
	}
	wrmsrl(HV_REGISTER_SINT0 + HV_SYNIC_INTERCEPTION_SINT_INDEX, sint);
	wrmsrl(HV_REGISTER_SINT0 + HV_SYNIC_DOORBELL_SINT_INDEX,
	       sint | HV_SYNIC_SINT_AS_INTERCEPT);
	rdmsrl(HV_REGISTER_SCONTROL, value);
	wrmsrl(HV_REGISTER_SCONTROL, value | HV_SYNIC_CONTROL_ENABLE);

	/* A message from before would keep its slot for ever. */
	take_messages();
	return 0;
}

int mshv_synic_start(void)
{
	int ret;

	hv_setup_vmbus_handler(mshv_isr);
	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "hyperv/mshv:online", synic_online,
				synic_offline);
	if (ret < 0) {
		hv_remove_vmbus_handler();
		synchronize_rcu();
		return ret;
	}
	cpuhp_state = ret;
	WRITE_ONCE(cpus_stay, true);
	return 0;
}

/* May be called again. After it no handler runs and no page of the hypervisor is in use. */
void mshv_synic_stop(void)
{
	if (cpuhp_state < 0)
		return;
	WRITE_ONCE(cpus_stay, false);
	cpuhp_remove_state(cpuhp_state);
	cpuhp_state = -1;
	synchronize_rcu(); /* the stub looks at its slot twice: first let the last interrupts end */
	hv_remove_vmbus_handler();
	synchronize_rcu();
}
