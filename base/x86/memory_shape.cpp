// SPDX-License-Identifier: MIT
// Sizes follow the operand types of [APM3 A] and [APM4]; vector ones come from kSizeRules.
#include "base/x86/memory_shape.h"

namespace base::x86 {

using tables::Size;

/// EVEX and MVEX scale an 8-bit displacement, as a rule by the size of the access [SDM2 2.7.5].
unsigned MemoryShape::displacement_scale() const {
  const unsigned size = insn_.memory.size;
  if (insn_.encoding == Encoding::kMvex) {
    if (insn_.map == 1 && vector_.conversion == 0) return 64;
    const bool packs = insn_.map == 2 && (insn_.opcode & 0xFA) == 0xD0;
    return packs ? size * element() / 64 : size;
  }
  if (insn_.map != 2) return size;
  if (insn_.opcode == 0x62 || insn_.opcode == 0x63) return element() / 4;  // VPEXPANDB and kin
  if (insn_.opcode >= 0x88 && insn_.opcode <= 0x8B) return element();      // VPEXPANDD and kin
  return size;
}

/// LEA, BNDMK, BNDCL, BNDCU, BNDCN compute an address and access nothing; before near indirect
/// branches 3E means NOTRACK.
bool MemoryShape::ignores_segment(char operands) const {
  if (insn_.map == 0 && insn_.opcode == 0xFF && insn_.prefixes.segment == Segment::kDs)
    return (insn_.modrm & 0x38) == 0x10 || (insn_.modrm & 0x38) == 0x20;
  return operands == 'l' || (insn_.map == 1 && (insn_.opcode & 0xFE) == 0x1A && vector_.pp >= 2);
}

uint16_t MemoryShape::size(char operands) const {
  const uint16_t operand_size = insn_.operand_size;
  switch (operands) {
    case 'b':
      return 1;
    case 'w':
      return 2;
    case '4':
      return 4;
    case 'p':
      return static_cast<uint16_t>(operand_size + 2);
    case 'd':
      return static_cast<uint16_t>(operand_size * 2);
    case 'y':
      return element();
    case 'm':
      return native();
    case 'l':
      return insn_.address_size;
    case 'f':
      return x87_size();
    case 'g':
      return group_size();
    case 'x':
      return vector_size();
    default:
      return insn_.op == Op::kMovsx || insn_.op == Op::kMovzx ? insn_.source_size : operand_size;
  }
}

uint16_t MemoryShape::group_size() const {
  const uint16_t operand_size = insn_.operand_size;
  switch (insn_.map << 8 | insn_.opcode) {
    case 0x63:
      return is64() ? insn_.source_size : 2;
    case 0xFF:
      if (reg() == 3 || reg() == 5) return static_cast<uint16_t>(operand_size + 2);
      return is64() && (reg() == 2 || reg() == 4 || (reg() == 6 && operand_size == 4))
                 ? 8
                 : operand_size;
    case 0x100:
      return 2;
    case 0x101:
      if (reg() == 5) return 8;  // RSTORSSP
      if (reg() == 7) return 1;
      return reg() < 4 ? static_cast<uint16_t>(native() + 2) : 2;
    case 0x118:
      return reg() < 4 ? 1 : operand_size;
    case 0x11A:
    case 0x11B:  // bounds: BNDLDX and BNDSTX, BNDMOV, the rest
      return static_cast<uint16_t>(native() * (vector_.pp == 0 ? 3 : vector_.pp == 1 ? 2 : 1));
    case 0x11C:
      return reg() == 0 && vector_.pp == 0 ? 1 : operand_size;
    case 0x1AE: {
      if (vector_.pp == 2) return reg() == 4 ? element() : 8;  // PTWRITE, CLRSSBSY
      if (vector_.pp == 1) return 64;                          // CLWB, CLFLUSHOPT
      constexpr uint16_t kSizes[] = {512, 512, 4, 4, 576, 576, 576, 64};
      return kSizes[reg()];
    }
    case 0x1BA:
      return operand_size;
    case 0x1C7:
      if (reg() == 1) return static_cast<uint16_t>(2 * element());
      return reg() >= 6 ? 8 : 576;
    default:
      return operand_size;
  }
}

uint16_t MemoryShape::x87_size() const {
  const bool narrow = insn_.operand_size == 2;
  const char kind = tables::kX87[insn_.opcode & 7][reg()];
  switch (kind) {
    case 'T':
      return 10;
    case 'E':
      return narrow ? 14 : 28;
    case 'S':
      return narrow ? 94 : 108;
    default:
      return static_cast<uint16_t>(kind == '.' ? 0 : kind - '0');
  }
}

bool MemoryShape::has_vector_index() const {
  if (insn_.map != 2 || vector_.pp != 1) return false;
  if (insn_.encoding == Encoding::kVex) return insn_.opcode >= 0x90 && insn_.opcode <= 0x93;
  return has_scaled_displacement(insn_) && ((insn_.opcode >= 0x90 && insn_.opcode <= 0x93) ||
                                            (insn_.opcode >= 0xA0 && insn_.opcode <= 0xA3) ||
                                            insn_.opcode == 0xC6 || insn_.opcode == 0xC7);
}

/// One element of a broadcast operand: half precision in the FP16 maps, else 4 or 8 by W.
unsigned MemoryShape::broadcast_size() const {
  if (insn_.map == 3) return vector_.pp == 0 ? 2 : element();
  if (insn_.map == 6) return (insn_.opcode & 0x7E) == 0x56 ? 4 : 2;
  if (insn_.map == 5) {
    const bool wide =
        (insn_.opcode == 0x1D && vector_.pp == 1) || (insn_.opcode == 0x5A && vector_.pp == 1) ||
        (insn_.opcode == 0x5B && vector_.pp == 0) || (insn_.opcode == 0x7A && vector_.pp == 3);
    return wide ? element() : 2;
  }
  return element();
}

uint16_t MemoryShape::size_in_bytes(Size size) const {
  const bool wide = insn_.prefixes.rex_w();
  const uint16_t full = static_cast<uint16_t>(16 << vector_.length);
  if (size == Size::k48 && insn_.opcode == 0xD8 && reg() >= 2) return 64;
  if (size <= Size::k64) return tables::kFixedSizes[static_cast<int>(size)];
  switch (size) {
    case Size::kHalf:
      return full / 2;
    case Size::kQuarter:
      return full / 4;
    case Size::kEighth:
      return full / 8;
    case Size::kHalfOrFull:
      return wide && insn_.encoding == Encoding::kEvex ? full : full / 2;
    case Size::kElement:
      return wide ? 8 : 4;
    case Size::kGpr:
      return wide && is64() ? 8 : 4;
    case Size::kOperand:
      return insn_.operand_size;
    case Size::kMovddup:
      return vector_.length == 0 ? 8 : full;
    case Size::kKmov:
      return static_cast<uint16_t>((vector_.pp == 0 ? 2 : 1) * (wide ? 4 : 1));
    default:
      return full;
  }
}

Size MemoryShape::size_rule() const {
  const unsigned encoding = insn_.encoding == Encoding::kLegacy ? tables::kLegacy
                            : insn_.encoding == Encoding::kEvex ? tables::kEvex
                            : insn_.encoding == Encoding::kMvex ? tables::kMvex
                                                                : tables::kVex;
  for (const auto& rule : tables::kSizeRules) {
    if (rule.map == insn_.map && (rule.when & encoding) != 0 &&
        (rule.when & (1u << vector_.pp)) != 0 && rule.opcodes.has(insn_.opcode))
      return rule.size;
  }
  return Size::kFull;
}

uint16_t MemoryShape::vector_size() const {
  if (vector_.broadcast) return static_cast<uint16_t>(broadcast_size());
  const uint16_t size = size_in_bytes(size_rule());
  if (vector_.conversion == 0 || size == 1) return size;
  // MVEX: broadcast of one or four elements, or a conversion from 16 or 8 bits.
  if (vector_.conversion <= 2)
    return vector_.conversion == 1 ? element() : static_cast<uint16_t>(4 * element());
  return vector_.conversion == 4 || vector_.conversion == 5 ? size / 4 : size / 2;
}

}  // namespace base::x86
