// SPDX-License-Identifier: MIT
// Parameter blocks of the hypercalls on partitions, their memory and their intercepts. [TLFS
// HvCallCreatePartition and following; Linux hvhdk.h, hvhdk_mini.h; hvdef]
// Conventions (rep, out, header, reserved fields): hypercall.h.
#pragma once

#include "abi/tlfs/layout.h"
#include "abi/tlfs/partition.h"

namespace hv::abi {

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

}  // namespace hv::abi
