// SPDX-License-Identifier: MIT
// Carries out the one data access of a decoded instruction on behalf of a virtual processor: device
// memory (local APIC, MMIO) and string port I/O. Registers and flags become what the processor
// would have made of them; on failure nothing has changed.
// Segment limits, rights and alignment are not checked: the processor did so before it intercepted.
// Atomicity (LOCK, XCHG) is the bus's business; devices have none.
#pragma once

#include "base/x86/decoder.h"

namespace base::x86 {

struct AccessState {
  uint64_t* gpr;     // 16, in the order of their encoding
  uint64_t rip = 0;  // of the instruction; of the next one after kDone
  uint64_t rflags = 0;
  uint64_t segment_base[6] = {};  // in the order of Segment; in 64-bit mode only FS and GS count
  Mode mode = Mode::k64;
};

enum class AccessStatus : uint8_t {
  kDone,
  kRepeat,       // one iteration is done, more follow: RIP stays at the instruction
  kFailed,       // the bus refused; nothing has changed
  kUnsupported,  // no instruction that is carried out here; nothing has changed
};

/// Offset within the segment, truncated to the address size.
uint64_t effective_address(const Instruction& insn, const AccessState& state);

/// Linear address of the explicit memory operand; the bit string of BT and kin is not applied.
uint64_t linear_address(const Instruction& insn, const AccessState& state);

/// CMOVcc, SETcc, Jcc [APM3 table 1-10].
bool condition_holds(uint8_t condition, uint64_t rflags);

/// Register of 1, 2, 4 or 8 bytes as an instruction with these prefixes names it: without REX, byte
/// registers 4 to 7 are AH, CH, DH, BH. Writing 4 bytes clears the upper half.
uint64_t read_register(const AccessState& state, const Prefixes& prefixes, uint8_t number,
                       unsigned size);
void write_register(AccessState& state, const Prefixes& prefixes, uint8_t number, unsigned size,
                    uint64_t value);

/// One access between its planning and its end; see execute_memory_access().
struct DataAccess {
  struct Update {
    uint8_t number;
    uint8_t size;
    uint64_t value;
  };
  uint8_t size = 0;   // bytes of each access
  uint8_t reads = 0;  // 0, 1, 2 (CMPS)
  bool writes = false;
  bool skip = false;  // REP with a zero count
  bool repeats = false;
  uint64_t read_address[2] = {};  // linear
  uint64_t write_address = 0;     // linear
  uint64_t read_value[2] = {};
  uint64_t write_value = 0;
  uint64_t rflags = 0;
  Update updates[3] = {};
  uint8_t update_count = 0;
};

/// The three steps of an access. plan: which addresses are read and written; false if unsupported.
/// compute: from the values read (and, for INS, the port's in read_value[0]) what to write and what
/// changes. commit: changes registers, flags and RIP.
[[nodiscard]] bool plan_access(const Instruction& insn, const AccessState& state,
                               DataAccess& access);
void compute_access(const Instruction& insn, const AccessState& state, DataAccess& access);
AccessStatus commit_access(const Instruction& insn, AccessState& state, const DataAccess& access);

/// Executes one instruction, or one iteration of a repeated one. `Bus` offers, by linear address,
///   bool read(uint64_t address, unsigned size, uint64_t& value);
///   bool write(uint64_t address, unsigned size, uint64_t value);
/// with sizes of 1, 2, 4 or 8 bytes; and for INS and OUTS, if it has them,
///   bool in(uint16_t port, unsigned size, uint64_t& value);
///   bool out(uint16_t port, unsigned size, uint64_t value);
/// All reads come before the write. A port is read before memory is written: should that write
/// fail, the value read is lost, as the caller has to know.
template <class Bus>
AccessStatus execute_memory_access(const Instruction& insn, AccessState& state, Bus&& bus) {
  constexpr bool kHasPorts = requires(uint64_t& value) { bus.in(uint16_t{}, 1u, value); };
  const bool uses_port = insn.op == Op::kIns || insn.op == Op::kOuts;
  DataAccess access;
  if (uses_port && !kHasPorts) return AccessStatus::kUnsupported;
  if (!plan_access(insn, state, access)) return AccessStatus::kUnsupported;
  if (access.skip) return commit_access(insn, state, access);
  for (unsigned i = 0; i < access.reads; ++i) {
    if (!bus.read(access.read_address[i], access.size, access.read_value[i]))
      return AccessStatus::kFailed;
  }
  if constexpr (kHasPorts) {
    const auto port = static_cast<uint16_t>(state.gpr[kRdx]);
    if (insn.op == Op::kIns && !bus.in(port, access.size, access.read_value[0]))
      return AccessStatus::kFailed;
    if (insn.op == Op::kOuts && !bus.out(port, access.size, access.read_value[0]))
      return AccessStatus::kFailed;
  }
  compute_access(insn, state, access);
  if (access.writes && !bus.write(access.write_address, access.size, access.write_value))
    return AccessStatus::kFailed;
  return commit_access(insn, state, access);
}

}  // namespace base::x86
