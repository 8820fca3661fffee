// SPDX-License-Identifier: MIT
// Fills intercept messages from the control block.

#include "hypervisor/arch/x86/svm/message.h"

#include <cstring>

#include "hypervisor/core/arch.h"

namespace hv::svm {
namespace {

using Access = abi::HvInterceptAccessType;

void fill_header(Vcpu& vcpu, uint8_t length, Access access,
                 abi::HvX64InterceptMessageHeader& header) {
  arch::fill_intercept_header(vcpu, length, static_cast<uint8_t>(access), header);
}

abi::HvX64SegmentRegister segment(const Segment& s) {
  abi::HvX64SegmentRegister out{};
  out.base = s.base;
  out.limit = s.limit;
  out.selector = s.selector;
  out.attributes = static_cast<uint16_t>((s.attributes & 0xff) | (s.attributes & 0xf00) << 4);
  return out;
}

template <class Payload>
void send(Vcpu& vcpu, abi::HvMessageType type, const Payload& payload) {
  ++vcpu.counters.intercepts;
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
    m.ds_segment = segment(v.ds);
    m.es_segment = segment(v.es);
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

void report_unrecoverable(Vcpu& vcpu) {
  abi::HvX64InterceptMessageHeader m{};
  fill_header(vcpu, 0, Access::HvInterceptAccessExecute, m);
  send(vcpu, abi::HvMessageType::HvMessageTypeUnrecoverableException, m);
}

}  // namespace hv::svm
