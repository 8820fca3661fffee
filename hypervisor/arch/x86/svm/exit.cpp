// SPDX-License-Identifier: MIT
// Exit dispatch: each case names a handler. Handlers that emulate an instruction read and check it
// first; where that fails the guest simply executes again.

#include "abi/tlfs/hypercall.h"
#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/lazy_eoi.h"
#include "hypervisor/arch/x86/machine.h"
#include "hypervisor/arch/x86/msr.h"
#include "hypervisor/arch/x86/svm/apic_page.h"
#include "hypervisor/arch/x86/svm/memory_access.h"
#include "hypervisor/arch/x86/svm/message.h"
#include "hypervisor/arch/x86/xsave.h"
#include "hypervisor/core/hypercall.h"
#include "hypervisor/core/log.h"
#include "hypervisor/core/scheduler.h"

namespace hv::svm {
namespace {

using base::x86::Instruction;
using base::x86::Op;
using x86::PendingEvent;

void inject_gp(Vcpu& vcpu) {
  x86::inject_exception(vcpu, PendingEvent::exception(x86::vector::kGp, 0));
}
void inject_ud(Vcpu& vcpu) {
  x86::inject_exception(vcpu, PendingEvent::exception(x86::vector::kUd));
}

void on_cpuid(Vcpu& vcpu) {
  const uint8_t length = intercepted_length(vcpu, Op::kCpuid);
  if (!length) return;
  ++vcpu.counters.cpuid;
  Vmcb& v = *vcpu.vmcb;
  const auto leaf = static_cast<uint32_t>(v.rax);
  const auto subleaf = static_cast<uint32_t>(vcpu.gpr[x86::kRcx]);
  cpu::CpuidResult r = x86::guest_cpuid(vcpu, leaf, subleaf);
  if (const InterceptTable& intercepts = vcpu.partition.intercepts; intercepts.knows_cpuid())
      [[unlikely]] {
    std::array<uint32_t, 4> registers = {r.eax, r.ebx, r.ecx, r.edx};
    intercepts.override_cpuid(vcpu.index, leaf, subleaf, registers);
    r = {registers[0], registers[1], registers[2], registers[3]};
    if (intercepts.installed(abi::HvInterceptType::HvInterceptTypeX64Cpuid, leaf))
      return report_cpuid(vcpu, r, length);
  }
  v.rax = r.eax;
  vcpu.gpr[x86::kRbx] = r.ebx;
  vcpu.gpr[x86::kRcx] = r.ecx;
  vcpu.gpr[x86::kRdx] = r.edx;
  complete_instruction(vcpu, length);
}

constexpr uint32_t access_mask(bool write) {
  return write ? abi::kHvInterceptAccessWriteMask : abi::kHvInterceptAccessReadMask;
}

bool parent_wants(const Vcpu& vcpu, abi::HvInterceptType type, uint64_t parameter,
                  uint32_t access) {
  return !vcpu.partition.is_root() &&
         (vcpu.partition.intercepts.installed(type, parameter) & access) != 0;
}

// One line for each MSR that nobody implements, while there is room to remember it.
void log_unknown_msr(const Vcpu& vcpu, uint32_t msr, bool write) {
  static std::atomic<uint32_t> seen[32];
  for (auto& slot : seen) {
    uint32_t empty = 0;
    if (slot.load(std::memory_order_relaxed) == msr) return;
    if (slot.compare_exchange_strong(empty, msr))
      return log(LogLevel::info, "partition {}: {} of unknown MSR {x} raises #GP",
                 vcpu.partition.id.value(), write ? "write" : "read", msr);
    if (empty == msr) return;
  }
}

// The parent may want to see it, or have it read zero and ignore writes; else it does not exist.
void on_unknown_msr(Vcpu& vcpu, uint32_t msr, bool write, uint8_t length) {
  const uint32_t access = access_mask(write);
  if (parent_wants(vcpu, abi::HvInterceptType::HvInterceptTypeX64Msr, 0, access))
    return report_msr(vcpu, msr, write, length);
  const auto action =
      static_cast<abi::HvUnimplementedMsrAction>(vcpu.partition.unimplemented_msr_action.load());
  if (action == abi::HvUnimplementedMsrAction::HvUnimplementedMsrActionFault &&
      !vcpu.partition.intercepts.ignores_msr(msr, access)) {
    log_unknown_msr(vcpu, msr, write);
    return inject_gp(vcpu);
  }
  if (!write) vcpu.vmcb->rax = vcpu.gpr[x86::kRdx] = 0;
  complete_instruction(vcpu, length);
}

Result<> read_msr_into(Vcpu& vcpu, uint32_t msr, uint64_t& value) {
  HV_TRY_ASSIGN(value, x86::read_msr(vcpu, msr));
  return {};
}

void on_msr(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  const bool write = v.exit_info1 & 1;
  const uint8_t length = intercepted_length(vcpu, write ? Op::kWrmsr : Op::kRdmsr);
  if (!length) return;
  ++vcpu.counters.msr;
  const auto msr = static_cast<uint32_t>(vcpu.gpr[x86::kRcx]);
  if (parent_wants(vcpu, abi::HvInterceptType::HvInterceptTypeX64MsrIndex, msr, access_mask(write)))
    return report_msr(vcpu, msr, write, length);
  uint64_t value =
      static_cast<uint32_t>(v.rax) | uint64_t{static_cast<uint32_t>(vcpu.gpr[x86::kRdx])} << 32;
  const Result<> done = write ? x86::write_msr(vcpu, msr, value) : read_msr_into(vcpu, msr, value);
  if (!done && done.error() == Error::retry) return;
  if (!done && done.error() == Error::not_found) return on_unknown_msr(vcpu, msr, write, length);
  if (!done) return inject_gp(vcpu);
  if (!write) {
    v.rax = static_cast<uint32_t>(value);
    vcpu.gpr[x86::kRdx] = value >> 32;
  }
  complete_instruction(vcpu, length);
}

// What the parent of a child serves in the hypervisor's place: calls with a code that is unknown
// here, and those that name a connection or a device of its own.
bool report_hypercall_to_parent(Vcpu& vcpu, uint64_t control, uint64_t result, uint8_t length) {
  using Type = abi::HvInterceptType;
  using Call = abi::HvCall;
  const auto code = static_cast<Call>(static_cast<uint16_t>(control));
  const auto status = static_cast<abi::HvStatus>(static_cast<uint16_t>(result));
  Type type = Type::HvInterceptTypeHypercall;
  if (status == abi::HvStatus::kInvalidConnectionId &&
      (code == Call::HvCallPostMessage || code == Call::HvCallSignalEvent))
    type = Type::HvInterceptTypeUnknownSynicConnection;
  else if (status == abi::HvStatus::kNotFound && code == Call::HvCallRetargetDeviceInterrupt)
    type = Type::HvInterceptTypeRetargetInterruptWithUnknownDeviceId;
  else if (status != abi::HvStatus::kInvalidHypercallCode)
    return false;
  if (!parent_wants(vcpu, type, 0, abi::kHvInterceptAccessExecuteMask)) return false;
  report_hypercall(vcpu, length);
  return true;
}

void on_hypercall(Vcpu& vcpu) {
  const uint8_t length = intercepted_length(vcpu, Op::kVmmcall);
  if (!length) return;
  Vmcb& v = *vcpu.vmcb;
  if (v.cpl != 0 || !(v.cr0 & x86::cr0::kPe)) return inject_ud(vcpu);
  if (!(vcpu.partition.hypercall_msr.load(std::memory_order_relaxed) & 1)) return inject_ud(vcpu);
  const bool wide = code_mode(vcpu) == base::x86::Mode::k64;
  const auto pair = [](uint64_t high, uint64_t low) {
    return high << 32 | static_cast<uint32_t>(low);
  };
  // 32-bit callers pass halves: EDX:EAX, EBX:ECX, EDI:ESI [TLFS 3.7].
  const HypercallRegisters in =
      wide ? HypercallRegisters{vcpu.gpr[x86::kRcx], vcpu.gpr[x86::kRdx], vcpu.gpr[x86::kR8]}
           : HypercallRegisters{pair(vcpu.gpr[x86::kRdx], v.rax),
                                pair(vcpu.gpr[x86::kRbx], vcpu.gpr[x86::kRcx]),
                                pair(vcpu.gpr[x86::kRdi], vcpu.gpr[x86::kRsi])};
  const HypercallResult out = dispatch_hypercall(vcpu, in);
  if (out.restart) {
    if (wide) {
      vcpu.gpr[x86::kRcx] = out.control;
    } else {
      v.rax = static_cast<uint32_t>(out.control);
      vcpu.gpr[x86::kRdx] = out.control >> 32;
    }
    return;
  }
  if (out.value != 0 && report_hypercall_to_parent(vcpu, in.control, out.value, length)) return;
  v.rax = wide ? out.value : static_cast<uint32_t>(out.value);
  if (!wide) vcpu.gpr[x86::kRdx] = out.value >> 32;
  complete_instruction(vcpu, length);
}

void on_hlt(Vcpu& vcpu) {
  const uint8_t length = intercepted_length(vcpu, Op::kHlt);
  if (!length) return;
  ++vcpu.counters.halts;
  complete_instruction(vcpu, length);
  vcpu.add(VpSuspend::halted);
  // What is already pending ends the halt at once.
  vcpu.requests.fetch_or(static_cast<uint64_t>(VpRequest::evaluate));
}

// The root may not touch the hypervisor's own console: it reads as absent.
void on_root_io(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  if (IoExit::String::test(v.exit_info1)) return inject_gp(vcpu);
  if (IoExit::In::test(v.exit_info1)) {
    const uint64_t bytes = IoExit::Size::get(v.exit_info1);
    const uint64_t mask = bytes == 1 ? 0xff : bytes == 2 ? 0xffff : 0xffffffff;
    v.rax = (bytes == 4 ? 0 : v.rax) | mask;
  }
  complete_instruction(vcpu, static_cast<uint8_t>(v.exit_info2 - v.rip));
}

void on_io(Vcpu& vcpu) {
  if (vcpu.partition.is_root()) return on_root_io(vcpu);
  report_io(vcpu);
}

void on_root_fault(Vcpu& vcpu, Gpa address) {
  if (x86::map_root_device_memory(address)) return;
  static RateLimit limit(1, 600'000'000);
  if (limit.allow(time_scale.ticks_to_100ns(read_tsc())))
    log(LogLevel::warning, "root VP {} touched the hypervisor's memory at {x}, rip {x}: #GP",
        vcpu.index.value(), address.value(), vcpu.vmcb->rip);
  inject_gp(vcpu);
}

struct DoorbellBus {
  Partition& child;
  Gpa address;

  bool read(uint64_t, unsigned, uint64_t&) const { return false; }
  bool write(uint64_t linear, unsigned size, uint64_t value) const {
    return linear % kPageSize == address.offset() && ring_doorbell(child, address, size, value);
  }
};

// A write to a doorbell needs no message.
bool on_doorbell(Vcpu& vcpu, Gpa address) {
  Instruction instruction;
  return vcpu.partition.ports.has_doorbells() && fetch_instruction(vcpu, instruction) &&
         carry_out_access(vcpu, instruction, DoorbellBus{vcpu.partition, address});
}

void on_nested_fault(Vcpu& vcpu) {
  ++vcpu.counters.faults;
  const Vmcb& v = *vcpu.vmcb;
  const Gpa address(v.exit_info2);
  if (vcpu.partition.is_root()) return on_root_fault(vcpu, address);
  if (emulate_apic_access(vcpu, address)) return;
  const bool write = NestedFault::Write::test(v.exit_info1);
  if (write && on_doorbell(vcpu, address)) return;
  report_memory(vcpu, address,
                write ? abi::HvInterceptAccessType::HvInterceptAccessWrite
                : NestedFault::Execute::test(v.exit_info1)
                    ? abi::HvInterceptAccessType::HvInterceptAccessExecute
                    : abi::HvInterceptAccessType::HvInterceptAccessRead);
}

void on_xsetbv(Vcpu& vcpu) {
  const uint8_t length = intercepted_length(vcpu, Op::kXsetbv);
  if (!length) return;
  Vmcb& v = *vcpu.vmcb;
  if (!(v.cr4 & x86::cr4::kOsxsave)) return inject_ud(vcpu);
  const uint64_t value =
      static_cast<uint32_t>(v.rax) | uint64_t{static_cast<uint32_t>(vcpu.gpr[x86::kRdx])} << 32;
  if (v.cpl != 0 || static_cast<uint32_t>(vcpu.gpr[x86::kRcx]) != 0 || !x86::valid_xcr0(value))
    return inject_gp(vcpu);
  vcpu.xcr0 = value;
  cpu::xsetbv0(value);
  complete_instruction(vcpu, length);
}

// Caches are the root's business; a child that flushes them only slows others.
// An emulator is known that reports INVD as WBINVD.
void on_cache_flush(Vcpu& vcpu) {
  Instruction instruction;
  if (!fetch_instruction(vcpu, instruction)) return;
  if (instruction.op == Op::kWbinvd || instruction.op == Op::kInvd)
    complete_instruction(vcpu, instruction.length);
}

// NMIs stay blocked until the IRET is done. It is when an exit finds the guest elsewhere, and with
// an NMI pending there is one soon.
void on_iret(Vcpu& vcpu) {
  vcpu.iret_rip = vcpu.vmcb->rip;
  vcpu.iret_under_way = true;
  vcpu.vmcb->intercept3 &= ~intercept3::kIret;
  deadline_changed(vcpu);
}

void unblock_nmis(Vcpu& vcpu) {
  if (vcpu.vmcb->rip == vcpu.iret_rip) return;
  vcpu.iret_under_way = vcpu.nmi_blocked = false;
  deadline_changed(vcpu);
}

constexpr uint32_t kExceptionsWithCode = 1u << x86::vector::kDf | 0x1fu << 10 | 1u << 17 | 1u << 21;

// Parents may ask for any exception. Two are intercepted always, so that a guest whose delivery of
// one raises it again, and so on, does not keep the processor to itself; DR6 and DR7 are as its
// handler shall find them [APM2 15.12.2].
void on_exception(Vcpu& vcpu, uint8_t vector) {
  Vmcb& v = *vcpu.vmcb;
  const bool has_code = kExceptionsWithCode >> vector & 1;
  if (parent_wants(vcpu, abi::HvInterceptType::HvInterceptTypeException, vector,
                   abi::kHvInterceptAccessExecuteMask))
    return report_exception(vcpu, vector, has_code);
  // The intercept is gone meanwhile: INT3 and INTO are executed again, faults delivered.
  if (vector == 3 || vector == 4) return;
  if (vector == x86::vector::kPf) v.cr2 = v.exit_info2;
  x86::inject_exception(
      vcpu, has_code ? PendingEvent::exception(vector, static_cast<uint32_t>(v.exit_info1))
                     : PendingEvent::exception(vector));
}

void on_machine_check(Vcpu& vcpu) {
  // The banks are the root's to read; a child never sees the host's errors.
  if (Vp* root_vp = root_partition->vp(VpIndex{this_lp().index.value()})) {
    x86::inject_exception(x86::as_vcpu(*root_vp), PendingEvent::exception(x86::vector::kMc));
    post_request(*root_vp, VpRequest::evaluate);
  }
}

void on_unexpected(Vcpu& vcpu) {
  const Vmcb& v = *vcpu.vmcb;
  static RateLimit limit(4, 10'000'000);
  if (limit.allow(time_scale.ticks_to_100ns(read_tsc())))
    log(LogLevel::error,
        "partition {} VP {}: exit {x} ({x}, {x}) at rip {x} cr0 {x} cr4 {x} efer {x}",
        vcpu.partition.id.value(), vcpu.index.value(), v.exit_code, v.exit_info1, v.exit_info2,
        v.rip, v.cr0, v.cr4, v.efer);
  x86::triple_fault(vcpu);
}

void on_other(Vcpu& vcpu) {
  const uint64_t vector = vcpu.vmcb->exit_code - static_cast<uint64_t>(Exit::exception_first);
  return vector < 32 ? on_exception(vcpu, static_cast<uint8_t>(vector)) : on_unexpected(vcpu);
}

}  // namespace

void handle_exit(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  ++vcpu.counters.exits;
  const uint64_t guest_tpr = VirtualInterrupt::Tpr::get(v.virtual_interrupt) << 4;
  if (guest_tpr != (vcpu.apic.tpr() & 0xf0)) vcpu.apic.set_tpr(static_cast<uint8_t>(guest_tpr));
  if (vcpu.offered_vector >= 0) settle_injection(vcpu);
  if (vcpu.apic.skip_offered) x86::settle_lazy_eoi(vcpu);
  if (PendingEvent::Valid::test(v.exit_interrupt_info)) [[unlikely]]
    recover_interrupted_event(vcpu);
  if (vcpu.iret_under_way) [[unlikely]]
    unblock_nmis(vcpu);

  switch (static_cast<Exit>(v.exit_code)) {
    case Exit::cpuid:
      return on_cpuid(vcpu);
    case Exit::msr:
      return on_msr(vcpu);
    case Exit::vmmcall:
      return on_hypercall(vcpu);
    case Exit::hlt:
      return on_hlt(vcpu);
    case Exit::io:
      return on_io(vcpu);
    case Exit::nested_page_fault:
      return on_nested_fault(vcpu);
    case Exit::interrupt:
      return cpu::take_interrupts();
    case Exit::nmi:  // taken through the IDT as soon as GIF was set again
    case Exit::init:
      return;
    case Exit::xsetbv:
      return on_xsetbv(vcpu);
    case Exit::wbinvd:
    case Exit::invd:
      return on_cache_flush(vcpu);
    case Exit::iret:
      return on_iret(vcpu);
    case Exit::machine_check:
      return on_machine_check(vcpu);
    case Exit::shutdown:
      return x86::triple_fault(vcpu);
    case Exit::rdpmc:
      return inject_gp(vcpu);
    case Exit::vmrun:
    case Exit::vmload:
    case Exit::vmsave:
    case Exit::stgi:
    case Exit::clgi:
    case Exit::skinit:
    case Exit::invlpga:
    case Exit::monitor:
    case Exit::mwait:
    case Exit::mwait_conditional:
    case Exit::rdpru:
    case Exit::rsm:
      return inject_ud(vcpu);
    default:
      return on_other(vcpu);
  }
}

}  // namespace hv::svm

namespace hv::x86 {

void triple_fault(Vcpu& vcpu) {
  if (vcpu.partition.is_root()) return reset_machine("the root partition shut down");
  svm::report_unrecoverable(vcpu);
}

}  // namespace hv::x86
