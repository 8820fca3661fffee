/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * /dev/mshv: the root partition's interface to create and run child partitions.
 *
 * Numbers and structures are those of upstream Linux's <linux/mshv.h>, so that VMMs written for it
 * run here and the other way round. Plain C, for the driver and for C and C++ user code. Every
 * reserved field must be zero, every pointer is a user address in a __u64. Errors common to all
 * calls: EFAULT bad pointer, ENOTTY unknown call, ENODEV the partition was torn down beneath its
 * descriptors (reboot), EINVAL and EIO for what the hypervisor refused, ENOMEM.
 */
#ifndef ABI_ROOT_MSHV_H
#define ABI_ROOT_MSHV_H

#include <linux/ioctl.h>
#include <linux/types.h>

#include "abi/root/layout.h"

#define MSHV_IOCTL 0xB8

/* ---- /dev/mshv ---------------------------------------------------------------------------- */

/* Bits of pt_flags. */
enum {
	MSHV_PT_BIT_LAPIC,		    /* the hypervisor provides the local APIC */
	MSHV_PT_BIT_X2APIC,		    /* the guest may switch it to x2APIC mode */
	MSHV_PT_BIT_GPA_SUPER_PAGES,	    /* the GPA space may hold large pages */
	MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES, /* the argument is mshv_create_partition_v2 */
	MSHV_PT_BIT_COUNT,
};

#define MSHV_PT_FLAGS_MASK ((1 << MSHV_PT_BIT_COUNT) - 1)

enum {
	MSHV_PT_ISOLATION_NONE,
	MSHV_PT_ISOLATION_COUNT,
};

/*
 * MSHV_CREATE_PARTITION: returns a partition descriptor. The partition is not initialized yet: set
 * early properties by MSHV_ROOT_HVCALL, then call MSHV_INITIALIZE_PARTITION. It lives until its
 * descriptor, its VP descriptors and their mappings are all closed, or their owners are dead.
 */
struct mshv_create_partition {
	__u64 pt_flags;
	__u64 pt_isolation;
};
HV_ROOT_ABI_SIZE(mshv_create_partition, 16);

#define MSHV_NUM_CPU_FEATURES_BANKS 2

/* The longer form, selected by MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES; a set bit disables a feature. */
struct mshv_create_partition_v2 {
	__u64 pt_flags;
	__u64 pt_isolation;
	__u16 pt_num_cpu_fbanks; /* MSHV_NUM_CPU_FEATURES_BANKS */
	__u8 pt_rsvd[6];
	__u64 pt_cpu_fbanks[MSHV_NUM_CPU_FEATURES_BANKS];
	__u64 pt_rsvd1[2];
	__u64 pt_disabled_xsave;
} __attribute__((packed));
HV_ROOT_ABI_SIZE(mshv_create_partition_v2, 64);
HV_ROOT_ABI_AT(mshv_create_partition_v2, pt_num_cpu_fbanks, 16);
HV_ROOT_ABI_AT(mshv_create_partition_v2, pt_cpu_fbanks, 24);
HV_ROOT_ABI_AT(mshv_create_partition_v2, pt_rsvd1, 40);
HV_ROOT_ABI_AT(mshv_create_partition_v2, pt_disabled_xsave, 56);

#define MSHV_CREATE_PARTITION _IOW(MSHV_IOCTL, 0x00, struct mshv_create_partition)
HV_ROOT_ABI_CALL(MSHV_CREATE_PARTITION, 0x4010B800);

/* ---- partition descriptors ---------------------------------------------------------------- */

/* MSHV_CREATE_VP: returns a VP descriptor. vp_index < 256; EEXIST for one that exists. */
struct mshv_create_vp {
	__u32 vp_index;
};
HV_ROOT_ABI_SIZE(mshv_create_vp, 4);

enum {
	MSHV_SET_MEM_BIT_WRITABLE,
	MSHV_SET_MEM_BIT_EXECUTABLE,
	MSHV_SET_MEM_BIT_UNMAP, /* the other bits are ignored */
	MSHV_SET_MEM_BIT_COUNT,
};

#define MSHV_SET_MEM_FLAGS_MASK ((1 << MSHV_SET_MEM_BIT_COUNT) - 1)

/* The hypervisor's page size. */
#define MSHV_HV_PAGE_SIZE 0x1000

/*
 * MSHV_SET_GUEST_MEMORY: gives or takes a range of guest-physical addresses. The user memory behind
 * it stays pinned and counts against RLIMIT_MEMLOCK. EEXIST where a mapping overlaps; an unmap must
 * name exactly one earlier mapping. Runs of 2 MB that are aligned and contiguous in both spaces are
 * mapped as large pages.
 */
struct mshv_user_mem_region {
	__u64 size;	      /* bytes, multiple of MSHV_HV_PAGE_SIZE */
	__u64 guest_pfn;
	__u64 userspace_addr; /* multiple of MSHV_HV_PAGE_SIZE */
	__u8 flags;	      /* 1 << MSHV_SET_MEM_BIT_* */
	__u8 rsvd[7];
};
HV_ROOT_ABI_SIZE(mshv_user_mem_region, 32);
HV_ROOT_ABI_AT(mshv_user_mem_region, guest_pfn, 8);
HV_ROOT_ABI_AT(mshv_user_mem_region, userspace_addr, 16);
HV_ROOT_ABI_AT(mshv_user_mem_region, flags, 24);

enum {
	MSHV_IRQFD_BIT_DEASSIGN,
	MSHV_IRQFD_BIT_RESAMPLE,
	MSHV_IRQFD_BIT_COUNT,
};

#define MSHV_IRQFD_FLAGS_MASK ((1 << MSHV_IRQFD_BIT_COUNT) - 1)

/*
 * MSHV_IRQFD: an eventfd whose every signal asserts the interrupt that MSHV_SET_MSI_ROUTING gave to
 * gsi (none yet: nothing happens). With RESAMPLE the route must exist and be level triggered, and
 * resamplefd is signalled at the guest's EOI. EBUSY for an eventfd in use by this partition, ENOSPC
 * beyond 4096 irqfds or 64 with RESAMPLE.
 */
struct mshv_user_irqfd {
	__s32 fd;
	__s32 resamplefd;
	__u32 gsi;   /* < 4096 */
	__u32 flags; /* 1 << MSHV_IRQFD_BIT_* */
};
HV_ROOT_ABI_SIZE(mshv_user_irqfd, 16);
HV_ROOT_ABI_AT(mshv_user_irqfd, resamplefd, 4);
HV_ROOT_ABI_AT(mshv_user_irqfd, gsi, 8);
HV_ROOT_ABI_AT(mshv_user_irqfd, flags, 12);

enum {
	MSHV_IOEVENTFD_BIT_DATAMATCH,
	MSHV_IOEVENTFD_BIT_PIO,
	MSHV_IOEVENTFD_BIT_DEASSIGN,
	MSHV_IOEVENTFD_BIT_COUNT,
};

#define MSHV_IOEVENTFD_FLAGS_MASK ((1 << MSHV_IOEVENTFD_BIT_COUNT) - 1)

/*
 * MSHV_IOEVENTFD: a guest write to addr signals fd instead of suspending the VP. PIO is EOPNOTSUPP,
 * a doorbell that would match the same write EEXIST, an unknown one to DEASSIGN ENOENT, one beyond
 * 1024 ENOSPC.
 */
struct mshv_user_ioeventfd {
	__u64 datamatch;
	__u64 addr;
	__u32 len;   /* 1, 2, 4 or 8; 0: any */
	__s32 fd;
	__u32 flags; /* 1 << MSHV_IOEVENTFD_BIT_* */
	__u8 rsvd[4];
};
HV_ROOT_ABI_SIZE(mshv_user_ioeventfd, 32);
HV_ROOT_ABI_AT(mshv_user_ioeventfd, addr, 8);
HV_ROOT_ABI_AT(mshv_user_ioeventfd, len, 16);
HV_ROOT_ABI_AT(mshv_user_ioeventfd, fd, 20);
HV_ROOT_ABI_AT(mshv_user_ioeventfd, flags, 24);

/* An MSI as the guest's device would write it; address_hi must be 0. */
struct mshv_user_irq_entry {
	__u32 gsi; /* < 4096 */
	__u32 address_lo;
	__u32 address_hi;
	__u32 data;
};
HV_ROOT_ABI_SIZE(mshv_user_irq_entry, 16);
HV_ROOT_ABI_AT(mshv_user_irq_entry, address_lo, 4);
HV_ROOT_ABI_AT(mshv_user_irq_entry, data, 12);

/* MSHV_SET_MSI_ROUTING: replaces the whole table. nr <= 4096, one entry per gsi; 0 empties it. */
struct mshv_user_irq_table {
	__u32 nr;
	__u32 rsvd;
#ifndef __cplusplus /* which has no such member: there the entries are at table + 1 */
	struct mshv_user_irq_entry entries[];
#endif
};
HV_ROOT_ABI_SIZE(mshv_user_irq_table, 8);

enum {
	MSHV_GPAP_ACCESS_TYPE_ACCESSED,
	MSHV_GPAP_ACCESS_TYPE_DIRTY,
	MSHV_GPAP_ACCESS_TYPE_COUNT,
};

enum {
	MSHV_GPAP_ACCESS_OP_NOOP,
	MSHV_GPAP_ACCESS_OP_CLEAR,
	MSHV_GPAP_ACCESS_OP_SET,
	MSHV_GPAP_ACCESS_OP_COUNT,
};

/*
 * MSHV_GET_GPAP_ACCESS_BITMAP: one bit per guest page, as it was before access_op was applied.
 * Needs the partition property that turns access tracking on (0x50005).
 */
struct mshv_gpap_access_bitmap {
	__u8 access_type;
	__u8 access_op;
	__u8 rsvd[6];
	__u64 page_count;
	__u64 gpap_base;
	__u64 bitmap_ptr; /* (page_count + 7) / 8 bytes */
};
HV_ROOT_ABI_SIZE(mshv_gpap_access_bitmap, 32);
HV_ROOT_ABI_AT(mshv_gpap_access_bitmap, access_op, 1);
HV_ROOT_ABI_AT(mshv_gpap_access_bitmap, page_count, 8);
HV_ROOT_ABI_AT(mshv_gpap_access_bitmap, gpap_base, 16);
HV_ROOT_ABI_AT(mshv_gpap_access_bitmap, bitmap_ptr, 24);

/*
 * MSHV_ROOT_HVCALL: one hypercall of a short list on behalf of this partition, whose id the kernel
 * writes over the first 8 bytes of the input: GetPartitionProperty 44, SetPartitionProperty 45
 * (partition descriptors only), InstallIntercept 4d, GetVpRegisters 50, SetVpRegisters 51,
 * TranslateVirtualAddress 52, ClearVirtualInterrupt 56, RegisterInterceptResult 91,
 * AssertVirtualInterrupt 94, GetGpaPagesAccessStates c9, SignalEventDirect c0, PostMessageDirect
 * c1, GetVpCpuidValues f4; any other is EINVAL. Status, reps and output are written back whatever
 * the result. EAGAIN: the partition had too little memory and was given more; call again.
 */
struct mshv_root_hvcall {
	__u16 code;
	__u16 reps;   /* in: rep count, 0 for simple calls; out: reps completed */
	__u16 in_sz;  /* 8 to 4096, with the rep list */
	__u16 out_sz; /* at most 4096 */
	__u16 status; /* in: 0; out: the hypercall's status */
	__u8 rsvd[6];
	__u64 in_ptr;
	__u64 out_ptr; /* 0: none */
};
HV_ROOT_ABI_SIZE(mshv_root_hvcall, 32);
HV_ROOT_ABI_AT(mshv_root_hvcall, reps, 2);
HV_ROOT_ABI_AT(mshv_root_hvcall, in_sz, 4);
HV_ROOT_ABI_AT(mshv_root_hvcall, out_sz, 6);
HV_ROOT_ABI_AT(mshv_root_hvcall, status, 8);
HV_ROOT_ABI_AT(mshv_root_hvcall, in_ptr, 16);
HV_ROOT_ABI_AT(mshv_root_hvcall, out_ptr, 24);

#define MSHV_INITIALIZE_PARTITION _IO(MSHV_IOCTL, 0x00)
#define MSHV_CREATE_VP _IOW(MSHV_IOCTL, 0x01, struct mshv_create_vp)
#define MSHV_SET_GUEST_MEMORY _IOW(MSHV_IOCTL, 0x02, struct mshv_user_mem_region)
#define MSHV_IRQFD _IOW(MSHV_IOCTL, 0x03, struct mshv_user_irqfd)
#define MSHV_IOEVENTFD _IOW(MSHV_IOCTL, 0x04, struct mshv_user_ioeventfd)
#define MSHV_SET_MSI_ROUTING _IOW(MSHV_IOCTL, 0x05, struct mshv_user_irq_table)
#define MSHV_GET_GPAP_ACCESS_BITMAP _IOWR(MSHV_IOCTL, 0x06, struct mshv_gpap_access_bitmap)
#define MSHV_ROOT_HVCALL _IOWR(MSHV_IOCTL, 0x07, struct mshv_root_hvcall)
HV_ROOT_ABI_CALL(MSHV_INITIALIZE_PARTITION, 0x0000B800);
HV_ROOT_ABI_CALL(MSHV_CREATE_VP, 0x4004B801);
HV_ROOT_ABI_CALL(MSHV_SET_GUEST_MEMORY, 0x4020B802);
HV_ROOT_ABI_CALL(MSHV_IRQFD, 0x4010B803);
HV_ROOT_ABI_CALL(MSHV_IOEVENTFD, 0x4020B804);
HV_ROOT_ABI_CALL(MSHV_SET_MSI_ROUTING, 0x4008B805);
HV_ROOT_ABI_CALL(MSHV_GET_GPAP_ACCESS_BITMAP, 0xC020B806);
HV_ROOT_ABI_CALL(MSHV_ROOT_HVCALL, 0xC020B807);

/* ---- VP descriptors ----------------------------------------------------------------------- */

#define MSHV_RUN_VP_BUF_SZ 256

/*
 * Pages of a VP to mmap, MAP_SHARED and one page long, at this offset times the page size. A page
 * that the VP does not have is ENODEV.
 */
enum {
	MSHV_VP_MMAP_OFFSET_REGISTERS,
	MSHV_VP_MMAP_OFFSET_INTERCEPT_MESSAGE,
	MSHV_VP_MMAP_OFFSET_GHCB,
	MSHV_VP_MMAP_OFFSET_COUNT,
};

/*
 * MSHV_RUN_VP: runs until the VP's next intercept, whose message is returned. EINTR: a signal is
 * pending; the VP is suspended, no intercept was lost, and the call may be repeated.
 */
struct mshv_run_vp {
	__u8 msg_buf[MSHV_RUN_VP_BUF_SZ];
};
HV_ROOT_ABI_SIZE(mshv_run_vp, 256);

enum {
	MSHV_VP_STATE_LAPIC,
	MSHV_VP_STATE_XSAVE, /* compacted form */
	MSHV_VP_STATE_SIMP,
	MSHV_VP_STATE_SIEFP,
	MSHV_VP_STATE_SYNTHETIC_TIMERS,
	MSHV_VP_STATE_COUNT,
};

/*
 * MSHV_GET_VP_STATE, MSHV_SET_VP_STATE: buf_sz and buf_ptr are multiples of 4096. buf_sz returns
 * the size of the data; EINVAL if it is larger than the buffer.
 */
struct mshv_get_set_vp_state {
	__u8 type;
	__u8 rsvd[3];
	__u32 buf_sz;
	__u64 buf_ptr;
};
HV_ROOT_ABI_SIZE(mshv_get_set_vp_state, 16);
HV_ROOT_ABI_AT(mshv_get_set_vp_state, buf_sz, 4);
HV_ROOT_ABI_AT(mshv_get_set_vp_state, buf_ptr, 8);

#define MSHV_RUN_VP _IOR(MSHV_IOCTL, 0x00, struct mshv_run_vp)
#define MSHV_GET_VP_STATE _IOWR(MSHV_IOCTL, 0x01, struct mshv_get_set_vp_state)
#define MSHV_SET_VP_STATE _IOWR(MSHV_IOCTL, 0x02, struct mshv_get_set_vp_state)
HV_ROOT_ABI_CALL(MSHV_RUN_VP, 0x8100B800);
HV_ROOT_ABI_CALL(MSHV_GET_VP_STATE, 0xC010B801);
HV_ROOT_ABI_CALL(MSHV_SET_VP_STATE, 0xC010B802);
/* MSHV_ROOT_HVCALL works on VP descriptors too. */

#endif
