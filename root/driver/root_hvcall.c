// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSHV_ROOT_HVCALL: hypercalls that user space makes on behalf of its partition. Every call on the
 * list has the partition id as its first field, which is overwritten here: no caller reaches a
 * partition other than its own. The operands stay in pages of the caller's descriptor, so the call
 * runs with interrupts on and allocates nothing.
 */
#define pr_fmt(fmt) "mshv: " fmt

#include <linux/gfp.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "mshv_driver.h"

/* The hypervisor answers an asynchronous call within moments or not at all. */
#define ASYNC_TIMEOUT (30 * HZ)

static bool is_allowed(u16 code, bool from_partition)
{
	switch (code) {
	case HVCALL_SET_PARTITION_PROPERTY: /* may end asynchronously: one at a time */
		return from_partition;
	case HVCALL_GET_PARTITION_PROPERTY:
	case HVCALL_INSTALL_INTERCEPT:
	case HVCALL_GET_VP_REGISTERS:
	case HVCALL_SET_VP_REGISTERS:
	case HVCALL_TRANSLATE_VIRTUAL_ADDRESS:
	case HVCALL_CLEAR_VIRTUAL_INTERRUPT:
	case HVCALL_REGISTER_INTERCEPT_RESULT:
	case HVCALL_ASSERT_VIRTUAL_INTERRUPT:
	case HVCALL_GET_GPA_PAGES_ACCESS_STATES:
	case HVCALL_SIGNAL_EVENT_DIRECT:
	case HVCALL_POST_MESSAGE_DIRECT:
	case HVCALL_GET_VP_CPUID_VALUES:
		return true;
	default:
		return false;
	}
}

int mshv_bounce_alloc(struct mshv_bounce *bounce)
{
	bounce->in = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	bounce->out = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (bounce->in && bounce->out)
		return 0;
	mshv_bounce_free(bounce);
	return -ENOMEM;
}

void mshv_bounce_free(struct mshv_bounce *bounce)
{
	free_page((unsigned long)bounce->in);
	free_page((unsigned long)bounce->out);
	*bounce = (struct mshv_bounce){};
}

static int check(const struct mshv_root_hvcall *args, bool from_partition)
{
	if (args->status || memchr_inv(args->rsvd, 0, sizeof(args->rsvd)))
		return -EINVAL;
	if (!args->in_ptr || args->in_sz < sizeof(u64) || args->in_sz > HV_HYP_PAGE_SIZE)
		return -EINVAL;
	if (args->out_ptr ? !args->out_sz || args->out_sz > HV_HYP_PAGE_SIZE : args->out_sz)
		return -EINVAL;
	if (args->reps > HV_HYPERCALL_REP_COMP_MASK >> HV_HYPERCALL_REP_COMP_OFFSET)
		return -EINVAL;
	return is_allowed(args->code, from_partition) ? 0 : -EINVAL;
}

/* Waits for the message that ends a pending call; its status replaces the call's. */
static int wait_async(struct mshv_partition *pt, u64 *status)
{
	if (!wait_for_completion_timeout(&pt->async, ASYNC_TIMEOUT)) {
		pr_err("partition %llu: a pending hypercall did not end\n", pt->id);
		return -ETIMEDOUT;
	}
	*status = pt->async_status;
	return 0;
}

/* Caller holds the lock that guards @bounce; the partition's if @from_partition. */
int mshv_root_hvcall(struct mshv_partition *pt, struct mshv_bounce *bounce, bool from_partition,
		     struct mshv_root_hvcall __user *uargs)
{
	struct mshv_root_hvcall args;
	u64 status;
	int ret;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	ret = check(&args, from_partition);
	if (ret)
		return ret;

	if (copy_from_user(bounce->in, u64_to_user_ptr(args.in_ptr), args.in_sz))
		return -EFAULT;
	memset(bounce->in + args.in_sz, 0, HV_HYP_PAGE_SIZE - args.in_sz);
	memset(bounce->out, 0, args.out_sz);
	*(u64 *)bounce->in = pt->id;

	if (from_partition)
		reinit_completion(&pt->async);
	/* With an output page even if the caller wants none, or the answer would go to address 0. */
	status = mshv_do_call(mshv_rep(args.code, args.reps), bounce->in, bounce->out);
	if (hv_result(status) == HV_STATUS_CALL_PENDING && from_partition)
		ret = wait_async(pt, &status);

	if (!ret)
		ret = mshv_errno(status);
	if (hv_result(status) == HV_STATUS_INSUFFICIENT_MEMORY) {
		ret = mshv_deposit(pt, 1);
		if (!ret)
			ret = -EAGAIN;
	}

	args.status = hv_result(status);
	args.reps = args.reps ? hv_repcomp(status) : 0;
	if (copy_to_user(uargs, &args, sizeof(args)) ||
	    copy_to_user(u64_to_user_ptr(args.out_ptr), bounce->out, args.out_sz))
		return -EFAULT;
	return ret;
}
