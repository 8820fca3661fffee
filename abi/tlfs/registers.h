// SPDX-License-Identifier: MIT
// VP registers as HvCallGetVpRegisters and HvCallSetVpRegisters name them, and the 16-byte value
// each has. [TLFS 7.9, HV_REGISTER_NAME; hvdef; Linux hvgdk_mini.h] Values narrower than 16 bytes
// stand in the low bytes, the rest is zero.
#pragma once

#include "abi/tlfs/layout.h"

namespace hv::abi {

enum class HvRegisterName : uint32_t {
  // Suspension and activity
  HvRegisterExplicitSuspend = 0x00000000,
  HvRegisterInterceptSuspend = 0x00000001,
  HvRegisterDispatchSuspend = 0x00000003,
  HvRegisterInternalActivityState = 0x00000004,

  // The CPUID leaves 0x40000002 to 0x4000000b, 128 bits each: EAX, EBX, ECX, EDX
  HvRegisterHypervisorVersion = 0x00000100,
  HvRegisterPrivilegesAndFeaturesInfo = 0x00000200,
  HvRegisterIsolationConfiguration = 0x00000209,

  HvRegisterGuestCrashP0 = 0x00000210,
  HvRegisterGuestCrashP1 = 0x00000211,
  HvRegisterGuestCrashP2 = 0x00000212,
  HvRegisterGuestCrashP3 = 0x00000213,
  HvRegisterGuestCrashP4 = 0x00000214,
  HvRegisterGuestCrashCtl = 0x00000215,

  // Events
  HvRegisterPendingInterruption = 0x00010002,
  HvRegisterInterruptState = 0x00010003,
  HvRegisterPendingEvent0 = 0x00010004,
  HvRegisterPendingEvent1 = 0x00010005,
  HvX64RegisterDeliverabilityNotifications = 0x00010006,

  // General purpose, in encoding order
  HvX64RegisterRax = 0x00020000,
  HvX64RegisterRcx = 0x00020001,
  HvX64RegisterRdx = 0x00020002,
  HvX64RegisterRbx = 0x00020003,
  HvX64RegisterRsp = 0x00020004,
  HvX64RegisterRbp = 0x00020005,
  HvX64RegisterRsi = 0x00020006,
  HvX64RegisterRdi = 0x00020007,
  HvX64RegisterR8 = 0x00020008,
  HvX64RegisterR9 = 0x00020009,
  HvX64RegisterR10 = 0x0002000a,
  HvX64RegisterR11 = 0x0002000b,
  HvX64RegisterR12 = 0x0002000c,
  HvX64RegisterR13 = 0x0002000d,
  HvX64RegisterR14 = 0x0002000e,
  HvX64RegisterR15 = 0x0002000f,
  HvX64RegisterRip = 0x00020010,
  HvX64RegisterRflags = 0x00020011,

  // Floating point and vector
  HvX64RegisterXmm0 = 0x00030000,  // + n, n < 16
  HvX64RegisterXmm15 = 0x0003000f,
  HvX64RegisterFpMmx0 = 0x00030010,  // + n, n < 8
  HvX64RegisterFpMmx7 = 0x00030017,
  HvX64RegisterFpControlStatus = 0x00030018,
  HvX64RegisterXmmControlStatus = 0x00030019,

  // Control
  HvX64RegisterCr0 = 0x00040000,
  HvX64RegisterCr2 = 0x00040001,
  HvX64RegisterCr3 = 0x00040002,
  HvX64RegisterCr4 = 0x00040003,
  HvX64RegisterCr8 = 0x00040004,
  HvX64RegisterXfem = 0x00040005,  // XCR0

  // Debug
  HvX64RegisterDr0 = 0x00050000,
  HvX64RegisterDr1 = 0x00050001,
  HvX64RegisterDr2 = 0x00050002,
  HvX64RegisterDr3 = 0x00050003,
  HvX64RegisterDr6 = 0x00050004,
  HvX64RegisterDr7 = 0x00050005,

  // Segments and tables
  HvX64RegisterEs = 0x00060000,
  HvX64RegisterCs = 0x00060001,
  HvX64RegisterSs = 0x00060002,
  HvX64RegisterDs = 0x00060003,
  HvX64RegisterFs = 0x00060004,
  HvX64RegisterGs = 0x00060005,
  HvX64RegisterLdtr = 0x00060006,
  HvX64RegisterTr = 0x00060007,
  HvX64RegisterIdtr = 0x00070000,
  HvX64RegisterGdtr = 0x00070001,

  // Virtualized MSRs
  HvX64RegisterTsc = 0x00080000,
  HvX64RegisterEfer = 0x00080001,
  HvX64RegisterKernelGsBase = 0x00080002,
  HvX64RegisterApicBase = 0x00080003,
  HvX64RegisterPat = 0x00080004,
  HvX64RegisterSysenterCs = 0x00080005,
  HvX64RegisterSysenterEip = 0x00080006,
  HvX64RegisterSysenterEsp = 0x00080007,
  HvX64RegisterStar = 0x00080008,
  HvX64RegisterLstar = 0x00080009,
  HvX64RegisterCstar = 0x0008000a,
  HvX64RegisterSfmask = 0x0008000b,
  HvX64RegisterInitialApicId = 0x0008000c,
  HvX64RegisterMsrMtrrCap = 0x0008000d,
  HvX64RegisterMsrMtrrDefType = 0x0008000e,
  HvX64RegisterMsrMtrrPhysBase0 = 0x00080010,  // + n, n < 16
  HvX64RegisterMsrMtrrPhysMask0 = 0x00080040,  // + n, n < 16
  HvX64RegisterMsrMtrrFix64k00000 = 0x00080070,
  HvX64RegisterMsrMtrrFix16k80000 = 0x00080071,
  HvX64RegisterMsrMtrrFix16kA0000 = 0x00080072,
  HvX64RegisterMsrMtrrFix4kC0000 = 0x00080073,
  HvX64RegisterMsrMtrrFix4kF8000 = 0x0008007a,
  HvX64RegisterTscAux = 0x0008007b,
  HvX64RegisterDebugCtl = 0x0008007d,
  HvX64RegisterSpecCtrl = 0x00080084,
  HvX64RegisterMsrMcUpdatePatchLevel = 0x00080089,
  HvX64RegisterXss = 0x0008008b,
  HvX64RegisterTscDeadline = 0x00080095,
  HvX64RegisterTscAdjust = 0x00080096,
  HvX64RegisterMsrIa32MiscEnable = 0x000800a0,

  // The local APIC, 0x84000 + x2APIC MSR number
  HvX64RegisterApicId = 0x00084802,
  HvX64RegisterApicVersion = 0x00084803,
  HvX64RegisterApicTpr = 0x00084808,
  HvX64RegisterApicPpr = 0x0008480a,
  HvX64RegisterApicSpurious = 0x0008480f,
  HvX64RegisterApicSelfIpi = 0x0008483f,

  // Synthetic
  HvRegisterVpRuntime = 0x00090000,
  HvX64RegisterHypercall = 0x00090001,
  HvRegisterGuestOsId = 0x00090002,
  HvRegisterVpIndex = 0x00090003,
  HvRegisterTimeRefCount = 0x00090004,
  HvX64RegisterIcr = 0x00090011,
  HvX64RegisterTpr = 0x00090012,
  HvRegisterVpAssistPage = 0x00090013,
  HvRegisterReferenceTsc = 0x00090017,

  HvRegisterSint0 = 0x000a0000,  // + n, n < kHvSynicSintCount
  HvRegisterSint15 = 0x000a000f,
  HvRegisterScontrol = 0x000a0010,
  HvRegisterSifp = 0x000a0012,
  HvRegisterSipp = 0x000a0013,
  HvRegisterSirbp = 0x000a0015,
  HvRegisterStimer0Config = 0x000b0000,  // + 2n, n < kHvSynicStimerCount
  HvRegisterStimer0Count = 0x000b0001,   // + 2n
  HvRegisterStimer3Count = 0x000b0007,

};

// HV_X64_SEGMENT_REGISTER. The limit is in bytes, granularity already applied.
struct HvX64SegmentRegister {
  uint64_t base;
  uint32_t limit;
  uint16_t selector;
  uint16_t attributes;
};
HV_ABI_STRUCT(HvX64SegmentRegister, 0x10);
HV_ABI_AT(HvX64SegmentRegister, base, 0x0);
HV_ABI_AT(HvX64SegmentRegister, limit, 0x8);
HV_ABI_AT(HvX64SegmentRegister, selector, 0xc);
HV_ABI_AT(HvX64SegmentRegister, attributes, 0xe);
inline constexpr unsigned kHvSegmentDplShift = 5;
inline constexpr unsigned kHvSegmentLongBit = 13;
inline constexpr unsigned kHvSegmentDefaultBit = 14;

// HV_X64_TABLE_REGISTER: IDTR and GDTR.
struct HvX64TableRegister {
  uint16_t pad[3];
  uint16_t limit;
  uint64_t base;
};
HV_ABI_STRUCT(HvX64TableRegister, 0x10);
HV_ABI_AT(HvX64TableRegister, pad, 0x0);
HV_ABI_AT(HvX64TableRegister, limit, 0x6);
HV_ABI_AT(HvX64TableRegister, base, 0x8);

// HV_X64_FP_CONTROL_STATUS_REGISTER: what FXSAVE holds at 0 to 15; rip and rdp may be CS:EIP,
// DS:EDP.
struct HvX64FpControlStatusRegister {
  uint16_t fp_control;
  uint16_t fp_status;
  uint8_t fp_tag;  // abridged
  uint8_t reserved;
  uint16_t last_fp_op;
  uint64_t last_fp_rip;
};
HV_ABI_STRUCT(HvX64FpControlStatusRegister, 0x10);
HV_ABI_AT(HvX64FpControlStatusRegister, fp_control, 0x0);
HV_ABI_AT(HvX64FpControlStatusRegister, fp_status, 0x2);
HV_ABI_AT(HvX64FpControlStatusRegister, fp_tag, 0x4);
HV_ABI_AT(HvX64FpControlStatusRegister, reserved, 0x5);
HV_ABI_AT(HvX64FpControlStatusRegister, last_fp_op, 0x6);
HV_ABI_AT(HvX64FpControlStatusRegister, last_fp_rip, 0x8);

// HV_X64_XMM_CONTROL_STATUS_REGISTER
struct HvX64XmmControlStatusRegister {
  uint64_t last_fp_rdp;
  uint32_t xmm_status_control;  // MXCSR
  uint32_t xmm_status_control_mask;
};
HV_ABI_STRUCT(HvX64XmmControlStatusRegister, 0x10);
HV_ABI_AT(HvX64XmmControlStatusRegister, last_fp_rdp, 0x0);
HV_ABI_AT(HvX64XmmControlStatusRegister, xmm_status_control, 0x8);
HV_ABI_AT(HvX64XmmControlStatusRegister, xmm_status_control_mask, 0xc);

// HvRegisterInternalActivityState
inline constexpr unsigned kHvActivityStartupSuspendBit = 0;  // waits for SIPI
inline constexpr unsigned kHvActivityHaltSuspendBit = 1;
inline constexpr unsigned kHvActivityIdleSuspendBit = 2;

// HvRegisterInterruptState
inline constexpr unsigned kHvInterruptShadowBit = 0;
inline constexpr unsigned kHvNmiMaskedBit = 1;

// HvRegisterPendingInterruption, 64 bits: the fields below, the error code in 63:32.
inline constexpr unsigned kHvPendingInterruptionPendingBit = 0;
inline constexpr unsigned kHvPendingInterruptionTypeShift = 1;
inline constexpr unsigned kHvPendingInterruptionDeliverErrorCodeBit = 4;
inline constexpr unsigned kHvPendingInterruptionInstructionLengthShift = 5;
inline constexpr unsigned kHvPendingInterruptionVectorShift = 16;
inline constexpr unsigned kHvPendingInterruptionErrorCodeShift = 32;

// HvX64RegisterDeliverabilityNotifications: ask for a message once the event could be delivered.
inline constexpr unsigned kHvNotifySintsShift = 48;
inline constexpr unsigned kHvNotifySintsWidth = 16;

// HvRegisterPendingEvent0: byte 0 of every form is pending (bit 0) and type (bits 3:1).
inline constexpr unsigned kHvPendingEventPendingBit = 0;
inline constexpr unsigned kHvPendingEventTypeShift = 1;

enum class HvX64PendingEventType : uint8_t {
  HvX64PendingEventException = 0,
  HvX64PendingEventExtInt = 5,
};

// HV_X64_PENDING_EXCEPTION_EVENT. The parameter is CR2 of a page fault, DR6 of a debug exception.
struct HvX64PendingExceptionEvent {
  uint8_t header;
  uint8_t flags;  // kHvPendingExceptionDeliverErrorCodeBit
  uint16_t vector;
  uint32_t error_code;
  uint64_t exception_parameter;
};
HV_ABI_STRUCT(HvX64PendingExceptionEvent, 0x10);
HV_ABI_AT(HvX64PendingExceptionEvent, header, 0x0);
HV_ABI_AT(HvX64PendingExceptionEvent, flags, 0x1);
HV_ABI_AT(HvX64PendingExceptionEvent, vector, 0x2);
HV_ABI_AT(HvX64PendingExceptionEvent, error_code, 0x4);
HV_ABI_AT(HvX64PendingExceptionEvent, exception_parameter, 0x8);
inline constexpr unsigned kHvPendingExceptionDeliverErrorCodeBit = 0;

// HV_X64_PENDING_EXT_INT_EVENT: an interrupt whose vector comes from an external controller.
struct HvX64PendingExtIntEvent {
  uint8_t header;
  uint8_t vector;
  uint8_t reserved[14];
};
HV_ABI_STRUCT(HvX64PendingExtIntEvent, 0x10);
HV_ABI_AT(HvX64PendingExtIntEvent, header, 0x0);
HV_ABI_AT(HvX64PendingExtIntEvent, vector, 0x1);
HV_ABI_AT(HvX64PendingExtIntEvent, reserved, 0x2);

// HV_X64_PENDING_HYPERCALL_OUTPUT_EVENT
struct HvX64PendingHypercallOutputEvent {
  uint8_t header;
  uint8_t flags;  // bit 0: the hypercall retired
  uint8_t reserved[2];
  uint32_t output_size;
  uint64_t output_gpa;
};
HV_ABI_STRUCT(HvX64PendingHypercallOutputEvent, 0x10);
HV_ABI_AT(HvX64PendingHypercallOutputEvent, header, 0x0);
HV_ABI_AT(HvX64PendingHypercallOutputEvent, flags, 0x1);
HV_ABI_AT(HvX64PendingHypercallOutputEvent, reserved, 0x2);
HV_ABI_AT(HvX64PendingHypercallOutputEvent, output_size, 0x4);
HV_ABI_AT(HvX64PendingHypercallOutputEvent, output_gpa, 0x8);

// HV_REGISTER_VALUE
union HvRegisterValue {
  HvUint128 reg128;
  uint64_t reg64;
  uint32_t reg32;
  uint16_t reg16;
  uint8_t reg8;
  uint8_t bytes[16];
  HvX64SegmentRegister segment;
  HvX64TableRegister table;
  HvX64FpControlStatusRegister fp_control_status;
  HvX64XmmControlStatusRegister xmm_control_status;
  HvX64PendingExceptionEvent pending_exception_event;
  HvX64PendingExtIntEvent pending_ext_int_event;
  HvX64PendingHypercallOutputEvent pending_hypercall_output_event;
};
HV_ABI_SIZE(HvRegisterValue, 0x10);

// HV_REGISTER_ASSOC: one element of HvCallSetVpRegisters.
struct HvRegisterAssoc {
  HvRegisterName name;
  uint32_t reserved1;
  uint64_t reserved2;
  HvRegisterValue value;
};
HV_ABI_SIZE(HvRegisterAssoc, 0x20);
HV_ABI_AT(HvRegisterAssoc, name, 0x0);
HV_ABI_AT(HvRegisterAssoc, reserved1, 0x4);
HV_ABI_AT(HvRegisterAssoc, reserved2, 0x8);
HV_ABI_AT(HvRegisterAssoc, value, 0x10);

}  // namespace hv::abi
