// SPDX-License-Identifier: MIT
// What describes a partition and its VPs to their parent: privileges, properties, creation and map
// flags, intercepts, ports and connections, VP sets, statistics, saved VP state, the register page.
// [TLFS 4 to 9, datatypes; hvdef; Linux hvhdk.h, hvhdk_mini.h] Ids: partition u64, VP index u32,
// port and connection u32 of which 24 bits count.
#pragma once

#include "abi/tlfs/layout.h"
#include "abi/tlfs/registers.h"

namespace hv::abi {

inline constexpr uint64_t kHvPartitionIdSelf = ~uint64_t{0};
inline constexpr uint32_t kHvAnyVp = 0xffffffff;
inline constexpr uint32_t kHvPortIdMask = 0x00ffffff;        // HV_PORT_ID: the rest is reserved
inline constexpr uint32_t kHvConnectionIdMask = 0x00ffffff;  // HV_CONNECTION_ID

// HV_PARTITION_PRIVILEGE_MASK: bits 31:0 are CPUID 0x40000003 EAX, bits 63:32 EBX.
inline constexpr unsigned kHvPrivilegeAccessVpRuntimeBit = 0;
inline constexpr unsigned kHvPrivilegeAccessPartitionReferenceCounterBit = 1;
inline constexpr unsigned kHvPrivilegeAccessSynicRegsBit = 2;
inline constexpr unsigned kHvPrivilegeAccessSyntheticTimerRegsBit = 3;
inline constexpr unsigned kHvPrivilegeAccessIntrCtrlRegsBit = 4;  // EOI, ICR, TPR, assist page
inline constexpr unsigned kHvPrivilegeAccessHypercallMsrsBit = 5;
inline constexpr unsigned kHvPrivilegeAccessVpIndexBit = 6;
inline constexpr unsigned kHvPrivilegeAccessResetMsrBit = 7;
inline constexpr unsigned kHvPrivilegeAccessPartitionReferenceTscBit = 9;
inline constexpr unsigned kHvPrivilegeAccessGuestIdleMsrBit = 10;
inline constexpr unsigned kHvPrivilegeAccessFrequencyMsrsBit = 11;
inline constexpr unsigned kHvPrivilegeAccessTscInvariantControlsBit = 15;
inline constexpr unsigned kHvPrivilegeCreatePartitionsBit = 32;
inline constexpr unsigned kHvPrivilegeAccessPartitionIdBit = 33;
inline constexpr unsigned kHvPrivilegeAccessMemoryPoolBit = 34;
inline constexpr unsigned kHvPrivilegePostMessagesBit = 36;
inline constexpr unsigned kHvPrivilegeSignalEventsBit = 37;
inline constexpr unsigned kHvPrivilegeCreatePortBit = 38;
inline constexpr unsigned kHvPrivilegeConnectPortBit = 39;
inline constexpr unsigned kHvPrivilegeAccessStatsBit = 40;
inline constexpr unsigned kHvPrivilegeCpuManagementBit = 44;  // the root
inline constexpr unsigned kHvPrivilegeAccessVpRegistersBit = 49;
inline constexpr unsigned kHvPrivilegeStartVirtualProcessorBit = 53;

// HV_PARTITION_SYNTHETIC_PROCESSOR_FEATURES (HvPartitionPropertySyntheticProcFeatures): what the
// parent lets a child see. Set before the partition is initialized.
inline constexpr unsigned kHvSyntheticHypervisorPresentBit = 0;
inline constexpr unsigned kHvSyntheticHv1Bit = 1;
inline constexpr unsigned kHvSyntheticAccessVpRunTimeRegBit = 2;
inline constexpr unsigned kHvSyntheticAccessPartitionReferenceCounterBit = 3;
inline constexpr unsigned kHvSyntheticAccessSynicRegsBit = 4;
inline constexpr unsigned kHvSyntheticAccessSyntheticTimerRegsBit = 5;
inline constexpr unsigned kHvSyntheticAccessIntrCtrlRegsBit = 6;
inline constexpr unsigned kHvSyntheticAccessHypercallRegsBit = 7;
inline constexpr unsigned kHvSyntheticAccessVpIndexBit = 8;
inline constexpr unsigned kHvSyntheticAccessPartitionReferenceTscBit = 9;
inline constexpr unsigned kHvSyntheticAccessGuestIdleRegBit = 10;
inline constexpr unsigned kHvSyntheticAccessFrequencyRegsBit = 11;
inline constexpr unsigned kHvSyntheticStartVirtualProcessorBit = 20;
inline constexpr unsigned kHvSyntheticDirectSyntheticTimersBit = 22;
inline constexpr unsigned kHvSyntheticExtendedProcessorMasksBit = 24;
inline constexpr unsigned kHvSyntheticTbFlushHypercallsBit = 25;
inline constexpr unsigned kHvSyntheticSyntheticClusterIpiBit = 26;
inline constexpr unsigned kHvSyntheticNotifyLongSpinWaitBit = 27;
inline constexpr unsigned kHvSyntheticSignalEventsBit = 29;
inline constexpr unsigned kHvSyntheticRetargetDeviceInterruptBit = 30;

enum class HvPartitionPropertyCode : uint32_t {
  HvPartitionPropertyPrivilegeFlags = 0x00010000,
  HvPartitionPropertySyntheticProcFeatures = 0x00010001,

  HvPartitionPropertyReferenceTime = 0x00030005,  // 100 ns

  HvPartitionPropertyProcessorsPerSocket = 0x00050003,
  HvPartitionPropertyGpaPageAccessTracking = 0x00050005,
  HvPartitionPropertyImplementedPhysicalAddressBits = 0x00050010,
  HvPartitionPropertyUnimplementedMsrAction = 0x00050017,  // HvUnimplementedMsrAction
  HvPartitionPropertyReferenceTscPageActive = 0x00050019,

  HvPartitionPropertyProcessorVendor = 0x00060000,       // HvProcessorVendor
  HvPartitionPropertyProcessorCLFlushSize = 0x00060003,  // log2 of bytes
  HvPartitionPropertyCompatibilityVersion = 0x00060005,
  HvPartitionPropertyPhysicalAddressWidth = 0x00060006,     // bits
  HvPartitionPropertyXsaveStates = 0x00060007,              // XCR0 | XSS mask
  HvPartitionPropertyMaxXsaveDataSize = 0x00060008,         // bytes
  HvPartitionPropertyProcessorClockFrequency = 0x00060009,  // Hz

  HvPartitionPropertyGuestOsId = 0x00070000,
};

enum class HvProcessorVendor : uint32_t {
  HvProcessorVendorAmd = 0,
  HvProcessorVendorIntel = 1,
  HvProcessorVendorHygon = 2,
};

enum class HvUnimplementedMsrAction : uint32_t {
  HvUnimplementedMsrActionFault = 0,
  HvUnimplementedMsrActionIgnoreWriteReadZero = 1,
};

// HV_PARTITION_CREATION_FLAGS
inline constexpr unsigned kHvCreationSmtEnabledGuestBit = 0;
inline constexpr unsigned kHvCreationNestedVirtualizationCapableBit = 1;
inline constexpr unsigned kHvCreationGpaLargePagesDisabledBit = 3;
inline constexpr unsigned kHvCreationGpaSuperPagesEnabledBit = 4;
inline constexpr unsigned kHvCreationExoPartitionBit = 8;
inline constexpr unsigned kHvCreationLapicEnabledBit = 13;
inline constexpr unsigned kHvCreationInterceptMessagePageEnabledBit = 19;
inline constexpr unsigned kHvCreationHypercallDoorbellPageEnabledBit = 20;
inline constexpr unsigned kHvCreationX2ApicCapableBit = 22;

inline constexpr uint32_t kHvCompatibility21H2 = 0x609;  // major 15:8, minor 7:0

// HV_MAP_GPA_FLAGS, 32 bits. With LargePage each list entry maps 2 MB.
inline constexpr uint32_t kHvMapGpaReadableMask = 0x1;
inline constexpr uint32_t kHvMapGpaWritableMask = 0x2;
inline constexpr uint32_t kHvMapGpaKernelExecutableMask = 0x4;
inline constexpr uint32_t kHvMapGpaUserExecutableMask = 0x8;
inline constexpr uint32_t kHvMapGpaPermissionsMask = 0xf;
inline constexpr uint32_t kHvMapGpaAdjustableMask = 0x8000;
inline constexpr uint32_t kHvMapGpaNoAccessMask = 0x10000;  // the source list is not read
inline constexpr uint32_t kHvMapGpaNotCachedMask = 0x200000;
inline constexpr uint32_t kHvMapGpaLargePageMask = 0x80000000;
inline constexpr uint32_t kHvUnmapGpaLargePageMask = 0x2;

// HV_GPA_PAGE_ACCESS_STATE_FLAGS (in) and HV_GPA_PAGE_ACCESS_STATE (out, a byte a page)
inline constexpr unsigned kHvGpaAccessClearAccessedBit = 0;
inline constexpr unsigned kHvGpaAccessSetAccessedBit = 1;
inline constexpr unsigned kHvGpaAccessClearDirtyBit = 2;
inline constexpr unsigned kHvGpaAccessSetDirtyBit = 3;
inline constexpr unsigned kHvGpaAccessStateAccessedBit = 0;
inline constexpr unsigned kHvGpaAccessStateDirtyBit = 1;

enum class HvInterceptType : uint32_t {
  HvInterceptTypeX64IoPort = 0x00,
  HvInterceptTypeX64Msr = 0x01,
  HvInterceptTypeX64Cpuid = 0x02,
  HvInterceptTypeException = 0x03,
  HvInterceptTypeHypercall = 0x08,
  HvInterceptTypeX64MsrIndex = 0x0c,
  HvInterceptTypeUnknownSynicConnection = 0x0d,
  HvInterceptTypeX64ApicEoi = 0x0e,
  HvInterceptTypeRetargetInterruptWithUnknownDeviceId = 0x0f,
  HvInterceptTypeX64IoPortRange = 0x11,
};

// HV_INTERCEPT_ACCESS_TYPE_MASK; 0 removes the intercept.
inline constexpr uint32_t kHvInterceptAccessReadMask = 0x1;
inline constexpr uint32_t kHvInterceptAccessWriteMask = 0x2;
inline constexpr uint32_t kHvInterceptAccessExecuteMask = 0x4;

// HV_INTERCEPT_PARAMETERS: which member counts follows from the type; others take 0.
union HvInterceptParameters {
  uint64_t as_uint64;
  uint16_t io_port;
  uint32_t cpuid_index;
  uint16_t exception_vector;
  uint32_t apic_write_mask;
  uint32_t msr_index;
  struct {
    uint16_t base;
    uint16_t end;  // inclusive
  } io_port_range;
  HvRegisterName register_name;
};
HV_ABI_SIZE(HvInterceptParameters, 0x8);

enum class HvInterruptType : uint32_t {
  HvX64InterruptTypeFixed = 0,
  HvX64InterruptTypeLowestPriority = 1,
  HvX64InterruptTypeSmi = 2,
  HvX64InterruptTypeRemoteRead = 3,
  HvX64InterruptTypeNmi = 4,
  HvX64InterruptTypeInit = 5,
  HvX64InterruptTypeSipi = 6,
  HvX64InterruptTypeExtInt = 7,
  HvX64InterruptTypeLocalInt0 = 8,
  HvX64InterruptTypeLocalInt1 = 9,
};

enum class HvPortType : uint32_t {
  HvPortTypeMessage = 1,
  HvPortTypeEvent = 2,
  HvPortTypeMonitor = 3,
  HvPortTypeDoorbell = 4,  // owner must be the root
};

// The forms of HV_PORT_INFO. target_vp may be kHvAnyVp; an event port owns the SINT's flags
// base_flag_number to base_flag_number + flag_count - 1.
struct HvMessagePortInfo {
  uint32_t target_sint;
  uint32_t target_vp;
  uint64_t reserved;
};
HV_ABI_STRUCT(HvMessagePortInfo, 0x10);
HV_ABI_AT(HvMessagePortInfo, target_sint, 0x0);
HV_ABI_AT(HvMessagePortInfo, target_vp, 0x4);
HV_ABI_AT(HvMessagePortInfo, reserved, 0x8);

struct HvEventPortInfo {
  uint32_t target_sint;
  uint32_t target_vp;
  uint16_t base_flag_number;
  uint16_t flag_count;
  uint32_t reserved;
};
HV_ABI_STRUCT(HvEventPortInfo, 0x10);
HV_ABI_AT(HvEventPortInfo, target_sint, 0x0);
HV_ABI_AT(HvEventPortInfo, target_vp, 0x4);
HV_ABI_AT(HvEventPortInfo, base_flag_number, 0x8);
HV_ABI_AT(HvEventPortInfo, flag_count, 0xa);
HV_ABI_AT(HvEventPortInfo, reserved, 0xc);

struct HvMonitorPortInfo {
  uint64_t monitor_address;
  uint64_t reserved;
};
HV_ABI_STRUCT(HvMonitorPortInfo, 0x10);
HV_ABI_AT(HvMonitorPortInfo, monitor_address, 0x0);
HV_ABI_AT(HvMonitorPortInfo, reserved, 0x8);

// HV_PORT_INFO
struct HvPortInfo {
  HvPortType port_type;
  uint32_t padding;
  union {
    HvMessagePortInfo message;
    HvEventPortInfo event;
    HvMonitorPortInfo monitor;
    HvMessagePortInfo doorbell;
  };
};
HV_ABI_STRUCT(HvPortInfo, 0x18);
HV_ABI_AT(HvPortInfo, port_type, 0x0);
HV_ABI_AT(HvPortInfo, padding, 0x4);
HV_ABI_AT(HvPortInfo, message, 0x8);
HV_ABI_AT(HvPortInfo, event, 0x8);
HV_ABI_AT(HvPortInfo, monitor, 0x8);
HV_ABI_AT(HvPortInfo, doorbell, 0x8);

// Doorbell flags: trigger width in bits 2:0, and whether the written value must match.
inline constexpr uint64_t kHvDoorbellTriggerSizeMask = 0x7;
inline constexpr uint64_t kHvDoorbellTriggerSizeAny = 0;
inline constexpr uint64_t kHvDoorbellTriggerAnyValueMask = 0x80000000;

// The forms of HV_CONNECTION_INFO. Addresses are GPAs of the connecting partition.
struct HvMonitorConnectionInfo {
  uint64_t monitor_address;
  uint64_t reserved[2];
};
HV_ABI_STRUCT(HvMonitorConnectionInfo, 0x18);
HV_ABI_AT(HvMonitorConnectionInfo, monitor_address, 0x0);
HV_ABI_AT(HvMonitorConnectionInfo, reserved, 0x8);

struct HvDoorbellConnectionInfo {
  uint64_t gpa;
  uint64_t trigger_value;
  uint64_t flags;
};
HV_ABI_STRUCT(HvDoorbellConnectionInfo, 0x18);
HV_ABI_AT(HvDoorbellConnectionInfo, gpa, 0x0);
HV_ABI_AT(HvDoorbellConnectionInfo, trigger_value, 0x8);
HV_ABI_AT(HvDoorbellConnectionInfo, flags, 0x10);

// HV_CONNECTION_INFO
struct HvConnectionInfo {
  HvPortType port_type;
  uint32_t padding;
  union {
    uint64_t reserved[3];  // message and event: zero
    HvMonitorConnectionInfo monitor;
    HvDoorbellConnectionInfo doorbell;
  };
};
HV_ABI_STRUCT(HvConnectionInfo, 0x20);
HV_ABI_AT(HvConnectionInfo, port_type, 0x0);
HV_ABI_AT(HvConnectionInfo, padding, 0x4);
HV_ABI_AT(HvConnectionInfo, reserved, 0x8);
HV_ABI_AT(HvConnectionInfo, monitor, 0x8);
HV_ABI_AT(HvConnectionInfo, doorbell, 0x8);

enum class HvGenericSetFormat : uint64_t {
  HvGenericSetSparse4k = 0,
  HvGenericSetAll = 1,  // no banks follow
};
inline constexpr unsigned kHvVpsPerSparseBank = 64;

// HV_VP_SET: followed by one uint64_t for each bit set in valid_bank_mask, lowest bank first. Bank
// i holds VPs 64 i to 64 i + 63.
struct HvVpSet {
  HvGenericSetFormat format;
  uint64_t valid_bank_mask;
};
HV_ABI_STRUCT(HvVpSet, 0x10);
HV_ABI_AT(HvVpSet, format, 0x0);
HV_ABI_AT(HvVpSet, valid_bank_mask, 0x8);

// HV_PROXIMITY_DOMAIN_INFO. Linux without SRAT sends domain 0xffffffff marked valid.
struct HvProximityDomainInfo {
  uint32_t domain_id;
  uint32_t flags;
};
HV_ABI_STRUCT(HvProximityDomainInfo, 0x8);
HV_ABI_AT(HvProximityDomainInfo, domain_id, 0x0);
HV_ABI_AT(HvProximityDomainInfo, flags, 0x4);
inline constexpr unsigned kHvProximityInfoValidBit = 31;

enum class HvStatsObjectType : uint32_t {
  HvStatsObjectHypervisor = 0x00000001,
  HvStatsObjectLogicalProcessor = 0x00000002,
  HvStatsObjectPartition = 0x00010001,
  HvStatsObjectVp = 0x00010002,
};

enum class HvStatsAreaType : uint8_t {
  HvStatsAreaSelf = 0,
  HvStatsAreaParent = 1,
};

// HV_STATS_OBJECT_IDENTITY
union HvStatsObjectIdentity {
  struct {
    uint8_t reserved[15];
    HvStatsAreaType stats_area_type;
  } hypervisor;
  struct {
    uint32_t lp_index;
    uint8_t reserved[11];
    HvStatsAreaType stats_area_type;
  } lp;
  struct {
    uint64_t partition_id;
    uint8_t reserved[7];
    HvStatsAreaType stats_area_type;
  } partition;
  struct {
    uint64_t partition_id;
    uint32_t vp_index;
    uint16_t flags;
    uint8_t reserved;
    HvStatsAreaType stats_area_type;
  } vp;
};
HV_ABI_STRUCT(HvStatsObjectIdentity, 0x10);
HV_ABI_AT(HvStatsObjectIdentity, hypervisor.stats_area_type, 0xf);
HV_ABI_AT(HvStatsObjectIdentity, lp.lp_index, 0x0);
HV_ABI_AT(HvStatsObjectIdentity, lp.stats_area_type, 0xf);
HV_ABI_AT(HvStatsObjectIdentity, partition.partition_id, 0x0);
HV_ABI_AT(HvStatsObjectIdentity, partition.stats_area_type, 0xf);
HV_ABI_AT(HvStatsObjectIdentity, vp.partition_id, 0x0);
HV_ABI_AT(HvStatsObjectIdentity, vp.vp_index, 0x8);
HV_ABI_AT(HvStatsObjectIdentity, vp.flags, 0xc);
HV_ABI_AT(HvStatsObjectIdentity, vp.reserved, 0xe);
HV_ABI_AT(HvStatsObjectIdentity, vp.stats_area_type, 0xf);

enum class HvSystemProperty : uint32_t {
  HvSystemPropertySchedulerType = 15,
  HvSystemPropertyDynamicProcessorFeature = 21,
};

enum class HvSchedulerType : uint32_t {
  HvSchedulerTypeLp = 1,
  HvSchedulerTypeLpSmt = 2,
  HvSchedulerTypeCoreSmt = 3,
  HvSchedulerTypeRoot = 4,
};

enum class HvPartitionEvent : uint32_t {
  HvPartitionEventRootCrashdump = 2,
  HvPartitionAllLogicalProcessorsStarted = 4,
};

enum class HvVpStatePageType : uint32_t {
  HvVpStatePageRegisters = 0,         // HvVpRegisterPage
  HvVpStatePageInterceptMessage = 1,  // HvMessage at offset 0
  HvVpStatePageGhcb = 2,
};

// HV_GET_SET_VP_STATE_TYPE: with bit 31 the data is in pages named by number, else inline.
inline constexpr uint32_t kHvVpStateTypePfnMask = 0x80000000;
enum class HvVpStateType : uint32_t {
  HvGetSetVpStateLapicState = 0x80000000,       // HvLocalInterruptControllerState
  HvGetSetVpStateXsave = 0x80000001,            // compacted XSAVE area, may span pages
  HvGetSetVpStateSimPage = 0x80000002,          // HvMessagePage
  HvGetSetVpStateSiefPage = 0x80000003,         // HvSynicEventFlagsPage
  HvGetSetVpStateSyntheticTimers = 0x00000004,  // HvSyntheticTimersState
};

// HV_VP_STATE_DATA: xsave_flags bit 0 leaves XMM out; xsave_states is the XFEM mask.
struct HvVpStateData {
  HvVpStateType type;
  uint32_t reserved;
  uint64_t xsave_flags;
  uint64_t xsave_states;
};
HV_ABI_STRUCT(HvVpStateData, 0x18);
HV_ABI_AT(HvVpStateData, type, 0x0);
HV_ABI_AT(HvVpStateData, reserved, 0x4);
HV_ABI_AT(HvVpStateData, xsave_flags, 0x8);
HV_ABI_AT(HvVpStateData, xsave_states, 0x10);

// HV_X64_INTERRUPT_CONTROLLER_STATE, hv_local_interrupt_controller_state in Linux: the APIC's
// registers in their architectural form. apic_isr[n] has vectors 32 n to 32 n + 31.
struct HvLocalInterruptControllerState {
  uint32_t apic_id;
  uint32_t apic_version;
  uint32_t apic_ldr;
  uint32_t apic_dfr;
  uint32_t apic_spurious;
  uint32_t apic_isr[8];
  uint32_t apic_tmr[8];
  uint32_t apic_irr[8];
  uint32_t apic_esr;
  uint32_t apic_icr_high;
  uint32_t apic_icr_low;
  uint32_t apic_lvt_timer;
  uint32_t apic_lvt_thermal;
  uint32_t apic_lvt_perfmon;
  uint32_t apic_lvt_lint0;
  uint32_t apic_lvt_lint1;
  uint32_t apic_lvt_error;
  uint32_t apic_lvt_cmci;
  uint32_t apic_error_status;
  uint32_t apic_initial_count;
  uint32_t apic_counter_value;
  uint32_t apic_divide_configuration;
  uint32_t apic_remote_read;
};
HV_ABI_STRUCT(HvLocalInterruptControllerState, 0xb0);
HV_ABI_AT(HvLocalInterruptControllerState, apic_id, 0x0);
HV_ABI_AT(HvLocalInterruptControllerState, apic_version, 0x4);
HV_ABI_AT(HvLocalInterruptControllerState, apic_ldr, 0x8);
HV_ABI_AT(HvLocalInterruptControllerState, apic_dfr, 0xc);
HV_ABI_AT(HvLocalInterruptControllerState, apic_spurious, 0x10);
HV_ABI_AT(HvLocalInterruptControllerState, apic_isr, 0x14);
HV_ABI_AT(HvLocalInterruptControllerState, apic_tmr, 0x34);
HV_ABI_AT(HvLocalInterruptControllerState, apic_irr, 0x54);
HV_ABI_AT(HvLocalInterruptControllerState, apic_esr, 0x74);
HV_ABI_AT(HvLocalInterruptControllerState, apic_icr_high, 0x78);
HV_ABI_AT(HvLocalInterruptControllerState, apic_icr_low, 0x7c);
HV_ABI_AT(HvLocalInterruptControllerState, apic_lvt_timer, 0x80);
HV_ABI_AT(HvLocalInterruptControllerState, apic_lvt_thermal, 0x84);
HV_ABI_AT(HvLocalInterruptControllerState, apic_lvt_perfmon, 0x88);
HV_ABI_AT(HvLocalInterruptControllerState, apic_lvt_lint0, 0x8c);
HV_ABI_AT(HvLocalInterruptControllerState, apic_lvt_lint1, 0x90);
HV_ABI_AT(HvLocalInterruptControllerState, apic_lvt_error, 0x94);
HV_ABI_AT(HvLocalInterruptControllerState, apic_lvt_cmci, 0x98);
HV_ABI_AT(HvLocalInterruptControllerState, apic_error_status, 0x9c);
HV_ABI_AT(HvLocalInterruptControllerState, apic_initial_count, 0xa0);
HV_ABI_AT(HvLocalInterruptControllerState, apic_counter_value, 0xa4);
HV_ABI_AT(HvLocalInterruptControllerState, apic_divide_configuration, 0xa8);
HV_ABI_AT(HvLocalInterruptControllerState, apic_remote_read, 0xac);

// HV_STIMER_STATE. flags bit 0: an expiry message waits for its slot. Times in 100 ns.
struct HvStimerState {
  uint32_t flags;
  uint32_t reserved;
  uint64_t config;
  uint64_t count;
  uint64_t adjustment;
  uint64_t undelivered_expiration_time;
};
HV_ABI_STRUCT(HvStimerState, 0x28);
HV_ABI_AT(HvStimerState, flags, 0x0);
HV_ABI_AT(HvStimerState, reserved, 0x4);
HV_ABI_AT(HvStimerState, config, 0x8);
HV_ABI_AT(HvStimerState, count, 0x10);
HV_ABI_AT(HvStimerState, adjustment, 0x18);
HV_ABI_AT(HvStimerState, undelivered_expiration_time, 0x20);
inline constexpr unsigned kHvStimerUndeliveredMessagePendingBit = 0;

// HV_SYNTHETIC_TIMERS_STATE
struct HvSyntheticTimersState {
  HvStimerState timers[4];
  uint64_t reserved[5];
};
HV_ABI_STRUCT(HvSyntheticTimersState, 0xc8);
HV_ABI_AT(HvSyntheticTimersState, timers, 0x0);
HV_ABI_AT(HvSyntheticTimersState, reserved, 0xa0);

// Dirty classes of the register page: the reader applies a class only if its bit is set.
inline constexpr unsigned kHvX64RegisterClassGeneralBit = 0;
inline constexpr unsigned kHvX64RegisterClassIpBit = 1;
inline constexpr unsigned kHvX64RegisterClassXmmBit = 2;
inline constexpr unsigned kHvX64RegisterClassSegmentBit = 3;
inline constexpr unsigned kHvX64RegisterClassFlagsBit = 4;
inline constexpr uint16_t kHvVpRegisterPageVersion1 = 1;

// HV_VP_REGISTER_PAGE. gp_registers in encoding order, segments ES CS SS DS FS GS; CR0 and what
// follows is read only. XMM stands at 0xa0 (hvdef and the driver's bindings); some Linux headers
// lack the eight bytes before it.
struct HvVpRegisterPage {
  uint16_t version;
  uint8_t is_valid;
  uint8_t vtl;
  uint32_t dirty;
  uint64_t gp_registers[16];
  uint64_t rip;
  uint64_t rflags;
  uint64_t reserved1;
  HvUint128 xmm[6];
  HvX64SegmentRegister segment[6];
  uint64_t cr0;
  uint64_t cr3;
  uint64_t cr4;
  uint64_t cr8;
  uint64_t efer;
  uint64_t dr7;
  uint64_t pending_interruption;
  uint64_t interrupt_state;
  uint64_t instruction_emulation_hints;
  uint64_t xfem;
  uint8_t reserved2[256];
  uint8_t interrupt_vector_count;  // injected by HvCallDispatchVp
  uint8_t interrupt_vector[7];
  uint8_t reserved3[3400];
};
HV_ABI_STRUCT(HvVpRegisterPage, 0x1000);
HV_ABI_AT(HvVpRegisterPage, version, 0x0);
HV_ABI_AT(HvVpRegisterPage, is_valid, 0x2);
HV_ABI_AT(HvVpRegisterPage, vtl, 0x3);
HV_ABI_AT(HvVpRegisterPage, dirty, 0x4);
HV_ABI_AT(HvVpRegisterPage, gp_registers, 0x8);
HV_ABI_AT(HvVpRegisterPage, rip, 0x88);
HV_ABI_AT(HvVpRegisterPage, rflags, 0x90);
HV_ABI_AT(HvVpRegisterPage, reserved1, 0x98);
HV_ABI_AT(HvVpRegisterPage, xmm, 0xa0);
HV_ABI_AT(HvVpRegisterPage, segment, 0x100);
HV_ABI_AT(HvVpRegisterPage, cr0, 0x160);
HV_ABI_AT(HvVpRegisterPage, cr3, 0x168);
HV_ABI_AT(HvVpRegisterPage, cr4, 0x170);
HV_ABI_AT(HvVpRegisterPage, cr8, 0x178);
HV_ABI_AT(HvVpRegisterPage, efer, 0x180);
HV_ABI_AT(HvVpRegisterPage, dr7, 0x188);
HV_ABI_AT(HvVpRegisterPage, pending_interruption, 0x190);
HV_ABI_AT(HvVpRegisterPage, interrupt_state, 0x198);
HV_ABI_AT(HvVpRegisterPage, instruction_emulation_hints, 0x1a0);
HV_ABI_AT(HvVpRegisterPage, xfem, 0x1a8);
HV_ABI_AT(HvVpRegisterPage, reserved2, 0x1b0);
HV_ABI_AT(HvVpRegisterPage, interrupt_vector_count, 0x2b0);
HV_ABI_AT(HvVpRegisterPage, interrupt_vector, 0x2b1);
HV_ABI_AT(HvVpRegisterPage, reserved3, 0x2b8);

}  // namespace hv::abi
