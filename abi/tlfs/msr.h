// SPDX-License-Identifier: MIT
// Synthetic MSRs and their fields. [TLFS Appendix F, Linux hvgdk_mini.h] All are 64 bits wide; a
// page register (hypercall, assist, SIM, SIEF, ring, TSC) has its GPA page number in bits 63:12.
// Numbers 0x400000xx lie outside the hardware MSR permission maps and therefore always exit.
#pragma once

#include <cstdint>

namespace hv::abi {

inline constexpr uint32_t kHvX64MsrFirst = 0x40000000;
inline constexpr uint32_t kHvX64MsrLast = 0x400001ff;  // last number this interface uses

inline constexpr uint32_t kHvX64MsrGuestOsId = 0x40000000;
inline constexpr uint32_t kHvX64MsrHypercall = 0x40000001;
inline constexpr uint32_t kHvX64MsrVpIndex = 0x40000002;  // read only
inline constexpr uint32_t kHvX64MsrReset = 0x40000003;
inline constexpr uint32_t kHvX64MsrVpRuntime = 0x40000010;     // read only, 100 ns
inline constexpr uint32_t kHvX64MsrTimeRefCount = 0x40000020;  // read only, 100 ns
inline constexpr uint32_t kHvX64MsrReferenceTsc = 0x40000021;
inline constexpr uint32_t kHvX64MsrTscFrequency = 0x40000022;   // read only, Hz
inline constexpr uint32_t kHvX64MsrApicFrequency = 0x40000023;  // read only, Hz before the divider
inline constexpr uint32_t kHvX64MsrEoi = 0x40000070;            // write only
inline constexpr uint32_t kHvX64MsrIcr = 0x40000071;  // destination 63:56, xAPIC low dword
inline constexpr uint32_t kHvX64MsrTpr = 0x40000072;
inline constexpr uint32_t kHvX64MsrVpAssistPage = 0x40000073;
inline constexpr uint32_t kHvX64MsrScontrol = 0x40000080;
inline constexpr uint32_t kHvX64MsrSversion = 0x40000081;  // read only
inline constexpr uint32_t kHvX64MsrSiefp = 0x40000082;
inline constexpr uint32_t kHvX64MsrSimp = 0x40000083;
inline constexpr uint32_t kHvX64MsrEom = 0x40000084;    // any write; reads 0
inline constexpr uint32_t kHvX64MsrSirbp = 0x40000085;  // event ring page, root only
inline constexpr uint32_t kHvX64MsrSint0 = 0x40000090;  // + n, n < kHvSynicSintCount
inline constexpr uint32_t kHvX64MsrSint15 = 0x4000009f;
inline constexpr uint32_t kHvX64MsrStimer0Config = 0x400000b0;  // + 2n, n < kHvSynicStimerCount
inline constexpr uint32_t kHvX64MsrStimer0Count = 0x400000b1;   // + 2n, 100 ns
inline constexpr uint32_t kHvX64MsrStimer3Count = 0x400000b7;
inline constexpr uint32_t kHvX64MsrGuestIdle = 0x400000f0;  // the read blocks until an interrupt
inline constexpr uint32_t kHvX64MsrCrashP0 = 0x40000100;    // + n, n < 5
inline constexpr uint32_t kHvX64MsrCrashP4 = 0x40000104;
inline constexpr uint32_t kHvX64MsrCrashCtl = 0x40000105;
inline constexpr uint32_t kHvX64MsrTscInvariantControl = 0x40000118;

// GUEST_OS_ID of an open source system: type 63:56 (0x81 Linux with the open source bit), distro
// 55:48, kernel version 47:16, build 15:0. Zero means "no system yet" and closes the hypercall
// page.

// Page registers: bit 0 enables, bits 11:1 are preserved (HYPERCALL: bit 1 locks), 63:12 the GPN.
inline constexpr unsigned kHvMsrPageEnableBit = 0;
inline constexpr unsigned kHvMsrPageNumberShift = 12;
inline constexpr unsigned kHvMsrHypercallLockedBit = 1;

inline constexpr uint64_t kHvSynicVersion1 = 1;  // SVERSION

// SINTn. Reset value: masked, vector 0. A vector below 16 is refused.
inline constexpr unsigned kHvSintMaskedBit = 16;
inline constexpr unsigned kHvSintAutoEoiBit = 17;
inline constexpr unsigned kHvSintPollingBit = 18;
inline constexpr unsigned kHvSintAsInterceptBit = 19;
inline constexpr uint64_t kHvSintResetValue = uint64_t{1} << kHvSintMaskedBit;
inline constexpr unsigned kHvSynicFirstValidVector = 16;

// STIMERn_CONFIG
inline constexpr unsigned kHvStimerEnableBit = 0;
inline constexpr unsigned kHvStimerPeriodicBit = 1;
inline constexpr unsigned kHvStimerAutoEnableBit = 3;
inline constexpr unsigned kHvStimerApicVectorShift = 4;
inline constexpr unsigned kHvStimerDirectModeBit = 12;
inline constexpr unsigned kHvStimerSintxShift = 16;

// CRASH_CTL: read, what the host takes; written, what the guest reports. With NotifyMsg, P3 is the
// GPA of a text and P4 its length in bytes.
inline constexpr unsigned kHvCrashCtlNotifyMsgBit = 62;
inline constexpr unsigned kHvCrashCtlNotifyBit = 63;

}  // namespace hv::abi
