// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioeventfds: doorbells. A port of the root, connected to the child at a guest-physical address;
 * the hypervisor answers a matching write by queueing the port's id, and the interrupt handler
 * signals the eventfd that the id stands for. The table of ids is read under RCU, the list of a
 * partition's doorbells is its lock's.
 */
#include <linux/eventfd.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "mshv_driver.h"

struct doorbell {
	struct list_head node;
	u32 port;
	u64 gpa;
	u64 value;
	u32 len;
	bool any_value;
	struct eventfd_ctx *eventfd;
};

static DEFINE_XARRAY_ALLOC1(doorbells);

/* Interrupt context. A port that is being deleted is ignored. */
void mshv_doorbell_ring(u32 port)
{
	struct doorbell *bell;

	rcu_read_lock();
	bell = xa_load(&doorbells, port);
	if (bell)
		eventfd_signal(bell->eventfd, 1);
	rcu_read_unlock();
}

static int size_flag(u32 len)
{
	switch (len) {
	case 0:
		return HV_DOORBELL_FLAG_TRIGGER_SIZE_ANY;
	case 1:
		return HV_DOORBELL_FLAG_TRIGGER_SIZE_BYTE;
	case 2:
		return HV_DOORBELL_FLAG_TRIGGER_SIZE_WORD;
	case 4:
		return HV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD;
	case 8:
		return HV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD;
	default:
		return -EINVAL;
	}
}

static int create_port(const struct mshv_partition *pt, u32 port)
{
	struct hv_input_create_port in = {
		.port_partition_id = hv_current_partition_id,
		.port_id = port,
		.connection_partition_id = pt->id,
		.port_type = HV_PORT_TYPE_DOORBELL,
		.target_sint = HV_SYNIC_DOORBELL_SINT_INDEX,
		.target_vp = HV_ANY_VP,
	};

	return mshv_hvcall_paid(&(struct mshv_call){
		.control = HVCALL_CREATE_PORT, .in = &in, .in_size = sizeof(in),
	}, NULL, 1);
}

static int connect_port(struct mshv_partition *pt, const struct doorbell *bell, u32 flags)
{
	struct hv_input_connect_port in = {
		.connection_partition_id = pt->id,
		.connection_id = bell->port,
		.port_partition_id = hv_current_partition_id,
		.port_id = bell->port,
		.port_type = HV_PORT_TYPE_DOORBELL,
		.doorbell_gpa = bell->gpa,
		.doorbell_trigger_value = bell->value,
		.doorbell_flags = flags,
	};

	return mshv_hvcall_paid(&(struct mshv_call){
		.control = HVCALL_CONNECT_PORT, .in = &in, .in_size = sizeof(in),
	}, pt, 1);
}

static void delete_port(u32 port)
{
	hv_do_fast_hypercall16(HVCALL_DELETE_PORT, hv_current_partition_id, port);
}

/* After this the hypervisor queues the id no more; what it has queued finds nothing. */
static void end_doorbell(struct mshv_partition *pt, struct doorbell *bell)
{
	hv_do_fast_hypercall16(HVCALL_DISCONNECT_PORT, pt->id,
			       bell->port | HV_DISCONNECT_PORT_IS_DOORBELL);
	delete_port(bell->port);
	list_del(&bell->node);
	pt->nr_ioeventfds--;
	xa_erase(&doorbells, bell->port);
}

static void free_doorbell(struct doorbell *bell)
{
	eventfd_ctx_put(bell->eventfd);
	kfree(bell);
}

/* Would both fire at the same write? */
static bool collides(const struct mshv_partition *pt, const struct doorbell *bell)
{
	const struct doorbell *other;

	list_for_each_entry(other, &pt->ioeventfds, node)
		if (other->gpa == bell->gpa && other->len == bell->len &&
		    (other->any_value || bell->any_value || other->value == bell->value))
			return true;
	return false;
}

/* Gives the doorbell a port and connects it. Takes back what it did if it fails. */
static int start_doorbell(struct mshv_partition *pt, struct doorbell *bell, u32 flags)
{
	int ret = xa_alloc(&doorbells, &bell->port, bell, XA_LIMIT(1, HV_MAX_PORT_ID), GFP_KERNEL);

	if (ret)
		return ret;
	ret = create_port(pt, bell->port);
	if (ret)
		goto erase;
	ret = connect_port(pt, bell, flags);
	if (ret)
		goto delete;
	return 0;

delete:
	delete_port(bell->port);
erase:
	xa_erase(&doorbells, bell->port);
	synchronize_rcu();
	return ret;
}

static int assign(struct mshv_partition *pt, const struct mshv_user_ioeventfd *args)
{
	int flags = size_flag(args->len);
	struct doorbell *bell;
	int ret;

	if (flags < 0 || args->addr + args->len < args->addr)
		return -EINVAL;
	bell = kzalloc(sizeof(*bell), GFP_KERNEL_ACCOUNT);
	if (!bell)
		return -ENOMEM;
	bell->gpa = args->addr;
	bell->len = args->len;
	bell->any_value = !(args->flags & BIT(MSHV_IOEVENTFD_BIT_DATAMATCH));
	bell->value = bell->any_value ? 0 : args->datamatch;
	bell->eventfd = eventfd_ctx_fdget(args->fd);
	if (IS_ERR(bell->eventfd)) {
		ret = PTR_ERR(bell->eventfd);
		kfree(bell);
		return ret;
	}

	if (pt->nr_ioeventfds == MSHV_MAX_IOEVENTFDS)
		ret = -ENOSPC;
	else if (collides(pt, bell))
		ret = -EEXIST;
	else
		ret = start_doorbell(pt, bell,
				     flags | (bell->any_value ? HV_DOORBELL_FLAG_TRIGGER_ANY_VALUE : 0));
	if (ret) {
		free_doorbell(bell);
		return ret;
	}
	list_add(&bell->node, &pt->ioeventfds);
	pt->nr_ioeventfds++;
	return 0;
}

static struct doorbell *find(const struct mshv_partition *pt, const struct eventfd_ctx *eventfd,
			     const struct mshv_user_ioeventfd *args)
{
	bool any_value = !(args->flags & BIT(MSHV_IOEVENTFD_BIT_DATAMATCH));
	struct doorbell *bell;

	list_for_each_entry(bell, &pt->ioeventfds, node)
		if (bell->eventfd == eventfd && bell->gpa == args->addr &&
		    bell->len == args->len && bell->any_value == any_value &&
		    (any_value || bell->value == args->datamatch))
			return bell;
	return NULL;
}

static int deassign(struct mshv_partition *pt, const struct mshv_user_ioeventfd *args)
{
	struct eventfd_ctx *eventfd = eventfd_ctx_fdget(args->fd);
	struct doorbell *bell;

	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	bell = find(pt, eventfd, args);
	eventfd_ctx_put(eventfd);
	if (!bell)
		return -ENOENT;
	end_doorbell(pt, bell);
	synchronize_rcu();
	free_doorbell(bell);
	return 0;
}

int mshv_ioeventfd(struct mshv_partition *pt, const void __user *uargs)
{
	struct mshv_user_ioeventfd args;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if (args.flags & ~MSHV_IOEVENTFD_FLAGS_MASK ||
	    memchr_inv(args.rsvd, 0, sizeof(args.rsvd)))
		return -EINVAL;
	if (args.flags & BIT(MSHV_IOEVENTFD_BIT_PIO))
		return -EOPNOTSUPP;
	return args.flags & BIT(MSHV_IOEVENTFD_BIT_DEASSIGN) ? deassign(pt, &args) :
							       assign(pt, &args);
}

void mshv_ioeventfds_release(struct mshv_partition *pt)
{
	struct doorbell *bell, *next;
	LIST_HEAD(ended);

	list_for_each_entry_safe(bell, next, &pt->ioeventfds, node) {
		end_doorbell(pt, bell);
		list_add(&bell->node, &ended);
	}
	if (list_empty(&ended))
		return;
	synchronize_rcu();
	list_for_each_entry_safe(bell, next, &ended, node)
		free_doorbell(bell);
}
