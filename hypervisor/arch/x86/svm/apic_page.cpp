// SPDX-License-Identifier: MIT
// The local APIC page: 32-bit accesses, aligned to 16 bytes.

#include "hypervisor/arch/x86/svm/apic_page.h"

#include "hypervisor/arch/x86/msr.h"

namespace hv::svm {

using base::x86::Form;
using base::x86::Instruction;
using base::x86::Op;
using x86::LocalApic;

uint64_t guest_register(const Vcpu& vcpu, unsigned number) {
  if (number == x86::kRax) return vcpu.vmcb->rax;
  if (number == x86::kRsp) return vcpu.vmcb->rsp;
  return vcpu.gpr[number];
}

void set_guest_register(Vcpu& vcpu, unsigned number, uint64_t value) {
  if (number == x86::kRax)
    vcpu.vmcb->rax = value;
  else if (number == x86::kRsp)
    vcpu.vmcb->rsp = value;
  else
    vcpu.gpr[number] = value;
}

bool emulate_apic_access(Vcpu& vcpu, Gpa address) {
  if (vcpu.apic.mode() != LocalApic::Mode::xapic ||
      address.page_base().value() != (vcpu.apic.base() & ~uint64_t{0xfff}))
    return false;
  Instruction instruction;
  if (!fetch_instruction(vcpu, instruction)) return true;
  const auto offset = static_cast<uint32_t>(address.offset());
  if (instruction.op != Op::kMov || instruction.operand_size != 4 || offset % 16 != 0) {
    x86::inject_exception(vcpu, x86::PendingEvent::exception(x86::vector::kGp, 0));
    return true;
  }
  switch (instruction.form) {
    case Form::kRegRm:
      set_guest_register(vcpu, instruction.reg, vcpu.apic.read_mmio(offset));
      break;
    case Form::kAccMem:
      set_guest_register(vcpu, x86::kRax, vcpu.apic.read_mmio(offset));
      break;
    case Form::kRmReg:
    case Form::kMemAcc:
    case Form::kRmImm: {
      const uint64_t value =
          instruction.form == Form::kRmImm    ? static_cast<uint64_t>(instruction.immediate)
          : instruction.form == Form::kMemAcc ? vcpu.vmcb->rax
                                              : guest_register(vcpu, instruction.reg);
      x86::carry_out(vcpu, vcpu.apic.write_mmio(offset, static_cast<uint32_t>(value)));
      break;
    }
    default:
      x86::inject_exception(vcpu, x86::PendingEvent::exception(x86::vector::kGp, 0));
      return true;
  }
  complete_instruction(vcpu, instruction.length);
  return true;
}

}  // namespace hv::svm
