// SPDX-License-Identifier: MIT
// Checks and conversions of the XSAVE area. The processor reports where each extended component
// lies; the first two are fixed.
#include "hypervisor/arch/x86/xsave.h"

#include <algorithm>
#include <cstring>

#include "hypervisor/arch/x86/cpuid.h"

namespace hv::x86 {

namespace {

constexpr uint16_t kControlInitial = 0x37f;
constexpr size_t kLegacySize = offsetof(XsaveArea, extended);

// End of a component in the standard format; 0 if the processor does not have it.
size_t component_end(unsigned component) {
  const cpu::CpuidResult at = cpu::cpuid(0xd, component);
  const size_t end = size_t{at.ebx} + at.eax;
  return at.eax != 0 && end <= sizeof(XsaveArea) ? end : 0;
}

size_t size_of(uint64_t components) {
  size_t size = kLegacySize;
  for (unsigned i = 2; i < 63; ++i)
    if ((components >> i & 1) != 0) size = std::max(size, component_end(i));
  return size;
}

}  // namespace

void materialize(XsaveArea& area, uint64_t component) {
  if ((area.xstate_bv & component) != 0) return;
  if (component == xstate::kX87) {
    area.control = kControlInitial;
    area.status = area.opcode = 0;
    area.tag = 0;
    area.instruction_pointer = area.data_pointer = 0;
    std::memset(area.st, 0, sizeof(area.st));
  } else {
    // MXCSR is loaded whatever XSTATE_BV says, and so always stands for itself.
    std::memset(area.xmm, 0, sizeof(area.xmm));
  }
  area.xstate_bv |= component;
}

size_t xsave_size() {
  return size_of(supported_xcr0());
}

bool valid_xcr0(uint64_t value) {
  if ((value & xstate::kX87) == 0 || (value & ~supported_xcr0()) != 0) return false;
  if ((value & xstate::kAvx) != 0 && (value & xstate::kSse) == 0) return false;
  const uint64_t avx512 = value & xstate::kAvx512;
  return avx512 == 0 || (avx512 == xstate::kAvx512 && (value & xstate::kAvx) != 0);
}

bool valid_mxcsr(const Vcpu& vcpu, uint32_t value) {
  constexpr uint64_t kMisalignedMask = kBit<17>;
  constexpr uint32_t kMisalignedSse = 1 << 7;
  const bool misaligned = (guest_cpuid(vcpu, 0x80000001, 0).ecx & kMisalignedSse) != 0;
  return (value & ~(Field<15, 0>::kMask | (misaligned ? kMisalignedMask : 0))) == 0;
}

Result<size_t> save_xsave(const Vcpu& vcpu, std::span<uint8_t> out) {
  const size_t size = xsave_size();
  if (out.size() < size) return fail(Error::invalid_parameter);
  std::memcpy(out.data(), &xsave_area(vcpu), size);
  std::memset(out.data() + size, 0, out.size() - size);
  return size;
}

Result<> restore_xsave(Vcpu& vcpu, std::span<const uint8_t> in) {
  if (in.size() < kLegacySize) return fail(Error::invalid_parameter);
  // `in` may be memory of the parent: what is checked is a copy.
  uint8_t copy[kLegacySize];
  std::memcpy(copy, in.data(), kLegacySize);
  const auto word = [&](size_t offset) {
    uint64_t value;
    std::memcpy(&value, copy + offset, sizeof(value));
    return value;
  };
  const uint64_t components = word(offsetof(XsaveArea, xstate_bv));
  if ((components & ~supported_xcr0()) != 0) return fail(Error::invalid_register_value);
  for (size_t at = offsetof(XsaveArea, xcomp_bv); at < kLegacySize; at += sizeof(uint64_t))
    if (word(at) != 0) return fail(Error::invalid_register_value);
  if (!valid_mxcsr(vcpu, static_cast<uint32_t>(word(offsetof(XsaveArea, mxcsr)))))
    return fail(Error::invalid_register_value);
  const size_t size = size_of(components);
  if (in.size() < size) return fail(Error::invalid_parameter);

  XsaveArea& area = xsave_area(vcpu);
  std::memset(&area, 0, sizeof(area));
  std::memcpy(&area, copy, kLegacySize);
  std::memcpy(area.extended, in.data() + kLegacySize, size - kLegacySize);
  return {};
}

}  // namespace hv::x86
