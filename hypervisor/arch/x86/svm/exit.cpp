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
#include "hypervisor/arch/x86/svm/message.h"
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
  if (vcpu.partition.intercepts.overrides_cpuid()) [[unlikely]] {
    std::array<uint32_t, 4> registers = {r.eax, r.ebx, r.ecx, r.edx};
    vcpu.partition.intercepts.override_cpuid(vcpu.index, leaf, subleaf, registers);
    r = {registers[0], registers[1], registers[2], registers[3]};
  }
  v.rax = r.eax;
  vcpu.gpr[x86::kRbx] = r.ebx;
  vcpu.gpr[x86::kRcx] = r.ecx;
  vcpu.gpr[x86::kRdx] = r.edx;
  complete_instruction(vcpu, length);
}

// True if the parent asked to see accesses to this MSR and was told.
bool report_msr_to_parent(Vcpu& vcpu, uint32_t msr, bool write, uint8_t length) {
  if (vcpu.partition.is_root()) return false;
  const uint32_t wanted =
      vcpu.partition.intercepts.installed(abi::HvInterceptType::HvInterceptTypeX64MsrIndex, msr);
  if (!(wanted & (write ? 2u : 1u))) return false;
  report_msr(vcpu, msr, write, length);
  return true;
}

void on_msr(Vcpu& vcpu) {
  Vmcb& v = *vcpu.vmcb;
  const bool write = v.exit_info1 & 1;
  const uint8_t length = intercepted_length(vcpu, write ? Op::kWrmsr : Op::kRdmsr);
  if (!length) return;
  ++vcpu.counters.msr;
  const auto msr = static_cast<uint32_t>(vcpu.gpr[x86::kRcx]);
  if (report_msr_to_parent(vcpu, msr, write, length)) return;
  if (write) {
    const uint64_t value =
        static_cast<uint32_t>(v.rax) | uint64_t{static_cast<uint32_t>(vcpu.gpr[x86::kRdx])} << 32;
    const Result<> done = x86::write_msr(vcpu, msr, value);
    if (!done && done.error() == Error::retry) return;
    if (!done) return inject_gp(vcpu);
  } else {
    const Result<uint64_t> value = x86::read_msr(vcpu, msr);
    if (!value) return inject_gp(vcpu);
    v.rax = static_cast<uint32_t>(*value);
    vcpu.gpr[x86::kRdx] = *value >> 32;
  }
  complete_instruction(vcpu, length);
}

void on_hypercall(Vcpu& vcpu) {
  const uint8_t length = intercepted_length(vcpu, Op::kVmmcall);
  if (!length) return;
  Vmcb& v = *vcpu.vmcb;
  if (v.cpl != 0 || !(v.cr0 & x86::cr0::kPe)) return inject_ud(vcpu);
  if (!(vcpu.partition.hypercall_msr.load(std::memory_order_relaxed) & 1)) return inject_ud(vcpu);
  ++vcpu.counters.hypercalls;
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

// Writes to a doorbell need no message: the value is the instruction's source operand.
bool on_doorbell(Vcpu& vcpu, Gpa address) {
  Instruction instruction;
  if (!fetch_expected(vcpu, Op::kMov, instruction) || !instruction.has_memory) return false;
  const uint64_t value = instruction.form == base::x86::Form::kRmImm
                             ? static_cast<uint64_t>(instruction.immediate)
                             : guest_register(vcpu, instruction.reg);
  if (!ring_doorbell(vcpu.partition, address, instruction.operand_size, value)) return false;
  complete_instruction(vcpu, instruction.length);
  return true;
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
  const bool avx512 = (value & 0xe0) != 0;
  const bool valid = (value & 1) && !(value & ~x86::supported_xcr0()) &&
                     (!(value & 4) || (value & 2)) && (!avx512 || (value & 0xe7) == 0xe7);
  if (v.cpl != 0 || static_cast<uint32_t>(vcpu.gpr[x86::kRcx]) != 0 || !valid)
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

void on_iret(Vcpu& vcpu) {
  vcpu.nmi_blocked = false;
  vcpu.vmcb->intercept3 &= ~intercept3::kIret;
}

void on_machine_check(Vcpu& vcpu) {
  // The banks are the root's to read; a child never sees the host's errors.
  if (Vp* root_vp = root_partition->vp(VpIndex{this_lp().index.value()}))
    x86::inject_exception(x86::as_vcpu(*root_vp), PendingEvent::exception(x86::vector::kMc));
}

void on_unexpected(Vcpu& vcpu) {
  const Vmcb& v = *vcpu.vmcb;
  log(LogLevel::error,
      "partition {} VP {}: exit {x} ({x}, {x}) at rip {x} cr0 {x} cr4 {x} efer {x}",
      vcpu.partition.id.value(), vcpu.index.value(), v.exit_code, v.exit_info1, v.exit_info2, v.rip,
      v.cr0, v.cr4, v.efer);
  x86::triple_fault(vcpu);
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
    case Exit::nmi:
      return x86::take_nmi();
    case Exit::xsetbv:
      return on_xsetbv(vcpu);
    case Exit::wbinvd:
    case Exit::invd:
      return on_cache_flush(vcpu);
    case Exit::iret:
      return on_iret(vcpu);
    case Exit::machine_check:
      return on_machine_check(vcpu);
    // These two are intercepted so that a guest whose delivery of one raises it again, and so on,
    // does not keep the processor to itself; DR6 and DR7 are as its handler shall find them
    // [APM2 15.12.2].
    case Exit::debug_exception:
      return x86::inject_exception(vcpu, PendingEvent::exception(x86::vector::kDb));
    case Exit::alignment_check:
      return x86::inject_exception(
          vcpu, PendingEvent::exception(x86::vector::kAc, static_cast<uint32_t>(v.exit_info1)));
    case Exit::shutdown:
      return x86::triple_fault(vcpu);
    case Exit::init:
      return;
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
      return on_unexpected(vcpu);
  }
}

}  // namespace hv::svm

namespace hv::x86 {

void triple_fault(Vcpu& vcpu) {
  if (vcpu.partition.is_root()) return reset_machine("the root partition shut down");
  svm::report_unrecoverable(vcpu);
}

}  // namespace hv::x86
