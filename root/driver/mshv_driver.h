/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of mshv.ko share: a partition, its VPs, and the calls between the files.
 *
 * Locks, outermost first:
 *   mshv_partition.lock (mutex)    everything of the partition that is not named below
 *   mshv_vp.lock (mutex)           one caller per VP; never taken before the partition's
 *   eventfd's wait queue lock      held by eventfd when it calls irqfd_wakeup()
 *   mshv_partition.irqfds_lock     irqfd lists; their readers use RCU
 *   partitions_lock (partition.c)  partition table; its readers use RCU
 * The interrupt handler takes none of them: it finds partitions, VPs, irqfds and doorbells under
 * rcu_read_lock(), and who frees one of those waits for a grace period first.
 *
 * Lifetime: a partition is referenced by its descriptor and by each VP descriptor, a VP mapping by
 * its descriptor. The last reference destroys it. VPs go only with their partition.
 */
#ifndef MSHV_DRIVER_H
#define MSHV_DRIVER_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include <asm/mshyperv.h>

#include "abi/root/hvcalls.h"
#include "abi/root/mshv.h"

#define MSHV_MAX_VPS 256
#define MSHV_MAX_GUEST_IRQS 4096
/* Each costs the root a port, and each guest write to no memory a look at all of them. */
#define MSHV_MAX_IOEVENTFDS 1024

/* A page for the input and one for the output of MSHV_ROOT_HVCALL; guarded by its owner's lock. */
struct mshv_bounce {
	void *in;
	void *out;
};

struct mshv_vp {
	struct mshv_partition *partition;
	u32 index;
	struct mutex lock;
	struct mshv_bounce bounce;
	void *intercept_page; /* of the hypervisor; NULL until mapped */
	u64 intercept_pfn;
	void *register_page;
	u64 register_pfn;
	bool kicked; /* an intercept message arrived; set by the interrupt handler */
	bool broken; /* a message never came: it could be taken for that of another intercept */
	wait_queue_head_t wait;
};

struct mshv_partition {
	u64 id;
	struct kref ref;
	struct hlist_node node; /* in the partition table */
	struct mutex lock;
	bool initialized;
	bool dead; /* nobody may use it; written once, then each vp.lock is passed */
	bool ended; /* gone from the hypervisor */
	bool doomed; /* the end of the machine looks after it; partitions_lock's */
	atomic_long_t deposited; /* pages given for it and not yet returned */
	struct mshv_bounce bounce;
	struct mshv_vp *vps[MSHV_MAX_VPS];
	struct list_head regions;

	struct completion async; /* of the one SetPartitionProperty under way */
	u32 async_status;

	u64 *routes; /* by GSI; irqfd.c knows their bits */
	spinlock_t irqfds_lock; /* guards the next four */
	struct list_head irqfds;
	struct list_head resamplers;
	u32 nr_irqfds;
	u32 nr_resamplers;
	struct list_head ioeventfds;
	u32 nr_ioeventfds;
};

/* hvcall.c */

/* A hypercall with memory operands: in and list go in one behind the other, out comes back. */
struct mshv_call {
	u64 control;
	const void *in;
	u32 in_size;
	const void *list;
	u32 list_size;
	void *out;
	u32 out_size;
};

static inline u64 mshv_rep(u16 code, u32 count)
{
	return code | (u64)count << HV_HYPERCALL_REP_COMP_OFFSET;
}

static inline u64 mshv_varhead(u16 code, u32 qwords)
{
	return code | (u64)qwords << HV_HYPERCALL_VARHEAD_OFFSET;
}

int mshv_errno(u64 status);
u64 mshv_do_call(u64 control, void *in, void *out);
u64 mshv_hvcall(const struct mshv_call *call);
int mshv_hvcall_paid(const struct mshv_call *call, struct mshv_partition *payer, u32 batch);
int mshv_fast_paid(u16 code, struct mshv_partition *pt, u32 batch);
int mshv_deposit(struct mshv_partition *pt, u32 pages);
void mshv_withdraw(struct mshv_partition *pt, bool free);
void mshv_withdraw_root(void);
long mshv_root_deposited(void);
int mshv_get_property(u64 partition_id, u32 code, u64 *value);
int mshv_get_register(struct mshv_vp *vp, u32 name, u64 *value);
int mshv_set_registers(struct mshv_vp *vp, const struct hv_register_assoc *regs, u32 count);

/* root_hvcall.c */
int mshv_bounce_alloc(struct mshv_bounce *bounce);
void mshv_bounce_free(struct mshv_bounce *bounce);
int mshv_root_hvcall(struct mshv_partition *pt, struct mshv_bounce *bounce, bool from_partition,
		     struct mshv_root_hvcall __user *uargs);

/* partition.c */
struct mshv_partition *mshv_partition_find_rcu(u64 id);
int mshv_partition_create(const void __user *uargs);
void mshv_partition_put(struct mshv_partition *pt);
void mshv_partitions_kill_all(void);

/* vp.c */
int mshv_vp_create(struct mshv_partition *pt, const void __user *uargs);
void mshv_vp_delete(struct mshv_vp *vp);
void mshv_vp_free(struct mshv_vp *vp);

/* vp_state.c */
int mshv_vp_state(struct mshv_vp *vp, struct mshv_get_set_vp_state __user *uargs, bool set);

/* memory.c */
int mshv_set_guest_memory(struct mshv_partition *pt, const void __user *uargs);
int mshv_gpap_access_bitmap(struct mshv_partition *pt, const void __user *uargs);
void mshv_regions_free(struct mshv_partition *pt);
void mshv_count_guest_pages(long *small, long *large);

/* irqfd.c */
int mshv_irqfd_module_init(void);
void mshv_irqfd_module_exit(void);
int mshv_irqfd(struct mshv_partition *pt, const void __user *uargs);
int mshv_set_msi_routing(struct mshv_partition *pt, const void __user *uargs);
void mshv_irqfd_ack(struct mshv_partition *pt, u32 vector);
void mshv_irqfds_release(struct mshv_partition *pt);

/* ioeventfd.c */
int mshv_ioeventfd(struct mshv_partition *pt, const void __user *uargs);
void mshv_doorbell_ring(u32 port);
void mshv_ioeventfds_release(struct mshv_partition *pt);

/* debugfs.c */
void mshv_debugfs_start(void);
void mshv_debugfs_stop(void);

/* synic.c */
int mshv_synic_start(void);
void mshv_synic_stop(void);

#endif
