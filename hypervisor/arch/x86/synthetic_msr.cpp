// SPDX-License-Identifier: MIT
// Which privilege opens which synthetic MSR, and what each does. A guest names the pages behind the
// page MSRs; for the root the hypervisor does, and a write can only enable or disable them.

#include "hypervisor/arch/x86/synthetic_msr.h"

#include "abi/tlfs/partition.h"
#include "abi/tlfs/synic.h"
#include "hypervisor/arch/x86/apic_routing.h"
#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/lazy_eoi.h"
#include "hypervisor/arch/x86/msr.h"
#include "hypervisor/core/guest_memory.h"
#include "hypervisor/core/log.h"
#include "hypervisor/core/scheduler.h"

namespace hv::x86 {
namespace {

using base::kBit;

constexpr uint64_t kEnable = 1;
constexpr uint64_t kLocked = uint64_t{1} << abi::kHvMsrHypercallLockedBit;
constexpr uint64_t kPageMask = ~uint64_t{0xfff};
constexpr uint64_t kVmmcallRet = 0xc3d9010f;  // vmmcall; ret

Spa root_hypercall_page;

struct Gate {
  uint32_t first, last;
  unsigned privilege;
};
// MSRs that need a privilege bit; the others are open to all.
constexpr Gate kGates[] = {
    {abi::kHvX64MsrGuestOsId, abi::kHvX64MsrHypercall, abi::kHvPrivilegeAccessHypercallMsrsBit},
    {abi::kHvX64MsrVpIndex, abi::kHvX64MsrVpIndex, abi::kHvPrivilegeAccessVpIndexBit},
    {abi::kHvX64MsrReset, abi::kHvX64MsrReset, abi::kHvPrivilegeAccessResetMsrBit},
    {abi::kHvX64MsrVpRuntime, abi::kHvX64MsrVpRuntime, abi::kHvPrivilegeAccessVpRuntimeBit},
    {abi::kHvX64MsrTscFrequency, abi::kHvX64MsrApicFrequency,
     abi::kHvPrivilegeAccessFrequencyMsrsBit},
    {abi::kHvX64MsrEoi, abi::kHvX64MsrTpr, abi::kHvPrivilegeAccessIntrCtrlRegsBit},
    {abi::kHvX64MsrScontrol, abi::kHvX64MsrSint15, abi::kHvPrivilegeAccessSynicRegsBit},
    {abi::kHvX64MsrStimer0Config, abi::kHvX64MsrStimer3Count,
     abi::kHvPrivilegeAccessSyntheticTimerRegsBit},
    {abi::kHvX64MsrGuestIdle, abi::kHvX64MsrGuestIdle, abi::kHvPrivilegeAccessGuestIdleMsrBit},
    {abi::kHvX64MsrTscInvariantControl, abi::kHvX64MsrTscInvariantControl,
     abi::kHvPrivilegeAccessTscInvariantControlsBit},
};

bool open(const Vcpu& vcpu, uint32_t msr) {
  for (const Gate& gate : kGates)
    if (msr >= gate.first && msr <= gate.last)
      return vcpu.partition.may(uint64_t{1} << gate.privilege);
  return true;
}

void fill_hypercall_page(Spa page) {
  auto* code = direct_map<uint8_t>(page);
  for (size_t i = 0; i < kPageSize; ++i) code[i] = 0xcc;
  for (unsigned i = 0; i < 4; ++i) code[i] = static_cast<uint8_t>(kVmmcallRet >> (8 * i));
}

Result<> write_hypercall(Vcpu& vcpu, uint64_t value) {
  Partition& partition = vcpu.partition;
  if (partition.hypercall_msr.load() & kLocked) return {};
  if ((value & kEnable) && !partition.guest_os_id.load()) return {};
  if (partition.is_root()) {
    partition.hypercall_msr.store(root_hypercall_page.value() | (value & (kEnable | kLocked)));
    return {};
  }
  if (value & kEnable) {
    const auto page = pin_page(partition, Gpa(value & kPageMask), Access::write);
    if (!page) return fail(Error::inject_gp);
    fill_hypercall_page(*page);
  }
  partition.hypercall_msr.store(value);
  return {};
}

Result<> write_reference_tsc(Vcpu& vcpu, uint64_t value) {
  Partition& partition = vcpu.partition;
  partition.reference_tsc_msr.store(value);
  if (partition.is_root() || !(value & kEnable)) return {};
  const uint64_t guest_tsc_at_zero = partition.tsc_base + vcpu.tsc_offset;
  abi::HvReferenceTscPage page{};
  page.tsc_sequence = 1;
  page.tsc_scale = time_scale.to_100ns;
  page.tsc_offset = -static_cast<int64_t>(time_scale.ticks_to_100ns(guest_tsc_at_zero));
  (void)copy_out(partition, Gpa(value & kPageMask), page);
  return {};
}

Result<> write_assist(Vcpu& vcpu, uint64_t value) {
  withdraw_lazy_eoi(vcpu);
  if (vcpu.partition.is_root()) {
    vcpu.vp_assist_msr = (vcpu.vp_assist_msr & kPageMask) | (value & kEnable);
    return {};
  }
  if ((value & kEnable) && !pin_page(vcpu.partition, Gpa(value & kPageMask), Access::write))
    return fail(Error::inject_gp);
  vcpu.vp_assist_msr = value;
  return {};
}

Result<> write_os_id(Vcpu& vcpu, uint64_t value) {
  Partition& partition = vcpu.partition;
  // A root that forgets its identity is about to be replaced: by kexec, or after a crash.
  if (!value && partition.is_root() && partition.guest_os_id.load()) {
    HV_TRY(partition_reset_root());
    log(LogLevel::info, "root partition leaves; its children are torn down");
  }
  partition.guest_os_id.store(value);
  if (!value) partition.hypercall_msr.fetch_and(~kEnable);
  return {};
}

// P3 and P4 are address and length of the guest's message [TLFS 18]; its last lines are worth most.
void log_crash_text(const Partition& partition) {
  constexpr uint64_t kShown = 2048, kLine = 160;
  uint64_t length = partition.crash.parameters[4].load();
  Gpa at{partition.crash.parameters[3].load()};
  if (length > kPageSize) length = kPageSize;
  if (length > kShown) {
    at = at + (length - kShown);
    length = kShown;
  }
  char line[kLine];
  size_t used = 0;
  for (uint64_t i = 0; i < length; ++i) {
    const auto c = copy_in<char>(partition, at + i);
    if (!c) break;
    const bool end = *c == '\n' || *c == 0;
    if (!end) line[used++] = *c >= ' ' && *c < 127 ? *c : '.';
    if (used && (end || used == kLine || i + 1 == length)) {
      log(LogLevel::warning, "crash| {}", std::string_view(line, used));
      used = 0;
    }
  }
}

void report_crash(Vcpu& vcpu, uint64_t value) {
  CrashReport& crash = vcpu.partition.crash;
  crash.control.store(value);
  static RateLimit limit(4, 10'000'000);
  if (!limit.allow(time_scale.ticks_to_100ns(read_tsc()))) return;
  log(LogLevel::warning, "partition {} VP {} reports a crash: {x} {x} {x}",
      vcpu.partition.id.value(), vcpu.index.value(), crash.parameters[0].load(),
      crash.parameters[1].load(), crash.parameters[2].load());
  if (value & (uint64_t{1} << abi::kHvCrashCtlNotifyMsgBit)) log_crash_text(vcpu.partition);
}

constexpr uint64_t kCrashNotify = uint64_t{1} << abi::kHvCrashCtlNotifyBit;
constexpr uint64_t kCrashCapabilities = kCrashNotify | uint64_t{1} << abi::kHvCrashCtlNotifyMsgBit;

// HLT by MSR: ends with any pending interrupt, whatever RFLAGS.IF says.
Result<uint64_t> guest_idle(Vcpu& vcpu) {
  if (!vcpu.apic.has_pending() && !vcpu.nmi_pending) {
    vcpu.idle_wait = true;
    vcpu.add(VpSuspend::halted);
  }
  return uint64_t{0};
}

Result<> write_icr(Vcpu& vcpu, uint64_t value) {
  carry_out(vcpu, vcpu.apic.write_icr(value));
  return {};
}

}  // namespace

void set_root_hypercall_page(Spa page) {
  fill_hypercall_page(page);
  root_hypercall_page = page;
  root_partition->hypercall_msr.store(page.value());
}

bool partition_has_invariant_tsc(const Partition& partition) {
  return partition.may(uint64_t{1} << abi::kHvPrivilegeAccessTscInvariantControlsBit);
}

Result<uint64_t> read_synthetic_msr(Vcpu& vcpu, uint32_t msr) {
  if (!open(vcpu, msr)) return fail(Error::inject_gp);
  Partition& partition = vcpu.partition;
  switch (msr) {
    case abi::kHvX64MsrGuestOsId:
      return partition.guest_os_id.load();
    case abi::kHvX64MsrHypercall:
      return partition.hypercall_msr.load();
    case abi::kHvX64MsrVpIndex:
      return uint64_t{vcpu.index.value()};
    case abi::kHvX64MsrReset:
      return uint64_t{0};
    case abi::kHvX64MsrVpRuntime:
      // Read by the VP itself, which runs.
      return time_scale.ticks_to_100ns(vcpu.counters.runtime_tsc + read_tsc() - vcpu.run_since);
    case abi::kHvX64MsrTimeRefCount:
      return partition.reference_time();
    case abi::kHvX64MsrReferenceTsc:
      return partition.reference_tsc_msr.load();
    case abi::kHvX64MsrTscFrequency:
      return uint64_t{time_scale.tsc_hz};
    case abi::kHvX64MsrApicFrequency:
      return uint64_t{kApicHz};
    case abi::kHvX64MsrEoi:
      return fail(Error::inject_gp);
    case abi::kHvX64MsrIcr:
      return vcpu.apic.peek(apic_register::kIcr);
    case abi::kHvX64MsrTpr:
      return uint64_t{vcpu.apic.tpr()};
    case abi::kHvX64MsrVpAssistPage:
      return uint64_t{vcpu.vp_assist_msr};
    case abi::kHvX64MsrGuestIdle:
      return guest_idle(vcpu);
    case abi::kHvX64MsrCrashCtl:
      return uint64_t{kCrashCapabilities};
    case abi::kHvX64MsrTscInvariantControl:
      return uint64_t{vcpu.tsc_invariant_control};
  }
  if (msr >= abi::kHvX64MsrScontrol && msr <= abi::kHvX64MsrSint15) return vcpu.synic.read(msr);
  if (msr >= abi::kHvX64MsrStimer0Config && msr <= abi::kHvX64MsrStimer3Count)
    return vcpu.timers.read(msr);
  if (msr >= abi::kHvX64MsrCrashP0 && msr <= abi::kHvX64MsrCrashP4)
    return partition.crash.parameters[msr - abi::kHvX64MsrCrashP0].load();
  return fail(Error::inject_gp);
}

Result<> write_synthetic_msr(Vcpu& vcpu, uint32_t msr, uint64_t value) {
  if (!open(vcpu, msr)) return fail(Error::inject_gp);
  Partition& partition = vcpu.partition;
  switch (msr) {
    case abi::kHvX64MsrGuestOsId:
      return write_os_id(vcpu, value);
    case abi::kHvX64MsrHypercall:
      return write_hypercall(vcpu, value);
    case abi::kHvX64MsrReferenceTsc:
      return write_reference_tsc(vcpu, value);
    case abi::kHvX64MsrEoi:
      carry_out(vcpu, vcpu.apic.write_eoi());
      return {};
    case abi::kHvX64MsrIcr:
      return write_icr(vcpu, value);
    case abi::kHvX64MsrTpr:
      if (value > 0xff) return fail(Error::inject_gp);
      vcpu.apic.set_tpr(static_cast<uint8_t>(value));
      return {};
    case abi::kHvX64MsrVpAssistPage:
      return write_assist(vcpu, value);
    case abi::kHvX64MsrTscInvariantControl:
      if (value & ~kEnable) return fail(Error::inject_gp);
      vcpu.tsc_invariant_control = value;
      return {};
    case abi::kHvX64MsrCrashCtl:
      if (value & kCrashNotify) report_crash(vcpu, value);
      return {};
    case abi::kHvX64MsrReset:
      if (value & 1) triple_fault(vcpu);
      return {};
  }
  if (msr >= abi::kHvX64MsrScontrol && msr <= abi::kHvX64MsrSint15)
    return vcpu.synic.write(vcpu, msr, value);
  if (msr >= abi::kHvX64MsrStimer0Config && msr <= abi::kHvX64MsrStimer3Count)
    return vcpu.timers.write(vcpu, msr, value);
  if (msr >= abi::kHvX64MsrCrashP0 && msr <= abi::kHvX64MsrCrashP4) {
    partition.crash.parameters[msr - abi::kHvX64MsrCrashP0].store(value);
    return {};
  }
  return fail(Error::inject_gp);
}

}  // namespace hv::x86
