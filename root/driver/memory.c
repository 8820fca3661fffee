// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: user pages, pinned for as long as the guest may touch them, mapped into the GPA
 * space as runs of small or of 2 MB pages. A region is on the partition's list whenever any of it
 * may be mapped, so that what cannot be unmapped now stays pinned until the partition is finalized.
 * Everything here runs under the partition's lock. Hypercalls on many pages take their operands
 * from the partition's bounce pages, so that interrupts stay on.
 */
#define pr_fmt(fmt) "mshv: " fmt

#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "mshv_driver.h"

/* Page numbers that fit behind the input of MapGpaPages in one page. */
#define MAP_BATCH ((HV_HYP_PAGE_SIZE - sizeof(struct hv_input_map_gpa_pages)) / sizeof(u64))
#define MAP_DEPOSIT 64
#define MAP_ROUNDS 64
#define UNMAP_BATCH 512
/* The pages array of one pin_user_pages_fast(), which it copies. */
#define PIN_BATCH 2048
#define BITMAP_BATCH 2048

#define LARGE_SHIFT 9
#define LARGE_PAGES (1u << LARGE_SHIFT)

struct region {
	struct list_head node;
	u64 gfn;
	u64 uaddr;
	u64 nr;
	u32 flags; /* HV_MAP_GPA_* */
	struct mm_struct *mm; /* the locked pages are on its account */
	struct page **pages;
	long mapped[2]; /* entries by size: 4 KB, 2 MB */
};

/* The same of all regions. */
static atomic_long_t all_mapped[2];

static void count_mapped(struct region *r, bool large, long entries)
{
	r->mapped[large] += entries;
	atomic_long_add(entries, &all_mapped[large]);
}

/* Nothing of the region is mapped any more. */
static void count_unmapped(struct region *r)
{
	count_mapped(r, false, -r->mapped[false]);
	count_mapped(r, true, -r->mapped[true]);
}

void mshv_count_guest_pages(long *small, long *large)
{
	*small = atomic_long_read(&all_mapped[false]);
	*large = atomic_long_read(&all_mapped[true]);
}

/* True if the 2 MB from page @i on are aligned and contiguous in both spaces. */
static bool is_large(const struct region *r, u64 i)
{
	u64 first, k;

	if ((r->gfn + i) % LARGE_PAGES || r->nr - i < LARGE_PAGES)
		return false;
	first = page_to_pfn(r->pages[i]);
	if (first % LARGE_PAGES)
		return false;
	for (k = 1; k < LARGE_PAGES; k++)
		if (page_to_pfn(r->pages[i + k]) != first + k)
			return false;
	return true;
}

/* Entries of one hypercall: pages of one size from page @i on, up to @max of them. */
struct run {
	u64 i;
	u32 entries;
	unsigned int shift; /* pages per entry, as a power of two */
};

static struct run next_run(const struct region *r, u64 i, u64 end, u32 max)
{
	struct run run = { .i = i, .shift = is_large(r, i) ? LARGE_SHIFT : 0 };

	do {
		run.entries++;
		i += 1u << run.shift;
	} while (run.entries < max && i < end && is_large(r, i) == !!run.shift);
	return run;
}

/* Maps a run. *@mapped counts the pages mapped so far, also if it fails. */
static int map_run(struct mshv_partition *pt, struct region *r, const struct run *run, u64 *mapped)
{
	struct hv_input_map_gpa_pages *in = pt->bounce.in;
	u64 *pfns = (u64 *)(in + 1);
	u32 done = 0;
	int round;

	for (round = 0; round < MAP_ROUNDS; round++) {
		u32 left = run->entries - done;
		u32 k, now;
		u64 status;
		int ret;

		*in = (struct hv_input_map_gpa_pages){
			.target_partition_id = pt->id,
			.target_gpa_base = r->gfn + *mapped,
			.map_flags = r->flags | (run->shift ? HV_MAP_GPA_LARGE_PAGE : 0),
		};
		for (k = 0; k < left; k++)
			pfns[k] = page_to_pfn(r->pages[run->i + ((u64)(done + k) << run->shift)]);
		status = mshv_do_call(mshv_rep(HVCALL_MAP_GPA_PAGES, left), in, pt->bounce.out);
		now = hv_result_success(status) ? left : min(hv_repcomp(status), left);
		done += now;
		*mapped += (u64)now << run->shift;
		count_mapped(r, run->shift, now);
		if (hv_result(status) != HV_STATUS_INSUFFICIENT_MEMORY)
			return mshv_errno(status);
		ret = mshv_deposit(pt, MAP_DEPOSIT);
		if (ret)
			return ret;
	}
	return -ENOMEM;
}

static int map_region(struct mshv_partition *pt, struct region *r, u64 *mapped)
{
	*mapped = 0;
	while (*mapped < r->nr) {
		struct run run = next_run(r, *mapped, r->nr, MAP_BATCH);
		int ret = fatal_signal_pending(current) ? -EINTR : map_run(pt, r, &run, mapped);

		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/* Unmaps the first @mapped pages, all that are, in the sizes in which they were mapped. */
static int unmap_region(struct mshv_partition *pt, struct region *r, u64 mapped)
{
	struct hv_input_unmap_gpa_pages *in = pt->bounce.in;
	u64 i = 0;

	while (i < mapped) {
		struct run run = next_run(r, i, mapped, UNMAP_BATCH);
		u64 status;

		*in = (struct hv_input_unmap_gpa_pages){
			.target_partition_id = pt->id,
			.target_gpa_base = r->gfn + i,
			.unmap_flags = run.shift ? HV_UNMAP_GPA_LARGE_PAGE : 0,
		};
		status = mshv_do_call(mshv_rep(HVCALL_UNMAP_GPA_PAGES, run.entries), in,
				      pt->bounce.out);
		if (!hv_result_success(status)) {
			pr_err("partition %llu: unmapping guest pages from 0x%llx failed, status 0x%x\n",
			       pt->id, in->target_gpa_base, hv_result(status));
			return mshv_errno(status);
		}
		i += (u64)run.entries << run.shift;
		cond_resched();
	}
	count_unmapped(r);
	return 0;
}

static int pin_region(struct region *r)
{
	u64 done = 0;
	int n;

	while (done < r->nr) {
		if (fatal_signal_pending(current))
			n = -EINTR;
		else
			n = pin_user_pages_fast(r->uaddr + done * PAGE_SIZE,
						min_t(u64, r->nr - done, PIN_BATCH),
						FOLL_WRITE | FOLL_LONGTERM, r->pages + done);
		if (n <= 0) {
			unpin_user_pages(r->pages, done);
			return n ?: -EFAULT;
		}
		done += n;
		cond_resched();
	}
	return 0;
}

/* A region with its memory pinned and accounted, or an error. */
static struct region *create_region(const struct mshv_user_mem_region *args)
{
	struct region *r;
	int ret = -ENOMEM;

	r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	if (!r)
		return ERR_PTR(-ENOMEM);
	r->gfn = args->guest_pfn;
	r->uaddr = args->userspace_addr;
	r->nr = args->size >> HV_HYP_PAGE_SHIFT;
	r->flags = HV_MAP_GPA_READABLE | HV_MAP_GPA_ADJUSTABLE;
	if (args->flags & BIT(MSHV_SET_MEM_BIT_WRITABLE))
		r->flags |= HV_MAP_GPA_WRITABLE;
	if (args->flags & BIT(MSHV_SET_MEM_BIT_EXECUTABLE))
		r->flags |= HV_MAP_GPA_EXECUTABLE;

	/* The second: what no array may be, and the kernel would complain about. */
	if (r->nr > totalram_pages() || r->nr > INT_MAX / sizeof(*r->pages))
		goto free;
	r->pages = kvcalloc(r->nr, sizeof(*r->pages), GFP_KERNEL_ACCOUNT);
	if (!r->pages)
		goto free;
	ret = account_locked_vm(current->mm, r->nr, true);
	if (ret)
		goto free;
	ret = pin_region(r);
	if (ret)
		goto unaccount;
	r->mm = current->mm;
	mmgrab(r->mm);
	return r;

unaccount:
	account_locked_vm(current->mm, r->nr, false);
free:
	kvfree(r->pages);
	kfree(r);
	return ERR_PTR(ret);
}

/* The hypervisor has none of the region's pages any more. */
static void free_region(struct region *r)
{
	count_unmapped(r);
	unpin_user_pages_dirty_lock(r->pages, r->nr, r->flags & HV_MAP_GPA_WRITABLE);
	account_locked_vm(r->mm, r->nr, false);
	mmdrop(r->mm);
	kvfree(r->pages);
	kfree(r);
}

static int map(struct mshv_partition *pt, const struct mshv_user_mem_region *args)
{
	u64 nr = args->size >> HV_HYP_PAGE_SHIFT;
	struct region *r;
	u64 end, mapped;
	int ret;

	if (check_add_overflow(args->guest_pfn, nr, &end) ||
	    check_add_overflow(args->userspace_addr, args->size, &end))
		return -EINVAL;
	list_for_each_entry(r, &pt->regions, node)
		if (args->guest_pfn < r->gfn + r->nr && r->gfn < args->guest_pfn + nr)
			return -EEXIST;

	r = create_region(args);
	if (IS_ERR(r))
		return PTR_ERR(r);
	ret = map_region(pt, r, &mapped);
	if (ret && !unmap_region(pt, r, mapped)) {
		free_region(r);
		return ret;
	}
	list_add(&r->node, &pt->regions);
	return ret;
}

static int unmap(struct mshv_partition *pt, const struct mshv_user_mem_region *args)
{
	struct region *r;
	int ret;

	list_for_each_entry(r, &pt->regions, node) {
		if (r->gfn != args->guest_pfn)
			continue;
		if (r->nr != args->size >> HV_HYP_PAGE_SHIFT || r->uaddr != args->userspace_addr)
			return -EINVAL;
		ret = unmap_region(pt, r, r->nr);
		if (ret)
			return ret;
		list_del(&r->node);
		free_region(r);
		return 0;
	}
	return -EINVAL;
}

int mshv_set_guest_memory(struct mshv_partition *pt, const void __user *uargs)
{
	struct mshv_user_mem_region args;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if (!args.size || !PAGE_ALIGNED(args.size) || !PAGE_ALIGNED(args.userspace_addr) ||
	    args.flags & ~MSHV_SET_MEM_FLAGS_MASK || memchr_inv(args.rsvd, 0, sizeof(args.rsvd)))
		return -EINVAL;
	return args.flags & BIT(MSHV_SET_MEM_BIT_UNMAP) ? unmap(pt, &args) : map(pt, &args);
}

void mshv_regions_free(struct mshv_partition *pt)
{
	struct region *r, *next;

	list_for_each_entry_safe(r, next, &pt->regions, node) {
		list_del(&r->node);
		free_region(r);
		cond_resched();
	}
}

/* What to do to the tracked bits: not accessed implies not dirty, dirty implies accessed. */
static u64 access_flags(u8 type, u8 op)
{
	bool dirty = type == MSHV_GPAP_ACCESS_TYPE_DIRTY;

	switch (op) {
	case MSHV_GPAP_ACCESS_OP_CLEAR:
		return HV_GPA_ACCESS_CLEAR_DIRTY | (dirty ? 0 : HV_GPA_ACCESS_CLEAR_ACCESSED);
	case MSHV_GPAP_ACCESS_OP_SET:
		return HV_GPA_ACCESS_SET_ACCESSED | (dirty ? HV_GPA_ACCESS_SET_DIRTY : 0);
	default:
		return 0;
	}
}

/* Turns one byte per page into one bit, in place; the rest of the last byte is 0. */
static void pack(u8 *states, u32 count, u8 mask)
{
	u32 i, k;

	for (i = 0; i < count; i += 8) {
		u8 bits = 0;

		for (k = 0; k < 8 && i + k < count; k++)
			bits |= !!(states[i + k] & mask) << k;
		states[i / 8] = bits;
	}
}

int mshv_gpap_access_bitmap(struct mshv_partition *pt, const void __user *uargs)
{
	struct hv_input_get_gpa_pages_access_state *in = pt->bounce.in;
	struct mshv_gpap_access_bitmap args;
	u8 *states = pt->bounce.out;
	u64 done, end;
	u8 mask;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if (args.access_type >= MSHV_GPAP_ACCESS_TYPE_COUNT ||
	    args.access_op >= MSHV_GPAP_ACCESS_OP_COUNT ||
	    memchr_inv(args.rsvd, 0, sizeof(args.rsvd)) || !args.page_count || !args.bitmap_ptr ||
	    check_add_overflow(args.gpap_base, args.page_count, &end))
		return -EINVAL;

	mask = args.access_type == MSHV_GPAP_ACCESS_TYPE_DIRTY ? HV_GPA_ACCESS_STATE_DIRTY :
								 HV_GPA_ACCESS_STATE_ACCESSED;
	for (done = 0; done < args.page_count; done += BITMAP_BATCH) {
		u32 n = min_t(u64, args.page_count - done, BITMAP_BATCH);
		int ret;

		if (fatal_signal_pending(current))
			return -EINTR;
		*in = (struct hv_input_get_gpa_pages_access_state){
			.partition_id = pt->id,
			.flags = access_flags(args.access_type, args.access_op),
			.gpa_page_number = args.gpap_base + done,
		};
		ret = mshv_errno(mshv_do_call(mshv_rep(HVCALL_GET_GPA_PAGES_ACCESS_STATES, n), in,
					      states));
		if (ret)
			return ret;
		pack(states, n, mask);
		if (copy_to_user(u64_to_user_ptr(args.bitmap_ptr) + done / 8, states,
				 DIV_ROUND_UP(n, 8)))
			return -EFAULT;
		cond_resched();
	}
	return 0;
}
