// SPDX-License-Identifier: MIT
// The XSAVE area of a stopped VP, in the standard format [SDM1 13.4, APM2 11.5.2]. Whatever is in
// it loads without a fault: XSTATE_BV names components that the processor has, the rest of the
// header is zero, and MXCSR has no reserved bit. The functions here keep that so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hypervisor/arch/x86/vcpu.h"

namespace hv::x86 {

namespace xstate {
inline constexpr uint64_t kX87 = kBit<0>, kSse = kBit<1>, kAvx = kBit<2>,
                          kAvx512 = kBit<5> | kBit<6> | kBit<7>;
}

struct Float128 {
  uint64_t low, high;
};

struct XsaveArea {
  uint16_t control;  // 000, the FXSAVE image
  uint16_t status;
  uint8_t tag;
  uint8_t reserved0;
  uint16_t opcode;
  uint64_t instruction_pointer;
  uint64_t data_pointer;  // 010
  uint32_t mxcsr;
  uint32_t mxcsr_mask;
  Float128 st[8];    // 020
  Float128 xmm[16];  // 0a0
  uint8_t reserved1[96];
  uint64_t xstate_bv;  // 200, the header
  uint64_t xcomp_bv;
  uint64_t reserved2[6];
  uint8_t extended[4096 - 576];  // 240
};
static_assert(sizeof(XsaveArea) == 4096 && offsetof(XsaveArea, mxcsr) == 24 &&
              offsetof(XsaveArea, xmm) == 160 && offsetof(XsaveArea, xstate_bv) == 512 &&
              offsetof(XsaveArea, extended) == 576);

inline XsaveArea& xsave_area(const Vcpu& vcpu) {
  return *direct_map<XsaveArea>(vcpu.xsave_page);
}

// Writes out the x87 or SSE component if it is in its initial configuration, so that one register
// of it can be read or set.
void materialize(XsaveArea& area, uint64_t component);

// Bytes that the components of supported_xcr0() take.
size_t xsave_size();
// What XSETBV accepts for XCR0: x87, no AVX without SSE, AVX-512 as a whole.
bool valid_xcr0(uint64_t value);
bool valid_mxcsr(const Vcpu& vcpu, uint32_t value);

// The area for the VP's parent, and back. `out` is filled up with zeros; answers the area's size.
// Errors: invalid_parameter (too small), invalid_register_value (it could not be loaded).
Result<size_t> save_xsave(const Vcpu& vcpu, std::span<uint8_t> out);
Result<> restore_xsave(Vcpu& vcpu, std::span<const uint8_t> in);

}  // namespace hv::x86
