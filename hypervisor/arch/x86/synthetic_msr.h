// SPDX-License-Identifier: MIT
// The hypervisor's synthetic MSRs [TLFS appendix F], 0x40000000 and up.
#pragma once

#include "abi/tlfs/msr.h"
#include "hypervisor/arch/x86/vcpu.h"

namespace hv::x86 {

constexpr bool is_synthetic_msr(uint32_t msr) {
  return msr >= abi::kHvX64MsrFirst && msr <= abi::kHvX64MsrLast;
}

Result<uint64_t> read_synthetic_msr(Vcpu& vcpu, uint32_t msr);
Result<> write_synthetic_msr(Vcpu& vcpu, uint32_t msr, uint64_t value);

// The pages the hypervisor chose for the root: exported, and reserved in its memory map.
void set_root_hypercall_page(Spa page);

}  // namespace hv::x86
