// SPDX-License-Identifier: MIT
// VP registers by their TLFS names. One table in ascending order says where each lives: control
// block, Vcpu, XSAVE area, or behind an MSR that the guest could use too. A value that VMRUN,
// VMLOAD or XRSTOR would refuse is refused here; what depends on several registers, which a parent
// sets in any order, is checked when it lets the VP run [APM2 15.5.1].
#include <algorithm>
#include <iterator>

#include "abi/tlfs/msr.h"
#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/msr.h"
#include "hypervisor/arch/x86/svm/register_events.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/arch/x86/xsave.h"
#include "hypervisor/core/arch.h"

namespace hv::svm {
namespace {

namespace cr0 = x86::cr0;
namespace cr4 = x86::cr4;
namespace efer = x86::efer;
namespace rflags = x86::rflags;
namespace xstate = x86::xstate;
using Name = abi::HvRegisterName;
using Value = abi::HvRegisterValue;

// `index`: which of a row's registers, from 0.
using Get = Result<Value> (*)(Vcpu&, uint32_t index);
using Set = Result<> (*)(Vcpu&, uint32_t index, const Value&);

Result<Value> get_zero(Vcpu&, uint32_t) {
  return word(0);
}
Result<> set_zero(Vcpu&, uint32_t, const Value& value) {
  return value.reg64 == 0 ? Result<>{} : fail(Error::invalid_register_value);
}
Result<> refuse(Vcpu&, uint32_t, const Value&) {
  return fail(Error::invalid_register_value);
}

// --- Checks ---
using Check = bool (*)(const Vcpu&, uint64_t);
bool any(const Vcpu&, uint64_t) {
  return true;
}
bool fits32(const Vcpu&, uint64_t value) {
  return value >> 32 == 0;
}
// With five levels, whose canonical addresses are the more: VMLOAD sign-extends what is left.
bool canonical(const Vcpu&, uint64_t value) {
  const auto sign = static_cast<int64_t>(value) >> 56;
  return sign == 0 || sign == -1;
}
bool memory_types(const Vcpu&, uint64_t pat) {
  constexpr unsigned kDefined = 0b11110011;
  for (; pat != 0; pat >>= 8)
    if ((pat & 0xff) > 7 || (kDefined >> (pat & 7) & 1) == 0) return false;
  return true;
}
bool flags(const Vcpu&, uint64_t value) {
  return (value & (Field<63, 22>::kMask | kBit<15> | kBit<5> | kBit<3>)) == 0;
}
bool xcr0(const Vcpu&, uint64_t value) {
  return x86::valid_xcr0(value);
}

// --- Where registers live ---
template <uint64_t Vmcb::* Member>
Result<Value> get_vmcb(Vcpu& vcpu, uint32_t) {
  return word(vcpu.vmcb->*Member);
}
template <uint64_t Vmcb::* Member, Check Valid>
Result<> set_vmcb(Vcpu& vcpu, uint32_t, const Value& value) {
  if (!Valid(vcpu, value.reg64)) return fail(Error::invalid_register_value);
  vcpu.vmcb->*Member = value.reg64;
  return {};
}

template <uint64_t Vcpu::* Member>
Result<Value> get_vcpu(Vcpu& vcpu, uint32_t) {
  return word(vcpu.*Member);
}
template <uint64_t Vcpu::* Member, Check Valid>
Result<> set_vcpu(Vcpu& vcpu, uint32_t, const Value& value) {
  if (!Valid(vcpu, value.reg64)) return fail(Error::invalid_register_value);
  vcpu.*Member = value.reg64;
  return {};
}

// By the policy that the guest's own RDMSR and WRMSR obey, privileges included.
template <uint32_t Msr, uint32_t Stride = 1>
Result<Value> get_msr(Vcpu& vcpu, uint32_t index) {
  const Result<uint64_t> value = x86::read_msr(vcpu, Msr + index * Stride);
  if (!value) return fail(Error::invalid_parameter);
  return word(*value);
}
// A parent restores what it saved: a register that cannot change takes the value that it has.
template <uint32_t Msr, uint32_t Stride = 1>
Result<> set_msr(Vcpu& vcpu, uint32_t index, const Value& value) {
  const uint32_t msr = Msr + index * Stride;
  const Result<> done = x86::write_msr(vcpu, msr, value.reg64);
  if (done || done.error() == Error::retry) return done;
  const Result<uint64_t> current = x86::read_msr(vcpu, msr);
  return current && *current == value.reg64 ? Result<>{} : fail(Error::invalid_register_value);
}

template <VpSuspend Bit>
Result<Value> get_suspension(Vcpu& vcpu, uint32_t) {
  return get_suspend(vcpu, Bit);
}
template <VpSuspend Bit>
Result<> set_suspension(Vcpu& vcpu, uint32_t, const Value& value) {
  return set_suspend(vcpu, Bit, value);
}

// --- General and vector registers ---
Result<Value> get_gpr(Vcpu& vcpu, uint32_t index) {
  return word(index == x86::kRax   ? vcpu.vmcb->rax
              : index == x86::kRsp ? vcpu.vmcb->rsp
                                   : vcpu.gpr[index]);
}
Result<> set_gpr(Vcpu& vcpu, uint32_t index, const Value& value) {
  (index == x86::kRax   ? vcpu.vmcb->rax
   : index == x86::kRsp ? vcpu.vmcb->rsp
                        : vcpu.gpr[index]) = value.reg64;
  return {};
}

Result<> set_rflags(Vcpu& vcpu, uint32_t index, const Value& value) {
  HV_TRY((set_vmcb<&Vmcb::rflags, flags>(vcpu, index, value)));
  vcpu.vmcb->rflags |= rflags::kReserved1;
  return {};
}

Result<Value> get_xmm(Vcpu& vcpu, uint32_t index) {
  x86::XsaveArea& area = x86::xsave_area(vcpu);
  materialize(area, xstate::kSse);
  return word(area.xmm[index].low, area.xmm[index].high);
}
Result<> set_xmm(Vcpu& vcpu, uint32_t index, const Value& value) {
  x86::XsaveArea& area = x86::xsave_area(vcpu);
  materialize(area, xstate::kSse);
  area.xmm[index] = {value.reg128.low, value.reg128.high};
  return {};
}
Result<Value> get_st(Vcpu& vcpu, uint32_t index) {
  x86::XsaveArea& area = x86::xsave_area(vcpu);
  materialize(area, xstate::kX87);
  return word(area.st[index].low, area.st[index].high);
}
Result<> set_st(Vcpu& vcpu, uint32_t index, const Value& value) {
  x86::XsaveArea& area = x86::xsave_area(vcpu);
  materialize(area, xstate::kX87);
  area.st[index] = {value.reg128.low, Field<15, 0>::get(value.reg128.high)};
  return {};
}

Result<Value> get_fp_control(Vcpu& vcpu, uint32_t) {
  x86::XsaveArea& area = x86::xsave_area(vcpu);
  materialize(area, xstate::kX87);
  Value out{};
  out.fp_control_status = {.fp_control = area.control,
                           .fp_status = area.status,
                           .fp_tag = area.tag,
                           .reserved = 0,
                           .last_fp_op = area.opcode,
                           .last_fp_rip = area.instruction_pointer};
  return out;
}
Result<> set_fp_control(Vcpu& vcpu, uint32_t, const Value& value) {
  const abi::HvX64FpControlStatusRegister& in = value.fp_control_status;
  x86::XsaveArea& area = x86::xsave_area(vcpu);
  materialize(area, xstate::kX87);
  area.control = in.fp_control;
  area.status = in.fp_status;
  area.tag = in.fp_tag;
  area.opcode = static_cast<uint16_t>(Field<10, 0>::get(in.last_fp_op));
  area.instruction_pointer = in.last_fp_rip;
  return {};
}

// The data pointer belongs to x87, MXCSR to nobody: it is loaded whatever XSTATE_BV says.
Result<Value> get_xmm_control(Vcpu& vcpu, uint32_t) {
  x86::XsaveArea& area = x86::xsave_area(vcpu);
  materialize(area, xstate::kX87);
  Value out{};
  out.xmm_control_status = {.last_fp_rdp = area.data_pointer,
                            .xmm_status_control = area.mxcsr,
                            .xmm_status_control_mask = area.mxcsr_mask};
  return out;
}
Result<> set_xmm_control(Vcpu& vcpu, uint32_t, const Value& value) {
  const abi::HvX64XmmControlStatusRegister& in = value.xmm_control_status;
  if (!x86::valid_mxcsr(vcpu, in.xmm_status_control)) return fail(Error::invalid_register_value);
  x86::XsaveArea& area = x86::xsave_area(vcpu);
  materialize(area, xstate::kX87);
  area.data_pointer = in.last_fp_rdp;
  area.mxcsr = in.xmm_status_control;
  return {};
}

// --- Control and debug registers ---
// EFER.LMA follows from LME and paging, in whatever order they are set. What was translated before
// must not be used again.
Result<> paging_changed(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  const bool active = (v.efer & efer::kLme) != 0 && (v.cr0 & cr0::kPg) != 0;
  v.efer = active ? v.efer | efer::kLma : v.efer & ~efer::kLma;
  vcpu.asid_lp = nullptr;
  return {};
}

Result<> set_cr0(Vcpu& vcpu, uint32_t, const Value& value) {
  constexpr uint64_t kKnown =
      Field<5, 0>::kMask | cr0::kWp | cr0::kAm | cr0::kNw | cr0::kCd | cr0::kPg;
  const uint64_t in = value.reg64;
  const bool valid = (in & ~kKnown) == 0 && ((in & cr0::kNw) == 0 || (in & cr0::kCd) != 0) &&
                     ((in & cr0::kPg) == 0 || (in & cr0::kPe) != 0);
  if (!valid) return fail(Error::invalid_register_value);
  vcpu.vmcb->cr0 = in | cr0::kEt;
  return paging_changed(vcpu);
}

Result<> set_cr3(Vcpu& vcpu, uint32_t, const Value& value) {
  const uint32_t width = x86::guest_cpuid(vcpu, 0x80000008, 0).eax & 0xff;
  if (value.reg64 >> (width < 52 ? width : 52) != 0) return fail(Error::invalid_register_value);
  vcpu.vmcb->cr3 = value.reg64;
  return paging_changed(vcpu);
}

// Control bits that only some processors have, and the CPUID bit that says so.
struct Feature {
  uint64_t bit;
  uint32_t leaf;
  uint32_t cpu::CpuidResult::* word;
  unsigned cpuid_bit;
};
using Cpuid = cpu::CpuidResult;
constexpr Feature kCr4Features[] = {
    {kBit<11>, 7, &Cpuid::ecx, 2},                                     // UMIP
    {cr4::kLa57, 7, &Cpuid::ecx, 16},  {kBit<16>, 7, &Cpuid::ebx, 0},  // FSGSBASE
    {cr4::kPcide, 1, &Cpuid::ecx, 17}, {cr4::kOsxsave, 1, &Cpuid::ecx, 26},
    {cr4::kSmep, 7, &Cpuid::ebx, 7},   {cr4::kSmap, 7, &Cpuid::ebx, 20},
    {kBit<22>, 7, &Cpuid::ecx, 3},  // PKE
    {kBit<23>, 7, &Cpuid::ecx, 7},  // CET
};

Result<> set_cr4(Vcpu& vcpu, uint32_t, const Value& value) {
  uint64_t allowed = Field<10, 0>::kMask;
  for (const Feature& feature : kCr4Features)
    if ((x86::guest_cpuid(vcpu, feature.leaf, 0).*feature.word >> feature.cpuid_bit & 1) != 0)
      allowed |= feature.bit;
  if ((value.reg64 & ~allowed) != 0) return fail(Error::invalid_register_value);
  vcpu.vmcb->cr4 = value.reg64;
  return paging_changed(vcpu);
}

Result<Value> get_efer(Vcpu& vcpu, uint32_t) {
  return word(x86::guest_efer(vcpu));
}
Result<> set_efer(Vcpu& vcpu, uint32_t, const Value& value) {
  constexpr uint64_t kKnown = efer::kSce | efer::kLme | efer::kLma | efer::kNxe | efer::kFfxsr;
  const uint64_t in = value.reg64;
  if ((in & ~kKnown) != 0 || ((in & efer::kLma) != 0 && (in & efer::kLme) == 0))
    return fail(Error::invalid_register_value);
  vcpu.vmcb->efer = in | efer::kSvme;
  return paging_changed(vcpu);
}

Result<Value> get_cr8(Vcpu& vcpu, uint32_t) {
  return word(vcpu.apic.tpr() >> 4);
}
Result<> set_cr8(Vcpu& vcpu, uint32_t, const Value& value) {
  if (value.reg64 > 15) return fail(Error::invalid_register_value);
  vcpu.apic.set_tpr(static_cast<uint8_t>(value.reg64 << 4));
  return {};
}

Result<Value> get_dr(Vcpu& vcpu, uint32_t index) {
  return word(vcpu.dr[index]);
}
Result<> set_dr(Vcpu& vcpu, uint32_t index, const Value& value) {
  vcpu.dr[index] = value.reg64;
  return {};
}
// The bits that always read as ones or zeros [APM2 13.1.1].
Result<> set_dr6(Vcpu& vcpu, uint32_t, const Value& value) {
  if (!fits32(vcpu, value.reg64)) return fail(Error::invalid_register_value);
  vcpu.vmcb->dr6 = (value.reg64 | x86::dr6::kInit) & ~kBit<12>;
  return {};
}
Result<> set_dr7(Vcpu& vcpu, uint32_t, const Value& value) {
  if (!fits32(vcpu, value.reg64)) return fail(Error::invalid_register_value);
  vcpu.vmcb->dr7 = (value.reg64 | kBit<10>)&~(Field<15, 14>::kMask | Field<12, 11>::kMask);
  return {};
}

// --- Segments: AVL, L, D and G are bits 11:8 here, 15:12 there ---
using LowAttributes = Field<7, 0>;
using VmcbHighAttributes = Field<11, 8>;
using AbiHighAttributes = Field<15, 12>;
using Dpl = Field<abi::kHvSegmentDplShift + 1, abi::kHvSegmentDplShift>;

template <Segment Vmcb::* Member>
Result<Value> get_segment(Vcpu& vcpu, uint32_t) {
  Value out{};
  out.segment = to_abi(vcpu.vmcb->*Member);
  return out;
}
template <Segment Vmcb::* Member>
Result<> set_segment(Vcpu& vcpu, uint32_t, const Value& value) {
  const abi::HvX64SegmentRegister& in = value.segment;
  if (!canonical(vcpu, in.base)) return fail(Error::invalid_register_value);
  const uint64_t attributes = VmcbHighAttributes::set(LowAttributes::get(in.attributes),
                                                      AbiHighAttributes::get(in.attributes));
  vcpu.vmcb->*Member = {.selector = in.selector,
                        .attributes = static_cast<uint16_t>(attributes),
                        .limit = in.limit,
                        .base = in.base};
  return {};
}
// CPL is SS.DPL, except that SYSRET leaves an old SS behind.
Result<Value> get_ss(Vcpu& vcpu, uint32_t) {
  Value out{};
  out.segment = to_abi(vcpu.vmcb->ss);
  out.segment.attributes = static_cast<uint16_t>(Dpl::set(out.segment.attributes, vcpu.vmcb->cpl));
  return out;
}
Result<> set_ss(Vcpu& vcpu, uint32_t index, const Value& value) {
  HV_TRY(set_segment<&Vmcb::ss>(vcpu, index, value));
  vcpu.vmcb->cpl = static_cast<uint8_t>(Dpl::get(value.segment.attributes));
  return {};
}

template <Segment Vmcb::* Member>
Result<Value> get_table(Vcpu& vcpu, uint32_t) {
  Value out{};
  out.table = {.pad = {},
               .limit = static_cast<uint16_t>((vcpu.vmcb->*Member).limit),
               .base = (vcpu.vmcb->*Member).base};
  return out;
}
template <Segment Vmcb::* Member>
Result<> set_table(Vcpu& vcpu, uint32_t, const Value& value) {
  if (!canonical(vcpu, value.table.base)) return fail(Error::invalid_register_value);
  vcpu.vmcb->*Member = {0, 0, value.table.limit, value.table.base};
  return {};
}

// --- Time, APIC and what the hypervisor adds ---
Result<Value> get_tsc(Vcpu& vcpu, uint32_t) {
  return word(read_tsc() + vcpu.tsc_offset);
}
Result<> set_tsc(Vcpu& vcpu, uint32_t, const Value& value) {
  vcpu.tsc_offset = value.reg64 - read_tsc();
  x86::set_guest_tsc_offset(vcpu, vcpu.tsc_offset);
  return {};
}

template <unsigned First>
Result<Value> get_apic(Vcpu& vcpu, uint32_t index) {
  return word(vcpu.apic.peek(First + index));
}
Result<Value> get_tpr(Vcpu& vcpu, uint32_t) {
  return word(vcpu.apic.tpr());
}
Result<> set_tpr(Vcpu& vcpu, uint32_t, const Value& value) {
  if (value.reg64 > 0xff) return fail(Error::invalid_register_value);
  vcpu.apic.set_tpr(value.reg8);
  return {};
}
Result<Value> get_apic_id(Vcpu& vcpu, uint32_t) {
  return word(vcpu.apic.apic_id());
}
Result<> set_apic_id(Vcpu& vcpu, uint32_t, const Value& value) {
  return value.reg64 == vcpu.apic.apic_id() ? Result<>{} : fail(Error::invalid_register_value);
}

template <uint32_t Leaf>
Result<Value> get_cpuid(Vcpu& vcpu, uint32_t index) {
  const cpu::CpuidResult r = x86::guest_cpuid(vcpu, Leaf + index, 0);
  return word(uint64_t{r.ebx} << 32 | r.eax, uint64_t{r.edx} << 32 | r.ecx);
}

// The crash registers as the guest left them; the MSR reads as what may be reported.
Result<Value> get_crash(Vcpu& vcpu, uint32_t index) {
  const CrashReport& crash = vcpu.partition.crash;
  return word(index < crash.parameters.size() ? crash.parameters[index].load()
                                              : crash.control.load());
}
Result<> set_crash(Vcpu& vcpu, uint32_t index, const Value& value) {
  CrashReport& crash = vcpu.partition.crash;
  (index < crash.parameters.size() ? crash.parameters[index] : crash.control).store(value.reg64);
  return {};
}

constexpr Name after(Name name, uint32_t count) {
  return static_cast<Name>(static_cast<uint32_t>(name) + count);
}

// A root that forgets who it is restarts, which no caller of this may wait for.
Result<> set_os_id(Vcpu& vcpu, uint32_t index, const Value& value) {
  if (vcpu.partition.is_root()) return fail(Error::invalid_register_value);
  return set_msr<abi::kHvX64MsrGuestOsId>(vcpu, index, value);
}

struct Row {
  Name first, last;
  Get get;
  Set set;
};

#define HV_ONE(name, ...) {Name::name, Name::name, __VA_ARGS__}
#define HV_MSR(first, last, msr) {Name::first, Name::last, get_msr<msr>, set_msr<msr>}
#define HV_VMCB(name, member, check) \
  HV_ONE(name, get_vmcb<&Vmcb::member>, set_vmcb<&Vmcb::member, check>)
#define HV_VCPU(name, member, check) \
  HV_ONE(name, get_vcpu<&Vcpu::member>, set_vcpu<&Vcpu::member, check>)
#define HV_SEGMENT(name, member) \
  HV_ONE(name, get_segment<&Vmcb::member>, set_segment<&Vmcb::member>)

constexpr Row kRows[] = {
    HV_ONE(HvRegisterExplicitSuspend, get_suspension<VpSuspend::explicit_suspend>,
           set_suspension<VpSuspend::explicit_suspend>),
    HV_ONE(HvRegisterInterceptSuspend, get_suspension<VpSuspend::intercept_suspend>,
           set_suspension<VpSuspend::intercept_suspend>),
    HV_ONE(HvRegisterInternalActivityState, get_activity, set_activity),
    HV_ONE(HvRegisterHypervisorVersion, get_cpuid<0x40000002>, refuse),
    {Name::HvRegisterPrivilegesAndFeaturesInfo, Name::HvRegisterIsolationConfiguration,
     get_cpuid<0x40000003>, refuse},
    {Name::HvRegisterGuestCrashP0, Name::HvRegisterGuestCrashCtl, get_crash, set_crash},
    HV_ONE(HvRegisterPendingInterruption, get_pending_interruption, set_pending_interruption),
    HV_ONE(HvRegisterInterruptState, get_interrupt_state, set_interrupt_state),
    HV_ONE(HvRegisterPendingEvent0, get_pending_event, set_pending_event),
    HV_ONE(HvRegisterPendingEvent1, get_zero, set_zero),
    HV_ONE(HvX64RegisterDeliverabilityNotifications, get_notifications, set_notifications),
    {Name::HvX64RegisterRax, Name::HvX64RegisterR15, get_gpr, set_gpr},
    HV_VMCB(HvX64RegisterRip, rip, any),
    HV_ONE(HvX64RegisterRflags, get_vmcb<&Vmcb::rflags>, set_rflags),
    {Name::HvX64RegisterXmm0, Name::HvX64RegisterXmm15, get_xmm, set_xmm},
    {Name::HvX64RegisterFpMmx0, Name::HvX64RegisterFpMmx7, get_st, set_st},
    HV_ONE(HvX64RegisterFpControlStatus, get_fp_control, set_fp_control),
    HV_ONE(HvX64RegisterXmmControlStatus, get_xmm_control, set_xmm_control),
    HV_ONE(HvX64RegisterCr0, get_vmcb<&Vmcb::cr0>, set_cr0),
    HV_VMCB(HvX64RegisterCr2, cr2, any),
    HV_ONE(HvX64RegisterCr3, get_vmcb<&Vmcb::cr3>, set_cr3),
    HV_ONE(HvX64RegisterCr4, get_vmcb<&Vmcb::cr4>, set_cr4),
    HV_ONE(HvX64RegisterCr8, get_cr8, set_cr8),
    HV_VCPU(HvX64RegisterXfem, xcr0, xcr0),
    {Name::HvX64RegisterDr0, Name::HvX64RegisterDr3, get_dr, set_dr},
    HV_ONE(HvX64RegisterDr6, get_vmcb<&Vmcb::dr6>, set_dr6),
    HV_ONE(HvX64RegisterDr7, get_vmcb<&Vmcb::dr7>, set_dr7),
    HV_SEGMENT(HvX64RegisterEs, es),
    HV_SEGMENT(HvX64RegisterCs, cs),
    HV_ONE(HvX64RegisterSs, get_ss, set_ss),
    HV_SEGMENT(HvX64RegisterDs, ds),
    HV_SEGMENT(HvX64RegisterFs, fs),
    HV_SEGMENT(HvX64RegisterGs, gs),
    HV_SEGMENT(HvX64RegisterLdtr, ldtr),
    HV_SEGMENT(HvX64RegisterTr, tr),
    HV_ONE(HvX64RegisterIdtr, get_table<&Vmcb::idtr>, set_table<&Vmcb::idtr>),
    HV_ONE(HvX64RegisterGdtr, get_table<&Vmcb::gdtr>, set_table<&Vmcb::gdtr>),
    HV_ONE(HvX64RegisterTsc, get_tsc, set_tsc),
    HV_ONE(HvX64RegisterEfer, get_efer, set_efer),
    HV_VMCB(HvX64RegisterKernelGsBase, kernel_gs_base, canonical),
    HV_MSR(HvX64RegisterApicBase, HvX64RegisterApicBase, x86::msr::kApicBase),
    HV_VMCB(HvX64RegisterPat, pat, memory_types),
    HV_VMCB(HvX64RegisterSysenterCs, sysenter_cs, any),
    HV_VMCB(HvX64RegisterSysenterEip, sysenter_eip, canonical),
    HV_VMCB(HvX64RegisterSysenterEsp, sysenter_esp, canonical),
    HV_VMCB(HvX64RegisterStar, star, any),
    HV_VMCB(HvX64RegisterLstar, lstar, canonical),
    HV_VMCB(HvX64RegisterCstar, cstar, canonical),
    HV_VMCB(HvX64RegisterSfmask, sfmask, any),
    HV_ONE(HvX64RegisterInitialApicId, get_apic_id, set_apic_id),
    HV_MSR(HvX64RegisterMsrMtrrCap, HvX64RegisterMsrMtrrCap, x86::msr::kMtrrCap),
    HV_MSR(HvX64RegisterMsrMtrrDefType, HvX64RegisterMsrMtrrDefType, x86::msr::kMtrrDefType),
    {Name::HvX64RegisterMsrMtrrPhysBase0, after(Name::HvX64RegisterMsrMtrrPhysBase0, 7),
     get_msr<0x200, 2>, set_msr<0x200, 2>},
    {Name::HvX64RegisterMsrMtrrPhysMask0, after(Name::HvX64RegisterMsrMtrrPhysMask0, 7),
     get_msr<0x201, 2>, set_msr<0x201, 2>},
    HV_MSR(HvX64RegisterMsrMtrrFix64k00000, HvX64RegisterMsrMtrrFix64k00000, 0x250),
    HV_MSR(HvX64RegisterMsrMtrrFix16k80000, HvX64RegisterMsrMtrrFix16kA0000, 0x258),
    HV_MSR(HvX64RegisterMsrMtrrFix4kC0000, HvX64RegisterMsrMtrrFix4kF8000, 0x268),
    HV_VCPU(HvX64RegisterTscAux, tsc_aux, fits32),
    HV_MSR(HvX64RegisterDebugCtl, HvX64RegisterDebugCtl, x86::msr::kDebugCtl),
    HV_ONE(HvX64RegisterSpecCtrl, get_zero, set_zero),
    HV_MSR(HvX64RegisterMsrMcUpdatePatchLevel, HvX64RegisterMsrMcUpdatePatchLevel,
           x86::msr::kMicrocode),
    HV_MSR(HvX64RegisterXss, HvX64RegisterXss, x86::msr::kXss),
    HV_MSR(HvX64RegisterTscDeadline, HvX64RegisterTscDeadline, x86::msr::kTscDeadline),
    HV_VCPU(HvX64RegisterTscAdjust, tsc_adjust, any),
    HV_VCPU(HvX64RegisterMsrIa32MiscEnable, misc_enable, fits32),
    {Name::HvX64RegisterApicId, Name::HvX64RegisterApicVersion, get_apic<x86::apic_register::kId>,
     refuse},
    HV_ONE(HvX64RegisterApicTpr, get_tpr, set_tpr),
    {Name::HvX64RegisterApicPpr, Name::HvX64RegisterApicSelfIpi, get_apic<x86::apic_register::kPpr>,
     refuse},
    HV_MSR(HvRegisterVpRuntime, HvRegisterVpRuntime, abi::kHvX64MsrVpRuntime),
    HV_MSR(HvX64RegisterHypercall, HvX64RegisterHypercall, abi::kHvX64MsrHypercall),
    HV_ONE(HvRegisterGuestOsId, get_msr<abi::kHvX64MsrGuestOsId>, set_os_id),
    HV_MSR(HvRegisterVpIndex, HvRegisterVpIndex, abi::kHvX64MsrVpIndex),
    HV_MSR(HvRegisterTimeRefCount, HvRegisterTimeRefCount, abi::kHvX64MsrTimeRefCount),
    HV_ONE(HvX64RegisterIcr, get_apic<x86::apic_register::kIcr>, refuse),
    HV_ONE(HvX64RegisterTpr, get_tpr, set_tpr),
    HV_MSR(HvRegisterVpAssistPage, HvRegisterVpAssistPage, abi::kHvX64MsrVpAssistPage),
    HV_MSR(HvRegisterReferenceTsc, HvRegisterReferenceTsc, abi::kHvX64MsrReferenceTsc),
    HV_MSR(HvRegisterSint0, HvRegisterSint15, abi::kHvX64MsrSint0),
    HV_MSR(HvRegisterScontrol, HvRegisterSirbp, abi::kHvX64MsrScontrol),
    HV_MSR(HvRegisterStimer0Config, HvRegisterStimer3Count, abi::kHvX64MsrStimer0Config),
};

#undef HV_SEGMENT
#undef HV_VCPU
#undef HV_VMCB
#undef HV_MSR
#undef HV_ONE

static_assert(
    [] {
      for (size_t i = 0; i < std::size(kRows); ++i)
        if (kRows[i].last < kRows[i].first || (i != 0 && kRows[i].first <= kRows[i - 1].last))
          return false;
      return true;
    }(),
    "find() needs rows in ascending order");

const Row* find(Name name) {
  const Row* row = std::upper_bound(std::begin(kRows), std::end(kRows), name,
                                    [](Name n, const Row& r) { return n < r.first; });
  return row != std::begin(kRows) && name <= row[-1].last ? row - 1 : nullptr;
}

uint32_t index_in(const Row& row, Name name) {
  return static_cast<uint32_t>(name) - static_cast<uint32_t>(row.first);
}

}  // namespace

abi::HvX64SegmentRegister to_abi(const Segment& s) {
  const uint64_t attributes = AbiHighAttributes::set(LowAttributes::get(s.attributes),
                                                     VmcbHighAttributes::get(s.attributes));
  return {.base = s.base,
          .limit = s.limit,
          .selector = s.selector,
          .attributes = static_cast<uint16_t>(attributes)};
}

}  // namespace hv::svm

namespace hv::arch {

Result<abi::HvRegisterValue> get_register(Vp& vp, abi::HvRegisterName name) {
  x86::Vcpu& vcpu = x86::as_vcpu(vp);
  const svm::Row* const row = svm::find(name);
  if (!row) return fail(Error::invalid_parameter);
  return row->get(vcpu, svm::index_in(*row, name));
}

Result<> set_register(Vp& vp, abi::HvRegisterName name, const abi::HvRegisterValue& value) {
  x86::Vcpu& vcpu = x86::as_vcpu(vp);
  const svm::Row* const row = svm::find(name);
  if (!row) return fail(Error::invalid_parameter);
  return row->set(vcpu, svm::index_in(*row, name), value);
}

void fill_intercept_header(Vp& vp, uint8_t instruction_length, uint8_t access,
                           abi::HvX64InterceptMessageHeader& header) {
  const x86::Vcpu& vcpu = x86::as_vcpu(vp);
  const svm::Vmcb& v = *vcpu.vmcb;
  const auto flag = [](unsigned bit, bool set) { return static_cast<unsigned>(set) << bit; };
  constexpr uint64_t kBreakpointsEnabled = base::Field<7, 0>::kMask;
  const unsigned state = v.cpl | flag(abi::kHvExecutionCr0PeBit, (v.cr0 & x86::cr0::kPe) != 0) |
                         flag(abi::kHvExecutionCr0AmBit, (v.cr0 & x86::cr0::kAm) != 0) |
                         flag(abi::kHvExecutionEferLmaBit, (v.efer & x86::efer::kLma) != 0) |
                         flag(abi::kHvExecutionDebugActiveBit, (v.dr7 & kBreakpointsEnabled) != 0) |
                         flag(abi::kHvExecutionInterruptionPendingBit, vcpu.event.valid()) |
                         flag(abi::kHvExecutionInterruptShadowBit, (v.interrupt_shadow & 1) != 0);
  const unsigned cr8 = vcpu.apic.tpr() >> 4;
  header = {.vp_index = vcpu.index.value(),
            .instruction_length_and_cr8 =
                static_cast<uint8_t>(instruction_length << abi::kHvInterceptInstructionLengthShift |
                                     cr8 << abi::kHvInterceptCr8Shift),
            .intercept_access_type = static_cast<abi::HvInterceptAccessType>(access),
            .execution_state = static_cast<uint16_t>(state),
            .cs_segment = svm::to_abi(v.cs),
            .rip = v.rip,
            .rflags = v.rflags};
}

}  // namespace hv::arch
