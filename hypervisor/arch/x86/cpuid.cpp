// SPDX-License-Identifier: MIT
// CPUID policy. What is not named in a mask below is what the processor says; what is named there
// is withheld: SVM and its kin (no nesting), performance counters, thermal and frequency hints,
// MWAIT, the extended APIC space, microcode-dependent mitigations stay visible.

#include "hypervisor/arch/x86/cpuid.h"

#include <algorithm>

#include "abi/tlfs/cpuid.h"
#include "abi/tlfs/partition.h"
#include "hypervisor/core/arch.h"
#include "hypervisor/core/intercept.h"

namespace hv::x86 {
namespace {

using base::kBit;
using cpu::CpuidResult;

constexpr uint32_t bit(unsigned n) {
  return uint32_t{1} << n;
}

// Leaf 1.
constexpr uint32_t kMonitor = bit(3), kVmx = bit(5), kPcid = bit(17), kX2apic = bit(21),
                   kTscDeadline = bit(24), kOsxsave = bit(27), kHypervisor = bit(31);
constexpr uint32_t kHtt = bit(28);
// Leaf 0x80000001 ECX.
constexpr uint32_t kSvm = bit(2), kExtApic = bit(3), kIbs = bit(10), kSkinit = bit(12),
                   kPerfCore = bit(23), kPerfNb = bit(24), kPerfL3 = bit(28), kMwaitx = bit(29);
constexpr uint32_t kInvariantTsc = bit(8);

struct Mask {
  uint32_t leaf;
  uint32_t clear_eax, clear_ebx, clear_ecx, clear_edx;
};
constexpr uint32_t kAll = ~uint32_t{0};
constexpr Mask kMasks[] = {
    {0x1, 0, 0, kMonitor | kVmx | kTscDeadline, bit(21) | bit(22)},
    {0x5, kAll, kAll, kAll, kAll},  // MONITOR/MWAIT
    {0x6, kAll, kAll, kAll, kAll},  // thermal and power; ARAT is added below
    {0xa, kAll, kAll, kAll, kAll},  // performance monitoring
    // SGX, INVPCID without PCID, RDT, WAITPKG; speculation controls as in 0x80000008.
    // Protection keys would need PKRU switched, shadow stacks CET's MSRs.
    {0x7, 0, bit(2) | bit(10) | bit(12) | bit(15), bit(3) | bit(4) | bit(5) | bit(7),
     bit(20) | 0x3fu << 26},
    {0x80000001, 0, 0, kSvm | kExtApic | kIbs | kSkinit | kPerfCore | kPerfNb | kPerfL3 | kMwaitx,
     0},
    // What stays is CLZERO, XSaveErPtr and WBNOINVD. INVLPGB and RDPRU are refused, and the MSRs of
    // IBRS, IBPB, STIBP and SSBD are not virtualized.
    {0x80000008, 0, ~(bit(0) | bit(2) | bit(9)), 0, 0},
    {0x80000007, kAll, kAll, kAll, 0},
    {0x8000000a, kAll, kAll, kAll, kAll},
    {0x8000001b, kAll, kAll, kAll, kAll},
    {0x8000001c, kAll, kAll, kAll, kAll},
};
// Leaves behind these describe what is not virtualized, or the processor's own topology.
constexpr uint32_t kLastBasic = 0xd, kLastExtended = 0x8000001e;

uint64_t xcr0_mask = 1;

CpuidResult hypervisor_leaf(const Vcpu& vcpu, uint32_t leaf) {
  const Partition& partition = vcpu.partition;
  const bool root = partition.is_root();
  switch (leaf) {
    case abi::kHvCpuidVendorAndMaxFunction:
      return {abi::kHvCpuidNestedFeatures, abi::kHvVendorEbx, abi::kHvVendorEcx, abi::kHvVendorEdx};
    case abi::kHvCpuidInterface:
      return {abi::kHvInterfaceHv1, 0, 0, 0};
    case abi::kHvCpuidVersion:
      return {abi::kHvVersionBuildMin, 10u << abi::kHvVersionMajorShift, 0, 0};
    case abi::kHvCpuidFeatures:
      return {static_cast<uint32_t>(partition.privileges.load(std::memory_order_relaxed)),
              static_cast<uint32_t>(partition.privileges.load(std::memory_order_relaxed) >> 32), 0,
              bit(abi::kHvFeatureEdxFrequencyMsrsBit) | bit(abi::kHvFeatureEdxGuestCrashMsrsBit) |
                  (root ? 0
                        : bit(abi::kHvFeatureEdxGuestIdleBit) |
                              bit(abi::kHvFeatureEdxDirectSyntheticTimersBit))};
    case abi::kHvCpuidEnlightenmentInfo:
      // The root keeps native IPIs and flushes: its VPs are pinned, an ICR write is one exit.
      return {bit(abi::kHvRecommendDeprecateAutoEoiBit) | bit(abi::kHvRecommendRelaxedTimingBit) |
                  (root ? 0
                        : bit(abi::kHvRecommendRemoteFlushHypercallBit) |
                              bit(abi::kHvRecommendApicMsrsBit) |
                              bit(abi::kHvRecommendSyntheticClusterIpiBit) |
                              bit(abi::kHvRecommendExProcessorMasksBit)),
              root ? abi::kHvLongSpinWaitNever : 0xfff, 0, 0};
    case abi::kHvCpuidImplementationLimits:
      return {kMaxVpsPerPartition, kMaxLps, 0, 0};
    case abi::kHvCpuidHardwareFeatures:
      return {bit(abi::kHvHardwareMsrBitmapsBit) | bit(abi::kHvHardwareSlatBit), 0, 0, 0};
    case abi::kHvCpuidCpuManagementFeatures:
      return {root ? bit(abi::kHvCpuManagementStartLogicalProcessorBit) |
                         bit(abi::kHvCpuManagementCreateRootVpBit)
                   : 0,
              0, 0, 0};
    default:
      return {0, 0, 0, 0};
  }
}

// One thread per core, one package: the topology every guest gets; the root's is the processor's.
void describe_topology(const Vcpu& vcpu, uint32_t leaf, uint32_t subleaf, CpuidResult& r) {
  const uint32_t id = vcpu.apic.apic_id();
  const bool root = vcpu.partition.is_root();
  const uint32_t count = root ? lp_count : vcpu.partition.vp_count;
  unsigned shift = 0;
  while ((1u << shift) < count) ++shift;
  switch (leaf) {
    case 0x1:
      r.ebx = (r.ebx & 0xff00) | count << 16 | id << 24;
      r.edx = count > 1 ? r.edx | kHtt : r.edx & ~kHtt;
      break;
    case 0xb:
      if (subleaf == 0)
        r = {0, 1, 0x100, id};
      else if (subleaf == 1)
        r = {shift, count, 0x201, id};
      else
        r = {0, 0, subleaf, id};
      break;
    case 0x80000008:
      r.ecx = (count - 1) | shift << 12;
      break;
    case 0x8000001e:
      r = {id, id & 0xff, 0, 0};
      break;
  }
}

}  // namespace

void init_cpuid() {
  const CpuidResult r = cpu::cpuid(0xd, 0);
  xcr0_mask = r.eax | uint64_t{r.edx} << 32;
  xcr0_mask &= 0xe7;  // x87, SSE, AVX, AVX-512: what a 4 KB save area holds
}

uint64_t supported_xcr0() {
  return xcr0_mask;
}

CpuidResult guest_cpuid(const Vcpu& vcpu, uint32_t leaf, uint32_t subleaf) {
  if ((leaf >> 28) == 4)
    return leaf <= abi::kHvCpuidLast ? hypervisor_leaf(vcpu, leaf) : CpuidResult{0, 0, 0, 0};

  if ((leaf > kLastBasic && leaf < 0x80000000) || leaf > kLastExtended) return {0, 0, 0, 0};

  CpuidResult r = cpu::cpuid(leaf, subleaf);
  for (const Mask& mask : kMasks) {
    if (mask.leaf != leaf) continue;
    r.eax &= ~mask.clear_eax;
    r.ebx &= ~mask.clear_ebx;
    r.ecx &= ~mask.clear_ecx;
    r.edx &= ~mask.clear_edx;
  }
  switch (leaf) {
    case 0:
      r.eax = std::min(r.eax, kLastBasic);
      break;
    case 0x80000000:
      r.eax = std::min(r.eax, kLastExtended);
      break;
    case 0x1:
      r.ecx |= kHypervisor | kX2apic | kTscDeadline;
      r.ecx &= ~(kOsxsave | kPcid);
      if (guest_cr4(vcpu) & cr4::kOsxsave) r.ecx |= kOsxsave;
      [[fallthrough]];
    case 0xb:
    case 0x80000008:
    case 0x8000001e:
      describe_topology(vcpu, leaf, subleaf, r);
      break;
    case 0x6:
      r.eax = bit(2);  // ARAT: the virtual APIC timer never stops
      break;
    case 0xd:
      if (subleaf == 0) {
        r.eax &= static_cast<uint32_t>(xcr0_mask);
        r.edx &= static_cast<uint32_t>(xcr0_mask >> 32);
      } else if (subleaf == 1) {
        r.eax &= bit(0) | bit(2);  // XSAVEOPT, XGETBV(1); no XSAVES: XSS stays 0
        r.ebx = r.ecx = r.edx = 0;
      } else if (subleaf >= 64 || !(xcr0_mask >> subleaf & 1)) {
        r = {0, 0, 0, 0};
      }
      break;
    case 0x80000007:
      r.edx = partition_has_invariant_tsc(vcpu.partition) ? kInvariantTsc : 0;
      break;
  }
  return r;
}

}  // namespace hv::x86

hv::arch::CpuidValue hv::arch::guest_cpuid(const Vp& vp, uint32_t leaf, uint32_t subleaf) {
  const cpu::CpuidResult r = x86::guest_cpuid(x86::as_vcpu(vp), leaf, subleaf);
  return {r.eax, r.ebx, r.ecx, r.edx};
}
