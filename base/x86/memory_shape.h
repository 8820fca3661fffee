// SPDX-License-Identifier: MIT
// What an instruction makes of its memory operand: the bytes it accesses, how an EVEX displacement
// is scaled, whether the index is a vector. Depends on nothing but the fields already decoded.
#pragma once

#include "base/x86/decoder.h"
#include "base/x86/opcode_tables.h"

namespace base::x86 {

/// Fields of VEX, EVEX, MVEX and XOP; of legacy prefixes the mandatory one.
struct VectorFields {
  uint8_t pp = 0;          // mandatory prefix: 0 none, 1 66, 2 F3, 3 F2
  uint8_t length = 0;      // 0, 1, 2: 16, 32, 64 bytes
  bool broadcast = false;  // EVEX.b
  uint8_t conversion = 0;  // MVEX.SSS
};

class MemoryShape {
 public:
  MemoryShape(const Instruction& insn, Mode mode, const VectorFields& vector)
      : insn_(insn), vector_(vector), mode_(mode) {}

  /// Bytes accessed, by the opcode's character in the operand tables; 0 where there is no size.
  uint16_t size(char operands) const;
  uint16_t vector_size() const;
  /// Factor of an 8-bit displacement, from the size already in the operand.
  unsigned displacement_scale() const;
  bool has_vector_index() const;
  bool ignores_segment(char operands) const;

 private:
  uint16_t group_size() const;
  uint16_t x87_size() const;
  unsigned broadcast_size() const;
  tables::Size size_rule() const;
  uint16_t size_in_bytes(tables::Size size) const;
  unsigned reg() const { return insn_.modrm >> 3 & 7; }
  uint16_t element() const { return insn_.prefixes.rex_w() ? 8 : 4; }
  uint16_t native() const { return mode_ == Mode::k64 ? 8 : 4; }
  bool is64() const { return mode_ == Mode::k64; }

  const Instruction& insn_;
  const VectorFields& vector_;
  Mode mode_;
};

inline bool has_scaled_displacement(const Instruction& insn) {
  return insn.encoding == Encoding::kEvex || insn.encoding == Encoding::kMvex;
}

}  // namespace base::x86
