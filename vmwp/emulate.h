// SPDX-License-Identifier: MIT
// Completes instructions the VP could not: port I/O, string port I/O, and accesses to
// guest-physical addresses without memory. Input is the intercept message; output is what to set in
// the VP. Nothing in a message or in guest memory is trusted.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "abi/tlfs/message.h"
#include "abi/tlfs/registers.h"
#include "base/x86/decoder.h"
#include "vmwp/guest_virtual.h"

namespace vmwp {

/// Registers to set before the VP goes on, gathered for one hypercall.
class RegisterBatch {
 public:
  void set(hv::abi::HvRegisterName name, uint64_t value);
  void set(const hv::abi::HvRegisterAssoc& assoc);
  std::span<const hv::abi::HvRegisterAssoc> list() const { return {list_.data(), size_}; }

 private:
  std::array<hv::abi::HvRegisterAssoc, 24> list_;
  size_t size_ = 0;
};

/// What is fixed while one message is handled.
struct EmulationContext {
  uint32_t vp;
  VpControl& partition;
  chipset::Chipset& chipset;
  const GuestMemory& memory;
};

base::x86::Mode code_mode(const hv::abi::HvX64InterceptMessageHeader& header);
Privilege privilege(const hv::abi::HvX64InterceptMessageHeader& header);

/// Moves RIP past an instruction of `length` bytes, with what belongs to its end: the interrupt
/// shadow is over, and a single-stepping guest gets its #DB.
Result<> finish_instruction(const EmulationContext& context,
                            const hv::abi::HvX64InterceptMessageHeader& header, unsigned length,
                            RegisterBatch& batch);

/// Has the guest take `exception` at the intercepted instruction.
void inject(const GuestException& exception, RegisterBatch& batch);

/// IN, OUT, INS and OUTS. Failures end the VM.
Result<> emulate_port(const EmulationContext& context,
                      const hv::abi::HvX64IoPortInterceptMessage& message, RegisterBatch& batch);

/// The instruction whose memory operand is at a device, or at nothing.
Result<> emulate_memory(const EmulationContext& context,
                        const hv::abi::HvX64MemoryInterceptMessage& message, RegisterBatch& batch);

}  // namespace vmwp
