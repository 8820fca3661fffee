// SPDX-License-Identifier: MIT
// Hypercalls: code numbers, the control and result words; with the four headers it includes, every
// input and output block. [TLFS 3, Appendix A; hvdef; Linux hvgdk_mini.h] A block is 8-byte aligned
// and crosses no page. "rep" tells what one repetition adds after the header, "out" what it
// returns; "header" a variable part whose length in qwords the control word gives. Page numbers are
// GPA or GVA >> 12. Reserved and padding fields must be zero unless a comment says otherwise.
#pragma once

#include "abi/tlfs/hypercall_partition.h"
#include "abi/tlfs/hypercall_port.h"
#include "abi/tlfs/hypercall_system.h"
#include "abi/tlfs/hypercall_vp.h"
#include "abi/tlfs/layout.h"

namespace hv::abi {

enum class HvCall : uint16_t {
  HvCallFlushVirtualAddressSpace = 0x0002,
  HvCallFlushVirtualAddressList = 0x0003,
  HvCallNotifyLongSpinWait = 0x0008,
  HvCallSendSyntheticClusterIpi = 0x000b,
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
  HvCallMapGpaPages = 0x004b,
  HvCallUnmapGpaPages = 0x004c,
  HvCallInstallIntercept = 0x004d,
  HvCallCreateVp = 0x004e,
  HvCallDeleteVp = 0x004f,
  HvCallGetVpRegisters = 0x0050,
  HvCallSetVpRegisters = 0x0051,
  HvCallTranslateVirtualAddress = 0x0052,
  HvCallClearVirtualInterrupt = 0x0056,
  HvCallDeletePort = 0x0058,
  HvCallDisconnectPort = 0x005b,
  HvCallPostMessage = 0x005c,
  HvCallSignalEvent = 0x005d,
  HvCallMapStatsPage = 0x006c,
  HvCallUnmapStatsPage = 0x006d,
  HvCallAddLogicalProcessor = 0x0076,
  HvCallGetSystemProperty = 0x007b,
  HvCallMapDeviceInterrupt = 0x007c,
  HvCallUnmapDeviceInterrupt = 0x007d,
  HvCallRetargetDeviceInterrupt = 0x007e,
  HvCallNotifyPartitionEvent = 0x0087,
  HvCallNotifyPortRingEmpty = 0x008b,
  HvCallRegisterInterceptResult = 0x0091,
  HvCallAssertVirtualInterrupt = 0x0094,
  HvCallCreatePort = 0x0095,
  HvCallConnectPort = 0x0096,
  HvCallStartVirtualProcessor = 0x0099,
  HvCallGetVpIndexFromApicId = 0x009a,
  HvCallSignalEventDirect = 0x00c0,
  HvCallPostMessageDirect = 0x00c1,
  HvCallGetGpaPagesAccessStates = 0x00c9,
  HvCallMapVpStatePage = 0x00e1,
  HvCallUnmapVpStatePage = 0x00e2,
  HvCallGetVpState = 0x00e3,
  HvCallSetVpState = 0x00e4,
  HvCallGetVpCpuidValues = 0x00f4,
};

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
inline constexpr unsigned kHvHypercallResultRepsShift = 32;

inline constexpr unsigned kHvHypercallFastBytes = 16;      // RDX, R8
inline constexpr unsigned kHvHypercallXmmFastBytes = 112;  // and XMM0 to XMM5
inline constexpr unsigned kHvHypercallMaxXmmRegisters = 6;

// HV_INPUT_VTL, one byte
inline constexpr unsigned kHvInputVtlUseTargetBit = 4;

}  // namespace hv::abi
