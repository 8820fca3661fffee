// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSHV_GET_VP_STATE and MSHV_SET_VP_STATE: local APIC, XSAVE area, SynIC pages and timers as a
 * whole. State that the hypervisor reads and writes by page number goes through pages of ours,
 * never through the caller's, so nothing is pinned and nothing changes under the hypervisor.
 */
#include <linux/align.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "mshv_driver.h"

/* No XSAVE area comes near it (AMX: 11 KB). */
#define MAX_STATE_PAGES 16

/* What the hypervisor calls the state, and how large it is. */
struct state_kind {
	u32 type;
	u32 size;
	u64 xsave_states;
};

static int xsave_kind(struct mshv_vp *vp, struct state_kind *kind)
{
	u64 states, size;
	int ret;

	ret = mshv_get_property(vp->partition->id, HV_PARTITION_PROPERTY_XSAVE_STATES, &states);
	if (!ret)
		ret = mshv_get_property(vp->partition->id,
					HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE, &size);
	if (ret)
		return ret;
	if (!size || size > MAX_STATE_PAGES * PAGE_SIZE)
		return -EIO;
	*kind = (struct state_kind){
		.type = HV_GET_SET_VP_STATE_XSAVE,
		.size = size,
		.xsave_states = states | 3, /* x87 and SSE are always there */
	};
	return 0;
}

static int find_kind(struct mshv_vp *vp, u8 type, struct state_kind *kind)
{
	*kind = (struct state_kind){ .size = PAGE_SIZE };
	switch (type) {
	case MSHV_VP_STATE_LAPIC:
		kind->type = HV_GET_SET_VP_STATE_LAPIC_STATE;
		return 0;
	case MSHV_VP_STATE_XSAVE:
		return xsave_kind(vp, kind);
	case MSHV_VP_STATE_SIMP:
		kind->type = HV_GET_SET_VP_STATE_SIM_PAGE;
		return 0;
	case MSHV_VP_STATE_SIEFP:
		kind->type = HV_GET_SET_VP_STATE_SIEF_PAGE;
		return 0;
	case MSHV_VP_STATE_SYNTHETIC_TIMERS:
		kind->type = HV_GET_SET_VP_STATE_SYNTHETIC_TIMERS;
		kind->size = HV_SYNTHETIC_TIMERS_STATE_SIZE;
		return 0;
	default:
		return -EINVAL;
	}
}

/* Moves the state between the hypervisor and @data: whole pages, physically contiguous. */
static int transfer(struct mshv_vp *vp, const struct state_kind *kind, void *data, bool set)
{
	struct hv_input_vp_state in = {
		.partition_id = vp->partition->id,
		.vp_index = vp->index,
		.type = kind->type,
		.xsave_states = kind->xsave_states,
	};
	struct mshv_call call = { .in = &in, .in_size = sizeof(in) };
	u64 pfns[MAX_STATE_PAGES];
	u32 qwords = 0;

	if (kind->type & HV_GET_SET_VP_STATE_TYPE_PFN) {
		for (; qwords < DIV_ROUND_UP(kind->size, PAGE_SIZE); qwords++)
			pfns[qwords] = PHYS_PFN(virt_to_phys(data)) + qwords;
		call.list = pfns;
	} else if (set) {
		qwords = DIV_ROUND_UP(kind->size, sizeof(u64));
		call.list = data;
	} else {
		call.out = data;
		call.out_size = kind->size;
	}
	call.list_size = qwords * sizeof(u64);
	call.control = mshv_varhead(set ? HVCALL_SET_VP_STATE : HVCALL_GET_VP_STATE, qwords);
	return mshv_hvcall_paid(&call, vp->partition, 1);
}

static int check(const struct mshv_get_set_vp_state *args)
{
	if (args->type >= MSHV_VP_STATE_COUNT || memchr_inv(args->rsvd, 0, sizeof(args->rsvd)) ||
	    !args->buf_sz || !PAGE_ALIGNED(args->buf_sz) || !PAGE_ALIGNED(args->buf_ptr))
		return -EINVAL;
	return access_ok(u64_to_user_ptr(args->buf_ptr), args->buf_sz) ? 0 : -EFAULT;
}

/* Caller holds vp->lock. */
int mshv_vp_state(struct mshv_vp *vp, struct mshv_get_set_vp_state __user *uargs, bool set)
{
	struct mshv_get_set_vp_state args;
	struct state_kind kind;
	void __user *ubuf;
	void *data;
	int ret;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	ret = check(&args);
	if (ret)
		return ret;
	ret = find_kind(vp, args.type, &kind);
	if (ret)
		return ret;
	if (put_user(kind.size, &uargs->buf_sz))
		return -EFAULT;
	if (kind.size > args.buf_sz)
		return -EINVAL;

	data = alloc_pages_exact(kind.size, GFP_KERNEL | __GFP_ZERO);
	if (!data)
		return -ENOMEM;
	ubuf = u64_to_user_ptr(args.buf_ptr);
	if (set && copy_from_user(data, ubuf, kind.size))
		ret = -EFAULT;
	if (!ret)
		ret = transfer(vp, &kind, data, set);
	if (!ret && !set && copy_to_user(ubuf, data, kind.size))
		ret = -EFAULT;
	free_pages_exact(data, kind.size);
	return ret;
}
