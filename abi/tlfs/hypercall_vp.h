// SPDX-License-Identifier: MIT
// Parameter blocks of the hypercalls on virtual processors: life, registers, saved state, address
// translation, interrupts, TLB flushes and IPIs. [TLFS HvCallCreateVp and following; Linux hvhdk.h,
// hvgdk_mini.h; hvdef]
// Conventions (rep, out, header, reserved fields): hypercall.h.
#pragma once

#include "abi/tlfs/layout.h"
#include "abi/tlfs/partition.h"
#include "abi/tlfs/registers.h"

namespace hv::abi {

// HV_FLUSH_FLAGS
inline constexpr unsigned kHvFlushAllProcessorsBit = 0;
inline constexpr uint64_t kHvFlushFlagsMask = 0xf;

// HV_GVA_RANGE: page number 63:12, further pages 11:0. In the extended format 10:0 count, bit 11
// marks a large range whose bit 12 picks 1 GB over 2 MB pages and 63:21 is its large page number.

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

// MapVpStatePage as Linux first had it; later kernels narrow `type` to 16 bits, then input_vtl,
// flags (bit 0: a location is requested) and a qword with that page number follow. Little endian
// keeps both readable as long as VTL and flags are 0.
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
inline constexpr unsigned kHvTranslateGvaSupervisorAccessBit = 6;
inline constexpr unsigned kHvTranslateGvaUserAccessBit = 7;
inline constexpr unsigned kHvTranslateGvaEnforceSmapBit = 8;
inline constexpr unsigned kHvTranslateGvaOverrideSmapBit = 9;

enum class HvTranslateGvaResultCode : uint32_t {
  HvTranslateGvaSuccess = 0,
  HvTranslateGvaPageNotPresent = 1,
  HvTranslateGvaPrivilegeViolation = 2,
  HvTranslateGvaInvalidPageTableFlags = 3,
  HvTranslateGvaGpaUnmapped = 4,
  HvTranslateGvaGpaNoReadAccess = 5,
  HvTranslateGvaGpaNoWriteAccess = 6,
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

}  // namespace hv::abi
