// SPDX-License-Identifier: MIT
// Semantics follow [APM3]: results and flags per operand size, register merging, string iteration.
// Flags that the manual leaves undefined are kept, but for AF of logic operations, cleared as
// processors do.
#include "base/x86/access.h"

#include "base/bits.h"

namespace base::x86 {
namespace {

using Carry = Field<0>;
using Parity = Field<2>;
using Adjust = Field<4>;
using Zero = Field<6>;
using Sign = Field<7>;
using Direction = Field<10>;
using Overflow = Field<11>;

constexpr uint64_t mask(unsigned size) {
  return ~uint64_t{0} >> (64 - 8 * size);
}

constexpr uint64_t sign_extend(uint64_t value, unsigned size) {
  const unsigned unused = 64 - 8 * size;
  return static_cast<uint64_t>(static_cast<int64_t>(value << unused) >> unused);
}

constexpr bool top_bit(uint64_t value, unsigned size) {
  return (value >> (8 * size - 1) & 1) != 0;
}

uint64_t swap_bytes(uint64_t value, unsigned size) {
  return __builtin_bswap64(value) >> (64 - 8 * size);
}

bool is_string(Op op) {
  return (op >= Op::kMovs && op <= Op::kScas) || op == Op::kIns || op == Op::kOuts;
}

bool is_high_byte(const Prefixes& prefixes, uint8_t number, unsigned size) {
  return size == 1 && !prefixes.has_rex() && number >= 4 && number < 8;
}

/// What a write of `size` bytes leaves in a 64-bit register that held `old`.
uint64_t merge(uint64_t old, uint64_t value, unsigned size) {
  if (size >= 4) return value & mask(size);
  return (old & ~mask(size)) | (value & mask(size));
}

uint64_t with_result_flags(uint64_t rflags, uint64_t result, unsigned size) {
  result &= mask(size);
  rflags = Parity::set(rflags, (__builtin_popcount(static_cast<uint8_t>(result)) & 1) == 0);
  rflags = Zero::set(rflags, result == 0);
  return Sign::set(rflags, top_bit(result, size));
}

/// a + b + carry. The carry out of each bit tells CF (top), OF (top two) and AF (bit 3).
uint64_t add(uint64_t a, uint64_t b, bool carry, unsigned size, uint64_t& rflags) {
  const uint64_t result = a + b + carry;
  const uint64_t carries = (a & b) | ((a | b) & ~result);
  rflags = with_result_flags(rflags, result, size);
  rflags = Carry::set(rflags, top_bit(carries, size));
  rflags = Adjust::set(rflags, carries >> 3 & 1);
  rflags = Overflow::set(rflags, top_bit((a ^ result) & (b ^ result), size));
  return result & mask(size);
}

uint64_t subtract(uint64_t a, uint64_t b, bool borrow, unsigned size, uint64_t& rflags) {
  const uint64_t result = a - b - borrow;
  const uint64_t borrows = (~a & b) | ((~a | b) & result);
  rflags = with_result_flags(rflags, result, size);
  rflags = Carry::set(rflags, top_bit(borrows, size));
  rflags = Adjust::set(rflags, borrows >> 3 & 1);
  rflags = Overflow::set(rflags, top_bit((a ^ b) & (a ^ result), size));
  return result & mask(size);
}

uint64_t logic(uint64_t result, unsigned size, uint64_t& rflags) {
  rflags = with_result_flags(rflags, result, size);
  rflags = Overflow::set(Adjust::set(Carry::set(rflags, 0), 0), 0);
  return result & mask(size);
}

uint64_t arithmetic(Op op, uint64_t a, uint64_t b, unsigned size, uint64_t& rflags) {
  const bool carry = Carry::test(rflags);
  switch (op) {
    case Op::kAdd:
      return add(a, b, false, size, rflags);
    case Op::kAdc:
      return add(a, b, carry, size, rflags);
    case Op::kSub:
    case Op::kCmp:
      return subtract(a, b, false, size, rflags);
    case Op::kSbb:
      return subtract(a, b, carry, size, rflags);
    case Op::kOr:
      return logic(a | b, size, rflags);
    case Op::kXor:
      return logic(a ^ b, size, rflags);
    case Op::kAnd:
    case Op::kTest:
      return logic(a & b, size, rflags);
    case Op::kInc:
      a = add(a, 1, false, size, rflags);
      rflags = Carry::set(rflags, carry);
      return a;
    case Op::kDec:
      a = subtract(a, 1, false, size, rflags);
      rflags = Carry::set(rflags, carry);
      return a;
    case Op::kNeg:
      return subtract(0, a, false, size, rflags);
    default:
      return ~a & mask(size);  // NOT
  }
}

uint64_t bit_operation(Op op, uint64_t a, uint64_t offset, unsigned size, uint64_t& rflags) {
  const uint64_t bit = uint64_t{1} << (offset & (8 * size - 1));
  rflags = Carry::set(rflags, (a & bit) != 0);
  if (op == Op::kBts) return a | bit;
  if (op == Op::kBtr) return a & ~bit;
  return op == Op::kBtc ? a ^ bit : a;
}

uint64_t segment_base(const AccessState& state, Segment segment) {
  if (segment == Segment::kNone) return 0;
  if (state.mode == Mode::k64 && segment < Segment::kFs) return 0;
  return state.segment_base[static_cast<unsigned>(segment)];
}

uint64_t linear(const AccessState& state, Segment segment, uint64_t offset) {
  const uint64_t address = segment_base(state, segment) + offset;
  return state.mode == Mode::k64 ? address : address & mask(4);
}

uint64_t pointer(const Instruction& insn, const AccessState& state, Gpr number) {
  return state.gpr[number] & mask(insn.address_size);
}

bool plan_string(const Instruction& insn, const AccessState& state, DataAccess& access) {
  const Op op = insn.op;
  const bool uses_si = op == Op::kMovs || op == Op::kCmps || op == Op::kLods || op == Op::kOuts;
  const bool reads_di = op == Op::kCmps || op == Op::kScas;
  const Segment override = insn.prefixes.segment;
  const Segment source = override == Segment::kNone ? Segment::kDs : override;
  const uint64_t destination = linear(state, Segment::kEs, pointer(insn, state, kRdi));
  access.skip = insn.prefixes.repeat != Repeat::kNone && pointer(insn, state, kRcx) == 0;
  if (uses_si)
    access.read_address[access.reads++] = linear(state, source, pointer(insn, state, kRsi));
  if (reads_di) access.read_address[access.reads++] = destination;
  access.writes = op == Op::kMovs || op == Op::kStos || op == Op::kIns;
  access.write_address = destination;
  return true;
}

/// BT and kin with a register address a bit string that extends to both sides of the operand.
uint64_t bit_string_offset(const Instruction& insn, const AccessState& state) {
  const unsigned size = insn.operand_size;
  const uint64_t bits = read_register(state, insn.prefixes, insn.reg, size);
  const int64_t units = static_cast<int64_t>(sign_extend(bits, size)) >> (size == 8   ? 6
                                                                          : size == 4 ? 5
                                                                                      : 4);
  return static_cast<uint64_t>(units) * size;
}

void update(DataAccess& access, uint8_t number, unsigned size, uint64_t value) {
  access.updates[access.update_count++] = {number, static_cast<uint8_t>(size), value};
}

void compute_string(const Instruction& insn, const AccessState& state, DataAccess& access) {
  const unsigned size = insn.operand_size;
  const uint64_t step = Direction::test(state.rflags) ? -uint64_t{size} : uint64_t{size};
  const Op op = insn.op;
  const auto advance = [&](Gpr number) {
    update(access, number, insn.address_size, state.gpr[number] + step);
  };
  const uint64_t accumulator = state.gpr[kRax] & mask(size);
  bool uses_di = true;
  if (op == Op::kLods || op == Op::kOuts) {
    if (op == Op::kLods) update(access, kRax, size, access.read_value[0]);
    uses_di = false;
  } else if (op == Op::kCmps || op == Op::kScas) {
    const bool scan = op == Op::kScas;
    subtract(scan ? accumulator : access.read_value[0], access.read_value[scan ? 0 : 1], false,
             size, access.rflags);
  } else {
    access.write_value = op == Op::kStos ? accumulator : access.read_value[0];
  }
  if (uses_di) advance(kRdi);
  if (op == Op::kMovs || op == Op::kCmps || !uses_di) advance(kRsi);
  if (insn.prefixes.repeat == Repeat::kNone) return;
  const uint64_t left = pointer(insn, state, kRcx) - 1;
  update(access, kRcx, insn.address_size, left);
  access.repeats = left != 0;
  if (op == Op::kCmps || op == Op::kScas)
    access.repeats &= Zero::test(access.rflags) == (insn.prefixes.repeat == Repeat::kRep);
}

/// Operands of everything but string instructions, as values of the operand size.
struct Operands {
  uint64_t destination;
  uint64_t source;
};

Operands operands_of(const Instruction& insn, const AccessState& state, const DataAccess& access) {
  const uint64_t memory = access.read_value[0] & mask(access.size);
  const uint64_t reg = read_register(state, insn.prefixes, insn.reg, insn.operand_size);
  switch (insn.form) {
    case Form::kRegRm:
      return {reg, memory};
    case Form::kRmReg:
      return {memory, reg};
    case Form::kRmImm:
      return {memory, static_cast<uint64_t>(insn.immediate) & mask(insn.operand_size)};
    case Form::kMemAcc:
      return {memory, state.gpr[kRax] & mask(insn.operand_size)};
    default:
      return {memory, memory};
  }
}

/// Stores into whichever operand is the destination.
void store(const Instruction& insn, DataAccess& access, uint64_t value) {
  if (access.writes)
    access.write_value = value & mask(access.size);
  else if (insn.form == Form::kAccMem)
    update(access, kRax, insn.operand_size, value);
  else if (insn.form == Form::kRegRm)
    update(access, insn.reg, insn.operand_size, value);
}

void compute_exchange(const Instruction& insn, const AccessState& state, DataAccess& access,
                      Operands values) {
  const unsigned size = insn.operand_size;
  switch (insn.op) {
    case Op::kXchg:
      access.write_value = values.source;
      return update(access, insn.reg, size, values.destination);
    case Op::kXadd:
      access.write_value = add(values.destination, values.source, false, size, access.rflags);
      return update(access, insn.reg, size, values.destination);
    default: {  // CMPXCHG writes in both cases
      const uint64_t accumulator = state.gpr[kRax] & mask(size);
      subtract(accumulator, values.destination, false, size, access.rflags);
      const bool equal = accumulator == values.destination;
      access.write_value = equal ? values.source : values.destination;
      if (!equal) update(access, kRax, size, values.destination);
    }
  }
}

}  // namespace

uint64_t effective_address(const Instruction& insn, const AccessState& state) {
  const MemoryOperand& memory = insn.memory;
  uint64_t address = static_cast<uint64_t>(memory.displacement);
  if (memory.base == kRegisterRip)
    address += state.rip + insn.length;
  else if (memory.base != kNoRegister)
    address += state.gpr[memory.base & 15];
  if (memory.index != kNoRegister && !memory.vector_index)
    address += state.gpr[memory.index & 15] * memory.scale;
  return address & mask(insn.address_size);
}

uint64_t linear_address(const Instruction& insn, const AccessState& state) {
  return linear(state, insn.memory.segment, effective_address(insn, state));
}

bool condition_holds(uint8_t condition, uint64_t rflags) {
  const bool less = Sign::test(rflags) != Overflow::test(rflags);
  bool holds = false;
  switch (condition >> 1 & 7) {
    case 0:
      holds = Overflow::test(rflags);
      break;
    case 1:
      holds = Carry::test(rflags);
      break;
    case 2:
      holds = Zero::test(rflags);
      break;
    case 3:
      holds = Carry::test(rflags) || Zero::test(rflags);
      break;
    case 4:
      holds = Sign::test(rflags);
      break;
    case 5:
      holds = Parity::test(rflags);
      break;
    case 6:
      holds = less;
      break;
    default:
      holds = less || Zero::test(rflags);
  }
  return holds != ((condition & 1) != 0);
}

uint64_t read_register(const AccessState& state, const Prefixes& prefixes, uint8_t number,
                       unsigned size) {
  if (is_high_byte(prefixes, number, size)) return state.gpr[number - 4] >> 8 & 0xFF;
  return state.gpr[number & 15] & mask(size);
}

void write_register(AccessState& state, const Prefixes& prefixes, uint8_t number, unsigned size,
                    uint64_t value) {
  if (is_high_byte(prefixes, number, size)) {
    state.gpr[number - 4] = Field<15, 8>::set(state.gpr[number - 4], value);
    return;
  }
  uint64_t& target = state.gpr[number & 15];
  target = merge(target, value, size);
}

bool plan_access(const Instruction& insn, const AccessState& state, DataAccess& access) {
  access = DataAccess{};
  access.rflags = state.rflags;
  access.size = insn.operand_size;
  if (is_string(insn.op)) return plan_string(insn, state, access);
  if (!insn.has_memory || insn.op < Op::kAdd || insn.op > Op::kBtc) return false;
  uint64_t address = linear_address(insn, state);
  const bool to_register = insn.form == Form::kRegRm || insn.form == Form::kAccMem;
  const bool plain_store = insn.op == Op::kMov || insn.op == Op::kMovbe || insn.op == Op::kSetcc;
  const bool only_looks = insn.op == Op::kCmp || insn.op == Op::kTest || insn.op == Op::kBt;
  if (insn.op == Op::kMovzx || insn.op == Op::kMovsx) access.size = insn.source_size;
  if (insn.op >= Op::kBt && insn.form == Form::kRmReg)
    address = linear(state, insn.memory.segment,
                     (effective_address(insn, state) + bit_string_offset(insn, state)) &
                         mask(insn.address_size));
  access.read_address[0] = access.write_address = address;
  access.reads = to_register || !plain_store ? 1 : 0;
  access.writes = !to_register && !only_looks;
  return true;
}

void compute_access(const Instruction& insn, const AccessState& state, DataAccess& access) {
  if (is_string(insn.op)) return compute_string(insn, state, access);
  const unsigned size = insn.operand_size;
  const Operands values = operands_of(insn, state, access);
  switch (insn.op) {
    case Op::kMov:
    case Op::kMovzx:
      return store(insn, access, values.source);
    case Op::kMovsx:
      return store(insn, access, sign_extend(values.source, access.size));
    case Op::kMovbe:
      return store(insn, access, swap_bytes(values.source, size));
    case Op::kCmov:
      return store(
          insn, access,
          condition_holds(insn.condition(), state.rflags) ? values.source : values.destination);
    case Op::kSetcc:
      return store(insn, access, condition_holds(insn.condition(), state.rflags));
    case Op::kXchg:
    case Op::kXadd:
    case Op::kCmpxchg:
      return compute_exchange(insn, state, access, values);
    case Op::kBt:
    case Op::kBts:
    case Op::kBtr:
    case Op::kBtc:
      return store(insn, access,
                   bit_operation(insn.op, values.destination, values.source, size, access.rflags));
    default: {
      const uint64_t result =
          arithmetic(insn.op, values.destination, values.source, size, access.rflags);
      if (insn.op != Op::kCmp && insn.op != Op::kTest) store(insn, access, result);
    }
  }
}

AccessStatus commit_access(const Instruction& insn, AccessState& state, const DataAccess& access) {
  for (unsigned i = 0; i < access.update_count; ++i) {
    const DataAccess::Update& change = access.updates[i];
    // The accumulator and pointers are never high-byte registers: their numbers are below 4, or
    // their size is above 1.
    write_register(state, insn.prefixes, change.number, change.size, change.value);
  }
  state.rflags = access.rflags;
  if (access.repeats) return AccessStatus::kRepeat;
  state.rip += insn.length;
  if (state.mode != Mode::k64) state.rip &= mask(state.mode == Mode::k32 ? 4 : 2);
  return AccessStatus::kDone;
}

}  // namespace base::x86
