// SPDX-License-Identifier: MIT
// Fills intercept messages from the control block.

#include "hypervisor/arch/x86/svm/message.h"

#include <cstring>

#include "hypervisor/arch/x86/xsave.h"
#include "hypervisor/core/arch.h"

namespace hv::svm {
namespace {

using Access = abi::HvInterceptAccessType;

void fill_header(Vcpu& vcpu, uint8_t length, Access access,
                 abi::HvX64InterceptMessageHeader& header) {
  arch::fill_intercept_header(vcpu, length, static_cast<uint8_t>(access), header);
}

template <class Payload>
void send(Vcpu& vcpu, abi::HvMessageType type, const Payload& payload) {
  abi::HvMessage message = make_message(type, payload);
  deliver_intercept(vcpu, message);
}

}  // namespace

void report_io(Vcpu& vcpu) {
  const Vmcb& v = *vcpu.vmcb;
  const uint64_t info = v.exit_info1;
  abi::HvX64IoPortInterceptMessage m{};
  const auto length = static_cast<uint8_t>(v.exit_info2 - v.rip);
  fill_header(
      vcpu, length,
      IoExit::In::test(info) ? Access::HvInterceptAccessRead : Access::HvInterceptAccessWrite,
      m.header);
  m.port_number = static_cast<uint16_t>(IoExit::Port::get(info));
  m.access_info = static_cast<uint8_t>(IoExit::Size::get(info) |
                                       IoExit::String::get(info) << abi::kHvIoPortStringOpBit |
                                       IoExit::Rep::get(info) << abi::kHvIoPortRepPrefixBit);
  m.rax = v.rax;
  if (IoExit::String::test(info)) {
    uint8_t bytes[15];
    m.instruction_byte_count = static_cast<uint8_t>(fetch_bytes(vcpu, bytes));
    memcpy(m.instruction_bytes, bytes, m.instruction_byte_count);
    m.ds_segment = to_abi(v.ds);
    m.es_segment = to_abi(v.es);
    m.rcx = vcpu.gpr[x86::kRcx];
    m.rsi = vcpu.gpr[x86::kRsi];
    m.rdi = vcpu.gpr[x86::kRdi];
  }
  send(vcpu, abi::HvMessageType::HvMessageTypeX64IoPortIntercept, m);
}

void report_memory(Vcpu& vcpu, Gpa address, Access access) {
  abi::HvX64MemoryInterceptMessage m{};
  uint8_t bytes[15];
  const auto count = static_cast<uint8_t>(fetch_bytes(vcpu, bytes));
  base::x86::Instruction instruction;
  const bool decoded = base::x86::decode({bytes, count}, code_mode(vcpu), instruction) ==
                       base::x86::DecodeStatus::kOk;
  fill_header(vcpu, decoded ? instruction.length : 0, access, m.header);
  m.cache_type = abi::HvCacheType::HvCacheTypeWriteBack;
  m.instruction_byte_count = count;
  memcpy(m.instruction_bytes, bytes, count);
  m.tpr_priority = static_cast<uint8_t>(vcpu.apic.tpr() >> 4);
  m.guest_physical_address = address.value();
  const bool backed = vcpu.partition.space.lookup(address).has_value();
  send(vcpu,
       backed ? abi::HvMessageType::HvMessageTypeGpaIntercept
              : abi::HvMessageType::HvMessageTypeUnmappedGpa,
       m);
}

void report_msr(Vcpu& vcpu, uint32_t msr, bool write, uint8_t length) {
  abi::HvX64MsrInterceptMessage m{};
  fill_header(vcpu, length, write ? Access::HvInterceptAccessWrite : Access::HvInterceptAccessRead,
              m.header);
  m.msr_number = msr;
  m.rdx = vcpu.gpr[x86::kRdx];
  m.rax = vcpu.vmcb->rax;
  send(vcpu, abi::HvMessageType::HvMessageTypeX64MsrIntercept, m);
}

void report_cpuid(Vcpu& vcpu, const cpu::CpuidResult& result, uint8_t length) {
  abi::HvX64CpuidInterceptMessage m{};
  fill_header(vcpu, length, Access::HvInterceptAccessExecute, m.header);
  m.rax = vcpu.vmcb->rax;
  m.rcx = vcpu.gpr[x86::kRcx];
  m.rdx = vcpu.gpr[x86::kRdx];
  m.rbx = vcpu.gpr[x86::kRbx];
  m.default_result_rax = result.eax;
  m.default_result_rcx = result.ecx;
  m.default_result_rdx = result.edx;
  m.default_result_rbx = result.ebx;
  send(vcpu, abi::HvMessageType::HvMessageTypeX64CpuidIntercept, m);
}

void report_exception(Vcpu& vcpu, uint8_t vector, bool has_code) {
  const Vmcb& v = *vcpu.vmcb;
  abi::HvX64ExceptionInterceptMessage m{};
  fill_header(vcpu, 0, Access::HvInterceptAccessExecute, m.header);
  m.exception_vector = vector;
  m.exception_info = static_cast<uint8_t>(has_code << abi::kHvExceptionErrorCodeValidBit);
  m.error_code = has_code ? static_cast<uint32_t>(v.exit_info1) : 0;
  if (vector == x86::vector::kPf) m.exception_parameter = v.exit_info2;
  if (vector == x86::vector::kDb) m.exception_parameter = v.dr6;
  uint8_t bytes[15];
  m.instruction_byte_count = static_cast<uint8_t>(fetch_bytes(vcpu, bytes));
  memcpy(m.instruction_bytes, bytes, m.instruction_byte_count);
  m.ds_segment = to_abi(v.ds);
  m.ss_segment = to_abi(v.ss);
  memcpy(m.gp_registers, vcpu.gpr.data(), sizeof(m.gp_registers));
  m.gp_registers[x86::kRax] = v.rax;
  m.gp_registers[x86::kRsp] = v.rsp;
  send(vcpu, abi::HvMessageType::HvMessageTypeX64ExceptionIntercept, m);
}

void report_hypercall(Vcpu& vcpu, uint8_t length) {
  abi::HvX64HypercallInterceptMessage m{};
  fill_header(vcpu, length, Access::HvInterceptAccessExecute, m.header);
  m.rax = vcpu.vmcb->rax;
  m.rbx = vcpu.gpr[x86::kRbx];
  m.rcx = vcpu.gpr[x86::kRcx];
  m.rdx = vcpu.gpr[x86::kRdx];
  m.r8 = vcpu.gpr[x86::kR8];
  m.rsi = vcpu.gpr[x86::kRsi];
  m.rdi = vcpu.gpr[x86::kRdi];
  x86::save_state(vcpu);
  const x86::XsaveArea& area = x86::xsave_area(vcpu);
  if ((area.xstate_bv & x86::xstate::kSse) != 0)
    memcpy(m.xmm_registers, area.xmm, sizeof(m.xmm_registers));
  send(vcpu, abi::HvMessageType::HvMessageTypeHypercallIntercept, m);
}

void report_unrecoverable(Vcpu& vcpu) {
  abi::HvX64InterceptMessageHeader m{};
  fill_header(vcpu, 0, Access::HvInterceptAccessExecute, m);
  send(vcpu, abi::HvMessageType::HvMessageTypeUnrecoverableException, m);
}

}  // namespace hv::svm
