// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqfds: an eventfd's signal becomes a virtual interrupt, and the guest's EOI of a level interrupt
 * becomes a signal of the resample eventfd. An irqfd keeps the route of its GSI as one word, which
 * SET_MSI_ROUTING replaces under the partition's lock and the signal path reads without one.
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

struct irqfd {
	struct mshv_partition *partition;
	struct list_head node;
	u32 gsi;
	u64 route;
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

static u64 find_route(const struct mshv_partition *pt, u32 gsi)
{
	u32 i;

	for (i = 0; i < pt->nr_routes; i++) {
		const struct mshv_user_irq_entry *e = &pt->routes[i];

		if (e->gsi != gsi)
			continue;
		return ROUTE_VALID |
		       FIELD_PREP(ROUTE_DEST, FIELD_GET(MSI_ADDRESS_DEST, e->address_lo)) |
		       FIELD_PREP(ROUTE_LOGICAL, FIELD_GET(MSI_ADDRESS_LOGICAL, e->address_lo)) |
		       FIELD_PREP(ROUTE_LEVEL, FIELD_GET(MSI_DATA_LEVEL, e->data)) |
		       FIELD_PREP(ROUTE_TYPE, FIELD_GET(MSI_DATA_TYPE, e->data)) |
		       FIELD_PREP(ROUTE_VECTOR, FIELD_GET(MSI_DATA_VECTOR, e->data));
	}
	return 0;
}

/* Any context. An interrupt that the hypervisor refuses is lost, like an MSI to nowhere. */
static void assert_interrupt(const struct irqfd *irqfd)
{
	u64 route = READ_ONCE(irqfd->route);
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

/* The guest ended a level interrupt: true if a resampler was told. Any context. */
bool mshv_irqfd_ack(struct mshv_partition *pt, u32 vector)
{
	struct irqfd *irqfd;
	bool found = false;

	rcu_read_lock();
	list_for_each_entry_rcu(irqfd, &pt->irqfds, node) {
		u64 route = READ_ONCE(irqfd->route);

		if (irqfd->resample && route & ROUTE_LEVEL &&
		    FIELD_GET(ROUTE_VECTOR, route) == vector) {
			eventfd_signal(irqfd->resample, 1);
			found = true;
		}
	}
	rcu_read_unlock();
	return found;
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
	list_del_rcu(&irqfd->node);
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

/* Enters the list unless the eventfd is in use. Caller holds pt->lock. */
static int list_irqfd(struct mshv_partition *pt, struct irqfd *irqfd)
{
	struct irqfd *other;
	int ret = 0;

	spin_lock_irq(&pt->irqfds_lock);
	list_for_each_entry(other, &pt->irqfds, node)
		if (other->eventfd == irqfd->eventfd)
			ret = -EBUSY;
	if (!ret)
		list_add_rcu(&irqfd->node, &pt->irqfds);
	spin_unlock_irq(&pt->irqfds_lock);
	return ret;
}

static int assign(struct mshv_partition *pt, const struct mshv_user_irqfd *args)
{
	struct fd f = fdget(args->fd);
	struct irqfd *irqfd;
	int ret;

	if (!f.file)
		return -EBADF;
	irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	if (!irqfd) {
		ret = -ENOMEM;
		goto put_file;
	}
	irqfd->partition = pt;
	irqfd->gsi = args->gsi;
	irqfd->route = find_route(pt, args->gsi);
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
		if (!(irqfd->route & ROUTE_LEVEL))
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

static int check_routes(const struct mshv_user_irq_entry *routes, u32 nr)
{
	unsigned long *seen = bitmap_zalloc(MSHV_MAX_GUEST_IRQS, GFP_KERNEL);
	int ret = 0;
	u32 i;

	if (!seen)
		return -ENOMEM;
	for (i = 0; i < nr && !ret; i++)
		if (routes[i].gsi >= MSHV_MAX_GUEST_IRQS || routes[i].address_hi ||
		    __test_and_set_bit(routes[i].gsi, seen))
			ret = -EINVAL;
	bitmap_free(seen);
	return ret;
}

int mshv_set_msi_routing(struct mshv_partition *pt, const void __user *uargs)
{
	const struct mshv_user_irq_table __user *utable = uargs;
	struct mshv_user_irq_entry *routes = NULL, *old;
	struct mshv_user_irq_table args;
	struct irqfd *irqfd;
	int ret;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if (args.nr > MSHV_MAX_GUEST_IRQS || args.rsvd)
		return -EINVAL;
	if (args.nr) {
		routes = vmemdup_user(utable->entries, array_size(args.nr, sizeof(*routes)));
		if (IS_ERR(routes))
			return PTR_ERR(routes);
		ret = check_routes(routes, args.nr);
		if (ret) {
			kvfree(routes);
			return ret;
		}
	}

	old = pt->routes;
	pt->routes = routes;
	pt->nr_routes = args.nr;
	spin_lock_irq(&pt->irqfds_lock);
	list_for_each_entry(irqfd, &pt->irqfds, node)
		WRITE_ONCE(irqfd->route, find_route(pt, irqfd->gsi));
	spin_unlock_irq(&pt->irqfds_lock);
	kvfree(old);
	return 0;
}
