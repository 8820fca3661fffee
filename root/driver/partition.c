// SPDX-License-Identifier: GPL-2.0-only
/*
 * A partition from creation to the return of its last page. Destruction has one order, whether the
 * last descriptor is closed, its owner was killed, or the machine goes down: eventfds off, VPs
 * suspended and deleted, partition finalized, out of reach of the interrupt handler, memory
 * unpinned, deposits taken back, partition deleted. If the hypervisor refuses to finalize, it may
 * still use the memory, which is then leaked on purpose.
 */
#define pr_fmt(fmt) "mshv: " fmt

#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/jiffies.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "mshv_driver.h"

/* Pages per deposit while a partition is initialized. */
#define INITIALIZE_BATCH 32
/*
 * How long the end of the machine waits for calls under way. One whose argument lies in memory that
 * user space provides (userfaultfd, FUSE) may never end; its partition is left to the hypervisor,
 * which ends what a root's kernel leaves behind.
 */
#define BUSY_TIMEOUT (5 * HZ)

static DEFINE_HASHTABLE(partitions, 6);
static DEFINE_SPINLOCK(partitions_lock);
static bool going_down; /* no new partitions; guarded by partitions_lock */

/* Caller is in an RCU read section. */
struct mshv_partition *mshv_partition_find_rcu(u64 id)
{
	struct mshv_partition *pt;

	hash_for_each_possible_rcu(partitions, pt, node, id)
		if (pt->id == id)
			return pt;
	return NULL;
}

static int publish(struct mshv_partition *pt)
{
	int ret = 0;

	spin_lock(&partitions_lock);
	if (going_down)
		ret = -ESHUTDOWN;
	else
		hash_add_rcu(partitions, &pt->node, pt->id);
	spin_unlock(&partitions_lock);
	return ret;
}

/* After this the interrupt handler neither uses nor finds the partition and its VPs. */
static void unpublish(struct mshv_partition *pt)
{
	spin_lock(&partitions_lock);
	hash_del_rcu(&pt->node);
	spin_unlock(&partitions_lock);
	synchronize_rcu();
}

/* Ends a partition in the hypervisor. False: it may still use the partition's memory. */
static bool end_in_hypervisor(struct mshv_partition *pt)
{
	u64 status;
	u32 i;

	for (i = 0; i < MSHV_MAX_VPS; i++)
		if (pt->vps[i])
			mshv_vp_delete(pt->vps[i]);
	if (!pt->initialized) /* nor can it have memory */
		return true;

	status = hv_do_fast_hypercall8(HVCALL_FINALIZE_PARTITION, pt->id);
	if (hv_result_success(status))
		return true;
	pr_err("partition %llu: finalizing failed, status 0x%x: its memory is lost\n", pt->id,
	       hv_result(status));
	return false;
}

static void delete_in_hypervisor(struct mshv_partition *pt)
{
	u64 status = hv_do_fast_hypercall8(HVCALL_DELETE_PARTITION, pt->id);

	if (!hv_result_success(status))
		pr_err("partition %llu: deleting failed, status 0x%x\n", pt->id, hv_result(status));
}

static void free_partition(struct mshv_partition *pt)
{
	kvfree(pt->routes);
	mshv_bounce_free(&pt->bounce);
	mutex_destroy(&pt->lock);
	kfree(pt);
}

static bool lock_before(struct mutex *lock, unsigned long deadline)
{
	while (!mutex_trylock(lock)) {
		if (time_after(jiffies, deadline))
			return false;
		msleep(10);
	}
	return true;
}

/* Whoever runs or configures a VP now leaves, and nobody enters again. False: somebody stays. */
static bool evict(struct mshv_partition *pt, unsigned long deadline)
{
	u32 i;

	WRITE_ONCE(pt->dead, true);
	for (i = 0; i < MSHV_MAX_VPS; i++) {
		struct mshv_vp *vp = pt->vps[i];

		if (!vp)
			continue;
		wake_up_all(&vp->wait);
		if (!lock_before(&vp->lock, deadline))
			return false;
		mutex_unlock(&vp->lock);
	}
	return true;
}

/*
 * Caller holds pt->lock or the last reference, and nobody uses a VP. With @free the deposits return
 * to the kernel; without, user space may still map some of them and the system is about to end.
 */
static void tear_down(struct mshv_partition *pt, bool free)
{
	mshv_irqfds_release(pt);
	mshv_ioeventfds_release(pt);
	if (end_in_hypervisor(pt)) {
		unpublish(pt);
		if (free)
			mshv_regions_free(pt);
		mshv_withdraw(pt, free);
		delete_in_hypervisor(pt);
		if (free)
			mshv_withdraw_root();
	} else {
		unpublish(pt);
	}
	pt->ended = true;
}

static void destroy(struct kref *ref)
{
	struct mshv_partition *pt = container_of(ref, struct mshv_partition, ref);
	u32 i;

	if (!pt->ended) {
		evict(pt, jiffies + MAX_JIFFY_OFFSET); /* nobody has a descriptor: there is no wait */
		tear_down(pt, true);
	}
	for (i = 0; i < MSHV_MAX_VPS; i++)
		if (pt->vps[i])
			mshv_vp_free(pt->vps[i]);
	free_partition(pt);
}

void mshv_partition_put(struct mshv_partition *pt)
{
	kref_put(&pt->ref, destroy);
}

/* A referenced partition that nobody was given before, or NULL. */
static struct mshv_partition *next_doomed(void)
{
	struct mshv_partition *pt, *found = NULL;
	int bucket;

	spin_lock(&partitions_lock);
	hash_for_each(partitions, bucket, pt, node) {
		if (!pt->doomed && kref_get_unless_zero(&pt->ref)) {
			found = pt;
			found->doomed = true;
			break;
		}
	}
	spin_unlock(&partitions_lock);
	return found;
}

static bool end_before(struct mshv_partition *pt, unsigned long deadline)
{
	bool ended;

	WRITE_ONCE(pt->dead, true); /* who holds the lock may wait for something that now ends */
	if (!lock_before(&pt->lock, deadline))
		return false;
	ended = evict(pt, deadline);
	if (ended)
		tear_down(pt, false);
	mutex_unlock(&pt->lock);
	return ended;
}

/* The machine reboots or starts another kernel: no partition remains, no page is missing. */
void mshv_partitions_kill_all(void)
{
	unsigned long deadline = jiffies + BUSY_TIMEOUT;
	struct mshv_partition *pt;

	spin_lock(&partitions_lock);
	going_down = true;
	spin_unlock(&partitions_lock);

	while ((pt = next_doomed())) {
		if (!end_before(pt, deadline))
			pr_warn("partition %llu is in use: it ends with this kernel\n", pt->id);
		mshv_partition_put(pt);
	}
}

static int initialize(struct mshv_partition *pt)
{
	int ret;

	if (pt->initialized)
		return 0;
	ret = mshv_fast_paid(HVCALL_INITIALIZE_PARTITION, pt, INITIALIZE_BATCH);
	if (!ret)
		pt->initialized = true;
	return ret;
}

static long partition_call(struct mshv_partition *pt, unsigned int cmd, void __user *uargs)
{
	switch (cmd) {
	case MSHV_INITIALIZE_PARTITION:
		return initialize(pt);
	case MSHV_CREATE_VP:
		return mshv_vp_create(pt, uargs);
	case MSHV_SET_GUEST_MEMORY:
		return mshv_set_guest_memory(pt, uargs);
	case MSHV_IRQFD:
		return mshv_irqfd(pt, uargs);
	case MSHV_IOEVENTFD:
		return mshv_ioeventfd(pt, uargs);
	case MSHV_SET_MSI_ROUTING:
		return mshv_set_msi_routing(pt, uargs);
	case MSHV_GET_GPAP_ACCESS_BITMAP:
		return mshv_gpap_access_bitmap(pt, uargs);
	case MSHV_ROOT_HVCALL:
		return mshv_root_hvcall(pt, &pt->bounce, true, uargs);
	default:
		return -ENOTTY;
	}
}

static long partition_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct mshv_partition *pt = file->private_data;
	long ret;

	if (mutex_lock_killable(&pt->lock))
		return -EINTR;
	ret = pt->dead ? -ENODEV : partition_call(pt, cmd, (void __user *)arg);
	mutex_unlock(&pt->lock);
	return ret;
}

static int partition_release(struct inode *inode, struct file *file)
{
	struct mshv_partition *pt = file->private_data;

	/* VP descriptors may outlive this one; its eventfds do not. */
	mutex_lock(&pt->lock);
	mshv_irqfds_release(pt);
	mshv_ioeventfds_release(pt);
	mutex_unlock(&pt->lock);
	mshv_partition_put(pt);
	return 0;
}

static const struct file_operations partition_fops = {
	.owner = THIS_MODULE,
	.release = partition_release,
	.unlocked_ioctl = partition_ioctl,
	.llseek = noop_llseek,
};

/* Reads and checks either form of the argument into the hypercall's input. */
static int parse(const void __user *uargs, struct hv_input_create_partition *in)
{
	struct mshv_create_partition_v2 args = {};

	if (copy_from_user(&args, uargs, sizeof(struct mshv_create_partition)))
		return -EFAULT;
	if (args.pt_flags & ~(u64)MSHV_PT_FLAGS_MASK ||
	    args.pt_isolation >= MSHV_PT_ISOLATION_COUNT)
		return -EINVAL;

	if (args.pt_flags & BIT(MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES)) {
		u64 flags = args.pt_flags;

		if (copy_from_user(&args, uargs, sizeof(args)))
			return -EFAULT;
		if (args.pt_flags != flags || args.pt_isolation >= MSHV_PT_ISOLATION_COUNT ||
		    args.pt_num_cpu_fbanks != MSHV_NUM_CPU_FEATURES_BANKS ||
		    memchr_inv(args.pt_rsvd, 0, sizeof(args.pt_rsvd)) ||
		    memchr_inv(args.pt_rsvd1, 0, sizeof(args.pt_rsvd1)))
			return -EINVAL;
	}

	*in = (struct hv_input_create_partition){
		/* The root handles every intercept, and finds it in the VP's message page. */
		.flags = HV_PARTITION_CREATION_FLAG_EXO_PARTITION |
			 HV_PARTITION_CREATION_FLAG_INTERCEPT_MESSAGE_PAGE_ENABLED,
		.compatibility_version = HV_COMPATIBILITY_21_H2,
		.disabled_processor_features = { args.pt_cpu_fbanks[0], args.pt_cpu_fbanks[1] },
		.disabled_processor_xsave_features = args.pt_disabled_xsave,
	};
	if (args.pt_flags & BIT(MSHV_PT_BIT_LAPIC))
		in->flags |= HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED;
	if (args.pt_flags & BIT(MSHV_PT_BIT_X2APIC))
		in->flags |= HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE;
	if (args.pt_flags & BIT(MSHV_PT_BIT_GPA_SUPER_PAGES))
		in->flags |= HV_PARTITION_CREATION_FLAG_GPA_SUPER_PAGES_ENABLED;
	return 0;
}

static struct mshv_partition *alloc_partition(void)
{
	struct mshv_partition *pt = kzalloc(sizeof(*pt), GFP_KERNEL_ACCOUNT);

	if (!pt)
		return NULL;
	kref_init(&pt->ref);
	mutex_init(&pt->lock);
	spin_lock_init(&pt->irqfds_lock);
	INIT_LIST_HEAD(&pt->regions);
	INIT_LIST_HEAD(&pt->irqfds);
	INIT_LIST_HEAD(&pt->resamplers);
	INIT_LIST_HEAD(&pt->ioeventfds);
	init_completion(&pt->async);
	pt->routes = kvcalloc(MSHV_MAX_GUEST_IRQS, sizeof(*pt->routes), GFP_KERNEL_ACCOUNT);
	if (!pt->routes || mshv_bounce_alloc(&pt->bounce)) {
		free_partition(pt);
		return NULL;
	}
	return pt;
}

/* MSHV_CREATE_PARTITION: a descriptor or an errno. */
int mshv_partition_create(const void __user *uargs)
{
	struct hv_input_create_partition in;
	struct mshv_partition *pt;
	struct file *file;
	int fd, ret;

	ret = parse(uargs, &in);
	if (ret)
		return ret;
	pt = alloc_partition();
	if (!pt)
		return -ENOMEM;

	ret = mshv_hvcall_paid(&(struct mshv_call){
		.control = HVCALL_CREATE_PARTITION,
		.in = &in, .in_size = sizeof(in), .out = &pt->id, .out_size = sizeof(pt->id),
	}, NULL, 1);
	if (ret)
		goto free;
	ret = publish(pt);
	if (ret)
		goto delete;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		mshv_partition_put(pt);
		return fd;
	}
	file = anon_inode_getfile("mshv_partition", &partition_fops, pt, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		mshv_partition_put(pt);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;

delete:
	delete_in_hypervisor(pt);
free:
	free_partition(pt);
	return ret;
}
