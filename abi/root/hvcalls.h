/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Hypercall numbers and layouts that a root partition needs and that <asm/hyperv-tlfs.h> of Linux
 * 6.1 lacks [TLFS, Linux include/hyperv]. Plain C, for the driver and for user code that calls
 * MSHV_ROOT_HVCALL. TLFS names, little-endian, no implicit padding; a field named rsvd is zero.
 */
#ifndef ABI_ROOT_HVCALLS_H
#define ABI_ROOT_HVCALLS_H

#include <linux/types.h>

#include "abi/root/layout.h"

/* ---- hypercall codes ---------------------------------------------------------------------- */

#define HVCALL_CREATE_PARTITION 0x0040
#define HVCALL_INITIALIZE_PARTITION 0x0041
#define HVCALL_FINALIZE_PARTITION 0x0042
#define HVCALL_DELETE_PARTITION 0x0043
#define HVCALL_GET_PARTITION_PROPERTY 0x0044
#define HVCALL_SET_PARTITION_PROPERTY 0x0045
#define HVCALL_WITHDRAW_MEMORY 0x0049
#define HVCALL_MAP_GPA_PAGES 0x004b
#define HVCALL_UNMAP_GPA_PAGES 0x004c
#define HVCALL_INSTALL_INTERCEPT 0x004d
#define HVCALL_DELETE_VP 0x004f
#define HVCALL_TRANSLATE_VIRTUAL_ADDRESS 0x0052
#define HVCALL_CLEAR_VIRTUAL_INTERRUPT 0x0056
#define HVCALL_DELETE_PORT 0x0058
#define HVCALL_DISCONNECT_PORT 0x005b
#define HVCALL_MAP_STATS_PAGE 0x006c
#define HVCALL_UNMAP_STATS_PAGE 0x006d
#define HVCALL_GET_SYSTEM_PROPERTY 0x007b
#define HVCALL_NOTIFY_PORT_RING_EMPTY 0x008b
#define HVCALL_REGISTER_INTERCEPT_RESULT 0x0091
#define HVCALL_ASSERT_VIRTUAL_INTERRUPT 0x0094
#define HVCALL_CREATE_PORT 0x0095
#define HVCALL_CONNECT_PORT 0x0096
#define HVCALL_SIGNAL_EVENT_DIRECT 0x00c0
#define HVCALL_POST_MESSAGE_DIRECT 0x00c1
#define HVCALL_GET_GPA_PAGES_ACCESS_STATES 0x00c9
#define HVCALL_MAP_VP_STATE_PAGE 0x00e1
#define HVCALL_UNMAP_VP_STATE_PAGE 0x00e2
#define HVCALL_GET_VP_STATE 0x00e3
#define HVCALL_SET_VP_STATE 0x00e4
#define HVCALL_GET_VP_CPUID_VALUES 0x00f4
#define HVCALL_READ_HYPERVISOR_LOG 0x4000 /* Partita's own */

/* In 6.1's header, but user code needs them too. */
#ifndef HVCALL_CREATE_VP
#define HVCALL_CREATE_VP 0x004e
#endif
#ifndef HVCALL_GET_VP_REGISTERS
#define HVCALL_GET_VP_REGISTERS 0x0050
#define HVCALL_SET_VP_REGISTERS 0x0051
#endif

/* ---- status values ------------------------------------------------------------------------ */

#define HV_STATUS_INVALID_PARTITION_STATE 0x07
#define HV_STATUS_INVALID_PARTITION_ID 0x0d
#define HV_STATUS_INVALID_VP_INDEX 0x0e
#define HV_STATUS_NO_RESOURCES 0x1d
#define HV_STATUS_OPERATION_FAILED 0x71
#define HV_STATUS_CALL_PENDING 0x79

/* ---- partitions --------------------------------------------------------------------------- */

#define HV_PARTITION_CREATION_FLAG_GPA_SUPER_PAGES_ENABLED (1u << 4)
#define HV_PARTITION_CREATION_FLAG_EXO_PARTITION (1u << 8)
#define HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED (1u << 13)
#define HV_PARTITION_CREATION_FLAG_INTERCEPT_MESSAGE_PAGE_ENABLED (1u << 19)
#define HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE (1u << 22)

#define HV_COMPATIBILITY_21_H2 0x0609

struct hv_input_create_partition {
	__u64 flags;
	__u64 proximity_domain_info;
	__u32 compatibility_version;
	__u32 rsvd;
	__u64 disabled_processor_features[2];
	__u64 disabled_processor_xsave_features;
	__u64 isolation_properties;
};
HV_ROOT_ABI_SIZE(hv_input_create_partition, 56);
HV_ROOT_ABI_AT(hv_input_create_partition, disabled_processor_features, 24);

#define HV_PARTITION_PROPERTY_XSAVE_STATES 0x00060007
#define HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE 0x00060008

/* GetPartitionProperty answers one u64. */
struct hv_input_get_partition_property {
	__u64 partition_id;
	__u32 property_code;
	__u32 rsvd;
};
HV_ROOT_ABI_SIZE(hv_input_get_partition_property, 16);

struct hv_input_set_partition_property {
	__u64 partition_id;
	__u32 property_code;
	__u32 rsvd;
	__u64 property_value;
};
HV_ROOT_ABI_SIZE(hv_input_set_partition_property, 24);

#define HV_SYSTEM_PROPERTY_SCHEDULER_TYPE 15
#define HV_SCHEDULER_TYPE_LP 1
#define HV_SCHEDULER_TYPE_LP_SMT 2
#define HV_SCHEDULER_TYPE_CORE_SMT 3
#define HV_SCHEDULER_TYPE_ROOT 4

/* Answers one u64; the scheduler type is its low half. */
struct hv_input_get_system_property {
	__u32 property_id;
	__u32 rsvd;
	__u64 argument;
};
HV_ROOT_ABI_SIZE(hv_input_get_system_property, 16);

/*
 * ReadHypervisorLog: text from @position on, a count of bytes since boot; from the oldest byte that
 * is left if that one is gone. No bytes: the reader has caught up.
 */
struct hv_input_read_hypervisor_log {
	__u64 position;
};
HV_ROOT_ABI_SIZE(hv_input_read_hypervisor_log, 8);

struct hv_output_read_hypervisor_log {
	__u64 next_position;
	__u32 bytes;
	__u32 rsvd;
	char text[1008];
};
HV_ROOT_ABI_SIZE(hv_output_read_hypervisor_log, 1024);
HV_ROOT_ABI_AT(hv_output_read_hypervisor_log, text, 16);

#define HV_STATS_OBJECT_HYPERVISOR 0x00000001u
#define HV_STATS_OBJECT_PARTITION 0x00010001u

/* MapStatsPage answers one u64, the page's number in the root: an array of u64 counters. */
struct hv_input_stats_page {
	__u32 type;
	__u32 rsvd0;
	__u64 partition_id; /* of HV_STATS_OBJECT_PARTITION */
	__u64 rsvd1;
};
HV_ROOT_ABI_SIZE(hv_input_stats_page, 24);

#define HV_COUNTER_LOGICAL_PROCESSORS 1
#define HV_COUNTER_PARTITIONS 2
#define HV_COUNTER_VIRTUAL_PROCESSORS 4
#define HV_PARTITION_COUNTER_DEPOSITED_PAGES 5
#define HV_PARTITION_COUNTER_FREE_PAGES 500 /* Partita's own */

/* ---- memory ------------------------------------------------------------------------------- */

/* Answers up to 512 page numbers; NO_RESOURCES when nothing is left. */
struct hv_input_withdraw_memory {
	__u64 partition_id;
	__u64 proximity_domain_info;
};
HV_ROOT_ABI_SIZE(hv_input_withdraw_memory, 16);

#define HV_MAP_GPA_READABLE 0x1u
#define HV_MAP_GPA_WRITABLE 0x2u
#define HV_MAP_GPA_EXECUTABLE 0xcu /* supervisor and user */
#define HV_MAP_GPA_ADJUSTABLE 0x8000u
#define HV_MAP_GPA_LARGE_PAGE 0x80000000u /* one list entry per 2 MB */
#define HV_UNMAP_GPA_LARGE_PAGE 0x2u

/* Followed by the page list. */
struct hv_input_map_gpa_pages {
	__u64 target_partition_id;
	__u64 target_gpa_base;
	__u32 map_flags;
	__u32 rsvd;
};
HV_ROOT_ABI_SIZE(hv_input_map_gpa_pages, 24);

struct hv_input_unmap_gpa_pages {
	__u64 target_partition_id;
	__u64 target_gpa_base;
	__u32 unmap_flags;
	__u32 rsvd;
};
HV_ROOT_ABI_SIZE(hv_input_unmap_gpa_pages, 24);

#define HV_GPA_ACCESS_CLEAR_ACCESSED 0x1u
#define HV_GPA_ACCESS_SET_ACCESSED 0x2u
#define HV_GPA_ACCESS_CLEAR_DIRTY 0x4u
#define HV_GPA_ACCESS_SET_DIRTY 0x8u
#define HV_GPA_ACCESS_STATE_ACCESSED 0x1u
#define HV_GPA_ACCESS_STATE_DIRTY 0x2u

/* Answers one byte per page, HV_GPA_ACCESS_STATE_*. */
struct hv_input_get_gpa_pages_access_state {
	__u64 partition_id;
	__u64 flags;
	__u64 gpa_page_number;
};
HV_ROOT_ABI_SIZE(hv_input_get_gpa_pages_access_state, 24);

/* ---- virtual processors ------------------------------------------------------------------- */

#define HV_REGISTER_EXPLICIT_SUSPEND 0x00000000
#define HV_REGISTER_INTERCEPT_SUSPEND 0x00000001

/* What Get- and SetVpRegisters start with; the former goes on with u32 names. */
struct hv_input_vp_registers {
	__u64 partition_id;
	__u32 vp_index;
	__u8 input_vtl;
	__u8 rsvd[3];
};
HV_ROOT_ABI_SIZE(hv_input_vp_registers, 16);

/* A register of SetVpRegisters; GetVpRegisters answers the 16 bytes of value alone. */
struct hv_register_assoc {
	__u32 name;
	__u32 rsvd1;
	__u64 rsvd2;
	__u64 value[2];
};
HV_ROOT_ABI_SIZE(hv_register_assoc, 32);

#define HV_VP_STATE_PAGE_REGISTERS 0
#define HV_VP_STATE_PAGE_INTERCEPT_MESSAGE 1

/* MapVpStatePage answers one u64, the page's number in the root. Unmap ends before the location. */
struct hv_input_vp_state_page {
	__u64 partition_id;
	__u32 vp_index;
	__u16 type;
	__u8 input_vtl;
	__u8 flags;
	__u64 requested_map_location;
};
HV_ROOT_ABI_SIZE(hv_input_vp_state_page, 24);
#define HV_INPUT_UNMAP_VP_STATE_PAGE_SIZE 16

/* With bit 31 the data is in pages whose numbers follow the header, else beside it. */
#define HV_GET_SET_VP_STATE_TYPE_PFN 0x80000000u
#define HV_GET_SET_VP_STATE_LAPIC_STATE (0u | HV_GET_SET_VP_STATE_TYPE_PFN)
#define HV_GET_SET_VP_STATE_XSAVE (1u | HV_GET_SET_VP_STATE_TYPE_PFN)
#define HV_GET_SET_VP_STATE_SIM_PAGE (2u | HV_GET_SET_VP_STATE_TYPE_PFN)
#define HV_GET_SET_VP_STATE_SIEF_PAGE (3u | HV_GET_SET_VP_STATE_TYPE_PFN)
#define HV_GET_SET_VP_STATE_SYNTHETIC_TIMERS 4u
#define HV_SYNTHETIC_TIMERS_STATE_SIZE 200

/* Variable header: page numbers, or for Set of inline state the data itself. */
struct hv_input_vp_state {
	__u64 partition_id;
	__u32 vp_index;
	__u8 input_vtl;
	__u8 rsvd0[3];
	__u32 type;
	__u32 rsvd1;
	__u64 xsave_flags;
	__u64 xsave_states;
};
HV_ROOT_ABI_SIZE(hv_input_vp_state, 40);

struct hv_input_assert_virtual_interrupt {
	__u64 partition_id;
	__u32 interrupt_type;
	__u32 interrupt_flags; /* HV_INTERRUPT_* */
	__u64 dest_addr;       /* APIC id or logical destination */
	__u32 vector;
	__u8 target_vtl;
	__u8 rsvd[3];
};
HV_ROOT_ABI_SIZE(hv_input_assert_virtual_interrupt, 32);
#define HV_INTERRUPT_LEVEL_TRIGGERED 0x1u
#define HV_INTERRUPT_LOGICAL_DEST_MODE 0x2u

/* ---- ports and doorbells ------------------------------------------------------------------ */

#define HV_PORT_TYPE_DOORBELL 4
#define HV_ANY_VP 0xffffffffu
#define HV_MAX_PORT_ID 0x00ffffffu

struct hv_input_create_port {
	__u64 port_partition_id;
	__u32 port_id;
	__u8 port_vtl;
	__u8 min_connection_vtl;
	__u16 rsvd0;
	__u64 connection_partition_id;
	__u32 port_type;
	__u32 rsvd1;
	__u32 target_sint;
	__u32 target_vp;
	__u64 rsvd2;
	__u64 proximity_domain_info;
};
HV_ROOT_ABI_SIZE(hv_input_create_port, 56);
HV_ROOT_ABI_AT(hv_input_create_port, target_sint, 32);

#define HV_DOORBELL_FLAG_TRIGGER_SIZE_ANY 0u
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_BYTE 1u
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_WORD 2u
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD 3u
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD 4u
#define HV_DOORBELL_FLAG_TRIGGER_ANY_VALUE 0x80000000u

struct hv_input_connect_port {
	__u64 connection_partition_id;
	__u32 connection_id;
	__u8 connection_vtl;
	__u8 rsvd0[3];
	__u64 port_partition_id;
	__u32 port_id;
	__u32 rsvd1;
	__u32 port_type;
	__u32 rsvd2;
	__u64 doorbell_gpa;
	__u64 doorbell_trigger_value;
	__u64 doorbell_flags;
	__u64 proximity_domain_info;
};
HV_ROOT_ABI_SIZE(hv_input_connect_port, 72);
HV_ROOT_ABI_AT(hv_input_connect_port, doorbell_gpa, 40);

/* Second register of the fast DisconnectPort. */
#define HV_DISCONNECT_PORT_IS_DOORBELL (1ull << 32)

/* ---- the root's SynIC --------------------------------------------------------------------- */

#define HV_MSR_SIRBP 0x40000085
#define HV_SYNIC_PAGE_ENABLE 0x1ull
#define HV_SYNIC_SINT_AS_INTERCEPT (1ull << 19)

#define HV_SYNIC_INTERCEPTION_SINT_INDEX 0
#define HV_SYNIC_DOORBELL_SINT_INDEX 5

#define HV_SYNIC_EVENT_RING_MESSAGE_COUNT 63

/* The hypervisor fills free (zero) entries with port ids, the root zeroes what it has taken. */
struct hv_synic_event_ring {
	__u8 signal_masked;
	__u8 ring_full;
	__u16 rsvd;
	__u32 data[HV_SYNIC_EVENT_RING_MESSAGE_COUNT];
};
HV_ROOT_ABI_SIZE(hv_synic_event_ring, 256);

struct hv_synic_event_ring_page {
	struct hv_synic_event_ring sint_event_ring[16];
};
HV_ROOT_ABI_SIZE(hv_synic_event_ring_page, 4096);

/* Messages to the root. Payloads: {u32 vp}, {u32 sint}, {u64 partition, u32 status}. */
#define HVMSG_OPAQUE_INTERCEPT 0x8000003fu
#define HVMSG_SYNIC_SINT_INTERCEPT 0x80000061u
#define HVMSG_ASYNC_CALL_COMPLETION 0x80000070u

#endif
