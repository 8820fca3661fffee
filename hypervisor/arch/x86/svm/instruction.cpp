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

constexpr x86::WalkAccess kFetch = {.execute = true, .check_rights = false};

uint64_t linear_rip(const Vcpu& vcpu, Mode mode) {
  const Vmcb& v = *vcpu.vmcb;
  if (mode == Mode::k64) return v.rip;
  return static_cast<uint32_t>(v.cs.base + v.rip);
}

// A pointer to the bytes at `address` up to the end of its page; nullptr if it is not mapped.
const uint8_t* instruction_page(const Vcpu& vcpu, uint64_t address) {
  const x86::WalkResult walk =
      x86::walk_guest(vcpu.partition, paging_state(vcpu), Gva(address), kFetch);
  if (!walk.ok) return nullptr;
  const Spa spa = vcpu.partition.space.translate(walk.gpa, Access::read);
  return spa != GpaSpace::kNowhere && page_db.is_ram(spa) ? direct_map<const uint8_t>(spa) : nullptr;
}

}  // namespace

unsigned fetch_bytes(Vcpu& vcpu, uint8_t (&bytes)[15]) {
  const uint64_t address = linear_rip(vcpu, code_mode(vcpu));
  const unsigned first = static_cast<unsigned>(
      kPageSize - (address % kPageSize) < 15 ? kPageSize - (address % kPageSize) : 15);
  const uint8_t* page = instruction_page(vcpu, address);
  if (!page) return 0;
  memcpy(bytes, page, first);
  if (first == 15) return first;
  const uint8_t* next = instruction_page(vcpu, address + first);
  if (!next) return first;
  memcpy(bytes + first, next, 15 - first);
  return 15;
}

bool fetch_instruction(Vcpu& vcpu, Instruction& instruction) {
  uint8_t bytes[15];
  const unsigned count = fetch_bytes(vcpu, bytes);
  return count && base::x86::decode({bytes, count}, code_mode(vcpu), instruction) ==
                      DecodeStatus::kOk;
}

bool fetch_expected(Vcpu& vcpu, Op expected, Instruction& instruction) {
  return fetch_instruction(vcpu, instruction) && instruction.op == expected;
}

void complete_instruction(Vcpu& vcpu, uint8_t length) {
  Vmcb& v = *vcpu.vmcb;
  v.rip += length;
  const Mode mode = code_mode(vcpu);
  if (mode != Mode::k64) v.rip = mode == Mode::k32 ? static_cast<uint32_t>(v.rip) : v.rip & 0xffff;
  v.interrupt_shadow = 0;
  v.rflags &= ~x86::rflags::kRf;
  if (v.rflags & x86::rflags::kTf) [[unlikely]] {
    v.dr6 |= x86::dr6::kBs;
    x86::inject_exception(vcpu, x86::PendingEvent::exception(x86::vector::kDb));
  }
}

}  // namespace hv::svm
