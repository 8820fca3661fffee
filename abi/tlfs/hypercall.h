// SPDX-License-Identifier: MIT
// Hypercalls: code numbers, the control and result words, and every input and output block.
// [TLFS 3, Appendix A; hvdef; Linux hvgdk_mini.h, hvhdk.h, hvhdk_mini.h] A block is 8-byte aligned
// and crosses no page. "rep" tells what one repetition adds after the header, "out" what it
// returns; "header" a variable part whose length in qwords the control word gives. Page numbers are
// GPA or GVA >> 12. Reserved and padding fields must be zero unless a comment says otherwise.
#pragma once

#include "abi/tlfs/layout.h"
#include "abi/tlfs/message.h"
#include "abi/tlfs/partition.h"
#include "abi/tlfs/registers.h"

namespace hv::abi {

enum class HvCall : uint16_t {
  HvCallSwitchVirtualAddressSpace = 0x0001,
  HvCallFlushVirtualAddressSpace = 0x0002,
  HvCallFlushVirtualAddressList = 0x0003,
  HvCallNotifyLongSpinWait = 0x0008,
  HvCallSendSyntheticClusterIpi = 0x000b,
  HvCallModifyVtlProtectionMask = 0x000c,
  HvCallEnablePartitionVtl = 0x000d,
  HvCallEnableVpVtl = 0x000f,
  HvCallVtlCall = 0x0011,
  HvCallVtlReturn = 0x0012,
  HvCallFlushVirtualAddressSpaceEx = 0x0013,
  HvCallFlushVirtualAddressListEx = 0x0014,
  HvCallSendSyntheticClusterIpiEx = 0x0015,

  HvCallCreatePartition = 0x0040,
  HvCallInitializePartition = 0x0041,
  HvCallFinalizePartition = 0x0042,
  HvCallDeletePartition = 0x0043,
  HvCallGetPartitionProperty = 0x0044,
  HvCallSetPartitionProperty = 0x0045,
  HvCallGetPartitionId = 0x0046,
  HvCallGetNextChildPartition = 0x0047,
  HvCallDepositMemory = 0x0048,
  HvCallWithdrawMemory = 0x0049,
  HvCallGetMemoryBalance = 0x004a,
  HvCallMapGpaPages = 0x004b,
  HvCallUnmapGpaPages = 0x004c,
  HvCallInstallIntercept = 0x004d,
  HvCallCreateVp = 0x004e,
  HvCallDeleteVp = 0x004f,
  HvCallGetVpRegisters = 0x0050,
  HvCallSetVpRegisters = 0x0051,
  HvCallTranslateVirtualAddress = 0x0052,
  HvCallReadGpa = 0x0053,
  HvCallWriteGpa = 0x0054,
  HvCallAssertVirtualInterruptDeprecated = 0x0055,
  HvCallClearVirtualInterrupt = 0x0056,
  HvCallCreatePortDeprecated = 0x0057,
  HvCallDeletePort = 0x0058,
  HvCallConnectPortDeprecated = 0x0059,
  HvCallGetPortProperty = 0x005a,
  HvCallDisconnectPort = 0x005b,
  HvCallPostMessage = 0x005c,
  HvCallSignalEvent = 0x005d,
  HvCallPostDebugData = 0x0069,
  HvCallRetrieveDebugData = 0x006a,
  HvCallResetDebugSession = 0x006b,
  HvCallMapStatsPage = 0x006c,
  HvCallUnmapStatsPage = 0x006d,
  HvCallSetSystemProperty = 0x006f,
  HvCallOutputDebugCharacter = 0x0071,
  HvCallAddLogicalProcessor = 0x0076,
  HvCallRemoveLogicalProcessor = 0x0077,
  HvCallQueryNumaDistance = 0x0078,
  HvCallSetLogicalProcessorProperty = 0x0079,
  HvCallGetLogicalProcessorProperty = 0x007a,
  HvCallGetSystemProperty = 0x007b,
  HvCallMapDeviceInterrupt = 0x007c,
  HvCallUnmapDeviceInterrupt = 0x007d,
  HvCallRetargetDeviceInterrupt = 0x007e,
  HvCallEnterSleepState = 0x0084,
  HvCallNotifyPartitionEvent = 0x0087,
  HvCallNotifyPortRingEmpty = 0x008b,
  HvCallRegisterInterceptResult = 0x0091,
  HvCallUnregisterInterceptResult = 0x0092,
  HvCallAssertVirtualInterrupt = 0x0094,
  HvCallCreatePort = 0x0095,
  HvCallConnectPort = 0x0096,
  HvCallStartVirtualProcessor = 0x0099,
  HvCallGetVpIndexFromApicId = 0x009a,
  HvCallTranslateVirtualAddressEx = 0x00ac,
  HvCallCheckForIoIntercept = 0x00ad,
  HvCallFlushGuestPhysicalAddressSpace = 0x00af,
  HvCallFlushGuestPhysicalAddressList = 0x00b0,
  HvCallSignalEventDirect = 0x00c0,
  HvCallPostMessageDirect = 0x00c1,
  HvCallDispatchVp = 0x00c2,
  HvCallGetGpaPagesAccessStates = 0x00c9,
  HvCallAcquireSparseSpaPageHostAccess = 0x00d7,
  HvCallReleaseSparseSpaPageHostAccess = 0x00d8,
  HvCallModifySparseGpaPageHostVisibility = 0x00db,
  HvCallMapVpStatePage = 0x00e1,
  HvCallUnmapVpStatePage = 0x00e2,
  HvCallGetVpState = 0x00e3,
  HvCallSetVpState = 0x00e4,
  HvCallGetVpCpuidValues = 0x00f4,
  HvCallGetPartitionPropertyEx = 0x0101,
  HvCallRestorePartitionTime = 0x0103,
  HvCallMemoryMappedIoRead = 0x0106,
  HvCallMemoryMappedIoWrite = 0x0107,
  HvCallSetPartitionPropertyEx = 0x010a,

  HvExtCallQueryCapabilities = 0x8001,
  HvExtCallMemoryHeatHint = 0x8003,
};
inline constexpr uint16_t kHvExtCallFirst = 0x8001;  // extended calls: the virtualization stack's

// The control word in RCX. Bits 30:27, 47:44 and 63:60 must be zero.
inline constexpr unsigned kHvHypercallCodeShift = 0;
inline constexpr unsigned kHvHypercallCodeWidth = 16;
inline constexpr unsigned kHvHypercallFastBit = 16;
inline constexpr unsigned kHvHypercallVariableHeaderSizeShift = 17;  // qwords
inline constexpr unsigned kHvHypercallVariableHeaderSizeWidth = 10;
inline constexpr unsigned kHvHypercallNestedBit = 31;
inline constexpr unsigned kHvHypercallRepCountShift = 32;
inline constexpr unsigned kHvHypercallRepCountWidth = 12;
inline constexpr unsigned kHvHypercallRepStartShift = 48;
inline constexpr unsigned kHvHypercallRepStartWidth = 12;
inline constexpr uint64_t kHvHypercallReservedMask = 0xf000f00078000000;

// The result word in RAX: HvStatus, and the repetitions done, counted from 0 and not from rep
// start.
inline constexpr unsigned kHvHypercallResultStatusShift = 0;
inline constexpr unsigned kHvHypercallResultStatusWidth = 16;
inline constexpr unsigned kHvHypercallResultRepsShift = 32;
inline constexpr unsigned kHvHypercallResultRepsWidth = 12;

inline constexpr unsigned kHvHypercallFastBytes = 16;      // RDX, R8
inline constexpr unsigned kHvHypercallXmmFastBytes = 112;  // and XMM0 to XMM5
inline constexpr unsigned kHvHypercallMaxXmmRegisters = 6;

// HV_INPUT_VTL, one byte
inline constexpr unsigned kHvInputVtlTargetShift = 0;
inline constexpr unsigned kHvInputVtlTargetWidth = 4;
inline constexpr unsigned kHvInputVtlUseTargetBit = 4;

// ---- Address space flushes and IPIs ------------------------------------------------------------

// HV_FLUSH_FLAGS
inline constexpr unsigned kHvFlushAllProcessorsBit = 0;
inline constexpr unsigned kHvFlushAllVirtualAddressSpacesBit = 1;
inline constexpr unsigned kHvFlushNonGlobalMappingsOnlyBit = 2;
inline constexpr unsigned kHvFlushUseExtendedRangeFormatBit = 3;
inline constexpr uint64_t kHvFlushFlagsMask = 0xf;

// HV_GVA_RANGE: page number 63:12, further pages 11:0. In the extended format 10:0 count, bit 11
// marks a large range whose bit 12 picks 1 GB over 2 MB pages and 63:21 is its large page number.
inline constexpr unsigned kHvGvaRangeAdditionalPagesWidth = 12;
inline constexpr unsigned kHvGvaRangeExtendedAdditionalPagesWidth = 11;
inline constexpr unsigned kHvGvaRangeExtendedLargePageBit = 11;
inline constexpr unsigned kHvGvaRangeExtendedPageSizeBit = 12;
inline constexpr unsigned kHvGvaRangeExtendedLargePageNumberShift = 21;

// FlushVirtualAddressSpace and, rep uint64_t HV_GVA_RANGE, FlushVirtualAddressList
struct HvInputFlushVirtualAddressSpace {
  uint64_t address_space;  // CR3
  uint64_t flags;
  uint64_t processor_mask;
};
HV_ABI_STRUCT(HvInputFlushVirtualAddressSpace, 0x18);
HV_ABI_AT(HvInputFlushVirtualAddressSpace, address_space, 0x0);
HV_ABI_AT(HvInputFlushVirtualAddressSpace, flags, 0x8);
HV_ABI_AT(HvInputFlushVirtualAddressSpace, processor_mask, 0x10);

// FlushVirtualAddressSpaceEx and, rep uint64_t HV_GVA_RANGE, ListEx. header: the set's banks.
struct HvInputFlushVirtualAddressSpaceEx {
  uint64_t address_space;
  uint64_t flags;
  HvVpSet vp_set;
};
HV_ABI_STRUCT(HvInputFlushVirtualAddressSpaceEx, 0x20);
HV_ABI_AT(HvInputFlushVirtualAddressSpaceEx, address_space, 0x0);
HV_ABI_AT(HvInputFlushVirtualAddressSpaceEx, flags, 0x8);
HV_ABI_AT(HvInputFlushVirtualAddressSpaceEx, vp_set, 0x10);

// A vector outside these is refused.
inline constexpr uint32_t kHvIpiLowVector = 0x10;
inline constexpr uint32_t kHvIpiHighVector = 0xff;

// SendSyntheticClusterIpi (fast)
struct HvInputSendSyntheticClusterIpi {
  uint32_t vector;
  uint8_t target_vtl;
  uint8_t flags;
  uint16_t reserved;
  uint64_t processor_mask;
};
HV_ABI_STRUCT(HvInputSendSyntheticClusterIpi, 0x10);
HV_ABI_AT(HvInputSendSyntheticClusterIpi, vector, 0x0);
HV_ABI_AT(HvInputSendSyntheticClusterIpi, target_vtl, 0x4);
HV_ABI_AT(HvInputSendSyntheticClusterIpi, flags, 0x5);
HV_ABI_AT(HvInputSendSyntheticClusterIpi, reserved, 0x6);
HV_ABI_AT(HvInputSendSyntheticClusterIpi, processor_mask, 0x8);

// SendSyntheticClusterIpiEx. header: the set's banks.
struct HvInputSendSyntheticClusterIpiEx {
  uint32_t vector;
  uint8_t target_vtl;
  uint8_t flags;
  uint16_t reserved;
  HvVpSet vp_set;
};
HV_ABI_STRUCT(HvInputSendSyntheticClusterIpiEx, 0x18);
HV_ABI_AT(HvInputSendSyntheticClusterIpiEx, vector, 0x0);
HV_ABI_AT(HvInputSendSyntheticClusterIpiEx, target_vtl, 0x4);
HV_ABI_AT(HvInputSendSyntheticClusterIpiEx, flags, 0x5);
HV_ABI_AT(HvInputSendSyntheticClusterIpiEx, reserved, 0x6);
HV_ABI_AT(HvInputSendSyntheticClusterIpiEx, vp_set, 0x8);

// NotifyLongSpinWait (fast)
struct HvInputNotifyLongSpinWait {
  uint64_t spin_count;  // 32 bits count
};
HV_ABI_STRUCT(HvInputNotifyLongSpinWait, 0x8);
HV_ABI_AT(HvInputNotifyLongSpinWait, spin_count, 0x0);

// ---- Partitions --------------------------------------------------------------------------------

// CreatePartition. A set bit disables that feature; newer kernels send a third feature bank.
struct HvInputCreatePartition {
  uint64_t flags;
  HvProximityDomainInfo proximity_domain_info;
  uint32_t compatibility_version;
  uint32_t padding;
  uint64_t disabled_processor_features[2];
  uint64_t disabled_processor_xsave_features;
  uint64_t isolation_properties;  // type 4:0, host type 6:5, shared boundary page 63:12
};
HV_ABI_STRUCT(HvInputCreatePartition, 0x38);
HV_ABI_AT(HvInputCreatePartition, flags, 0x0);
HV_ABI_AT(HvInputCreatePartition, proximity_domain_info, 0x8);
HV_ABI_AT(HvInputCreatePartition, compatibility_version, 0x10);
HV_ABI_AT(HvInputCreatePartition, padding, 0x14);
HV_ABI_AT(HvInputCreatePartition, disabled_processor_features, 0x18);
HV_ABI_AT(HvInputCreatePartition, disabled_processor_xsave_features, 0x28);
HV_ABI_AT(HvInputCreatePartition, isolation_properties, 0x30);

struct HvOutputCreatePartition {
  uint64_t partition_id;
};
HV_ABI_STRUCT(HvOutputCreatePartition, 0x8);
HV_ABI_AT(HvOutputCreatePartition, partition_id, 0x0);

// InitializePartition, FinalizePartition, DeletePartition, ClearVirtualInterrupt (fast)
struct HvInputPartition {
  uint64_t partition_id;
};
HV_ABI_STRUCT(HvInputPartition, 0x8);
HV_ABI_AT(HvInputPartition, partition_id, 0x0);
using HvInputInitializePartition = HvInputPartition;
using HvInputFinalizePartition = HvInputPartition;
using HvInputDeletePartition = HvInputPartition;
using HvInputClearVirtualInterrupt = HvInputPartition;

struct HvInputGetPartitionProperty {
  uint64_t partition_id;
  HvPartitionPropertyCode property_code;
  uint32_t padding;
};
HV_ABI_STRUCT(HvInputGetPartitionProperty, 0x10);
HV_ABI_AT(HvInputGetPartitionProperty, partition_id, 0x0);
HV_ABI_AT(HvInputGetPartitionProperty, property_code, 0x8);
HV_ABI_AT(HvInputGetPartitionProperty, padding, 0xc);

struct HvOutputGetPartitionProperty {
  uint64_t property_value;
};
HV_ABI_STRUCT(HvOutputGetPartitionProperty, 0x8);
HV_ABI_AT(HvOutputGetPartitionProperty, property_value, 0x0);

struct HvInputSetPartitionProperty {
  uint64_t partition_id;
  HvPartitionPropertyCode property_code;
  uint32_t padding;
  uint64_t property_value;
};
HV_ABI_STRUCT(HvInputSetPartitionProperty, 0x18);
HV_ABI_AT(HvInputSetPartitionProperty, partition_id, 0x0);
HV_ABI_AT(HvInputSetPartitionProperty, property_code, 0x8);
HV_ABI_AT(HvInputSetPartitionProperty, padding, 0xc);
HV_ABI_AT(HvInputSetPartitionProperty, property_value, 0x10);

// GetPartitionId: no input, so RDX is not looked at.
struct HvOutputGetPartitionId {
  uint64_t partition_id;
};
HV_ABI_STRUCT(HvOutputGetPartitionId, 0x8);
HV_ABI_AT(HvOutputGetPartitionId, partition_id, 0x0);

// Returns 0 after the last child.
struct HvInputGetNextChildPartition {
  uint64_t parent_id;
  uint64_t previous_child_id;  // 0: the first
};
HV_ABI_STRUCT(HvInputGetNextChildPartition, 0x10);
HV_ABI_AT(HvInputGetNextChildPartition, parent_id, 0x0);
HV_ABI_AT(HvInputGetNextChildPartition, previous_child_id, 0x8);

struct HvOutputGetNextChildPartition {
  uint64_t next_child_id;
};
HV_ABI_STRUCT(HvOutputGetNextChildPartition, 0x8);
HV_ABI_AT(HvOutputGetNextChildPartition, next_child_id, 0x0);

// ---- Memory ------------------------------------------------------------------------------------

// DepositMemory, rep uint64_t page number (of the caller)
struct HvInputDepositMemory {
  uint64_t partition_id;
};
HV_ABI_STRUCT(HvInputDepositMemory, 0x8);
HV_ABI_AT(HvInputDepositMemory, partition_id, 0x0);

// WithdrawMemory, rep out uint64_t page number (of the caller)
struct HvInputWithdrawMemory {
  uint64_t partition_id;
  HvProximityDomainInfo proximity_domain_info;
};
HV_ABI_STRUCT(HvInputWithdrawMemory, 0x10);
HV_ABI_AT(HvInputWithdrawMemory, partition_id, 0x0);
HV_ABI_AT(HvInputWithdrawMemory, proximity_domain_info, 0x8);

// MapGpaPages, rep uint64_t source page number (of the caller)
struct HvInputMapGpaPages {
  uint64_t target_partition_id;
  uint64_t target_gpa_base;  // page number
  uint32_t map_flags;
  uint32_t padding;
};
HV_ABI_STRUCT(HvInputMapGpaPages, 0x18);
HV_ABI_AT(HvInputMapGpaPages, target_partition_id, 0x0);
HV_ABI_AT(HvInputMapGpaPages, target_gpa_base, 0x8);
HV_ABI_AT(HvInputMapGpaPages, map_flags, 0x10);
HV_ABI_AT(HvInputMapGpaPages, padding, 0x14);

// UnmapGpaPages: a rep call whose repetitions add nothing
struct HvInputUnmapGpaPages {
  uint64_t target_partition_id;
  uint64_t target_gpa_base;  // page number
  uint32_t unmap_flags;
  uint32_t padding;
};
HV_ABI_STRUCT(HvInputUnmapGpaPages, 0x18);
HV_ABI_AT(HvInputUnmapGpaPages, target_partition_id, 0x0);
HV_ABI_AT(HvInputUnmapGpaPages, target_gpa_base, 0x8);
HV_ABI_AT(HvInputUnmapGpaPages, unmap_flags, 0x10);
HV_ABI_AT(HvInputUnmapGpaPages, padding, 0x14);

// GetGpaPagesAccessStates, rep out uint8_t HV_GPA_PAGE_ACCESS_STATE
struct HvInputGetGpaPagesAccessStates {
  uint64_t partition_id;
  uint64_t flags;
  uint64_t gpa_page_number;
};
HV_ABI_STRUCT(HvInputGetGpaPagesAccessStates, 0x18);
HV_ABI_AT(HvInputGetGpaPagesAccessStates, partition_id, 0x0);
HV_ABI_AT(HvInputGetGpaPagesAccessStates, flags, 0x8);
HV_ABI_AT(HvInputGetGpaPagesAccessStates, gpa_page_number, 0x10);

// ---- Intercepts --------------------------------------------------------------------------------

struct HvInputInstallIntercept {
  uint64_t partition_id;
  uint32_t access_type_mask;
  HvInterceptType intercept_type;
  HvInterceptParameters intercept_parameter;
};
HV_ABI_SIZE(HvInputInstallIntercept, 0x18);
HV_ABI_AT(HvInputInstallIntercept, partition_id, 0x0);
HV_ABI_AT(HvInputInstallIntercept, access_type_mask, 0x8);
HV_ABI_AT(HvInputInstallIntercept, intercept_type, 0xc);
HV_ABI_AT(HvInputInstallIntercept, intercept_parameter, 0x10);

// HV_REGISTER_X64_CPUID_RESULT_PARAMETERS: a set mask bit takes its result bit from here.
struct HvRegisterX64CpuidResultParameters {
  uint32_t input_eax;
  uint32_t input_ecx;
  uint8_t subleaf_specific;  // 0: for every ECX
  uint8_t always_override;
  uint16_t padding;
  uint32_t result_eax;
  uint32_t result_eax_mask;
  uint32_t result_ebx;
  uint32_t result_ebx_mask;
  uint32_t result_ecx;
  uint32_t result_ecx_mask;
  uint32_t result_edx;
  uint32_t result_edx_mask;
};
HV_ABI_STRUCT(HvRegisterX64CpuidResultParameters, 0x2c);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, input_eax, 0x0);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, input_ecx, 0x4);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, subleaf_specific, 0x8);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, always_override, 0x9);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, padding, 0xa);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, result_eax, 0xc);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, result_eax_mask, 0x10);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, result_ebx, 0x14);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, result_ebx_mask, 0x18);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, result_ecx, 0x1c);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, result_ecx_mask, 0x20);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, result_edx, 0x24);
HV_ABI_AT(HvRegisterX64CpuidResultParameters, result_edx_mask, 0x28);

// HV_REGISTER_X64_MSR_RESULT_PARAMETERS
struct HvRegisterX64MsrResultParameters {
  uint32_t msr_index;
  uint32_t access_type;
  HvUnimplementedMsrAction action;
};
HV_ABI_STRUCT(HvRegisterX64MsrResultParameters, 0xc);
HV_ABI_AT(HvRegisterX64MsrResultParameters, msr_index, 0x0);
HV_ABI_AT(HvRegisterX64MsrResultParameters, access_type, 0x4);
HV_ABI_AT(HvRegisterX64MsrResultParameters, action, 0x8);

// RegisterInterceptResult. Linux's block ends with the parameters (0x3c): ignore `reserved`.
struct HvInputRegisterInterceptResult {
  uint64_t partition_id;
  uint32_t vp_index;
  HvInterceptType intercept_type;
  union {
    HvRegisterX64CpuidResultParameters cpuid;
    HvRegisterX64MsrResultParameters msr;
  };
  uint32_t reserved;
};
HV_ABI_SIZE(HvInputRegisterInterceptResult, 0x40);
HV_ABI_AT(HvInputRegisterInterceptResult, partition_id, 0x0);
HV_ABI_AT(HvInputRegisterInterceptResult, vp_index, 0x8);
HV_ABI_AT(HvInputRegisterInterceptResult, intercept_type, 0xc);
HV_ABI_AT(HvInputRegisterInterceptResult, cpuid, 0x10);
HV_ABI_AT(HvInputRegisterInterceptResult, msr, 0x10);
HV_ABI_AT(HvInputRegisterInterceptResult, reserved, 0x3c);

// ---- Virtual processors ------------------------------------------------------------------------

// CreateVp. For the root's own VPs flags is the LP index. [Linux 6.1 hv_proc.c]
struct HvInputCreateVp {
  uint64_t partition_id;
  uint32_t vp_index;
  uint8_t padding[3];
  uint8_t subnode_type;  // 0 any, 1 socket, 2 cluster, 3 L3, 0xff invalid
  uint64_t subnode_id;
  HvProximityDomainInfo proximity_domain_info;
  uint64_t flags;
};
HV_ABI_STRUCT(HvInputCreateVp, 0x28);
HV_ABI_AT(HvInputCreateVp, partition_id, 0x0);
HV_ABI_AT(HvInputCreateVp, vp_index, 0x8);
HV_ABI_AT(HvInputCreateVp, padding, 0xc);
HV_ABI_AT(HvInputCreateVp, subnode_type, 0xf);
HV_ABI_AT(HvInputCreateVp, subnode_id, 0x10);
HV_ABI_AT(HvInputCreateVp, proximity_domain_info, 0x18);
HV_ABI_AT(HvInputCreateVp, flags, 0x20);

// DeleteVp (fast)
struct HvInputDeleteVp {
  uint64_t partition_id;
  uint32_t vp_index;
  uint32_t reserved;
};
HV_ABI_STRUCT(HvInputDeleteVp, 0x10);
HV_ABI_AT(HvInputDeleteVp, partition_id, 0x0);
HV_ABI_AT(HvInputDeleteVp, vp_index, 0x8);
HV_ABI_AT(HvInputDeleteVp, reserved, 0xc);

// GetVpRegisters, rep HvRegisterName, out HvRegisterValue; SetVpRegisters, rep HvRegisterAssoc
struct HvInputVpRegisters {
  uint64_t partition_id;
  uint32_t vp_index;
  uint8_t input_vtl;
  uint8_t reserved[3];
};
HV_ABI_STRUCT(HvInputVpRegisters, 0x10);
HV_ABI_AT(HvInputVpRegisters, partition_id, 0x0);
HV_ABI_AT(HvInputVpRegisters, vp_index, 0x8);
HV_ABI_AT(HvInputVpRegisters, input_vtl, 0xc);
HV_ABI_AT(HvInputVpRegisters, reserved, 0xd);
using HvInputGetVpRegisters = HvInputVpRegisters;
using HvInputSetVpRegisters = HvInputVpRegisters;

// GetVpState and SetVpState. header: uint64_t page numbers for a type with kHvVpStateTypePfnMask;
// SetVpState carries other types' data inline there, in whole qwords.
struct HvInputVpState {
  uint64_t partition_id;
  uint32_t vp_index;
  uint8_t input_vtl;
  uint8_t reserved[3];
  HvVpStateData state_data;
};
HV_ABI_STRUCT(HvInputVpState, 0x28);
HV_ABI_AT(HvInputVpState, partition_id, 0x0);
HV_ABI_AT(HvInputVpState, vp_index, 0x8);
HV_ABI_AT(HvInputVpState, input_vtl, 0xc);
HV_ABI_AT(HvInputVpState, reserved, 0xd);
HV_ABI_AT(HvInputVpState, state_data, 0x10);
using HvInputGetVpState = HvInputVpState;
using HvInputSetVpState = HvInputVpState;

// GetVpState of an inline type
struct HvOutputGetVpState {
  HvSyntheticTimersState synthetic_timers_state;
};
HV_ABI_STRUCT(HvOutputGetVpState, 0xc8);
HV_ABI_AT(HvOutputGetVpState, synthetic_timers_state, 0x0);

// MapVpStatePage up to Linux 6.15; later kernels narrow `type` to 16 bits, then input_vtl, flags
// (bit 0: a location is requested) and a qword with that page number follow. Little endian keeps
// both readable as long as VTL and flags are 0.
struct HvInputMapVpStatePage {
  uint64_t partition_id;
  uint32_t vp_index;
  HvVpStatePageType type;
};
HV_ABI_STRUCT(HvInputMapVpStatePage, 0x10);
HV_ABI_AT(HvInputMapVpStatePage, partition_id, 0x0);
HV_ABI_AT(HvInputMapVpStatePage, vp_index, 0x8);
HV_ABI_AT(HvInputMapVpStatePage, type, 0xc);
using HvInputUnmapVpStatePage = HvInputMapVpStatePage;

struct HvOutputMapVpStatePage {
  uint64_t map_location;  // page number, of the caller
};
HV_ABI_STRUCT(HvOutputMapVpStatePage, 0x8);
HV_ABI_AT(HvOutputMapVpStatePage, map_location, 0x0);

// HV_INITIAL_VP_CONTEXT
struct HvInitialVpContext {
  uint64_t rip;
  uint64_t rsp;
  uint64_t rflags;
  HvX64SegmentRegister cs;
  HvX64SegmentRegister ds;
  HvX64SegmentRegister es;
  HvX64SegmentRegister fs;
  HvX64SegmentRegister gs;
  HvX64SegmentRegister ss;
  HvX64SegmentRegister tr;
  HvX64SegmentRegister ldtr;
  HvX64TableRegister idtr;
  HvX64TableRegister gdtr;
  uint64_t efer;
  uint64_t cr0;
  uint64_t cr3;
  uint64_t cr4;
  uint64_t msr_cr_pat;
};
HV_ABI_STRUCT(HvInitialVpContext, 0xe0);
HV_ABI_AT(HvInitialVpContext, rip, 0x0);
HV_ABI_AT(HvInitialVpContext, rsp, 0x8);
HV_ABI_AT(HvInitialVpContext, rflags, 0x10);
HV_ABI_AT(HvInitialVpContext, cs, 0x18);
HV_ABI_AT(HvInitialVpContext, ds, 0x28);
HV_ABI_AT(HvInitialVpContext, es, 0x38);
HV_ABI_AT(HvInitialVpContext, fs, 0x48);
HV_ABI_AT(HvInitialVpContext, gs, 0x58);
HV_ABI_AT(HvInitialVpContext, ss, 0x68);
HV_ABI_AT(HvInitialVpContext, tr, 0x78);
HV_ABI_AT(HvInitialVpContext, ldtr, 0x88);
HV_ABI_AT(HvInitialVpContext, idtr, 0x98);
HV_ABI_AT(HvInitialVpContext, gdtr, 0xa8);
HV_ABI_AT(HvInitialVpContext, efer, 0xb8);
HV_ABI_AT(HvInitialVpContext, cr0, 0xc0);
HV_ABI_AT(HvInitialVpContext, cr3, 0xc8);
HV_ABI_AT(HvInitialVpContext, cr4, 0xd0);
HV_ABI_AT(HvInitialVpContext, msr_cr_pat, 0xd8);

struct HvInputStartVirtualProcessor {
  uint64_t partition_id;
  uint32_t vp_index;
  uint8_t target_vtl;
  uint8_t reserved[3];
  HvInitialVpContext vp_context;
};
HV_ABI_STRUCT(HvInputStartVirtualProcessor, 0xf0);
HV_ABI_AT(HvInputStartVirtualProcessor, partition_id, 0x0);
HV_ABI_AT(HvInputStartVirtualProcessor, vp_index, 0x8);
HV_ABI_AT(HvInputStartVirtualProcessor, target_vtl, 0xc);
HV_ABI_AT(HvInputStartVirtualProcessor, reserved, 0xd);
HV_ABI_AT(HvInputStartVirtualProcessor, vp_context, 0x10);

// GetVpIndexFromApicId, rep uint32_t APIC id, out uint32_t VP index
struct HvInputGetVpIndexFromApicId {
  uint64_t partition_id;
  uint8_t target_vtl;
  uint8_t reserved[7];
};
HV_ABI_STRUCT(HvInputGetVpIndexFromApicId, 0x10);
HV_ABI_AT(HvInputGetVpIndexFromApicId, partition_id, 0x0);
HV_ABI_AT(HvInputGetVpIndexFromApicId, target_vtl, 0x8);
HV_ABI_AT(HvInputGetVpIndexFromApicId, reserved, 0x9);

inline constexpr unsigned kHvCpuidValuesUseVpXfemXssBit = 0;
inline constexpr unsigned kHvCpuidValuesApplyRegisteredBit = 1;

// GetVpCpuidValues, rep HvCpuidLeafInfo, out HvOutputGetVpCpuidValues
struct HvInputGetVpCpuidValues {
  uint64_t partition_id;
  uint32_t vp_index;
  uint32_t flags;
  uint32_t reserved;
  uint32_t padding;
};
HV_ABI_STRUCT(HvInputGetVpCpuidValues, 0x18);
HV_ABI_AT(HvInputGetVpCpuidValues, partition_id, 0x0);
HV_ABI_AT(HvInputGetVpCpuidValues, vp_index, 0x8);
HV_ABI_AT(HvInputGetVpCpuidValues, flags, 0xc);
HV_ABI_AT(HvInputGetVpCpuidValues, reserved, 0x10);
HV_ABI_AT(HvInputGetVpCpuidValues, padding, 0x14);

struct HvCpuidLeafInfo {
  uint32_t eax;
  uint32_t ecx;
  uint64_t xfem;
  uint64_t xss;
};
HV_ABI_STRUCT(HvCpuidLeafInfo, 0x18);
HV_ABI_AT(HvCpuidLeafInfo, eax, 0x0);
HV_ABI_AT(HvCpuidLeafInfo, ecx, 0x4);
HV_ABI_AT(HvCpuidLeafInfo, xfem, 0x8);
HV_ABI_AT(HvCpuidLeafInfo, xss, 0x10);

struct HvOutputGetVpCpuidValues {
  uint32_t eax;
  uint32_t ebx;
  uint32_t ecx;
  uint32_t edx;
};
HV_ABI_STRUCT(HvOutputGetVpCpuidValues, 0x10);
HV_ABI_AT(HvOutputGetVpCpuidValues, eax, 0x0);
HV_ABI_AT(HvOutputGetVpCpuidValues, ebx, 0x4);
HV_ABI_AT(HvOutputGetVpCpuidValues, ecx, 0x8);
HV_ABI_AT(HvOutputGetVpCpuidValues, edx, 0xc);

// HV_TRANSLATE_GVA_CONTROL_FLAGS; bits 63:56 are an HV_INPUT_VTL.
inline constexpr unsigned kHvTranslateGvaValidateReadBit = 0;
inline constexpr unsigned kHvTranslateGvaValidateWriteBit = 1;
inline constexpr unsigned kHvTranslateGvaValidateExecuteBit = 2;
inline constexpr unsigned kHvTranslateGvaPrivilegeExemptBit = 3;
inline constexpr unsigned kHvTranslateGvaSetPageTableBitsBit = 4;
inline constexpr unsigned kHvTranslateGvaTlbFlushInhibitBit = 5;
inline constexpr unsigned kHvTranslateGvaSupervisorAccessBit = 6;
inline constexpr unsigned kHvTranslateGvaUserAccessBit = 7;
inline constexpr unsigned kHvTranslateGvaEnforceSmapBit = 8;
inline constexpr unsigned kHvTranslateGvaOverrideSmapBit = 9;
inline constexpr unsigned kHvTranslateGvaShadowStackBit = 10;
inline constexpr unsigned kHvTranslateGvaInputVtlShift = 56;
inline constexpr unsigned kHvTranslateGvaInputVtlWidth = 8;

enum class HvTranslateGvaResultCode : uint32_t {
  HvTranslateGvaSuccess = 0,
  HvTranslateGvaPageNotPresent = 1,
  HvTranslateGvaPrivilegeViolation = 2,
  HvTranslateGvaInvalidPageTableFlags = 3,
  HvTranslateGvaGpaUnmapped = 4,
  HvTranslateGvaGpaNoReadAccess = 5,
  HvTranslateGvaGpaNoWriteAccess = 6,
  HvTranslateGvaGpaIllegalOverlayAccess = 7,
  HvTranslateGvaIntercept = 8,
  HvTranslateGvaGpaUnaccepted = 9,
};

struct HvInputTranslateVirtualAddress {
  uint64_t partition_id;
  uint32_t vp_index;
  uint32_t padding;
  uint64_t control_flags;
  uint64_t gva_page;
};
HV_ABI_STRUCT(HvInputTranslateVirtualAddress, 0x20);
HV_ABI_AT(HvInputTranslateVirtualAddress, partition_id, 0x0);
HV_ABI_AT(HvInputTranslateVirtualAddress, vp_index, 0x8);
HV_ABI_AT(HvInputTranslateVirtualAddress, padding, 0xc);
HV_ABI_AT(HvInputTranslateVirtualAddress, control_flags, 0x10);
HV_ABI_AT(HvInputTranslateVirtualAddress, gva_page, 0x18);

struct HvOutputTranslateVirtualAddress {
  HvTranslateGvaResultCode result_code;
  uint8_t cache_type;  // HvCacheType
  uint8_t flags;       // bit 0: an overlay page
  uint8_t reserved[2];
  uint64_t gpa_page;
};
HV_ABI_STRUCT(HvOutputTranslateVirtualAddress, 0x10);
HV_ABI_AT(HvOutputTranslateVirtualAddress, result_code, 0x0);
HV_ABI_AT(HvOutputTranslateVirtualAddress, cache_type, 0x4);
HV_ABI_AT(HvOutputTranslateVirtualAddress, flags, 0x5);
HV_ABI_AT(HvOutputTranslateVirtualAddress, reserved, 0x6);
HV_ABI_AT(HvOutputTranslateVirtualAddress, gpa_page, 0x8);
inline constexpr unsigned kHvTranslateGvaOverlayPageBit = 0;

// HV_INTERRUPT_CONTROL, with the type in bits 31:0
inline constexpr unsigned kHvInterruptControlLevelTriggeredBit = 32;
inline constexpr unsigned kHvInterruptControlLogicalDestModeBit = 33;

struct HvInputAssertVirtualInterrupt {
  uint64_t partition_id;
  uint64_t interrupt_control;
  uint64_t destination_address;  // APIC id, or logical destination
  uint32_t requested_vector;
  uint8_t target_vtl;
  uint8_t reserved[3];
};
HV_ABI_STRUCT(HvInputAssertVirtualInterrupt, 0x20);
HV_ABI_AT(HvInputAssertVirtualInterrupt, partition_id, 0x0);
HV_ABI_AT(HvInputAssertVirtualInterrupt, interrupt_control, 0x8);
HV_ABI_AT(HvInputAssertVirtualInterrupt, destination_address, 0x10);
HV_ABI_AT(HvInputAssertVirtualInterrupt, requested_vector, 0x18);
HV_ABI_AT(HvInputAssertVirtualInterrupt, target_vtl, 0x1c);
HV_ABI_AT(HvInputAssertVirtualInterrupt, reserved, 0x1d);

inline constexpr uint32_t kHvDispatchVpClearInterceptSuspendMask = 0x1;
inline constexpr uint32_t kHvDispatchVpEnableCallerInterruptsMask = 0x2;

struct HvInputDispatchVp {
  uint64_t partition_id;
  uint32_t vp_index;
  uint32_t flags;
  uint64_t time_slice;  // 100 ns, 0: without end
  uint64_t spec_ctrl;
};
HV_ABI_STRUCT(HvInputDispatchVp, 0x20);
HV_ABI_AT(HvInputDispatchVp, partition_id, 0x0);
HV_ABI_AT(HvInputDispatchVp, vp_index, 0x8);
HV_ABI_AT(HvInputDispatchVp, flags, 0xc);
HV_ABI_AT(HvInputDispatchVp, time_slice, 0x10);
HV_ABI_AT(HvInputDispatchVp, spec_ctrl, 0x18);

struct HvOutputDispatchVp {
  uint32_t dispatch_state;  // 1 blocked, 2 ready
  uint32_t dispatch_event;  // 1 suspend, 2 intercept
};
HV_ABI_STRUCT(HvOutputDispatchVp, 0x8);
HV_ABI_AT(HvOutputDispatchVp, dispatch_state, 0x0);
HV_ABI_AT(HvOutputDispatchVp, dispatch_event, 0x4);

// ---- Ports, messages, events -------------------------------------------------------------------

struct HvInputCreatePort {
  uint64_t port_partition_id;
  uint32_t port_id;
  uint8_t port_vtl;
  uint8_t min_connection_vtl;
  uint16_t padding;
  uint64_t connection_partition_id;
  HvPortInfo port_info;
  HvProximityDomainInfo proximity_domain_info;
};
HV_ABI_STRUCT(HvInputCreatePort, 0x38);
HV_ABI_AT(HvInputCreatePort, port_partition_id, 0x0);
HV_ABI_AT(HvInputCreatePort, port_id, 0x8);
HV_ABI_AT(HvInputCreatePort, port_vtl, 0xc);
HV_ABI_AT(HvInputCreatePort, min_connection_vtl, 0xd);
HV_ABI_AT(HvInputCreatePort, padding, 0xe);
HV_ABI_AT(HvInputCreatePort, connection_partition_id, 0x10);
HV_ABI_AT(HvInputCreatePort, port_info, 0x18);
HV_ABI_AT(HvInputCreatePort, proximity_domain_info, 0x30);

// DeletePort (fast)
struct HvInputDeletePort {
  uint64_t port_partition_id;
  uint32_t port_id;
  uint32_t reserved;
};
HV_ABI_STRUCT(HvInputDeletePort, 0x10);
HV_ABI_AT(HvInputDeletePort, port_partition_id, 0x0);
HV_ABI_AT(HvInputDeletePort, port_id, 0x8);
HV_ABI_AT(HvInputDeletePort, reserved, 0xc);

struct HvInputConnectPort {
  uint64_t connection_partition_id;
  uint32_t connection_id;
  uint8_t connection_vtl;
  uint8_t reserved1[3];
  uint64_t port_partition_id;
  uint32_t port_id;
  uint32_t reserved2;
  HvConnectionInfo connection_info;
  HvProximityDomainInfo proximity_domain_info;
};
HV_ABI_STRUCT(HvInputConnectPort, 0x48);
HV_ABI_AT(HvInputConnectPort, connection_partition_id, 0x0);
HV_ABI_AT(HvInputConnectPort, connection_id, 0x8);
HV_ABI_AT(HvInputConnectPort, connection_vtl, 0xc);
HV_ABI_AT(HvInputConnectPort, reserved1, 0xd);
HV_ABI_AT(HvInputConnectPort, port_partition_id, 0x10);
HV_ABI_AT(HvInputConnectPort, port_id, 0x18);
HV_ABI_AT(HvInputConnectPort, reserved2, 0x1c);
HV_ABI_AT(HvInputConnectPort, connection_info, 0x20);
HV_ABI_AT(HvInputConnectPort, proximity_domain_info, 0x40);

// DisconnectPort (fast). flags bit 0: a doorbell.
struct HvInputDisconnectPort {
  uint64_t connection_partition_id;
  uint32_t connection_id;
  uint32_t flags;
};
HV_ABI_STRUCT(HvInputDisconnectPort, 0x10);
HV_ABI_AT(HvInputDisconnectPort, connection_partition_id, 0x0);
HV_ABI_AT(HvInputDisconnectPort, connection_id, 0x8);
HV_ABI_AT(HvInputDisconnectPort, flags, 0xc);
inline constexpr unsigned kHvDisconnectPortDoorbellBit = 0;

// PostMessage. The whole block is 256 bytes whatever payload_size says.
struct HvInputPostMessage {
  uint32_t connection_id;
  uint32_t reserved;
  HvMessageType message_type;
  uint32_t payload_size;
  uint8_t payload[kHvMessagePayloadSize];
};
HV_ABI_STRUCT(HvInputPostMessage, 0x100);
HV_ABI_AT(HvInputPostMessage, connection_id, 0x0);
HV_ABI_AT(HvInputPostMessage, reserved, 0x4);
HV_ABI_AT(HvInputPostMessage, message_type, 0x8);
HV_ABI_AT(HvInputPostMessage, payload_size, 0xc);
HV_ABI_AT(HvInputPostMessage, payload, 0x10);

// SignalEvent (fast). R8 is undefined.
struct HvInputSignalEvent {
  uint32_t connection_id;
  uint16_t flag_number;  // relative to the port's base
  uint16_t reserved;
};
HV_ABI_STRUCT(HvInputSignalEvent, 0x8);
HV_ABI_AT(HvInputSignalEvent, connection_id, 0x0);
HV_ABI_AT(HvInputSignalEvent, flag_number, 0x4);
HV_ABI_AT(HvInputSignalEvent, reserved, 0x6);

struct HvInputSignalEventDirect {
  uint64_t target_partition;
  uint32_t target_vp;
  uint8_t target_vtl;
  uint8_t target_sint;
  uint16_t flag_number;
};
HV_ABI_STRUCT(HvInputSignalEventDirect, 0x10);
HV_ABI_AT(HvInputSignalEventDirect, target_partition, 0x0);
HV_ABI_AT(HvInputSignalEventDirect, target_vp, 0x8);
HV_ABI_AT(HvInputSignalEventDirect, target_vtl, 0xc);
HV_ABI_AT(HvInputSignalEventDirect, target_sint, 0xd);
HV_ABI_AT(HvInputSignalEventDirect, flag_number, 0xe);

struct HvOutputSignalEventDirect {
  uint8_t newly_signaled;
  uint8_t reserved[7];
};
HV_ABI_STRUCT(HvOutputSignalEventDirect, 0x8);
HV_ABI_AT(HvOutputSignalEventDirect, newly_signaled, 0x0);
HV_ABI_AT(HvOutputSignalEventDirect, reserved, 0x1);

// PostMessageDirect. `message` is an HvMessage at an offset that is not a multiple of 8. The TLFS
// page shows another layout; hvdef and the driver's bindings agree on this one.
struct HvInputPostMessageDirect {
  uint64_t partition_id;
  uint32_t vp_index;
  uint8_t vtl;
  uint8_t padding1[3];
  uint32_t sint_index;
  uint8_t message[kHvMessageSize];
  uint32_t padding2;
};
HV_ABI_STRUCT(HvInputPostMessageDirect, 0x118);
HV_ABI_AT(HvInputPostMessageDirect, partition_id, 0x0);
HV_ABI_AT(HvInputPostMessageDirect, vp_index, 0x8);
HV_ABI_AT(HvInputPostMessageDirect, vtl, 0xc);
HV_ABI_AT(HvInputPostMessageDirect, padding1, 0xd);
HV_ABI_AT(HvInputPostMessageDirect, sint_index, 0x10);
HV_ABI_AT(HvInputPostMessageDirect, message, 0x14);
HV_ABI_AT(HvInputPostMessageDirect, padding2, 0x114);

// NotifyPortRingEmpty (fast)
struct HvInputNotifyPortRingEmpty {
  uint32_t sint_index;
  uint32_t reserved;
};
HV_ABI_STRUCT(HvInputNotifyPortRingEmpty, 0x8);
HV_ABI_AT(HvInputNotifyPortRingEmpty, sint_index, 0x0);
HV_ABI_AT(HvInputNotifyPortRingEmpty, reserved, 0x4);

// ---- System, statistics, processors ------------------------------------------------------------

// MapStatsPage and UnmapStatsPage. Later kernels may append a requested page number to Map.
struct HvInputMapStatsPage {
  HvStatsObjectType type;
  uint32_t padding;
  HvStatsObjectIdentity identity;
};
HV_ABI_STRUCT(HvInputMapStatsPage, 0x18);
HV_ABI_AT(HvInputMapStatsPage, type, 0x0);
HV_ABI_AT(HvInputMapStatsPage, padding, 0x4);
HV_ABI_AT(HvInputMapStatsPage, identity, 0x8);
using HvInputUnmapStatsPage = HvInputMapStatsPage;

struct HvOutputMapStatsPage {
  uint64_t map_location;  // page number, of the caller
};
HV_ABI_STRUCT(HvOutputMapStatsPage, 0x8);
HV_ABI_AT(HvOutputMapStatsPage, map_location, 0x0);

struct HvInputGetSystemProperty {
  HvSystemProperty property_id;
  uint32_t reserved;
  uint64_t argument;
};
HV_ABI_STRUCT(HvInputGetSystemProperty, 0x10);
HV_ABI_AT(HvInputGetSystemProperty, property_id, 0x0);
HV_ABI_AT(HvInputGetSystemProperty, reserved, 0x4);
HV_ABI_AT(HvInputGetSystemProperty, argument, 0x8);

struct HvOutputGetSystemProperty {
  uint64_t value;  // SchedulerType: HvSchedulerType in the low 32 bits
};
HV_ABI_STRUCT(HvOutputGetSystemProperty, 0x8);
HV_ABI_AT(HvOutputGetSystemProperty, value, 0x0);

struct HvInputNotifyPartitionEvent {
  HvPartitionEvent event;
  uint32_t input;
};
HV_ABI_STRUCT(HvInputNotifyPartitionEvent, 0x8);
HV_ABI_AT(HvInputNotifyPartitionEvent, event, 0x0);
HV_ABI_AT(HvInputNotifyPartitionEvent, input, 0x4);

// AddLogicalProcessor. Linux 6.1 appends a qword of flags, later kernels do not: it is ignored.
struct HvInputAddLogicalProcessor {
  uint32_t lp_index;
  uint32_t apic_id;
  HvProximityDomainInfo proximity_domain_info;
};
HV_ABI_STRUCT(HvInputAddLogicalProcessor, 0x10);
HV_ABI_AT(HvInputAddLogicalProcessor, lp_index, 0x0);
HV_ABI_AT(HvInputAddLogicalProcessor, apic_id, 0x4);
HV_ABI_AT(HvInputAddLogicalProcessor, proximity_domain_info, 0x8);

// HV_LOGICAL_PROCESSOR_STARTUP_STATUS
struct HvOutputAddLogicalProcessor {
  uint64_t hv_status;
  uint64_t substatus[6];
};
HV_ABI_STRUCT(HvOutputAddLogicalProcessor, 0x38);
HV_ABI_AT(HvOutputAddLogicalProcessor, hv_status, 0x0);
HV_ABI_AT(HvOutputAddLogicalProcessor, substatus, 0x8);

// ExtQueryCapabilities: no input.
struct HvOutputExtQueryCapabilities {
  uint64_t capabilities;
};
HV_ABI_STRUCT(HvOutputExtQueryCapabilities, 0x8);
HV_ABI_AT(HvOutputExtQueryCapabilities, capabilities, 0x0);
inline constexpr unsigned kHvExtCapabilityMemoryColdDiscardHintBit = 8;

// ---- Device interrupts -------------------------------------------------------------------------

// HV_DEVICE_ID, 64 bits: the type in 63:62. PCI: rid 15:0 (bus, device, function), segment 31:16,
// shadowed bus range 47:32, phantom function bits 49:48, source shadow 50. IO-APIC: its id in 7:0.
enum class HvDeviceType : uint8_t {
  HvDeviceTypeLogical = 0,
  HvDeviceTypePci = 1,
  HvDeviceTypeIoapic = 2,
  HvDeviceTypeAcpi = 3,
};
inline constexpr unsigned kHvDeviceIdTypeShift = 62;
inline constexpr unsigned kHvDeviceIdTypeWidth = 2;
inline constexpr unsigned kHvDeviceIdPciRidShift = 0;
inline constexpr unsigned kHvDeviceIdPciRidWidth = 16;
inline constexpr unsigned kHvDeviceIdPciSegmentShift = 16;
inline constexpr unsigned kHvDeviceIdPciSegmentWidth = 16;
inline constexpr unsigned kHvDeviceIdPciShadowBusRangeShift = 32;
inline constexpr unsigned kHvDeviceIdPciShadowBusRangeWidth = 16;
inline constexpr unsigned kHvDeviceIdPciPhantomFunctionShift = 48;
inline constexpr unsigned kHvDeviceIdPciPhantomFunctionWidth = 2;
inline constexpr unsigned kHvDeviceIdPciSourceShadowBit = 50;
inline constexpr unsigned kHvDeviceIdIoapicIdShift = 0;
inline constexpr unsigned kHvDeviceIdIoapicIdWidth = 8;

enum class HvInterruptSource : uint32_t {
  HvInterruptSourceNone = 0,
  HvInterruptSourceMsi = 1,
  HvInterruptSourceIoApic = 2,
};

// HV_INTERRUPT_ENTRY. MSI: address in 31:0 of data, data in 63:32. IO-APIC: the redirection entry.
struct HvInterruptEntry {
  HvInterruptSource source;
  uint32_t reserved;
  uint64_t data;
};
HV_ABI_STRUCT(HvInterruptEntry, 0x10);
HV_ABI_AT(HvInterruptEntry, source, 0x0);
HV_ABI_AT(HvInterruptEntry, reserved, 0x4);
HV_ABI_AT(HvInterruptEntry, data, 0x8);
inline constexpr unsigned kHvMsiEntryAddressShift = 0;
inline constexpr unsigned kHvMsiEntryDataShift = 32;

enum class HvInterruptTriggerMode : uint32_t {
  HvInterruptTriggerModeEdge = 0,
  HvInterruptTriggerModeLevel = 1,
};

// HV_DEVICE_INTERRUPT_TARGET flags
inline constexpr uint32_t kHvDeviceInterruptTargetMulticastMask = 1;
inline constexpr uint32_t kHvDeviceInterruptTargetProcessorSetMask = 2;  // vp_set, else a mask
inline constexpr uint32_t kHvDeviceInterruptTargetProxyRedirectMask = 4;

// HV_DEVICE_INTERRUPT_TARGET, fixed part. mask_or_format is a mask of VPs 0 to 63, or for a
// processor set its HvGenericSetFormat; then valid_bank_mask and the banks follow as the header.
struct HvDeviceInterruptTarget {
  uint32_t vector;
  uint32_t flags;
  uint64_t mask_or_format;
};
HV_ABI_STRUCT(HvDeviceInterruptTarget, 0x10);
HV_ABI_AT(HvDeviceInterruptTarget, vector, 0x0);
HV_ABI_AT(HvDeviceInterruptTarget, flags, 0x4);
HV_ABI_AT(HvDeviceInterruptTarget, mask_or_format, 0x8);

// HV_DEVICE_INTERRUPT_DESCRIPTOR, fixed part
struct HvDeviceInterruptDescriptor {
  HvInterruptType interrupt_type;
  HvInterruptTriggerMode trigger_mode;
  uint32_t vector_count;
  uint32_t reserved;
  HvDeviceInterruptTarget target;
};
HV_ABI_STRUCT(HvDeviceInterruptDescriptor, 0x20);
HV_ABI_AT(HvDeviceInterruptDescriptor, interrupt_type, 0x0);
HV_ABI_AT(HvDeviceInterruptDescriptor, trigger_mode, 0x4);
HV_ABI_AT(HvDeviceInterruptDescriptor, vector_count, 0x8);
HV_ABI_AT(HvDeviceInterruptDescriptor, reserved, 0xc);
HV_ABI_AT(HvDeviceInterruptDescriptor, target, 0x10);

// MapDeviceInterrupt. header: valid_bank_mask @48 and the banks @50 (Linux sends banks + 1).
struct HvInputMapDeviceInterrupt {
  uint64_t partition_id;
  uint64_t device_id;
  uint64_t flags;
  HvInterruptEntry logical_interrupt_entry;
  HvDeviceInterruptDescriptor interrupt_descriptor;
};
HV_ABI_STRUCT(HvInputMapDeviceInterrupt, 0x48);
HV_ABI_AT(HvInputMapDeviceInterrupt, partition_id, 0x0);
HV_ABI_AT(HvInputMapDeviceInterrupt, device_id, 0x8);
HV_ABI_AT(HvInputMapDeviceInterrupt, flags, 0x10);
HV_ABI_AT(HvInputMapDeviceInterrupt, logical_interrupt_entry, 0x18);
HV_ABI_AT(HvInputMapDeviceInterrupt, interrupt_descriptor, 0x28);

// Later headers append five deprecated qwords; Linux 6.1 reads these 16 bytes only.
struct HvOutputMapDeviceInterrupt {
  HvInterruptEntry interrupt_entry;
};
HV_ABI_STRUCT(HvOutputMapDeviceInterrupt, 0x10);
HV_ABI_AT(HvOutputMapDeviceInterrupt, interrupt_entry, 0x0);

// UnmapDeviceInterrupt. Later headers append 32-bit flags.
struct HvInputUnmapDeviceInterrupt {
  uint64_t partition_id;
  uint64_t device_id;
  HvInterruptEntry interrupt_entry;
};
HV_ABI_STRUCT(HvInputUnmapDeviceInterrupt, 0x20);
HV_ABI_AT(HvInputUnmapDeviceInterrupt, partition_id, 0x0);
HV_ABI_AT(HvInputUnmapDeviceInterrupt, device_id, 0x8);
HV_ABI_AT(HvInputUnmapDeviceInterrupt, interrupt_entry, 0x10);

// RetargetDeviceInterrupt. header as for MapDeviceInterrupt, if the target is a set.
struct HvInputRetargetDeviceInterrupt {
  uint64_t partition_id;  // kHvPartitionIdSelf
  uint64_t device_id;
  HvInterruptEntry interrupt_entry;
  uint64_t reserved;
  HvDeviceInterruptTarget interrupt_target;
};
HV_ABI_STRUCT(HvInputRetargetDeviceInterrupt, 0x38);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, partition_id, 0x0);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, device_id, 0x8);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, interrupt_entry, 0x10);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, reserved, 0x20);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, interrupt_target, 0x28);

}  // namespace hv::abi
