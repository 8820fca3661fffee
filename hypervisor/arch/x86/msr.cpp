// SPDX-License-Identifier: MIT
// The table of MSRs and the few handlers that do more than hold a value.

#include "hypervisor/arch/x86/msr.h"

#include "hypervisor/arch/x86/apic_routing.h"
#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/synthetic_msr.h"
#include "hypervisor/core/log.h"
#include "hypervisor/core/scheduler.h"

namespace hv::x86 {
namespace {

enum class Who : uint8_t { nobody, child, root, all };
constexpr bool admits(Who who, bool root) {
  return who == Who::all || who == (root ? Who::root : Who::child);
}

using Read = Result<uint64_t> (*)(Vcpu&, uint32_t);
using Write = Result<> (*)(Vcpu&, uint32_t, uint64_t);

struct Row {
  uint32_t first, last;
  Who who;
  Read read;
  Write write;
};

// --- Handlers shared by several rows ---
Result<uint64_t> zero(Vcpu&, uint32_t) {
  return uint64_t{0};
}
Result<> ignore(Vcpu&, uint32_t, uint64_t) {
  return {};
}
Result<> refuse(Vcpu&, uint32_t, uint64_t) {
  return fail(Error::inject_gp);
}
Result<uint64_t> physical(Vcpu&, uint32_t msr) {
  uint64_t value;
  if (!cpu::rdmsr_checked(msr, value)) return fail(Error::inject_gp);
  return value;
}
Result<> set_physical(Vcpu&, uint32_t msr, uint64_t value) {
  if (!cpu::wrmsr_checked(msr, value)) return fail(Error::inject_gp);
  return {};
}
template <uint64_t Value>
Result<uint64_t> constant(Vcpu&, uint32_t) {
  return Value;
}

Result<uint64_t> read_tsc_msr(Vcpu& vcpu, uint32_t) {
  return read_tsc() + vcpu.tsc_offset;
}
Result<> write_tsc_msr(Vcpu& vcpu, uint32_t, uint64_t value) {
  vcpu.tsc_offset = value - read_tsc();
  set_guest_tsc_offset(vcpu, vcpu.tsc_offset);
  return {};
}

Result<uint64_t> read_apic_base(Vcpu& vcpu, uint32_t) {
  return vcpu.apic.base();
}
Result<> write_apic_base(Vcpu& vcpu, uint32_t, uint64_t value) {
  HV_TRY(vcpu.apic.write_base(value));
  deadline_changed(vcpu);
  return {};
}

Result<uint64_t> read_apic(Vcpu& vcpu, uint32_t msr) {
  return vcpu.apic.read_msr(msr);
}
Result<> write_apic(Vcpu& vcpu, uint32_t msr, uint64_t value) {
  HV_TRY_ASSIGN(const ApicEffect effect, vcpu.apic.write_msr(msr, value));
  carry_out(vcpu, effect);
  return {};
}

Result<uint64_t> read_efer(Vcpu& vcpu, uint32_t) {
  return guest_efer(vcpu);
}
Result<> write_efer(Vcpu& vcpu, uint32_t, uint64_t value) {
  return set_guest_efer(vcpu, value);
}

bool valid_memory_types(uint64_t value, uint64_t allowed) {
  for (unsigned i = 0; i < 8; ++i, value >>= 8)
    if ((value & 0xff) > 7 || !(allowed >> (value & 0xff) & 1)) return false;
  return true;
}
Result<uint64_t> read_pat(Vcpu& vcpu, uint32_t) {
  return guest_pat(vcpu);
}
Result<> write_pat(Vcpu& vcpu, uint32_t, uint64_t value) {
  constexpr uint64_t kPatTypes = 0b11110011;  // UC, WC, WT, WP, WB, UC-
  if (!valid_memory_types(value, kPatTypes)) return fail(Error::inject_gp);
  set_guest_pat(vcpu, value);
  return {};
}

// A child's MTRRs are remembered, not obeyed: its memory is RAM, write-back under its own PAT.
constexpr uint64_t kVariableMtrrs = 8;
constexpr uint32_t kMtrrVariableFirst = 0x200, kMtrrVariableLast = 0x20f;
constexpr uint32_t kFixedMtrrs[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                    0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
uint64_t& fixed_mtrr(Vcpu& vcpu, uint32_t msr) {
  unsigned i = 0;
  while (kFixedMtrrs[i] != msr) ++i;
  return vcpu.mtrr_fixed[i];
}
Result<uint64_t> read_mtrr_variable(Vcpu& vcpu, uint32_t msr) {
  return uint64_t{vcpu.mtrr_variable[msr - kMtrrVariableFirst]};
}
Result<> write_mtrr_variable(Vcpu& vcpu, uint32_t msr, uint64_t value) {
  vcpu.mtrr_variable[msr - kMtrrVariableFirst] = value & (kMaxPhysicalAddress - 1);
  return {};
}
Result<uint64_t> read_mtrr_fixed(Vcpu& vcpu, uint32_t msr) {
  return uint64_t{fixed_mtrr(vcpu, msr)};
}
Result<> write_mtrr_fixed(Vcpu& vcpu, uint32_t msr, uint64_t value) {
  constexpr uint64_t kMtrrTypes = 0b01110011;
  if (!valid_memory_types(value, kMtrrTypes)) return fail(Error::inject_gp);
  fixed_mtrr(vcpu, msr) = value;
  return {};
}

// Which registers a guest may set, by a pointer to the member that holds them.
template <uint64_t Vcpu::* Member>
Result<uint64_t> held(Vcpu& vcpu, uint32_t) {
  return uint64_t{vcpu.*Member};
}
template <uint64_t Vcpu::* Member, uint64_t Writable>
Result<> hold(Vcpu& vcpu, uint32_t, uint64_t value) {
  if (value & ~Writable) return fail(Error::inject_gp);
  vcpu.*Member = value;
  return {};
}

Result<uint64_t> read_debug_ctl(Vcpu& vcpu, uint32_t) {
  return guest_debug_ctl(vcpu);
}
Result<> write_zero_only(Vcpu&, uint32_t, uint64_t value) {
  if (value) return fail(Error::inject_gp);
  return {};
}
constexpr uint64_t kHwcrTscFreqSel = base::kBit<24>;
Result<uint64_t> read_hwcr(Vcpu& vcpu, uint32_t) {
  return vcpu.hwcr | kHwcrTscFreqSel;
}
Result<> write_hwcr(Vcpu& vcpu, uint32_t, uint64_t value) {
  constexpr uint64_t kKnown = base::kBit<3> | base::kBit<4> | base::kBit<6> | base::kBit<8> |
                              base::kBit<18> | kHwcrTscFreqSel;
  if (value & ~kKnown) return fail(Error::inject_gp);
  vcpu.hwcr = value & ~kHwcrTscFreqSel;
  return {};
}

constexpr uint64_t kVmCrLocked = base::kBit<3> | base::kBit<4>;  // LOCK, SVMDIS
constexpr uint64_t kMtrrCapability = kVariableMtrrs | base::kBit<8> | base::kBit<10>;
constexpr uint64_t kLfenceSerializing = base::kBit<1>;

// In ascending order. A range that two kinds of partition see differently has two rows.
constexpr Row kRows[] = {
    {msr::kTsc, msr::kTsc, Who::all, read_tsc_msr, write_tsc_msr},
    {msr::kApicBase, msr::kApicBase, Who::all, read_apic_base, write_apic_base},
    {0x79, 0x79, Who::all, zero, ignore},  // microcode update
    {msr::kMicrocode, msr::kMicrocode, Who::all, physical, ignore},
    {msr::kMtrrCap, msr::kMtrrCap, Who::root, physical, refuse},
    {msr::kMtrrCap, msr::kMtrrCap, Who::child, constant<kMtrrCapability>, refuse},
    {msr::kMcgCap, msr::kMcgCap, Who::root, physical, refuse},
    {msr::kMcgCap, msr::kMcgCap, Who::child, zero, refuse},
    {msr::kMcgStatus, msr::kMcgCtl, Who::root, physical, set_physical},
    {msr::kMcgStatus, msr::kMcgStatus, Who::child, held<&Vcpu::mcg_status>,
     hold<&Vcpu::mcg_status, 7>},
    {msr::kMiscEnable, msr::kMiscEnable, Who::all, held<&Vcpu::misc_enable>, ignore},
    {msr::kDebugCtl, msr::kDebugCtl, Who::all, read_debug_ctl, write_zero_only},
    {kMtrrVariableFirst, kMtrrVariableLast, Who::root, physical, set_physical},
    {kMtrrVariableFirst, kMtrrVariableLast, Who::child, read_mtrr_variable, write_mtrr_variable},
    {0x250, 0x250, Who::root, physical, set_physical},
    {0x250, 0x250, Who::child, read_mtrr_fixed, write_mtrr_fixed},
    {0x258, 0x259, Who::root, physical, set_physical},
    {0x258, 0x259, Who::child, read_mtrr_fixed, write_mtrr_fixed},
    {0x268, 0x26f, Who::root, physical, set_physical},
    {0x268, 0x26f, Who::child, read_mtrr_fixed, write_mtrr_fixed},
    {msr::kPat, msr::kPat, Who::all, read_pat, write_pat},
    {msr::kMtrrDefType, msr::kMtrrDefType, Who::root, physical, set_physical},
    {msr::kMtrrDefType, msr::kMtrrDefType, Who::child, held<&Vcpu::mtrr_def_type>,
     hold<&Vcpu::mtrr_def_type, 0xcff>},
    {msr::kMc0Ctl, msr::kMc0Ctl + 0x7f, Who::root, physical, set_physical},
    {msr::kTscDeadline, msr::kTscDeadline, Who::all, read_apic, write_apic},
    {msr::kXss, msr::kXss, Who::all, zero, write_zero_only},
    {msr::kEfer, msr::kEfer, Who::all, read_efer, write_efer},
    {0xc0010000, 0xc0010007, Who::all, zero, ignore},  // performance counters: none
    {msr::kSyscfg, msr::kSyscfg, Who::root, physical, ignore},
    {msr::kSyscfg, msr::kSyscfg, Who::child, zero, ignore},
    {msr::kHwcr, msr::kHwcr, Who::all, read_hwcr, write_hwcr},
    {0xc001001a, 0xc001001d, Who::root, physical, refuse},  // TOP_MEM, TOP_MEM2
    {0xc001001a, 0xc001001d, Who::child, zero, refuse},
    {0xc001001f, 0xc001001f, Who::root, physical, set_physical},  // northbridge configuration
    {0xc001001f, 0xc001001f, Who::child, zero, ignore},
    {0xc0010055, 0xc0010055, Who::all, zero, ignore},             // interrupt pending message
    {0xc0010058, 0xc0010058, Who::root, physical, set_physical},  // MMIO configuration base
    {msr::kVmCr, msr::kVmCr, Who::all, constant<kVmCrLocked>, ignore},
    {0xc0010140, 0xc0010141, Who::all, zero, refuse},  // OS visible work-arounds: none
    {0xc0010200, 0xc001020b, Who::all, zero, ignore},  // extended performance counters
    {0xc0011020, 0xc0011028, Who::all, zero, ignore},  // family-specific configuration
    {msr::kDeCfg, msr::kDeCfg, Who::all, constant<kLfenceSerializing>, ignore},
    {0xc001102a, 0xc001102f, Who::all, zero, ignore},
};

const Row* find(uint32_t msr, bool root) {
  for (const Row& row : kRows)
    if (msr >= row.first && msr <= row.last && admits(row.who, root)) return &row;
  return nullptr;
}

constexpr bool is_x2apic(uint32_t msr) {
  return msr >= msr::kX2apicFirst && msr <= msr::kX2apicLast;
}

}  // namespace

Result<uint64_t> read_msr(Vcpu& vcpu, uint32_t msr) {
  if (is_x2apic(msr)) return read_apic(vcpu, msr);
  if (is_synthetic_msr(msr)) return read_synthetic_msr(vcpu, msr);
  if (const Row* row = find(msr, vcpu.partition.is_root())) return row->read(vcpu, msr);
  return fail(Error::not_found);
}

Result<> write_msr(Vcpu& vcpu, uint32_t msr, uint64_t value) {
  if (is_x2apic(msr)) return write_apic(vcpu, msr, value);
  if (is_synthetic_msr(msr)) return write_synthetic_msr(vcpu, msr, value);
  if (const Row* row = find(msr, vcpu.partition.is_root())) return row->write(vcpu, msr, value);
  return fail(Error::not_found);
}

}  // namespace hv::x86
