// SPDX-License-Identifier: MIT
// Instruction decoder for 16, 32 and 64-bit x86 code: the length of every instruction of every
// opcode map, its explicit memory operand, and a name for the instructions that are emulated or
// intercepted. Builds freestanding; no allocation, no floating point, no global state.
// Branches follow AMD: an operand size prefix on a near branch in 64-bit mode is honoured.
// Invariants: never reads past the given bytes nor past the 15th. Bytes that no processor accepts
// get kInvalid or some instruction: callers that need certainty let the processor judge first.
#pragma once

#include <cstdint>
#include <span>

namespace base::x86 {

inline constexpr unsigned kMaxInstructionLength = 15;

/// Default operand and address size of the code segment: CS.D, or CS.L for k64.
enum class Mode : uint8_t { k16, k32, k64 };

enum class DecodeStatus : uint8_t {
  kOk,
  kNeedMoreBytes,  // the bytes end inside the instruction
  kInvalid,        // no such instruction: #UD
  kTooLong,        // more than 15 bytes: #GP [APM2 8.2.13]
};

/// In the order of the segment register encoding [APM3 1.4.2].
enum class Segment : uint8_t { kEs, kCs, kSs, kDs, kFs, kGs, kNone };

/// How the opcode map was selected. kNow3d is 0F 0F with the opcode in the last byte; kMvex is the
/// Xeon Phi coprocessor's, which other processors take for an undefined EVEX.
enum class Encoding : uint8_t { kLegacy, kNow3d, kVex, kEvex, kXop, kMvex };

/// Legacy: 0 one byte, 1 0F, 2 0F 38, 3 0F 3A. VEX, EVEX: the map field. XOP: 8, 9, 10.
using OpcodeMap = uint8_t;

/// Repeat prefix in effect (the last one counts), whether it repeats or selects an opcode.
enum class Repeat : uint8_t { kNone = 0, kRep = 0xF3, kRepne = 0xF2 };

struct Prefixes {
  bool lock = false;
  bool operand_size = false;  // 66
  bool address_size = false;  // 67
  Repeat repeat = Repeat::kNone;
  Segment segment = Segment::kNone;  // override in effect; in 64-bit mode FS or GS only
  uint8_t rex = 0;                   // REX byte in effect, or 0; W, R, X, B also from VEX and kin

  constexpr bool has_rex() const { return (rex & 0x40) != 0; }
  constexpr bool rex_w() const { return (rex & 8) != 0; }
};

/// Register numbers as encoded: 0..15 are RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8.. R15.
inline constexpr uint8_t kNoRegister = 0xFF;
inline constexpr uint8_t kRegisterRip = 0x10;

enum Gpr : uint8_t { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi };

struct MemoryOperand {
  Segment segment = Segment::kNone;  // default or override
  uint8_t base = kNoRegister;        // GPR, or kRegisterRip: relative to the next instruction
  uint8_t index = kNoRegister;       // GPR, or vector register 0..31 with vector_index
  uint8_t scale = 0;                 // 1, 2, 4, 8; 0 without index
  bool vector_index = false;         // gather and scatter
  uint16_t size = 0;                 // bytes accessed; 0 where there is no data or no fixed size
  int64_t displacement = 0;          // sign-extended, EVEX disp8 scaled; the address of moffs
};

/// What the instruction does, for those that some caller emulates or takes an intercept for.
/// Operand forms are told by Instruction::form and the operand size.
// clang-format off
enum class Op : uint8_t {
  kOther,
  // One data access, which execute_memory_access() can perform.
  kAdd, kOr, kAdc, kSbb, kAnd, kSub, kXor, kCmp,  // in the order of their encoding
  kTest, kInc, kDec, kNot, kNeg,
  kMov, kMovzx, kMovsx, kMovbe, kCmov, kSetcc,
  kXchg, kXadd, kCmpxchg,
  kBt, kBts, kBtr, kBtc,  // in the order of their encoding
  kMovs, kCmps, kStos, kLods, kScas,
  // Port I/O.
  kIn, kOut, kIns, kOuts,
  // Stack, flags, interrupts.
  kPush, kPop, kPushf, kPopf, kCli, kSti, kInt, kInt3, kInto, kIcebp, kIret, kRsm, kHlt, kPause,
  // Processor state.
  kCpuid, kRdmsr, kWrmsr, kRdtsc, kRdtscp, kRdpmc, kRdpru, kXgetbv, kXsetbv,
  kMovFromCr, kMovFromDr, kMovToCr, kMovToDr, kClts, kLmsw, kSmsw,
  kSgdt, kSidt, kLgdt, kLidt, kSldt, kStr, kLldt, kLtr,
  kInvd, kWbinvd, kInvlpg, kInvlpga, kInvlpgb, kInvpcid, kTlbsync,
  kMonitor, kMwait, kMonitorx, kMwaitx,
  // Virtualization.
  kVmcall, kVmmcall, kVmrun, kVmload, kVmsave, kStgi, kClgi, kSkinit,
};
// clang-format on

/// Where the operands of a semantic Op are.
enum class Form : uint8_t {
  kNone,       // no operands, or implied by the Op
  kRmReg,      // r/m is the destination, reg the source
  kRegRm,      // reg is the destination, r/m the source
  kRmImm,      // r/m and immediate
  kRm,         // r/m alone; SETcc
  kAccImm,     // AL, AX, EAX, RAX and immediate (IN and OUT: port number in the immediate)
  kAccMem,     // accumulator from moffs
  kMemAcc,     // moffs from accumulator
  kAccDx,      // IN and OUT with the port in DX
  kOpcodeReg,  // register in the low opcode bits (in Instruction::rm); MOV and XCHG
};

struct Instruction {
  uint8_t length = 0;
  Encoding encoding = Encoding::kLegacy;
  OpcodeMap map = 0;
  uint8_t opcode = 0;
  Op op = Op::kOther;
  Form form = Form::kNone;
  uint8_t operand_size = 0;  // bytes of the (destination) operand: 1, 2, 4, 8
  uint8_t source_size = 0;   // bytes of r/m for MOVZX and MOVSX, else operand_size
  uint8_t address_size = 0;  // 2, 4, 8
  bool has_modrm = false;
  bool has_memory = false;  // an explicit memory operand, in `memory`
  uint8_t modrm = 0;
  uint8_t reg = 0;             // ModRM.reg with its extension bits
  uint8_t rm = 0;              // register of r/m, or of the opcode, with its extension bits
  uint8_t immediate_size = 0;  // bytes; 0 means none
  uint8_t immediate2 = 0;      // second immediate byte of ENTER, EXTRQ, INSERTQ
  Prefixes prefixes;
  int64_t immediate = 0;  // sign-extended; far pointers: offset | selector << 8*operand_size
  MemoryOperand memory;

  constexpr uint8_t mod() const { return static_cast<uint8_t>(modrm >> 6); }
  constexpr uint8_t condition() const { return opcode & 15; }  // CMOVcc, SETcc, Jcc
};

/// Decodes the instruction at the start of `bytes` into `out`, which is meaningful only when the
/// answer is kOk. Written in place rather than returned: it is on the exit path.
[[nodiscard]] DecodeStatus decode(std::span<const uint8_t> bytes, Mode mode, Instruction& out);

}  // namespace base::x86
