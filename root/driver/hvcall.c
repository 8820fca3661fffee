// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hypercalls: the per-CPU argument pages, status to errno, and the memory that the hypervisor asks
 * for on the way (deposits) and gives back (withdrawals). Interrupts are off from filling a per-CPU
 * page until its answer is read, because the interrupt handler and every other task on the CPU use
 * the same pages.
 *
 * Deposited pages are marked offline: the root can no longer read them, and who dumps its memory
 * leaves them out. The mark also tells a page of ours when it comes back. What a partition costs is
 * charged to the memory cgroup of who asks for it.
 */
#define pr_fmt(fmt) "mshv: " fmt

#include <linux/bitfield.h>
#include <linux/gfp.h>
#include <linux/mm.h>

#include "mshv_driver.h"

/* Page numbers beside the partition id in one page [TLFS HvCallDepositMemory]. */
#define DEPOSIT_MAX (HV_HYP_PAGE_SIZE / sizeof(u64) - 1)
#define WITHDRAW_BATCH 64
/* A call that still wants memory after this many deposits never ends: give up. */
#define DEPOSIT_ROUNDS 64

static atomic_long_t root_deposited;
static DEFINE_MUTEX(root_withdrawing); /* nobody takes back what another is taking back */

/* Mapping as upstream's: what callers can act on, EIO for the rest. */
int mshv_errno(u64 status)
{
	switch (hv_result(status)) {
	case HV_STATUS_SUCCESS:
		return 0;
	case HV_STATUS_INVALID_HYPERCALL_CODE:
	case HV_STATUS_INVALID_HYPERCALL_INPUT:
	case HV_STATUS_INVALID_PARAMETER:
	case HV_STATUS_INVALID_PARTITION_ID:
	case HV_STATUS_INVALID_VP_INDEX:
	case HV_STATUS_INVALID_PORT_ID:
	case HV_STATUS_INVALID_CONNECTION_ID:
		return -EINVAL;
	case HV_STATUS_INSUFFICIENT_MEMORY:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

/*
 * Runs @control to its last repetition. Unlike hv_do_rep_hypercall() it ends even if the hypervisor
 * reports success without progress, as OPERATION_FAILED.
 */
u64 mshv_do_call(u64 control, void *in, void *out)
{
	u32 count = FIELD_GET(HV_HYPERCALL_REP_COMP_MASK, control);
	u32 done = 0;

	for (;;) {
		u64 status = hv_do_hypercall(control | FIELD_PREP(HV_HYPERCALL_REP_START_MASK, done),
					     in, out);
		u32 now = hv_repcomp(status);

		if (status == U64_MAX) /* the kernel has given up its hypercall page */
			return HV_STATUS_OPERATION_FAILED;
		if (!hv_result_success(status) || now >= count)
			return status;
		if (now <= done)
			return status | HV_STATUS_OPERATION_FAILED;
		done = now;
	}
}

u64 mshv_hvcall(const struct mshv_call *call)
{
	unsigned long flags;
	u64 status;
	void *in, *out;

	if (WARN_ON_ONCE(call->in_size + call->list_size > HV_HYP_PAGE_SIZE ||
			 call->out_size > HV_HYP_PAGE_SIZE))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;

	local_irq_save(flags);
	in = *this_cpu_ptr(hyperv_pcpu_input_arg);
	out = *this_cpu_ptr(hyperv_pcpu_output_arg);
	memcpy(in, call->in, call->in_size);
	if (call->list_size)
		memcpy(in + call->in_size, call->list, call->list_size);
	/* Always with an output page: without, the answer of a call that has one goes to address 0. */
	status = mshv_do_call(call->control, in, out);
	if (call->out_size)
		memcpy(call->out, out, call->out_size);
	local_irq_restore(flags);
	return status;
}

/*
 * mshv_hvcall() that gives @payer (NULL: the root itself) @batch pages and tries again for as long
 * as the hypervisor lacks memory. For calls that repeat nothing by being repeated.
 */
int mshv_hvcall_paid(const struct mshv_call *call, struct mshv_partition *payer, u32 batch)
{
	int round;

	for (round = 0; round < DEPOSIT_ROUNDS; round++) {
		u64 status = mshv_hvcall(call);
		int ret;

		if (hv_result(status) != HV_STATUS_INSUFFICIENT_MEMORY)
			return mshv_errno(status);
		ret = mshv_deposit(payer, batch);
		if (ret)
			return ret;
	}
	return -ENOMEM;
}

/* The same for a fast call whose only argument is the partition. */
int mshv_fast_paid(u16 code, struct mshv_partition *pt, u32 batch)
{
	int round;

	for (round = 0; round < DEPOSIT_ROUNDS; round++) {
		u64 status = hv_do_fast_hypercall8(code, pt->id);
		int ret;

		if (hv_result(status) != HV_STATUS_INSUFFICIENT_MEMORY)
			return mshv_errno(status);
		ret = mshv_deposit(pt, batch);
		if (ret)
			return ret;
	}
	return -ENOMEM;
}

/*
 * Fills @pfns with @count pages. Blocks as large as they come, so that the hypervisor takes as few
 * large pages of the root apart as possible. Returns how many it got.
 */
static u32 alloc_for_deposit(u64 *pfns, u32 count, gfp_t gfp)
{
	u32 got = 0;
	unsigned int order = ilog2(count);

	while (got < count) {
		struct page *page;
		u32 i;

		while (count - got < 1u << order)
			order--;
		page = alloc_pages_node(NUMA_NO_NODE,
					gfp | __GFP_NOWARN | (order ? __GFP_NORETRY : 0), order);
		if (!page) {
			if (!order)
				break;
			order--;
			continue;
		}
		split_page(page, order);
		for (i = 0; i < 1u << order; i++)
			pfns[got++] = page_to_pfn(page + i);
	}
	return got;
}

/* Before the hypervisor gets the pages: who reads memory through the direct map now keeps off. */
static void mark_offline(const u64 *pfns, u32 count)
{
	u32 i;

	page_offline_begin();
	for (i = 0; i < count; i++)
		__SetPageOffline(pfn_to_page(pfns[i]));
	page_offline_end();
}

static void free_offline(struct page *page)
{
	__ClearPageOffline(page);
	__free_page(page);
}

static u64 partition_id(const struct mshv_partition *pt)
{
	return pt ? pt->id : hv_current_partition_id;
}

static atomic_long_t *deposit_count(struct mshv_partition *pt)
{
	return pt ? &pt->deposited : &root_deposited;
}

/* Gives @pages pages, at most DEPOSIT_MAX, to @pt or, if NULL, to the root's own partition. */
int mshv_deposit(struct mshv_partition *pt, u32 pages)
{
	u64 id = partition_id(pt);
	struct mshv_call call = { .in = &id, .in_size = sizeof(id) };
	u32 got, taken = 0;
	int ret = -ENOMEM;
	u64 *pfns;

	pages = clamp_t(u32, pages, 1, DEPOSIT_MAX);
	pfns = kmalloc_array(pages, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return -ENOMEM;

	got = alloc_for_deposit(pfns, pages, pt ? GFP_KERNEL_ACCOUNT : GFP_KERNEL);
	mark_offline(pfns, got);
	if (got == pages) {
		u64 status;

		call.control = mshv_rep(HVCALL_DEPOSIT_MEMORY, got);
		call.list = pfns;
		call.list_size = got * sizeof(*pfns);
		status = mshv_hvcall(&call);
		ret = mshv_errno(status);
		taken = ret ? min(hv_repcomp(status), got) : got;
		atomic_long_add(taken, deposit_count(pt));
		if (ret)
			pr_err_ratelimited("partition %llu: the hypervisor took %u of %u pages, status 0x%x\n",
					   id, taken, got, hv_result(status));
	}
	while (got > taken)
		free_offline(pfn_to_page(pfns[--got]));
	kfree(pfns);
	return ret;
}

/* False for a page that this driver did not give: the kernel's own deposit, which stays. */
static bool take_back(u64 pfn, bool free)
{
	if (!pfn_valid(pfn) || !PageOffline(pfn_to_page(pfn))) {
		pr_warn_ratelimited("the hypervisor returned page 0x%llx, which is none of ours\n", pfn);
		return false;
	}
	if (free)
		free_offline(pfn_to_page(pfn));
	return true;
}

/* Takes back up to @limit pages of @pt; without @free they stay allocated: the system goes down. */
static void withdraw(struct mshv_partition *pt, long limit, bool free)
{
	struct hv_input_withdraw_memory in = { .partition_id = partition_id(pt) };
	u64 pfns[WITHDRAW_BATCH];
	struct mshv_call call = {
		.in = &in, .in_size = sizeof(in), .out = pfns, .out_size = sizeof(pfns),
	};

	while (limit > 0) {
		u32 want = min_t(long, limit, WITHDRAW_BATCH);
		u32 i, n, ours = 0;
		u64 status;

		call.control = mshv_rep(HVCALL_WITHDRAW_MEMORY, want);
		status = mshv_hvcall(&call);
		n = min(hv_repcomp(status), want);
		for (i = 0; i < n; i++)
			ours += take_back(pfns[i], free);
		atomic_long_sub(ours, deposit_count(pt));
		limit -= n;
		if (hv_result(status) == HV_STATUS_NO_RESOURCES)
			return;
		if (!hv_result_success(status)) {
			pr_err("partition %llu: withdrawing memory failed, status 0x%x\n",
			       in.partition_id, hv_result(status));
			return;
		}
	}
}

/* Takes back everything; complains if the hypervisor keeps some or returns too much. */
void mshv_withdraw(struct mshv_partition *pt, bool free)
{
	long left = atomic_long_read(&pt->deposited);

	if (left)
		withdraw(pt, LONG_MAX, free);
	left = atomic_long_read(&pt->deposited);
	if (left)
		pr_err("partition %llu: %ld deposited pages did not come back\n", pt->id, left);
}

/*
 * What the root paid for its partitions and they no longer use. The kernel's own deposits are in
 * the same pool: take no more than we gave.
 */
void mshv_withdraw_root(void)
{
	mutex_lock(&root_withdrawing);
	withdraw(NULL, atomic_long_read(&root_deposited), true);
	mutex_unlock(&root_withdrawing);
}

long mshv_root_deposited(void)
{
	return atomic_long_read(&root_deposited);
}

int mshv_get_property(u64 partition_id, u32 code, u64 *value)
{
	struct hv_input_get_partition_property in = {
		.partition_id = partition_id,
		.property_code = code,
	};

	return mshv_errno(mshv_hvcall(&(struct mshv_call){
		.control = HVCALL_GET_PARTITION_PROPERTY,
		.in = &in, .in_size = sizeof(in), .out = value, .out_size = sizeof(*value),
	}));
}

static struct hv_input_vp_registers registers_of(const struct mshv_vp *vp)
{
	return (struct hv_input_vp_registers){
		.partition_id = vp->partition->id,
		.vp_index = vp->index,
	};
}

/* The low 64 bits of a register. */
int mshv_get_register(struct mshv_vp *vp, u32 name, u64 *value)
{
	struct hv_input_vp_registers in = registers_of(vp);

	return mshv_errno(mshv_hvcall(&(struct mshv_call){
		.control = mshv_rep(HVCALL_GET_VP_REGISTERS, 1),
		.in = &in, .in_size = sizeof(in), .list = &name, .list_size = sizeof(name),
		.out = value, .out_size = sizeof(*value),
	}));
}

int mshv_set_registers(struct mshv_vp *vp, const struct hv_register_assoc *regs, u32 count)
{
	struct hv_input_vp_registers in = registers_of(vp);

	return mshv_errno(mshv_hvcall(&(struct mshv_call){
		.control = mshv_rep(HVCALL_SET_VP_REGISTERS, count),
		.in = &in, .in_size = sizeof(in),
		.list = regs, .list_size = count * sizeof(*regs),
	}));
}
