// SPDX-License-Identifier: MIT
// The local APIC page: 32-bit accesses, aligned to 16 bytes, by any instruction.

#include "hypervisor/arch/x86/svm/apic_page.h"

#include "hypervisor/arch/x86/apic_routing.h"
#include "hypervisor/arch/x86/svm/memory_access.h"

namespace hv::svm {
namespace {

struct ApicBus {
  Vcpu& vcpu;
  uint32_t offset;  // of the access that faulted

  bool is_mine(uint64_t address, unsigned size) const {
    return size == 4 && offset % 16 == 0 && address % kPageSize == offset;
  }
  bool read(uint64_t address, unsigned size, uint64_t& value) const {
    if (!is_mine(address, size)) return false;
    value = vcpu.apic.read_mmio(offset);
    return true;
  }
  bool write(uint64_t address, unsigned size, uint64_t value) const {
    if (!is_mine(address, size)) return false;
    x86::carry_out(vcpu, vcpu.apic.write_mmio(offset, static_cast<uint32_t>(value)));
    return true;
  }
};

}  // namespace

bool emulate_apic_access(Vcpu& vcpu, Gpa address) {
  if (vcpu.apic.mode() != x86::LocalApic::Mode::xapic ||
      address.page_base().value() != (vcpu.apic.base() & ~uint64_t{0xfff}))
    return false;
  base::x86::Instruction instruction;
  if (!fetch_instruction(vcpu, instruction)) return true;
  const ApicBus bus{vcpu, static_cast<uint32_t>(address.offset())};
  if (!carry_out_access(vcpu, instruction, bus))
    x86::inject_exception(vcpu, x86::PendingEvent::exception(x86::vector::kGp, 0));
  return true;
}

}  // namespace hv::svm
