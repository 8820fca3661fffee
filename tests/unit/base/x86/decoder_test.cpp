// SPDX-License-Identifier: MIT
#include "base/x86/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace base::x86 {
namespace {

using Bytes = std::vector<uint8_t>;

/// Decodes from a heap block of exactly the given size, so that ASan sees a read past it.
DecodeStatus try_decode(const Bytes& bytes, Mode mode, Instruction& out) {
  const auto exact = std::make_unique<uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.get());
  return decode({exact.get(), bytes.size()}, mode, out);
}

Instruction decoded(const Bytes& bytes, Mode mode = Mode::k64) {
  Instruction out;
  EXPECT_EQ(try_decode(bytes, mode, out), DecodeStatus::kOk);
  return out;
}

struct LengthCase {
  const char* text;
  Mode mode;
  Bytes bytes;  // the whole instruction; longer input is made by appending
};

const LengthCase kLengths[] = {
    {"nop", Mode::k64, {0x90}},
    {"cpuid", Mode::k64, {0x0F, 0xA2}},
    {"lock cpuid with rex", Mode::k64, {0x66, 0x48, 0x0F, 0xA2}},
    {"mov rax, imm64", Mode::k64, {0x48, 0xB8, 1, 2, 3, 4, 5, 6, 7, 8}},
    {"mov eax, imm32", Mode::k64, {0xB8, 1, 2, 3, 4}},
    {"mov ax, imm16", Mode::k64, {0x66, 0xB8, 1, 2}},
    {"mov ax, imm16", Mode::k16, {0xB8, 1, 2}},
    {"mov eax, imm32", Mode::k16, {0x66, 0xB8, 1, 2, 3, 4}},
    {"mov al, moffs64", Mode::k64, {0xA0, 1, 2, 3, 4, 5, 6, 7, 8}},
    {"mov al, moffs32", Mode::k64, {0x67, 0xA0, 1, 2, 3, 4}},
    {"mov al, moffs16", Mode::k32, {0x67, 0xA0, 1, 2}},
    {"test eax, imm32", Mode::k64, {0xF7, 0xC0, 1, 2, 3, 4}},
    {"not eax", Mode::k64, {0xF7, 0xD0}},
    {"enter", Mode::k64, {0xC8, 1, 2, 3}},
    {"call far", Mode::k32, {0x9A, 1, 2, 3, 4, 5, 6}},
    {"call far", Mode::k16, {0x9A, 1, 2, 3, 4}},
    {"call rel32", Mode::k64, {0xE8, 1, 2, 3, 4}},
    {"call rel16: AMD honours 66", Mode::k64, {0x66, 0xE8, 1, 2}},
    {"jcc rel16: AMD honours 66", Mode::k64, {0x66, 0x0F, 0x84, 1, 2}},
    {"inc eax", Mode::k32, {0x40}},
    {"les", Mode::k32, {0xC4, 0x01}},
    {"vzeroupper", Mode::k64, {0xC5, 0xF8, 0x77}},
    {"vaddps", Mode::k32, {0xC5, 0xF4, 0x58, 0xC2}},
    {"vpalignr", Mode::k64, {0xC4, 0xE3, 0x71, 0x0F, 0xC2, 7}},
    {"bound", Mode::k32, {0x62, 0x01}},
    {"vaddps zmm", Mode::k64, {0x62, 0xF1, 0x74, 0x48, 0x58, 0xC2}},
    {"pop", Mode::k64, {0x8F, 0xC0}},
    {"vprotb xop", Mode::k64, {0x8F, 0xE8, 0x78, 0xC0, 0xC1, 3}},
    {"bextr xop imm32", Mode::k64, {0x8F, 0xEA, 0x78, 0x10, 0xC1, 1, 2, 3, 4}},
    {"pfadd", Mode::k64, {0x0F, 0x0F, 0xC1, 0x9E}},
    {"extrq imm", Mode::k64, {0x66, 0x0F, 0x78, 0xC0, 1, 2}},
    {"vmread", Mode::k64, {0x0F, 0x78, 0xC0}},
    {"fld", Mode::k64, {0xD9, 0xC0}},
    {"mov cr0 ignores mod", Mode::k64, {0x0F, 0x20, 0x04}},
    {"pshufb", Mode::k64, {0x66, 0x0F, 0x38, 0x00, 0xC1}},
    {"palignr", Mode::k64, {0x66, 0x0F, 0x3A, 0x0F, 0xC1, 1}},
    {"15 bytes", Mode::k64, {0x2E, 0x2E, 0x2E, 0x2E, 0x81, 0x84, 0x88, 1, 2, 3, 4, 5, 6, 7, 8}},
};

TEST(Decoder, LengthIsExactAndNoByteBeyondIsNeeded) {
  for (const auto& test : kLengths) {
    SCOPED_TRACE(test.text);
    EXPECT_EQ(decoded(test.bytes, test.mode).length, test.bytes.size());
    Bytes longer = test.bytes;
    longer.resize(longer.size() + 16, 0xCC);
    EXPECT_EQ(decoded(longer, test.mode).length, test.bytes.size());
  }
}

TEST(Decoder, EveryShorterInputNeedsMoreBytes) {
  for (const auto& test : kLengths) {
    SCOPED_TRACE(test.text);
    for (size_t count = 0; count < test.bytes.size(); ++count) {
      Instruction out;
      EXPECT_EQ(try_decode({test.bytes.begin(), test.bytes.begin() + count}, test.mode, out),
                DecodeStatus::kNeedMoreBytes)
          << count;
    }
  }
}

TEST(Decoder, SixteenBytesAreTooLong) {
  Bytes bytes(16, 0x2E);
  bytes[14] = 0x0F;
  bytes[15] = 0xA2;
  Instruction out;
  EXPECT_EQ(try_decode(bytes, Mode::k64, out), DecodeStatus::kTooLong);
  bytes.erase(bytes.begin());
  EXPECT_EQ(decoded(bytes).length, 15);
  EXPECT_EQ(try_decode(Bytes(64, 0x66), Mode::k64, out), DecodeStatus::kTooLong);
}

TEST(Decoder, WhatDoesNotExistIsInvalid) {
  Instruction out;
  EXPECT_EQ(try_decode({0x06}, Mode::k64, out), DecodeStatus::kInvalid);
  EXPECT_EQ(try_decode({0xEA, 0, 0, 0, 0, 0, 0}, Mode::k64, out), DecodeStatus::kInvalid);
  EXPECT_EQ(try_decode({0x0F, 0x04}, Mode::k64, out), DecodeStatus::kInvalid);
  EXPECT_EQ(try_decode({0x62, 0xF4, 0x74, 0x48, 0x58, 0xC2}, Mode::k64, out),
            DecodeStatus::kInvalid);
}

struct NameCase {
  Op op;
  Bytes bytes;
};

TEST(Decoder, NamesWhatIsIntercepted) {
  const NameCase cases[] = {
      {Op::kCpuid, {0x0F, 0xA2}},
      {Op::kRdmsr, {0x0F, 0x32}},
      {Op::kWrmsr, {0x0F, 0x30}},
      {Op::kHlt, {0xF4}},
      {Op::kVmmcall, {0x0F, 0x01, 0xD9}},
      {Op::kVmcall, {0x0F, 0x01, 0xC1}},
      {Op::kRdtsc, {0x0F, 0x31}},
      {Op::kRdtscp, {0x0F, 0x01, 0xF9}},
      {Op::kRdpmc, {0x0F, 0x33}},
      {Op::kInvd, {0x0F, 0x08}},
      {Op::kWbinvd, {0x0F, 0x09}},
      {Op::kInvlpg, {0x0F, 0x01, 0x38}},
      {Op::kInvlpga, {0x0F, 0x01, 0xDF}},
      {Op::kMovFromCr, {0x0F, 0x20, 0xC0}},
      {Op::kMovToCr, {0x0F, 0x22, 0xD8}},
      {Op::kMovFromDr, {0x0F, 0x21, 0xF8}},
      {Op::kMovToDr, {0x0F, 0x23, 0xF8}},
      {Op::kClts, {0x0F, 0x06}},
      {Op::kLmsw, {0x0F, 0x01, 0xF0}},
      {Op::kSmsw, {0x0F, 0x01, 0x20}},
      {Op::kXsetbv, {0x0F, 0x01, 0xD1}},
      {Op::kMonitor, {0x0F, 0x01, 0xC8}},
      {Op::kMwait, {0x0F, 0x01, 0xC9}},
      {Op::kPause, {0xF3, 0x90}},
      {Op::kOther, {0x90}},
      {Op::kXchg, {0x41, 0x90}},
      {Op::kInt, {0xCD, 0x80}},
      {Op::kInt3, {0xCC}},
      {Op::kIcebp, {0xF1}},
      {Op::kIret, {0x48, 0xCF}},
      {Op::kPushf, {0x9C}},
      {Op::kPopf, {0x9D}},
      {Op::kSgdt, {0x0F, 0x01, 0x00}},
      {Op::kLgdt, {0x0F, 0x01, 0x10}},
      {Op::kLidt, {0x0F, 0x01, 0x18}},
      {Op::kLtr, {0x0F, 0x00, 0xD8}},
      {Op::kVmrun, {0x0F, 0x01, 0xD8}},
      {Op::kVmload, {0x0F, 0x01, 0xDA}},
      {Op::kVmsave, {0x0F, 0x01, 0xDB}},
      {Op::kStgi, {0x0F, 0x01, 0xDC}},
      {Op::kClgi, {0x0F, 0x01, 0xDD}},
      {Op::kSkinit, {0x0F, 0x01, 0xDE}},
      {Op::kRsm, {0x0F, 0xAA}},
      {Op::kInvpcid, {0x66, 0x0F, 0x38, 0x82, 0x08}},
      {Op::kIn, {0xEC}},
      {Op::kOuts, {0x6E}},
      {Op::kMonitorx, {0x0F, 0x01, 0xFA}},
      {Op::kXgetbv, {0x0F, 0x01, 0xD0}},
  };
  for (const auto& test : cases) {
    const Instruction insn = decoded(test.bytes);
    EXPECT_EQ(insn.op, test.op) << "opcode " << std::hex << int{insn.opcode};
    EXPECT_EQ(insn.length, test.bytes.size());
  }
}

TEST(Decoder, ArithmeticIsNamedFromTheOpcode) {
  const Instruction add = decoded({0x01, 0x08});
  EXPECT_EQ(add.op, Op::kAdd);
  EXPECT_EQ(add.form, Form::kRmReg);
  const Instruction cmp = decoded({0x48, 0x83, 0x38, 0xFF});
  EXPECT_EQ(cmp.op, Op::kCmp);
  EXPECT_EQ(cmp.form, Form::kRmImm);
  EXPECT_EQ(cmp.operand_size, 8);
  EXPECT_EQ(cmp.immediate, -1);
  const Instruction bts = decoded({0x0F, 0xBA, 0x28, 0x83});
  EXPECT_EQ(bts.op, Op::kBts);
  EXPECT_EQ(bts.immediate, 0x83);
}

TEST(Decoder, OperandSizes) {
  EXPECT_EQ(decoded({0x89, 0x00}).operand_size, 4);
  EXPECT_EQ(decoded({0x66, 0x89, 0x00}).operand_size, 2);
  EXPECT_EQ(decoded({0x66, 0x48, 0x89, 0x00}).operand_size, 8);
  EXPECT_EQ(decoded({0x88, 0x00}).operand_size, 1);
  EXPECT_EQ(decoded({0x89, 0x00}, Mode::k16).operand_size, 2);
  EXPECT_EQ(decoded({0x66, 0x89, 0x00}, Mode::k16).operand_size, 4);
  EXPECT_EQ(decoded({0x50}).operand_size, 8);
  EXPECT_EQ(decoded({0x66, 0x50}).operand_size, 2);
  EXPECT_EQ(decoded({0x48, 0xED}).operand_size, 4) << "ports are 32 bits at most";
  const Instruction movzx = decoded({0x48, 0x0F, 0xB6, 0x00});
  EXPECT_EQ(movzx.operand_size, 8);
  EXPECT_EQ(movzx.source_size, 1);
  EXPECT_EQ(movzx.memory.size, 1);
  const Instruction movsxd = decoded({0x48, 0x63, 0x00});
  EXPECT_EQ(movsxd.op, Op::kMovsx);
  EXPECT_EQ(movsxd.source_size, 4);
}

TEST(Decoder, MemoryOperandWithSib) {
  const Instruction insn = decoded({0x65, 0x4B, 0x8B, 0x84, 0x95, 0xF0, 0xFF, 0xFF, 0xFF});
  EXPECT_EQ(insn.op, Op::kMov);
  ASSERT_TRUE(insn.has_memory);
  EXPECT_EQ(insn.memory.segment, Segment::kGs);
  EXPECT_EQ(insn.memory.base, 13);
  EXPECT_EQ(insn.memory.index, 10);
  EXPECT_EQ(insn.memory.scale, 4);
  EXPECT_EQ(insn.memory.displacement, -16);
  EXPECT_EQ(insn.memory.size, 8);
}

TEST(Decoder, SpecialAddressForms) {
  const Instruction rip = decoded({0x8B, 0x05, 0x10, 0, 0, 0});
  EXPECT_EQ(rip.memory.base, kRegisterRip);
  EXPECT_EQ(rip.memory.displacement, 16);
  const Instruction absolute = decoded({0x8B, 0x05, 0x10, 0, 0, 0}, Mode::k32);
  EXPECT_EQ(absolute.memory.base, kNoRegister);
  const Instruction stack = decoded({0x8B, 0x04, 0x24});
  EXPECT_EQ(stack.memory.segment, Segment::kSs);
  EXPECT_EQ(stack.memory.base, kRsp);
  EXPECT_EQ(stack.memory.index, kNoRegister);
  const Instruction bp_si = decoded({0x8B, 0x42, 0xFE}, Mode::k16);
  EXPECT_EQ(bp_si.memory.base, kRbp);
  EXPECT_EQ(bp_si.memory.index, kRsi);
  EXPECT_EQ(bp_si.memory.segment, Segment::kSs);
  EXPECT_EQ(bp_si.memory.displacement, -2);
  const Instruction moffs = decoded({0x64, 0xA1, 0, 0, 0xE0, 0xFE, 0, 0, 0, 0});
  EXPECT_EQ(moffs.memory.segment, Segment::kFs);
  EXPECT_EQ(moffs.memory.displacement, 0xFEE00000);
}

TEST(Decoder, RexCountsOnlyBeforeTheOpcode) {
  const Instruction lost = decoded({0x48, 0x66, 0x89, 0x00});
  EXPECT_EQ(lost.operand_size, 2);
  EXPECT_FALSE(lost.prefixes.has_rex());
}

TEST(Decoder, SegmentOverridesInLongMode) {
  EXPECT_EQ(decoded({0x2E, 0x8B, 0x00}).memory.segment, Segment::kDs);
  EXPECT_EQ(decoded({0x64, 0x2E, 0x8B, 0x00}).memory.segment, Segment::kFs);
  EXPECT_EQ(decoded({0x2E, 0x8B, 0x00}, Mode::k32).memory.segment, Segment::kCs);
}

TEST(Decoder, EvexDisplacementIsScaled) {
  const Instruction full = decoded({0x62, 0xF1, 0x74, 0x48, 0x58, 0x40, 0x01});
  EXPECT_EQ(full.memory.displacement, 64);
  EXPECT_EQ(full.memory.size, 64);
  const Instruction broadcast = decoded({0x62, 0xF1, 0x74, 0x58, 0x58, 0x40, 0xFF});
  EXPECT_EQ(broadcast.memory.displacement, -4);
  EXPECT_EQ(broadcast.memory.size, 4);
  const Instruction gather = decoded({0x62, 0xF2, 0x7D, 0x41, 0x90, 0x44, 0x88, 0x02});
  EXPECT_TRUE(gather.memory.vector_index);
  EXPECT_EQ(gather.memory.index, 17);
  EXPECT_EQ(gather.memory.displacement, 8);
}

TEST(Decoder, LockMovCr0IsCr8) {
  EXPECT_EQ(decoded({0xF0, 0x0F, 0x22, 0xC0}, Mode::k32).reg, 8);
}

}  // namespace
}  // namespace base::x86
