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
inline constexpr uint32_t kHvCpuidIsolationConfig = 0x4000000c;
inline constexpr uint32_t kHvCpuidVirtStackVendor = 0x40000080;
inline constexpr uint32_t kHvCpuidVirtStackInterface = 0x40000081;
inline constexpr uint32_t kHvCpuidVirtStackProperties = 0x40000082;
inline constexpr uint32_t kHvCpuidMinimumMaxFunction = 0x40000005;  // Linux accepts nothing less
inline constexpr uint32_t kHvCpuidLast = 0x400000ff;

inline constexpr unsigned kHvCpuid1EcxHypervisorPresentBit = 31;  // leaf 1

// Leaf 0: "Microsoft Hv" in EBX, ECX, EDX. Leaf 1 EAX: "Hv#1". Leaf 0x81 EAX: "VS#1".
inline constexpr uint32_t kHvVendorEbx = 0x7263694d;
inline constexpr uint32_t kHvVendorEcx = 0x666f736f;
inline constexpr uint32_t kHvVendorEdx = 0x76482074;
inline constexpr uint32_t kHvInterfaceHv1 = 0x31237648;
inline constexpr uint32_t kHvVirtStackInterfaceVs1 = 0x31235356;

// Leaf 2: EAX build; EBX major 31:16, minor 15:0; ECX service pack; EDX branch 31:24, number 23:0.
inline constexpr unsigned kHvVersionMajorShift = 16;
inline constexpr unsigned kHvVersionServiceBranchShift = 24;
// Builds the newer root driver was made for: another one draws a warning. [Linux mshv_root.h]
inline constexpr uint32_t kHvVersionBuildMin = 27744;
inline constexpr uint32_t kHvVersionBuildMax = 27751;

// Leaf 3 ECX
inline constexpr unsigned kHvFeatureEcxMaxCstateShift = 0;
inline constexpr unsigned kHvFeatureEcxMaxCstateWidth = 4;
inline constexpr unsigned kHvFeatureEcxInvariantMperfBit = 5;
inline constexpr unsigned kHvFeatureEcxSupervisorShadowStackBit = 6;
inline constexpr unsigned kHvFeatureEcxArchPmuBit = 7;
inline constexpr unsigned kHvFeatureEcxExceptionTrapInterceptBit = 8;
inline constexpr unsigned kHvFeatureEcxDispatchInterruptInjectionBit = 9;
inline constexpr unsigned kHvFeatureEcxGhcbRootMappingBit = 10;

// Leaf 3 EDX
inline constexpr unsigned kHvFeatureEdxMwaitBit = 0;
inline constexpr unsigned kHvFeatureEdxGuestDebuggingBit = 1;
inline constexpr unsigned kHvFeatureEdxPerfMonitorBit = 2;
inline constexpr unsigned kHvFeatureEdxCpuDynamicPartitioningBit = 3;
inline constexpr unsigned kHvFeatureEdxXmmFastInputBit = 4;
inline constexpr unsigned kHvFeatureEdxGuestIdleBit = 5;
inline constexpr unsigned kHvFeatureEdxHypervisorSleepStateBit = 6;
inline constexpr unsigned kHvFeatureEdxNumaDistanceQueryBit = 7;
inline constexpr unsigned kHvFeatureEdxFrequencyMsrsBit = 8;
inline constexpr unsigned kHvFeatureEdxSyntheticMachineCheckBit = 9;
inline constexpr unsigned kHvFeatureEdxGuestCrashMsrsBit = 10;
inline constexpr unsigned kHvFeatureEdxDebugMsrsBit = 11;
inline constexpr unsigned kHvFeatureEdxNpiep1Bit = 12;
inline constexpr unsigned kHvFeatureEdxDisableHypervisorBit = 13;
inline constexpr unsigned kHvFeatureEdxExtendedGvaRangesBit = 14;
inline constexpr unsigned kHvFeatureEdxXmmFastOutputBit = 15;
inline constexpr unsigned kHvFeatureEdxSintPollingModeBit = 17;
inline constexpr unsigned kHvFeatureEdxHypercallMsrLockBit = 18;
inline constexpr unsigned kHvFeatureEdxDirectSyntheticTimersBit = 19;
inline constexpr unsigned kHvFeatureEdxRegisterPatBit = 20;
inline constexpr unsigned kHvFeatureEdxRegisterBndcfgsBit = 21;
inline constexpr unsigned kHvFeatureEdxWatchdogTimerBit = 22;
inline constexpr unsigned kHvFeatureEdxSyntheticTimeUnhaltedTimerBit = 23;
inline constexpr unsigned kHvFeatureEdxDeviceDomainsBit = 24;
inline constexpr unsigned kHvFeatureEdxS1DeviceDomainsBit = 25;
inline constexpr unsigned kHvFeatureEdxLbrBit = 26;
inline constexpr unsigned kHvFeatureEdxIptBit = 27;
inline constexpr unsigned kHvFeatureEdxCrossVtlFlushBit = 28;
inline constexpr unsigned kHvFeatureEdxIdleSpecCtrlBit = 29;
inline constexpr unsigned kHvFeatureEdxTranslateGvaFlagsBit = 30;
inline constexpr unsigned kHvFeatureEdxApicEoiInterceptBit = 31;

// Leaf 4 EAX: what the hypervisor recommends. EBX: spins before HvCallNotifyLongSpinWait
// (0xffffffff: never call). ECX 6:0: implemented physical address bits.
inline constexpr unsigned kHvRecommendAddressSpaceSwitchHypercallBit = 0;
inline constexpr unsigned kHvRecommendLocalFlushHypercallBit = 1;
inline constexpr unsigned kHvRecommendRemoteFlushHypercallBit = 2;
inline constexpr unsigned kHvRecommendApicMsrsBit = 3;
inline constexpr unsigned kHvRecommendResetMsrBit = 4;
inline constexpr unsigned kHvRecommendRelaxedTimingBit = 5;
inline constexpr unsigned kHvRecommendX2ApicMsrsBit = 8;
inline constexpr unsigned kHvRecommendDeprecateAutoEoiBit = 9;
inline constexpr unsigned kHvRecommendSyntheticClusterIpiBit = 10;
inline constexpr unsigned kHvRecommendExProcessorMasksBit = 11;
inline constexpr unsigned kHvRecommendNestedBit = 12;
inline constexpr unsigned kHvRecommendIntForMbecSystemCallsBit = 13;
inline constexpr unsigned kHvRecommendEnlightenedVmcsBit = 14;
inline constexpr unsigned kHvRecommendSyncedTimelineBit = 15;
inline constexpr unsigned kHvRecommendCoreSchedulerBit = 16;
inline constexpr unsigned kHvRecommendDirectLocalFlushEntireBit = 17;
inline constexpr unsigned kHvRecommendNoNonArchCoreSharingBit = 18;
inline constexpr unsigned kHvRecommendX2ApicBit = 19;
inline constexpr unsigned kHvRecommendRestoreTimeOnResumeBit = 20;
inline constexpr unsigned kHvRecommendMmioHypercallsBit = 21;
inline constexpr unsigned kHvRecommendGpaPinningBit = 22;
inline constexpr unsigned kHvRecommendWakeVpsBit = 23;
inline constexpr uint32_t kHvLongSpinWaitNever = 0xffffffff;

// Leaf 5: EAX maximum VPs, EBX maximum LPs, ECX physical interrupt vectors for remapping.

// Leaf 6 EAX: hardware in use.
inline constexpr unsigned kHvHardwareApicOverlayAssistBit = 0;
inline constexpr unsigned kHvHardwareMsrBitmapsBit = 1;
inline constexpr unsigned kHvHardwareArchPerfCountersBit = 2;
inline constexpr unsigned kHvHardwareSlatBit = 3;
inline constexpr unsigned kHvHardwareDmaRemappingBit = 4;
inline constexpr unsigned kHvHardwareInterruptRemappingBit = 5;
inline constexpr unsigned kHvHardwareMemoryPatrolScrubberBit = 6;
inline constexpr unsigned kHvHardwareDmaProtectionBit = 7;
inline constexpr unsigned kHvHardwareHpetRequestedBit = 8;
inline constexpr unsigned kHvHardwareSyntheticTimersVolatileBit = 9;

// Leaf 7 EAX: CPU management, root only.
inline constexpr unsigned kHvCpuManagementStartLogicalProcessorBit = 0;
inline constexpr unsigned kHvCpuManagementCreateRootVpBit = 1;
inline constexpr unsigned kHvCpuManagementPerformanceCounterSyncBit = 2;
inline constexpr unsigned kHvCpuManagementReservedIdentityBit = 31;

// Leaf 0xa EAX: nested virtualization; 15:0 enlightened VMCS versions (low, high).
inline constexpr unsigned kHvNestedDirectFlushBit = 17;
inline constexpr unsigned kHvNestedGuestMappingFlushBit = 18;
inline constexpr unsigned kHvNestedMsrBitmapBit = 19;
inline constexpr unsigned kHvNestedVirtualizationExceptionBit = 20;
inline constexpr unsigned kHvNestedDebugCtlBit = 21;
inline constexpr unsigned kHvNestedEnlightenedTlbBit = 22;
inline constexpr unsigned kHvNestedEbxPerfGlobalCtrlBit = 0;

// Leaf 0xc: EAX paravisor; EBX isolation type 3:0, boundary.
inline constexpr unsigned kHvIsolationEaxParavisorBit = 0;
inline constexpr unsigned kHvIsolationEbxTypeShift = 0;
inline constexpr unsigned kHvIsolationEbxTypeWidth = 4;
inline constexpr unsigned kHvIsolationEbxSharedGpaBoundaryActiveBit = 5;
inline constexpr unsigned kHvIsolationEbxSharedGpaBoundaryBitsShift = 6;
inline constexpr unsigned kHvIsolationEbxSharedGpaBoundaryBitsWidth = 6;

// Leaf 0x82 EAX: properties of the virtualization stack.
inline constexpr unsigned kHvVirtStackPortableBit = 0;
inline constexpr unsigned kHvVirtStackDebugDevicePresentBit = 1;
inline constexpr unsigned kHvVirtStackExtendedIoapicRteBit = 2;
inline constexpr unsigned kHvVirtStackConfidentialVmbusBit = 3;

}  // namespace hv::abi
