// SPDX-License-Identifier: MIT
// The instruction at RIP. There may be no next-RIP and no decode assists, so its bytes come through
// the guest's tables; the guest may rewrite them at any time, so a surprise means "execute again".

#include <cstring>

#include "hypervisor/arch/x86/svm/svm.h"

namespace hv::svm {
namespace {

using base::x86::DecodeStatus;
using base::x86::Instruction;
using base::x86::Mode;
using base::x86::Op;

uint64_t linear_rip(const Vcpu& vcpu, Mode mode) {
  const Vmcb& v = *vcpu.vmcb;
  if (mode == Mode::k64) return v.rip;
  return static_cast<uint32_t>(v.cs.base + v.rip);
}

// A pointer to the bytes at `address` up to the end of its page; nullptr if it is not mapped.
const uint8_t* instruction_page(Vcpu& vcpu, uint64_t address) {
  return vcpu.fetch_cache.find(vcpu.partition, paging_state(vcpu), Gva(address),
                               mapping_generation.load(std::memory_order_acquire));
}

}  // namespace

unsigned fetch_bytes(Vcpu& vcpu, uint8_t (&bytes)[15]) {
  const uint64_t address = linear_rip(vcpu, code_mode(vcpu));
  const uint8_t* page = instruction_page(vcpu, address);
  if (!page) return 0;
  const auto first = static_cast<unsigned>(kPageSize - address % kPageSize);
  if (first >= 15) [[likely]] {
    memcpy(bytes, page, 15);
    return 15;
  }
  memcpy(bytes, page, first);
  const uint8_t* next = instruction_page(vcpu, address + first);
  if (!next) return first;
  memcpy(bytes + first, next, 15 - first);
  return 15;
}

uint8_t intercepted_length(Vcpu& vcpu, Op expected) {
  const uint64_t address = linear_rip(vcpu, code_mode(vcpu));
  const uint8_t* code =
      address % kPageSize <= kPageSize - 4 ? instruction_page(vcpu, address) : nullptr;
  if (code) [[likely]] {
    uint32_t bytes;
    __builtin_memcpy(&bytes, code, sizeof(bytes));  // one load, not a call
    switch (expected) {
      case Op::kCpuid:
        if ((bytes & 0xffff) == 0xa20f) return 2;
        break;
      case Op::kWrmsr:
        if ((bytes & 0xffff) == 0x300f) return 2;
        break;
      case Op::kRdmsr:
        if ((bytes & 0xffff) == 0x320f) return 2;
        break;
      case Op::kVmmcall:
        if ((bytes & 0xffffff) == 0xd9010f) return 3;
        break;
      case Op::kHlt:
        if ((bytes & 0xff) == 0xf4) return 1;
        break;
      default:
        break;
    }
  }
  Instruction instruction;
  return fetch_expected(vcpu, expected, instruction) ? instruction.length : 0;
}

bool fetch_instruction(Vcpu& vcpu, Instruction& instruction) {
  uint8_t bytes[15];
  const unsigned count = fetch_bytes(vcpu, bytes);
  return count &&
         base::x86::decode({bytes, count}, code_mode(vcpu), instruction) == DecodeStatus::kOk;
}

bool fetch_expected(Vcpu& vcpu, Op expected, Instruction& instruction) {
  return fetch_instruction(vcpu, instruction) && instruction.op == expected;
}

void complete_instruction(Vcpu& vcpu, uint8_t length) {
  Vmcb& v = *vcpu.vmcb;
  v.rip += length;
  const Mode mode = code_mode(vcpu);
  if (mode != Mode::k64) [[unlikely]]
    v.rip = mode == Mode::k32 ? static_cast<uint32_t>(v.rip) : v.rip & 0xffff;
  v.interrupt_shadow = 0;
  v.rflags &= ~x86::rflags::kRf;
  if (v.rflags & x86::rflags::kTf) [[unlikely]] {
    v.dr6 |= x86::dr6::kBs;
    x86::inject_exception(vcpu, x86::PendingEvent::exception(x86::vector::kDb));
  }
}

}  // namespace hv::svm
