// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqfds: an eventfd's signal becomes a virtual interrupt, and the guest's EOI of a level interrupt
 * becomes a signal of the resample eventfd. A GSI's route is one word of the partition's table,
 * which SET_MSI_ROUTING writes under the partition's lock and the signal path reads without one.
 *
 * How many irqfds a partition may have bounds what its owner can make others wait for: they are
 * looked at with interrupts off, those with a resample eventfd at each end of a level interrupt.
 *
 * An irqfd ends in three steps: off the list (irqfds_lock), which decides who ends it; then, in a
 * work item because an eventfd may close under its own wait queue lock, off the eventfd's queue;
 * then freed after an RCU grace period.
 */
#include <linux/bitfield.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "mshv_driver.h"

/* A route in one word; 0 is no route. */
#define ROUTE_VALID BIT_ULL(63)
#define ROUTE_DEST GENMASK_ULL(47, 16)
#define ROUTE_LOGICAL BIT_ULL(12)
#define ROUTE_LEVEL BIT_ULL(11)
#define ROUTE_TYPE GENMASK_ULL(10, 8)
#define ROUTE_VECTOR GENMASK_ULL(7, 0)

/* MSI address and data [SDM3 11.11]. */
#define MSI_ADDRESS_DEST GENMASK(19, 12)
#define MSI_ADDRESS_LOGICAL BIT(2)
#define MSI_DATA_LEVEL BIT(15)
#define MSI_DATA_TYPE GENMASK(10, 8)
#define MSI_DATA_VECTOR GENMASK(7, 0)

#define MAX_IRQFDS MSHV_MAX_GUEST_IRQS
#define MAX_RESAMPLERS 64 /* level interrupts are few: an I/O APIC has 24 pins */

struct irqfd {
	struct mshv_partition *partition;
	struct list_head node;
	struct list_head resample_node; /* if there is a resample eventfd */
	u32 gsi; /* < MSHV_MAX_GUEST_IRQS */
	struct eventfd_ctx *eventfd;
	struct eventfd_ctx *resample; /* or NULL */
	wait_queue_entry_t wait;
	poll_table poll;
	struct work_struct end;
};

static struct workqueue_struct *end_wq;

int mshv_irqfd_module_init(void)
{
	end_wq = alloc_workqueue("mshv_irqfd", 0, 0);
	return end_wq ? 0 : -ENOMEM;
}

void mshv_irqfd_module_exit(void)
{
	destroy_workqueue(end_wq);
}

static u64 route_of(const struct mshv_user_irq_entry *e)
{
	return ROUTE_VALID |
	       FIELD_PREP(ROUTE_DEST, FIELD_GET(MSI_ADDRESS_DEST, e->address_lo)) |
	       FIELD_PREP(ROUTE_LOGICAL, FIELD_GET(MSI_ADDRESS_LOGICAL, e->address_lo)) |
	       FIELD_PREP(ROUTE_LEVEL, FIELD_GET(MSI_DATA_LEVEL, e->data)) |
	       FIELD_PREP(ROUTE_TYPE, FIELD_GET(MSI_DATA_TYPE, e->data)) |
	       FIELD_PREP(ROUTE_VECTOR, FIELD_GET(MSI_DATA_VECTOR, e->data));
}

static u64 get_route(const struct irqfd *irqfd)
{
	return READ_ONCE(irqfd->partition->routes[irqfd->gsi]);
}

/* Any context. An interrupt that the hypervisor refuses is lost, like an MSI to nowhere. */
static void assert_interrupt(const struct irqfd *irqfd)
{
	u64 route = get_route(irqfd);
	struct hv_input_assert_virtual_interrupt in;

	if (!(route & ROUTE_VALID))
		return;
	in = (struct hv_input_assert_virtual_interrupt){
		.partition_id = irqfd->partition->id,
		.interrupt_type = FIELD_GET(ROUTE_TYPE, route),
		.interrupt_flags =
			(route & ROUTE_LEVEL ? HV_INTERRUPT_LEVEL_TRIGGERED : 0) |
			(route & ROUTE_LOGICAL ? HV_INTERRUPT_LOGICAL_DEST_MODE : 0),
		.dest_addr = FIELD_GET(ROUTE_DEST, route),
		.vector = FIELD_GET(ROUTE_VECTOR, route),
	};
	mshv_hvcall(&(struct mshv_call){
		.control = HVCALL_ASSERT_VIRTUAL_INTERRUPT, .in = &in, .in_size = sizeof(in),
	});
}

/* The guest ended a level interrupt. Any context. */
void mshv_irqfd_ack(struct mshv_partition *pt, u32 vector)
{
	struct irqfd *irqfd;

	rcu_read_lock();
	list_for_each_entry_rcu(irqfd, &pt->resamplers, resample_node) {
		u64 route = get_route(irqfd);

		if (route & ROUTE_LEVEL && FIELD_GET(ROUTE_VECTOR, route) == vector)
			eventfd_signal(irqfd->resample, 1);
	}
	rcu_read_unlock();
}

static void end_irqfd(struct work_struct *work)
{
	struct irqfd *irqfd = container_of(work, struct irqfd, end);
	u64 count;

	eventfd_ctx_remove_wait_queue(irqfd->eventfd, &irqfd->wait, &count);
	synchronize_rcu();
	if (irqfd->resample)
		eventfd_ctx_put(irqfd->resample);
	eventfd_ctx_put(irqfd->eventfd);
	kfree(irqfd);
}

/* Caller holds irqfds_lock and found the irqfd on the list. */
static void start_end(struct irqfd *irqfd)
{
	struct mshv_partition *pt = irqfd->partition;

	list_del_rcu(&irqfd->node);
	pt->nr_irqfds--;
	if (irqfd->resample) {
		list_del_rcu(&irqfd->resample_node);
		pt->nr_resamplers--;
	}
	queue_work(end_wq, &irqfd->end);
}

/* True if it is on its partition's list still; off the list, its end is under way. */
static bool is_listed(const struct irqfd *irqfd)
{
	return irqfd->node.prev != LIST_POISON2;
}

/* The eventfd was signalled or closed. Its wait queue lock is held and interrupts are off. */
static int irqfd_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *irqfd = container_of(wait, struct irqfd, wait);
	struct mshv_partition *pt = irqfd->partition;
	__poll_t events = key_to_poll(key);
	unsigned long flags;
	u64 count;

	if (events & EPOLLIN) {
		eventfd_ctx_do_read(irqfd->eventfd, &count);
		assert_interrupt(irqfd);
	}
	if (events & EPOLLHUP) {
		spin_lock_irqsave(&pt->irqfds_lock, flags);
		if (is_listed(irqfd))
			start_end(irqfd);
		spin_unlock_irqrestore(&pt->irqfds_lock, flags);
	}
	return !!(events & EPOLLIN);
}

static void irqfd_queue(struct file *file, wait_queue_head_t *queue, poll_table *poll)
{
	struct irqfd *irqfd = container_of(poll, struct irqfd, poll);

	add_wait_queue_priority(queue, &irqfd->wait);
}

/* Caller holds irqfds_lock. */
static int may_list(const struct mshv_partition *pt, const struct irqfd *irqfd)
{
	const struct irqfd *other;

	if (pt->nr_irqfds == MAX_IRQFDS || (irqfd->resample && pt->nr_resamplers == MAX_RESAMPLERS))
		return -ENOSPC;
	list_for_each_entry(other, &pt->irqfds, node)
		if (other->eventfd == irqfd->eventfd)
			return -EBUSY;
	return 0;
}

/* Enters the lists unless they are full or the eventfd is in use. Caller holds pt->lock. */
static int list_irqfd(struct mshv_partition *pt, struct irqfd *irqfd)
{
	int ret;

	spin_lock_irq(&pt->irqfds_lock);
	ret = may_list(pt, irqfd);
	if (!ret) {
		list_add_rcu(&irqfd->node, &pt->irqfds);
		pt->nr_irqfds++;
		if (irqfd->resample) {
			list_add_rcu(&irqfd->resample_node, &pt->resamplers);
			pt->nr_resamplers++;
		}
	}
	spin_unlock_irq(&pt->irqfds_lock);
	return ret;
}

static int assign(struct mshv_partition *pt, const struct mshv_user_irqfd *args)
{
	struct irqfd *irqfd;
	struct fd f;
	int ret;

	if (args->gsi >= MSHV_MAX_GUEST_IRQS)
		return -EINVAL;
	f = fdget(args->fd);
	if (!f.file)
		return -EBADF;
	irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	if (!irqfd) {
		ret = -ENOMEM;
		goto put_file;
	}
	irqfd->partition = pt;
	irqfd->gsi = args->gsi;
	INIT_WORK(&irqfd->end, end_irqfd);
	init_waitqueue_func_entry(&irqfd->wait, irqfd_wakeup);
	init_poll_funcptr(&irqfd->poll, irqfd_queue);

	irqfd->eventfd = eventfd_ctx_fileget(f.file);
	if (IS_ERR(irqfd->eventfd)) {
		ret = PTR_ERR(irqfd->eventfd);
		goto free;
	}
	if (args->flags & BIT(MSHV_IRQFD_BIT_RESAMPLE)) {
		ret = -EINVAL;
		if (!(get_route(irqfd) & ROUTE_LEVEL))
			goto put_eventfd;
		irqfd->resample = eventfd_ctx_fdget(args->resamplefd);
		if (IS_ERR(irqfd->resample)) {
			ret = PTR_ERR(irqfd->resample);
			goto put_eventfd;
		}
	}
	ret = list_irqfd(pt, irqfd);
	if (ret)
		goto put_resample;

	/* A signal from before the eventfd knew us counts. The file keeps off its HUP till here. */
	if (vfs_poll(f.file, &irqfd->poll) & EPOLLIN)
		assert_interrupt(irqfd);
	fdput(f);
	return 0;

put_resample:
	if (irqfd->resample)
		eventfd_ctx_put(irqfd->resample);
put_eventfd:
	eventfd_ctx_put(irqfd->eventfd);
free:
	kfree(irqfd);
put_file:
	fdput(f);
	return ret;
}

/* Ends every irqfd that @eventfd (NULL: any) and @gsi name; returns when they are gone. */
static void end_matching(struct mshv_partition *pt, struct eventfd_ctx *eventfd, u32 gsi)
{
	struct irqfd *irqfd, *next;

	spin_lock_irq(&pt->irqfds_lock);
	list_for_each_entry_safe(irqfd, next, &pt->irqfds, node)
		if (!eventfd || (irqfd->eventfd == eventfd && irqfd->gsi == gsi))
			start_end(irqfd);
	spin_unlock_irq(&pt->irqfds_lock);
	flush_workqueue(end_wq);
}

static int deassign(struct mshv_partition *pt, const struct mshv_user_irqfd *args)
{
	struct eventfd_ctx *eventfd = eventfd_ctx_fdget(args->fd);

	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	end_matching(pt, eventfd, args->gsi);
	eventfd_ctx_put(eventfd);
	return 0;
}

int mshv_irqfd(struct mshv_partition *pt, const void __user *uargs)
{
	struct mshv_user_irqfd args;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if (args.flags & ~MSHV_IRQFD_FLAGS_MASK)
		return -EINVAL;
	return args.flags & BIT(MSHV_IRQFD_BIT_DEASSIGN) ? deassign(pt, &args) : assign(pt, &args);
}

void mshv_irqfds_release(struct mshv_partition *pt)
{
	end_matching(pt, NULL, 0);
}

/* The table that @entries make, or an error. */
static u64 *parse_routes(const struct mshv_user_irq_entry *entries, u32 nr)
{
	u64 *routes = kvcalloc(MSHV_MAX_GUEST_IRQS, sizeof(*routes), GFP_KERNEL);
	u32 i;

	if (!routes)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < nr; i++) {
		const struct mshv_user_irq_entry *e = &entries[i];

		if (e->gsi >= MSHV_MAX_GUEST_IRQS || e->address_hi || routes[e->gsi]) {
			kvfree(routes);
			return ERR_PTR(-EINVAL);
		}
		routes[e->gsi] = route_of(e);
	}
	return routes;
}

int mshv_set_msi_routing(struct mshv_partition *pt, const void __user *uargs)
{
	const struct mshv_user_irq_table __user *utable = uargs;
	struct mshv_user_irq_entry *entries = NULL;
	struct mshv_user_irq_table args;
	u64 *routes;
	u32 i;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if (args.nr > MSHV_MAX_GUEST_IRQS || args.rsvd)
		return -EINVAL;
	if (args.nr) {
		entries = vmemdup_user(utable->entries, array_size(args.nr, sizeof(*entries)));
		if (IS_ERR(entries))
			return PTR_ERR(entries);
	}
	routes = parse_routes(entries, args.nr);
	kvfree(entries);
	if (IS_ERR(routes))
		return PTR_ERR(routes);
	for (i = 0; i < MSHV_MAX_GUEST_IRQS; i++)
		WRITE_ONCE(pt->routes[i], routes[i]);
	kvfree(routes);
	return 0;
}
