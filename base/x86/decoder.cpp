// SPDX-License-Identifier: MIT
// Decoding in one pass: prefixes, opcode (tables), ModRM and displacement, immediate, name, size of
// the memory operand. Every byte is taken through Cursor, which enforces both limits.
// What a prefix or field means in an encoding follows [APM3 1]; sizes follow [APM3-5] operand
// types.
#include "base/x86/decoder.h"

#include <cstddef>

#include "base/x86/memory_shape.h"
#include "base/x86/opcode_tables.h"

namespace base::x86 {
namespace {

struct OpcodeInfo {
  char operands;
  char immediate;
  Op op;
  Form form;
  bool not64;
};

struct OpcodeInfoTable {
  OpcodeInfo entry[256];
};

constexpr OpcodeInfoTable build(uint8_t map, const tables::Row* operands,
                                const tables::Row* immediates) {
  OpcodeInfoTable table{};
  for (unsigned i = 0; i < 256; ++i)
    table.entry[i] = {operands[i / 16][i % 16], immediates[i / 16][i % 16], Op::kOther, Form::kNone,
                      map == 0 && tables::kNot64.has(static_cast<uint8_t>(i))};
  for (const auto& name : tables::kNames) {
    if (name.map != map) continue;
    for (unsigned i = name.first; i <= name.last; ++i) {
      table.entry[i].op = name.op;
      table.entry[i].form = name.form;
    }
  }
  if (map != 0) return table;
  constexpr Form kForms[] = {Form::kRmReg, Form::kRmReg,  Form::kRegRm,
                             Form::kRegRm, Form::kAccImm, Form::kAccImm};
  for (unsigned i = 0; i < 0x40; ++i) {
    if (i % 8 >= 6) continue;
    table.entry[i].op = static_cast<Op>(static_cast<unsigned>(Op::kAdd) + i / 8);
    table.entry[i].form = kForms[i % 8];
  }
  return table;
}

constexpr OpcodeInfoTable kOneByte = build(0, tables::kOperands1, tables::kImmediates1);
constexpr OpcodeInfoTable kTwoByte = build(1, tables::kOperands2, tables::kImmediates2);

Segment default_segment(const MemoryOperand& memory) {
  return memory.base == kRsp || memory.base == kRbp ? Segment::kSs : Segment::kDs;
}

constexpr Op nth(Op first, unsigned n) {
  return static_cast<Op>(static_cast<unsigned>(first) + n);
}

/// Takes bytes in order; remembers in a flag that they ran out instead of branching at each use.
class Cursor {
 public:
  explicit Cursor(std::span<const uint8_t> bytes)
      : begin_(bytes.data()),
        at_(begin_),
        end_(begin_ +
             (bytes.size() < kMaxInstructionLength ? bytes.size() : kMaxInstructionLength)) {}

  bool ok() const { return !failed_; }
  uint8_t length() const { return static_cast<uint8_t>(at_ - begin_); }
  DecodeStatus failure() const {
    return end_ - begin_ == kMaxInstructionLength ? DecodeStatus::kTooLong
                                                  : DecodeStatus::kNeedMoreBytes;
  }
  uint8_t take() {
    if (at_ == end_) {
      failed_ = true;
      return 0;
    }
    return *at_++;
  }
  /// The byte ahead, or 0 at the end.
  uint8_t peek() const { return at_ == end_ ? 0 : *at_; }
  int64_t take_signed(unsigned size) {
    uint64_t value = 0;
    if (static_cast<size_t>(end_ - at_) >= sizeof value) {
      __builtin_memcpy(&value, at_, sizeof value);
      at_ += size;
    } else {
      for (unsigned i = 0; i < size; ++i) value |= static_cast<uint64_t>(take()) << (8 * i);
    }
    const unsigned unused = 64 - 8 * size;
    return static_cast<int64_t>(value << unused) >> unused;
  }

 private:
  const uint8_t* begin_;
  const uint8_t* at_;
  const uint8_t* end_;
  bool failed_ = false;
};

class Decoder {
 public:
  Decoder(std::span<const uint8_t> bytes, Mode mode, Instruction& out)
      : cursor_(bytes), mode_(mode), out_(out) {}

  DecodeStatus run();

 private:
  bool is64() const { return mode_ == Mode::k64; }
  void take_prefixes();
  DecodeStatus decode_legacy();
  DecodeStatus decode_3dnow();
  DecodeStatus decode_vex(uint8_t first);
  DecodeStatus decode_evex();
  DecodeStatus decode_xop();
  bool is_vector_escape(uint8_t opcode) const;
  void set_sizes(char operands);
  void take_modrm(bool registers_only = false);
  void take_memory(unsigned mod, unsigned rm);
  void take_memory16(unsigned mod, unsigned rm);
  void take_displacement(unsigned size);
  void take_immediate(char kind);
  void name_group();
  void name_group_0f01();
  void name_special();
  DecodeStatus finish();

  MemoryShape shape() const { return MemoryShape(out_, mode_, vector_); }

  Cursor cursor_;
  Mode mode_;
  Instruction& out_;
  uint8_t opcode_ = 0;  // last byte taken as an opcode
  VectorFields vector_;
  uint8_t index_high_ = 0;  // EVEX.V': bit 4 of a vector index
};

DecodeStatus Decoder::finish() {
  if (!cursor_.ok()) return cursor_.failure();
  out_.length = cursor_.length();
  return DecodeStatus::kOk;
}

DecodeStatus Decoder::run() {
  take_prefixes();
  if (!cursor_.ok()) return cursor_.failure();
  const bool narrow = (mode_ == Mode::k16) != out_.prefixes.address_size;
  out_.address_size = is64() ? (narrow ? 4 : 8) : (narrow ? 2 : 4);
  if (is_vector_escape(opcode_)) {
    if (opcode_ == 0x62) return decode_evex();
    return opcode_ == 0x8F ? decode_xop() : decode_vex(opcode_);
  }
  return decode_legacy();
}

/// Leaves the first opcode byte in opcode_. A REX byte counts only right before it [APM3 1.2.7].
void Decoder::take_prefixes() {
  Prefixes& prefixes = out_.prefixes;
  for (;;) {
    const uint8_t byte = opcode_ = cursor_.take();
    if (is64() && (byte & 0xF0) == 0x40) {
      prefixes.rex = byte;
      continue;
    }
    if (kOneByte.entry[byte].operands != 'P') return;
    switch (byte) {
      case 0x26:
      case 0x2E:
      case 0x36:
      case 0x3E:
        if (!is64()) prefixes.segment = static_cast<Segment>((byte >> 3) & 3);
        break;
      case 0x64:
      case 0x65:
        prefixes.segment = static_cast<Segment>(byte & 7);
        break;
      case 0x66:
        prefixes.operand_size = true;
        break;
      case 0x67:
        prefixes.address_size = true;
        break;
      case 0xF0:
        prefixes.lock = true;
        break;
      case 0xF2:
      case 0xF3:
        prefixes.repeat = static_cast<Repeat>(byte);
        break;
      default:
        return;
    }
    prefixes.rex = 0;
  }
}

/// C4, C5, 62 and 8F begin VEX, EVEX and XOP unless they are LES, LDS, BOUND and POP [APM3 1.2.9].
bool Decoder::is_vector_escape(uint8_t opcode) const {
  const uint8_t next = cursor_.peek();
  switch (opcode) {
    case 0xC4:
    case 0xC5:
    case 0x62:
      return is64() || (next & 0xC0) == 0xC0;
    case 0x8F:
      return (next & 0x1F) >= 8;
    default:
      return false;
  }
}

/// Operand and address size from mode, prefixes and what the opcode makes of them.
void Decoder::set_sizes(char operands) {
  const Prefixes& prefixes = out_.prefixes;
  const bool narrow = (mode_ == Mode::k16) != prefixes.operand_size;
  uint8_t size = narrow ? 2 : 4;
  if (is64() && prefixes.rex_w())
    size = 8;
  else if (is64() && size == 4 && (operands == 's' || operands == 'q'))
    size = 8;
  if (operands == 'b' || operands == 'B') size = 1;
  out_.operand_size = out_.source_size = size;
}

DecodeStatus Decoder::decode_legacy() {
  const Prefixes& prefixes = out_.prefixes;
  const OpcodeInfo* info = &kOneByte.entry[opcode_];
  if (opcode_ == 0x0F) {
    opcode_ = cursor_.take();
    info = &kTwoByte.entry[opcode_];
    out_.map = 1;
    if (opcode_ == 0x0F) return decode_3dnow();
  } else if (info->not64 && is64()) {
    return cursor_.ok() ? DecodeStatus::kInvalid : cursor_.failure();
  }
  char operands = info->operands;
  char immediate = info->immediate;
  if (operands == 'P' && cursor_.ok()) {  // 0F 38 and 0F 3A
    out_.map = opcode_ == 0x38 ? 2 : 3;
    operands = 'x';
    immediate = out_.map == 3 ? 'u' : '.';
    opcode_ = cursor_.take();
  }
  if (!cursor_.ok()) return cursor_.failure();
  if (operands == '!') return DecodeStatus::kInvalid;
  out_.opcode = opcode_;
  vector_.pp = prefixes.repeat == Repeat::kRep     ? 2
               : prefixes.repeat == Repeat::kRepne ? 3
                                                   : static_cast<uint8_t>(prefixes.operand_size);
  if (out_.map < 2) {
    out_.op = info->op;
    out_.form = info->form;
  }
  set_sizes(operands);
  if ((operands >= 'a' && operands != 's') || operands == '4')
    take_modrm(operands == 'r');
  else
    out_.rm = static_cast<uint8_t>((opcode_ & 7) | (prefixes.rex & 1) << 3);
  if (immediate != '.') take_immediate(immediate);
  name_special();
  if (out_.has_memory) {
    out_.memory.size = shape().size(operands);
    if (shape().ignores_segment(operands)) out_.memory.segment = default_segment(out_.memory);
  }
  return finish();
}

DecodeStatus Decoder::decode_3dnow() {
  out_.encoding = Encoding::kNow3d;
  out_.map = 1;
  set_sizes('v');
  take_modrm();
  out_.opcode = cursor_.take();
  if (out_.has_memory) out_.memory.size = 8;
  return finish();
}

DecodeStatus Decoder::decode_vex(uint8_t first) {
  out_.encoding = Encoding::kVex;
  uint8_t fields = cursor_.take();
  uint8_t rex = 0x40 | (~fields >> 5 & 4);
  out_.map = 1;
  if (first == 0xC4) {
    rex = 0x40 | (~fields >> 5 & 7);
    out_.map = fields & 0x1F;
    fields = cursor_.take();
    rex |= fields >> 4 & 8;
  }
  if (!cursor_.ok()) return cursor_.failure();
  if (out_.map > 3) return DecodeStatus::kInvalid;
  out_.prefixes.rex = rex;
  vector_.pp = fields & 3;
  vector_.length = fields >> 2 & 1;
  out_.opcode = opcode_ = cursor_.take();
  set_sizes('v');
  if (out_.map == 1 && opcode_ == 0x77) return finish();  // VZEROUPPER, VZEROALL
  if (vector_.pp == 0 && (opcode_ & 0xFE) == (out_.map == 0 ? 0x74 : 0x84) && out_.map < 2) {
    take_immediate(out_.map == 0 ? 'j' : 'J');  // JKZD, JKNZD of Xeon Phi coprocessors
    return finish();
  }
  if (out_.map == 0) return cursor_.ok() ? DecodeStatus::kInvalid : cursor_.failure();
  take_modrm();
  if (out_.map == 3 || (out_.map == 1 && kTwoByte.entry[opcode_].immediate == 'u'))
    take_immediate('u');
  if (out_.has_memory) out_.memory.size = shape().vector_size();
  return finish();
}

DecodeStatus Decoder::decode_evex() {
  out_.encoding = Encoding::kEvex;
  const uint8_t p0 = cursor_.take();
  const uint8_t p1 = cursor_.take();
  const uint8_t p2 = cursor_.take();
  if (!cursor_.ok()) return cursor_.failure();
  out_.map = p0 & 15;
  const bool mvex = (p1 & 4) == 0;
  if (out_.map == 0 || out_.map == 4 || out_.map > (mvex ? 3 : 6)) return DecodeStatus::kInvalid;
  out_.prefixes.rex = static_cast<uint8_t>(0x40 | (~p0 >> 5 & 7) | (p1 >> 4 & 8));
  vector_.pp = p1 & 3;
  if (mvex) {
    out_.encoding = Encoding::kMvex;
    vector_.length = 2;
    vector_.conversion = p2 >> 4 & 7;
  } else {
    vector_.length = p2 >> 5 & 3;
    vector_.broadcast = (p2 & 0x10) != 0;
  }
  index_high_ = static_cast<uint8_t>(~p2 << 1 & 0x10);
  out_.opcode = opcode_ = cursor_.take();
  set_sizes('v');
  take_modrm();
  out_.reg |= static_cast<uint8_t>(~p0 & 0x10);
  if (out_.map == 3 || (out_.map == 1 && kTwoByte.entry[opcode_].immediate == 'u'))
    take_immediate('u');
  return finish();
}

DecodeStatus Decoder::decode_xop() {
  out_.encoding = Encoding::kXop;
  const uint8_t p0 = cursor_.take();
  const uint8_t p1 = cursor_.take();
  if (!cursor_.ok()) return cursor_.failure();
  out_.map = p0 & 0x1F;
  if (out_.map > 10) return DecodeStatus::kInvalid;
  out_.prefixes.rex = static_cast<uint8_t>(0x40 | (~p0 >> 5 & 7) | (p1 >> 4 & 8));
  vector_.pp = p1 & 3;
  vector_.length = p1 >> 2 & 1;
  out_.opcode = opcode_ = cursor_.take();
  set_sizes('v');
  take_modrm();
  if (out_.map == 8) take_immediate('u');
  if (out_.map == 10) {
    out_.immediate_size = 4;
    out_.immediate = cursor_.take_signed(4);
  }
  if (out_.has_memory) out_.memory.size = shape().vector_size();
  return finish();
}

void Decoder::take_modrm(bool registers_only) {
  const uint8_t modrm = cursor_.take();
  const uint8_t rex = is64() ? out_.prefixes.rex : 0;
  out_.modrm = modrm;
  out_.has_modrm = true;
  out_.reg = static_cast<uint8_t>((modrm >> 3 & 7) | (rex & 4) << 1);
  const unsigned mod = modrm >> 6;
  const unsigned rm = modrm & 7;
  if (mod == 3 || registers_only) {
    out_.rm = static_cast<uint8_t>(rm | (rex & 1) << 3);
    return;
  }
  out_.has_memory = true;
  if (has_scaled_displacement(out_)) out_.memory.size = shape().vector_size();
  if (out_.address_size == 2)
    take_memory16(mod, rm);
  else
    take_memory(mod, rm);
  const Segment segment = out_.prefixes.segment;
  out_.memory.segment = segment != Segment::kNone ? segment : default_segment(out_.memory);
}

void Decoder::take_memory(unsigned mod, unsigned rm) {
  const uint8_t rex = is64() ? out_.prefixes.rex : 0;
  MemoryOperand& memory = out_.memory;
  unsigned base = rm;
  if (rm == 4) {
    const uint8_t sib = cursor_.take();
    base = sib & 7;
    const unsigned index = (sib >> 3 & 7) | (rex & 2u) << 2;
    memory.vector_index = shape().has_vector_index();
    if (memory.vector_index || index != 4) {
      memory.index = static_cast<uint8_t>(index | (memory.vector_index ? index_high_ : 0));
      memory.scale = static_cast<uint8_t>(1 << (sib >> 6));
    }
  }
  if (base == 5 && mod == 0) {  // no base, or RIP in 64-bit mode without SIB
    if (is64() && rm == 5) memory.base = kRegisterRip;
    memory.displacement = cursor_.take_signed(4);
    return;
  }
  memory.base = static_cast<uint8_t>(base | (rex & 1) << 3);
  if (mod != 0) take_displacement(mod == 1 ? 1 : 4);
}

void Decoder::take_memory16(unsigned mod, unsigned rm) {
  struct Pair {
    uint8_t base, index;
  };
  static constexpr Pair kPairs[8] = {{kRbx, kRsi},        {kRbx, kRdi},        {kRbp, kRsi},
                                     {kRbp, kRdi},        {kRsi, kNoRegister}, {kRdi, kNoRegister},
                                     {kRbp, kNoRegister}, {kRbx, kNoRegister}};
  MemoryOperand& memory = out_.memory;
  if (mod == 0 && rm == 6) return take_displacement(2);
  memory.base = kPairs[rm].base;
  memory.index = kPairs[rm].index;
  if (memory.index != kNoRegister) memory.scale = 1;
  if (mod != 0) take_displacement(mod == 1 ? 1 : 2);
}

void Decoder::take_displacement(unsigned size) {
  out_.memory.displacement = cursor_.take_signed(size);
  if (size == 1 && has_scaled_displacement(out_))
    out_.memory.displacement *= static_cast<int64_t>(shape().displacement_scale());
}

void Decoder::take_immediate(char kind) {
  const uint8_t operand_size = out_.operand_size;
  const uint8_t full = operand_size == 8 ? 4 : operand_size;  // 32 bits at most, but for 'v', 'o'
  switch (kind) {
    case 't':
      if ((out_.modrm >> 3 & 7) > 1) return;
      out_.immediate_size = full;
      break;
    case 'z':
    case 'J':
      out_.immediate_size = full;
      break;
    case 'w':
      out_.immediate_size = 2;
      break;
    case 'v':
      out_.immediate_size = operand_size;
      break;
    case 'o':
      out_.has_memory = true;
      out_.memory.segment =
          out_.prefixes.segment != Segment::kNone ? out_.prefixes.segment : Segment::kDs;
      out_.memory.displacement = cursor_.take_signed(out_.address_size);
      return;
    case 'p':
      out_.immediate_size = static_cast<uint8_t>(operand_size + 2);
      break;
    case 'e':
      out_.immediate_size = 2;
      out_.immediate = cursor_.take_signed(2);
      out_.immediate2 = cursor_.take();
      return;
    case '2':
      if (vector_.pp == 0) return;  // VMREAD
      out_.immediate_size = 1;
      out_.immediate = cursor_.take();
      out_.immediate2 = cursor_.take();
      return;
    case 'u':
      out_.immediate_size = 1;
      out_.immediate = cursor_.take();
      return;
    default:
      out_.immediate_size = 1;
      break;
  }
  out_.immediate = cursor_.take_signed(out_.immediate_size);
}

/// Names that one opcode byte does not tell, and sizes that differ from the rule.
void Decoder::name_special() {
  const uint8_t opcode = out_.opcode;
  switch (out_.map) {
    case 0:
      if (opcode == 0x63 && !is64()) {  // ARPL
        out_.op = Op::kOther;
      } else if (opcode == 0x63) {
        out_.source_size = 4;
      } else if (opcode == 0x90 && (out_.prefixes.rex & 1) == 0) {
        out_.op = out_.prefixes.repeat == Repeat::kRep ? Op::kPause : Op::kOther;
      } else if (out_.op >= Op::kIn && out_.op <= Op::kOuts && out_.operand_size == 8) {
        out_.operand_size = out_.source_size = 4;
      } else if (out_.op == Op::kOther && out_.has_modrm) {
        name_group();
      }
      break;
    case 1:
      if ((opcode & 0xF6) == 0xB6 && out_.form == Form::kRegRm) {  // MOVZX, MOVSX
        if ((opcode & 1) == 0) set_sizes('v');
        out_.source_size = (opcode & 1) == 0 ? 1 : 2;
      } else if (out_.op >= Op::kMovFromCr && out_.op <= Op::kMovToDr) {
        out_.operand_size = out_.source_size = is64() ? 8 : 4;
        if (out_.prefixes.lock) out_.reg |= 8;  // AltMovCr8: LOCK MOV CR0 is CR8 [APM3 4]
      } else if (out_.op == Op::kOther && out_.has_modrm) {
        name_group();
      }
      break;
    default:
      if (out_.map == 2 && (opcode & 0xFE) == 0xF0 && out_.prefixes.repeat == Repeat::kNone) {
        out_.op = Op::kMovbe;
        out_.form = opcode == 0xF0 ? Form::kRegRm : Form::kRmReg;
      } else if (out_.map == 2 && opcode == 0x82 && vector_.pp == 1) {
        out_.op = Op::kInvpcid;
      }
  }
}

void Decoder::name_group() {
  const unsigned reg = out_.modrm >> 3 & 7;
  const auto name = [this](Op op, Form form) {
    out_.op = op;
    out_.form = form;
  };
  switch (out_.map << 8 | out_.opcode) {
    case 0x80:
    case 0x81:
    case 0x82:
    case 0x83:
      return name(nth(Op::kAdd, reg), Form::kRmImm);
    case 0x8F:
      if (reg == 0) name(Op::kPop, Form::kRm);
      return;
    case 0xC6:
    case 0xC7:
      if (reg == 0) name(Op::kMov, Form::kRmImm);
      return;
    case 0xF6:
    case 0xF7:
      if (reg <= 1) return name(Op::kTest, Form::kRmImm);
      if (reg == 2) return name(Op::kNot, Form::kRm);
      if (reg == 3) name(Op::kNeg, Form::kRm);
      return;
    case 0xFE:
    case 0xFF:
      if (reg <= 1) return name(reg == 0 ? Op::kInc : Op::kDec, Form::kRm);
      if (reg == 6 && out_.opcode == 0xFF) name(Op::kPush, Form::kRm);
      return;
    case 0x100:
      if (reg < 4) {
        constexpr Op kOps[] = {Op::kSldt, Op::kStr, Op::kLldt, Op::kLtr};
        name(kOps[reg], Form::kRm);
      }
      return;
    case 0x101:
      return name_group_0f01();
    case 0x1BA:
      if (reg >= 4) name(nth(Op::kBt, reg - 4), Form::kRmImm);
      return;
    default:
      return;
  }
}

void Decoder::name_group_0f01() {
  const unsigned reg = out_.modrm >> 3 & 7;
  if (out_.has_memory || reg == 4 || reg == 6) {
    constexpr Op kOps[] = {Op::kSgdt, Op::kSidt,  Op::kLgdt, Op::kLidt,
                           Op::kSmsw, Op::kOther, Op::kLmsw, Op::kInvlpg};
    out_.op = kOps[reg];
    out_.form = Form::kRm;
    return;
  }
  for (const auto& entry : tables::kGroup7Registers) {
    if (entry.modrm == out_.modrm) out_.op = entry.op;
  }
}

}  // namespace

DecodeStatus decode(std::span<const uint8_t> bytes, Mode mode, Instruction& out) {
  out = Instruction{};
  if (bytes.size() >= 2 && bytes[0] == 0x0F) {  // the most frequent exits: CPUID, RDMSR, WRMSR
    const OpcodeInfo& info = kTwoByte.entry[bytes[1]];
    if (info.operands == '-') {
      out.length = 2;
      out.map = 1;
      out.opcode = bytes[1];
      out.op = info.op;
      out.operand_size = out.source_size = mode == Mode::k16 ? 2 : 4;
      out.address_size = mode == Mode::k16 ? 2 : mode == Mode::k32 ? 4 : 8;
      return DecodeStatus::kOk;
    }
  }
  return Decoder(bytes, mode, out).run();
}

}  // namespace base::x86
