// SPDX-License-Identifier: MIT
// CPUID leaves 0x40000000 and up, and their bits. [TLFS 2, feature-discovery; Linux hvgdk_mini.h]
// Leaf 3 EAX and EBX are the privilege mask of the partition: see partition.h for those bits.
#pragma once

#include <cstdint>

namespace hv::abi {

inline constexpr uint32_t kHvCpuidVendorAndMaxFunction = 0x40000000;
inline constexpr uint32_t kHvCpuidInterface = 0x40000001;
inline constexpr uint32_t kHvCpuidVersion = 0x40000002;
inline constexpr uint32_t kHvCpuidFeatures = 0x40000003;
inline constexpr uint32_t kHvCpuidEnlightenmentInfo = 0x40000004;
inline constexpr uint32_t kHvCpuidImplementationLimits = 0x40000005;
inline constexpr uint32_t kHvCpuidHardwareFeatures = 0x40000006;
inline constexpr uint32_t kHvCpuidCpuManagementFeatures = 0x40000007;
inline constexpr uint32_t kHvCpuidNestedFeatures = 0x4000000a;
inline constexpr uint32_t kHvCpuidLast = 0x400000ff;

// Leaf 0: "Microsoft Hv" in EBX, ECX, EDX. Leaf 1 EAX: "Hv#1".
inline constexpr uint32_t kHvVendorEbx = 0x7263694d;
inline constexpr uint32_t kHvVendorEcx = 0x666f736f;
inline constexpr uint32_t kHvVendorEdx = 0x76482074;
inline constexpr uint32_t kHvInterfaceHv1 = 0x31237648;

// Leaf 2: EAX build; EBX major 31:16, minor 15:0; ECX service pack; EDX branch 31:24, number 23:0.
inline constexpr unsigned kHvVersionMajorShift = 16;
// Builds the newer root driver was made for: another one draws a warning. [Linux mshv_root.h]
inline constexpr uint32_t kHvVersionBuildMin = 27744;

// Leaf 3 EDX
inline constexpr unsigned kHvFeatureEdxGuestIdleBit = 5;
inline constexpr unsigned kHvFeatureEdxFrequencyMsrsBit = 8;
inline constexpr unsigned kHvFeatureEdxGuestCrashMsrsBit = 10;
inline constexpr unsigned kHvFeatureEdxDirectSyntheticTimersBit = 19;

// Leaf 4 EAX: what the hypervisor recommends. EBX: spins before HvCallNotifyLongSpinWait
// (0xffffffff: never call). ECX 6:0: implemented physical address bits.
inline constexpr unsigned kHvRecommendRemoteFlushHypercallBit = 2;
inline constexpr unsigned kHvRecommendApicMsrsBit = 3;
inline constexpr unsigned kHvRecommendRelaxedTimingBit = 5;
inline constexpr unsigned kHvRecommendDeprecateAutoEoiBit = 9;
inline constexpr unsigned kHvRecommendSyntheticClusterIpiBit = 10;
inline constexpr unsigned kHvRecommendExProcessorMasksBit = 11;
inline constexpr uint32_t kHvLongSpinWaitNever = 0xffffffff;

// Leaf 5: EAX maximum VPs, EBX maximum LPs, ECX physical interrupt vectors for remapping.

// Leaf 6 EAX: hardware in use.
inline constexpr unsigned kHvHardwareMsrBitmapsBit = 1;
inline constexpr unsigned kHvHardwareSlatBit = 3;

// Leaf 7 EAX: CPU management, root only.
inline constexpr unsigned kHvCpuManagementStartLogicalProcessorBit = 0;
inline constexpr unsigned kHvCpuManagementCreateRootVpBit = 1;

}  // namespace hv::abi
