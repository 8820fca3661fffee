// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtual processors: creation, the run loop, and their pages.
 *
 * The hypervisor schedules VPs; a VP is either let go (both suspend registers clear) or suspended.
 * Outside MSHV_RUN_VP it is always suspended. An intercept sets INTERCEPT_SUSPEND, fills the VP's
 * message page and posts a message whose handler sets vp->kicked; the VP cannot produce another one
 * before it is let go again.
 */
#define pr_fmt(fmt) "mshv: " fmt

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mshv_driver.h"

/* Pages per deposit while a VP is created. */
#define VP_BATCH 16
/* A message that is on its way has been posted already: it takes microseconds. */
#define MESSAGE_TIMEOUT (5 * HZ)

static_assert(sizeof(struct hv_message) == MSHV_RUN_VP_BUF_SZ);

static int set_suspend(struct mshv_vp *vp, bool suspend)
{
	/* In this order: a VP let go by the second write may intercept at once. */
	const struct hv_register_assoc regs[] = {
		{ .name = HV_REGISTER_INTERCEPT_SUSPEND, .value = { 0 } },
		{ .name = HV_REGISTER_EXPLICIT_SUSPEND, .value = { suspend } },
	};

	return suspend ? mshv_set_registers(vp, &regs[1], 1) :
			 mshv_set_registers(vp, regs, ARRAY_SIZE(regs));
}

/*
 * A signal arrived while the VP runs. Suspends it; if it intercepted before that, waits for the
 * message, which else would be taken for that of the next run.
 * Returns 0 if there is a message, -EINTR if not.
 */
static int interrupt_vp(struct mshv_vp *vp)
{
	u64 intercepted;
	int ret;

	ret = set_suspend(vp, true);
	if (!ret)
		ret = mshv_get_register(vp, HV_REGISTER_INTERCEPT_SUSPEND, &intercepted);
	if (ret)
		return ret;
	if (!(intercepted & 1))
		return -EINTR;
	if (wait_event_timeout(vp->wait, READ_ONCE(vp->kicked) || READ_ONCE(vp->partition->dead),
			       MESSAGE_TIMEOUT))
		return 0;
	pr_err_ratelimited("partition %llu VP %u: an intercept came without its message\n",
			   vp->partition->id, vp->index);
	vp->broken = true;
	return -EIO;
}

/* Until the next intercept, whose message is in the VP's page then. Caller holds vp->lock. */
static int run_vp(struct mshv_vp *vp)
{
	int ret;

	if (vp->broken)
		return -EIO;
	if (signal_pending(current))
		return -EINTR;
	/* A late message of an earlier run must not end this one. */
	WRITE_ONCE(vp->kicked, false);
	ret = set_suspend(vp, false);
	if (ret)
		return ret;
	if (wait_event_interruptible(vp->wait,
				     READ_ONCE(vp->kicked) || READ_ONCE(vp->partition->dead)))
		ret = interrupt_vp(vp);
	return READ_ONCE(vp->partition->dead) ? -ENODEV : ret;
}

static int run_and_report(struct mshv_vp *vp, void __user *umessage)
{
	int ret = run_vp(vp);

	if (ret)
		return ret;
	return copy_to_user(umessage, vp->intercept_page, MSHV_RUN_VP_BUF_SZ) ? -EFAULT : 0;
}

static long vp_call(struct mshv_vp *vp, unsigned int cmd, void __user *uargs)
{
	switch (cmd) {
	case MSHV_RUN_VP:
		return run_and_report(vp, uargs);
	case MSHV_GET_VP_STATE:
		return mshv_vp_state(vp, uargs, false);
	case MSHV_SET_VP_STATE:
		return mshv_vp_state(vp, uargs, true);
	case MSHV_ROOT_HVCALL:
		return mshv_root_hvcall(vp->partition, &vp->bounce, false, uargs);
	default:
		return -ENOTTY;
	}
}

static long vp_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct mshv_vp *vp = file->private_data;
	long ret;

	if (mutex_lock_killable(&vp->lock))
		return -EINTR;
	ret = READ_ONCE(vp->partition->dead) ? -ENODEV : vp_call(vp, cmd, (void __user *)arg);
	mutex_unlock(&vp->lock);
	return ret;
}

/* The mapping keeps the descriptor, which keeps the partition and so the page. */
static int vp_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct mshv_vp *vp = file->private_data;
	u64 pfn;
	int ret = -ENODEV;

	if (vma->vm_pgoff >= MSHV_VP_MMAP_OFFSET_COUNT ||
	    vma->vm_end - vma->vm_start != PAGE_SIZE || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff == MSHV_VP_MMAP_OFFSET_REGISTERS)
		pfn = vp->register_pfn;
	else if (vma->vm_pgoff == MSHV_VP_MMAP_OFFSET_INTERCEPT_MESSAGE)
		pfn = vp->intercept_pfn;
	else
		return -ENODEV; /* no encrypted partitions, no GHCB */

	/* Not vp->lock: it is held across runs. After death the hypervisor's page is not ours. */
	if (!READ_ONCE(vp->partition->dead))
		ret = remap_pfn_range(vma, vma->vm_start, pfn, PAGE_SIZE, vma->vm_page_prot);
	return ret;
}

static int vp_release(struct inode *inode, struct file *file)
{
	struct mshv_vp *vp = file->private_data;

	mshv_partition_put(vp->partition);
	return 0;
}

static const struct file_operations vp_fops = {
	.owner = THIS_MODULE,
	.release = vp_release,
	.unlocked_ioctl = vp_ioctl,
	.mmap = vp_mmap,
	.llseek = noop_llseek,
};

/* Maps one of the VP's pages into the root, wherever in its memory the hypervisor put it. */
static void *map_state_page(struct mshv_vp *vp, u16 type, u64 *pfn)
{
	struct hv_input_vp_state_page in = {
		.partition_id = vp->partition->id,
		.vp_index = vp->index,
		.type = type,
	};
	void *page;
	int ret;

	ret = mshv_hvcall_paid(&(struct mshv_call){
		.control = HVCALL_MAP_VP_STATE_PAGE,
		.in = &in, .in_size = sizeof(in), .out = pfn, .out_size = sizeof(*pfn),
	}, vp->partition, 1);
	if (ret)
		return ERR_PTR(ret);
	page = memremap(PFN_PHYS(*pfn), PAGE_SIZE, MEMREMAP_WB);
	return page ?: ERR_PTR(-EFAULT);
}

static void unmap_state_page(struct mshv_vp *vp, u16 type, void **page)
{
	struct hv_input_vp_state_page in = {
		.partition_id = vp->partition->id,
		.vp_index = vp->index,
		.type = type,
	};

	if (!*page)
		return;
	memunmap(*page);
	*page = NULL;
	mshv_hvcall(&(struct mshv_call){
		.control = HVCALL_UNMAP_VP_STATE_PAGE,
		.in = &in, .in_size = HV_INPUT_UNMAP_VP_STATE_PAGE_SIZE,
	});
}

static int map_state_pages(struct mshv_vp *vp)
{
	void *page;

	page = map_state_page(vp, HV_VP_STATE_PAGE_INTERCEPT_MESSAGE, &vp->intercept_pfn);
	if (IS_ERR(page))
		return PTR_ERR(page);
	vp->intercept_page = page;

	page = map_state_page(vp, HV_VP_STATE_PAGE_REGISTERS, &vp->register_pfn);
	if (IS_ERR(page))
		return PTR_ERR(page);
	vp->register_page = page;
	return 0;
}

/* Ends the VP in the hypervisor. Its structure stays until no descriptor points to it. */
void mshv_vp_delete(struct mshv_vp *vp)
{
	u64 status;

	set_suspend(vp, true);
	unmap_state_page(vp, HV_VP_STATE_PAGE_REGISTERS, &vp->register_page);
	unmap_state_page(vp, HV_VP_STATE_PAGE_INTERCEPT_MESSAGE, &vp->intercept_page);
	status = hv_do_fast_hypercall16(HVCALL_DELETE_VP, vp->partition->id, vp->index);
	if (!hv_result_success(status))
		pr_err("partition %llu VP %u: deleting failed, status 0x%x\n", vp->partition->id,
		       vp->index, hv_result(status));
}

void mshv_vp_free(struct mshv_vp *vp)
{
	mshv_bounce_free(&vp->bounce);
	mutex_destroy(&vp->lock);
	kfree(vp);
}

static struct mshv_vp *alloc_vp(struct mshv_partition *pt, u32 index)
{
	struct mshv_vp *vp = kzalloc(sizeof(*vp), GFP_KERNEL_ACCOUNT);

	if (!vp)
		return NULL;
	if (mshv_bounce_alloc(&vp->bounce)) {
		kfree(vp);
		return NULL;
	}
	vp->partition = pt;
	vp->index = index;
	mutex_init(&vp->lock);
	init_waitqueue_head(&vp->wait);
	return vp;
}

/* A descriptor for @vp, not yet installed. The file holds a reference on the partition. */
static struct file *open_vp(struct mshv_vp *vp)
{
	struct file *file;

	kref_get(&vp->partition->ref);
	file = anon_inode_getfile("mshv_vp", &vp_fops, vp, O_RDWR);
	if (IS_ERR(file))
		mshv_partition_put(vp->partition); /* never the last: the caller's file has one */
	return file;
}

/* MSHV_CREATE_VP: a descriptor or an errno. Caller holds pt->lock. */
int mshv_vp_create(struct mshv_partition *pt, const void __user *uargs)
{
	struct hv_create_vp in = { .partition_id = pt->id, .subnode_type = HvSubnodeAny };
	struct mshv_create_vp args;
	struct mshv_vp *vp;
	struct file *file;
	int fd, ret;

	if (copy_from_user(&args, uargs, sizeof(args)))
		return -EFAULT;
	if (args.vp_index >= MSHV_MAX_VPS)
		return -EINVAL;
	if (pt->vps[args.vp_index])
		return -EEXIST;

	vp = alloc_vp(pt, args.vp_index);
	if (!vp)
		return -ENOMEM;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		ret = fd;
		goto free;
	}

	in.vp_index = vp->index;
	ret = mshv_hvcall_paid(&(struct mshv_call){
		.control = HVCALL_CREATE_VP, .in = &in, .in_size = sizeof(in),
	}, pt, VP_BATCH);
	if (ret)
		goto put_fd;
	ret = map_state_pages(vp);
	if (ret)
		goto delete;
	file = open_vp(vp);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		goto delete;
	}

	/* Reachable for the interrupt handler before anyone can run it. */
	smp_store_release(&pt->vps[vp->index], vp);
	fd_install(fd, file);
	return fd;

delete:
	mshv_vp_delete(vp);
put_fd:
	put_unused_fd(fd);
free:
	mshv_vp_free(vp);
	return ret;
}
