// SPDX-License-Identifier: MIT
// Carries out the data access of an intercepted instruction on something that is no memory.
#pragma once

#include "base/x86/access.h"
#include "hypervisor/arch/x86/svm/svm.h"

namespace hv::svm {

// `bus` as execute_memory_access() wants it; it refuses addresses that are not its own. False: the
// instruction is none that can be carried out, or the bus refused; nothing has changed.
template <class Bus>
bool carry_out_access(Vcpu& vcpu, const base::x86::Instruction& instruction, Bus&& bus) {
  using Status = base::x86::AccessStatus;
  Vmcb& v = *vcpu.vmcb;
  vcpu.gpr[x86::kRax] = v.rax;
  vcpu.gpr[x86::kRsp] = v.rsp;
  base::x86::AccessState state{
      .gpr = vcpu.gpr.data(),
      .rip = v.rip,
      .rflags = v.rflags,
      .segment_base = {v.es.base, v.cs.base, v.ss.base, v.ds.base, v.fs.base, v.gs.base},
      .mode = code_mode(vcpu)};
  const Status status = base::x86::execute_memory_access(instruction, state, bus);
  if (status != Status::kDone && status != Status::kRepeat) return false;
  v.rax = vcpu.gpr[x86::kRax];
  v.rsp = vcpu.gpr[x86::kRsp];
  v.rflags = state.rflags;
  complete_instruction(vcpu, status == Status::kDone ? instruction.length : 0);
  return true;
}

}  // namespace hv::svm
