// SPDX-License-Identifier: MIT
// The decoder's knowledge, written the way the manuals print opcode maps [APM3 A]: one character
// per opcode for its operands, one for its immediate, ranges for names and for the sizes of vector
// memory operands. Characters are turned into dense tables at compile time.
#pragma once

#include "base/x86/decoder.h"

namespace base::x86::tables {

/// A set of opcodes, written "10 2C-2F 5A".
struct OpcodeSet {
  uint64_t bits[4] = {};

  consteval OpcodeSet(const char* text) {
    unsigned first = 0, value = 0;
    bool range = false;
    for (;; ++text) {
      if (*text == '-') {
        first = value;
        range = true;
      } else if (*text == ' ' || *text == 0) {
        for (unsigned i = range ? first : value; i <= value; ++i) bits[i / 64] |= 1ull << (i % 64);
        range = false;
        if (*text == 0) return;
      } else {
        value = (value << 4 | (*text <= '9' ? *text - '0' : *text - 'A' + 10u)) & 0xFF;
      }
    }
  }
  constexpr bool has(uint8_t opcode) const { return (bits[opcode / 64] >> (opcode % 64) & 1) != 0; }
};

/// Operands of an opcode: whether a ModRM byte follows, and the size of what it addresses.
/// 'v' operand size, 'b' 1, 'w' 2, 'B' and '-' without ModRM: 1 and operand size,
/// 's' without ModRM, 'q' with: operand size with the stack's default (64 bits in 64-bit mode),
/// 'p' far pointer, 'd' twice the operand size, 'y' 4 or 8 by REX.W, 'm' native word, '4' 4 bytes,
/// 'l' LEA, 'r' ModRM without memory whatever it says (MOV CR), 'f' x87, 'g' by ModRM.reg,
/// 'x' vector, 'P' prefix or escape, '!' undefined.
using Row = const char[17];

inline constexpr Row kOperands1[16] = {
    "bvbvB-ssbvbvB-sP", "bvbvB-ssbvbvB-ss", "bvbvB-P-bvbvB-P-", "bvbvB-P-bvbvB-P-",
    "----------------", "ssssssssssssssss", "ssdgPPPPsvsvB-B-", "ssssssssssssssss",
    "bvbvbvbvbvbvwlwq", "----------s-ss--", "B-B-B-B-B-B-B-B-", "BBBBBBBB--------",
    "bvssppbvss------", "bvbv---Bffffffff", "ssssB-B-ss-sB-B-", "P-PP--bv------bg",
};
inline constexpr Row kOperands2[16] = {
    "ggww!-----!-!b-P", "xxxxxxxxgvggggvv", "rrrr!!!!xxxxxxxx", "--------P!P!!!!!",
    "vvvvvvvvvvvvvvvv", "xxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxxx", "xxxxxxx-mm!!xxxx",
    "ssssssssssssssss", "bbbbbbbbbbbbbbbb", "ss-vvvbbss-vvvgv", "bvpvppbwv4vvvvbw",
    "bvxyxxxg--------", "xxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxx4",
};

/// Immediates: 'b' 1 signed, 'u' 1 unsigned, 'w' 2, 'z' 2 or 4, 'v' 2, 4 or 8, 'o' moffs, 'p' far
/// pointer, 'e' ENTER, 't' TEST of group 3, 'j' and 'J' branch displacements, '2' EXTRQ, INSERTQ.
inline constexpr Row kImmediates1[16] = {
    "....bz......bz..", "....bz......bz..", "....bz......bz..", "....bz......bz..",
    "................", "................", "........zzbb....", "jjjjjjjjjjjjjjjj",
    "bzbb............", "..........p.....", "oooo....bz......", "bbbbbbbbvvvvvvvv",
    "uuw...bze.w..u..", "....uu..........", "jjjjuuuuJJpj....", "......tt........",
};
inline constexpr Row kImmediates2[16] = {
    "................", "................", "................", "................",
    "................", "................", "................", "uuuu....2.......",
    "JJJJJJJJJJJJJJJJ", "................", "....u.......u...", "..........u.....",
    "..u.uuu.........", "................", "................", "................",
};

/// One-byte opcodes that do not exist in 64-bit mode [APM3 B.3].
inline constexpr OpcodeSet kNot64 =
    "06-07 0E 16-17 1E-1F 27 2F 37 3F 60-62 82 9A C4-C5 CE D4-D6 EA";

struct Name {
  uint8_t map, first, last;
  Op op;
  Form form = Form::kNone;
};

/// Names of opcodes; the arithmetic block 00..3F and the groups are named by code.
// clang-format off
inline constexpr Name kNames[] = {
    {0, 0x50, 0x57, Op::kPush, Form::kOpcodeReg}, {0, 0x58, 0x5F, Op::kPop, Form::kOpcodeReg},
    {0, 0x40, 0x47, Op::kInc, Form::kOpcodeReg}, {0, 0x48, 0x4F, Op::kDec, Form::kOpcodeReg},
    {0, 0x63, 0x63, Op::kMovsx, Form::kRegRm}, {0, 0x6C, 0x6D, Op::kIns},
    {0, 0x6E, 0x6F, Op::kOuts}, {0, 0x84, 0x85, Op::kTest, Form::kRmReg},
    {0, 0x86, 0x87, Op::kXchg, Form::kRmReg}, {0, 0x88, 0x89, Op::kMov, Form::kRmReg},
    {0, 0x8A, 0x8B, Op::kMov, Form::kRegRm}, {0, 0x90, 0x97, Op::kXchg, Form::kOpcodeReg},
    {0, 0x9C, 0x9C, Op::kPushf}, {0, 0x9D, 0x9D, Op::kPopf},
    {0, 0xA0, 0xA1, Op::kMov, Form::kAccMem}, {0, 0xA2, 0xA3, Op::kMov, Form::kMemAcc},
    {0, 0xA4, 0xA5, Op::kMovs}, {0, 0xA6, 0xA7, Op::kCmps},
    {0, 0xA8, 0xA9, Op::kTest, Form::kAccImm}, {0, 0xAA, 0xAB, Op::kStos},
    {0, 0xAC, 0xAD, Op::kLods}, {0, 0xAE, 0xAF, Op::kScas},
    {0, 0xB0, 0xBF, Op::kMov, Form::kOpcodeReg}, {0, 0xCC, 0xCC, Op::kInt3},
    {0, 0xCD, 0xCD, Op::kInt}, {0, 0xCE, 0xCE, Op::kInto}, {0, 0xCF, 0xCF, Op::kIret},
    {0, 0xE4, 0xE5, Op::kIn, Form::kAccImm}, {0, 0xE6, 0xE7, Op::kOut, Form::kAccImm},
    {0, 0xEC, 0xED, Op::kIn, Form::kAccDx}, {0, 0xEE, 0xEF, Op::kOut, Form::kAccDx},
    {0, 0xF1, 0xF1, Op::kIcebp}, {0, 0xF4, 0xF4, Op::kHlt}, {0, 0xFA, 0xFA, Op::kCli},
    {0, 0xFB, 0xFB, Op::kSti}, {1, 0x06, 0x06, Op::kClts}, {1, 0x08, 0x08, Op::kInvd},
    {1, 0x09, 0x09, Op::kWbinvd}, {1, 0x20, 0x20, Op::kMovFromCr}, {1, 0x21, 0x21, Op::kMovFromDr},
    {1, 0x22, 0x22, Op::kMovToCr}, {1, 0x23, 0x23, Op::kMovToDr}, {1, 0x30, 0x30, Op::kWrmsr},
    {1, 0x31, 0x31, Op::kRdtsc}, {1, 0x32, 0x32, Op::kRdmsr}, {1, 0x33, 0x33, Op::kRdpmc},
    {1, 0x40, 0x4F, Op::kCmov, Form::kRegRm}, {1, 0x90, 0x9F, Op::kSetcc, Form::kRm},
    {1, 0xA2, 0xA2, Op::kCpuid}, {1, 0xA3, 0xA3, Op::kBt, Form::kRmReg}, {1, 0xAA, 0xAA, Op::kRsm},
    {1, 0xAB, 0xAB, Op::kBts, Form::kRmReg}, {1, 0xB0, 0xB1, Op::kCmpxchg, Form::kRmReg},
    {1, 0xB3, 0xB3, Op::kBtr, Form::kRmReg}, {1, 0xB6, 0xB7, Op::kMovzx, Form::kRegRm},
    {1, 0xBB, 0xBB, Op::kBtc, Form::kRmReg}, {1, 0xBE, 0xBF, Op::kMovsx, Form::kRegRm},
    {1, 0xC0, 0xC1, Op::kXadd, Form::kRmReg}, {1, 0xC3, 0xC3, Op::kMov, Form::kRmReg},
};
// clang-format on

/// 0F 01 with a register operand has one instruction per ModRM byte.
struct Group7Register {
  uint8_t modrm;
  Op op;
};
inline constexpr Group7Register kGroup7Registers[] = {
    {0xC1, Op::kVmcall},  {0xC8, Op::kMonitor}, {0xC9, Op::kMwait},    {0xD0, Op::kXgetbv},
    {0xD1, Op::kXsetbv},  {0xD8, Op::kVmrun},   {0xD9, Op::kVmmcall},  {0xDA, Op::kVmload},
    {0xDB, Op::kVmsave},  {0xDC, Op::kStgi},    {0xDD, Op::kClgi},     {0xDE, Op::kSkinit},
    {0xDF, Op::kInvlpga}, {0xF9, Op::kRdtscp},  {0xFA, Op::kMonitorx}, {0xFB, Op::kMwaitx},
    {0xFD, Op::kRdpru},   {0xFE, Op::kInvlpgb}, {0xFF, Op::kTlbsync},
};

/// Size of a vector memory operand. kFull is the vector length; kHalf, kQuarter, kEighth are parts
/// of it; kHalfOrFull is by EVEX.W, kElement 4 or 8 bytes by W, kGpr the same in 64-bit mode alone.
// clang-format off
enum class Size : uint8_t {
  kNone, k1, k2, k4, k8, k16, k32, k48, k64,
  kFull, kHalf, kQuarter, kEighth, kHalfOrFull, kElement, kGpr, kOperand, kMovddup, kKmov,
};
// clang-format on

inline constexpr uint8_t kFixedSizes[] = {0, 1, 2, 4, 8, 16, 32, 48, 64};

/// When a rule applies: mandatory prefix (pp, by number of the bit) and encoding.
// clang-format off
enum When : uint8_t {
  kNp = 1, k66 = 2, kF3 = 4, kF2 = 8, kScalar = kF3 | kF2, kAnyPp = kNp | k66 | kScalar,
  kLegacy = 16, kVex = 32, kEvex = 64, kMvex = 128, kNotMvex = kLegacy | kVex | kEvex,
  kAnyEncoding = kNotMvex | kMvex, kAny = kAnyPp | kAnyEncoding,
};
// clang-format on

struct SizeRule {
  uint8_t map, when;
  Size size;
  OpcodeSet opcodes;
};

/// Sizes of vector memory operands; the first match counts, the vector length without one. Maps 1
/// to 3 are shared by legacy SSE, VEX and EVEX, 5 and 6 are EVEX only, 8 to 10 are XOP.
inline constexpr SizeRule kSizeRules[] = {
    {1, kF3 | kAnyEncoding, Size::kFull, "12 16"},
    {1, kF2 | kAnyEncoding, Size::kMovddup, "12"},
    {1, kAny, Size::k8, "12-13 16-17 D6"},
    {1, kAny, Size::k1, "18"},
    {1, kScalar | kAnyEncoding, Size::kGpr, "2A"},
    {1, kAny, Size::k8, "2A"},
    {1, kNp | kAnyEncoding, Size::k8, "2C-2D"},
    {1, kNp | kAnyEncoding, Size::k4, "2E-2F"},
    {1, k66 | kAnyEncoding, Size::k8, "2E-2F"},
    {1, kNp | kAnyEncoding, Size::kHalf, "5A"},
    {1, kAny, Size::kFull, "5B"},
    {1, kF3 | kNotMvex, Size::k4, "10-5F C2"},
    {1, kF2 | kNotMvex, Size::k8, "10-5F C2"},
    {1, kF3 | kAnyEncoding, Size::k8, "7E"},
    {1, kAny, Size::kGpr, "6E 7E"},
    {1, kNp | kLegacy, Size::k4, "60-62"},
    {1, kNp | kLegacy, Size::k8, "63-7F"},
    {1, kF3 | kEvex, Size::k4, "78-79"},
    {1, kF2 | kEvex, Size::k8, "78-79"},
    {1, k66 | kEvex, Size::kHalfOrFull, "78-7B"},
    {1, kF3 | kEvex | kMvex, Size::kHalfOrFull, "7A"},
    {1, kScalar | kEvex, Size::kGpr, "7B"},
    {1, kAny, Size::kKmov, "90-91"},
    {1, kNp | kVex, Size::k4, "AE"},
    {1, kAny, Size::k1, "AE"},
    {1, kAny, Size::k2, "C4"},
    {1, kF3 | kAnyEncoding, Size::kHalfOrFull, "E6"},
    {1, kNp | kLegacy, Size::k8, "D0-FE"},
    {1, kAny, Size::k16, "D1-D3 E1-E2 F1-F3"},

    {2, kNp | k66 | kLegacy, Size::kOperand, "F0-F1"},
    {2, kF2 | kLegacy, Size::k1, "F0"},
    {2, kF2 | kLegacy, Size::kOperand, "F1"},
    {2, kAny, Size::k64, "F8"},
    {2, kAny, Size::kGpr, "F2-F9"},
    {2, kF3 | kLegacy, Size::k48, "D8 DC-DD"},  // AES key handles; D8 is 64 from /2 on
    {2, kF3 | kLegacy, Size::k64, "DE-DF"},
    {2, kNp | kLegacy, Size::k8, "00-1E"},
    {2, kF3 | kEvex, Size::kHalf, "10 15"},
    {2, kF3 | kEvex, Size::kQuarter, "11 14"},
    {2, kF3 | kEvex, Size::kEighth, "12"},
    {2, k66 | kEvex, Size::kElement, "2D C6-C7 CB CD"},
    {2, kVex | kAnyPp, Size::k64, "49"},
    {2, kVex | kAnyPp, Size::kNone, "4B"},  // AMX tiles: sized by the configuration
    {2, kF2 | kEvex, Size::k16, "52-53 9A-9B AA-AB"},
    {2, kAny, Size::kHalf, "13 20 23 25 30 33 35"},
    {2, kAny, Size::kQuarter, "21 24 31 34"},
    {2, kAny, Size::kEighth, "22 32"},
    {2, kAny, Size::k1, "78"},
    {2, kAny, Size::k2, "79"},
    {2, kAny, Size::k4, "18 58"},
    {2, kAny, Size::k8, "19 59"},
    {2, kAny, Size::k16, "1A 5A 80-82"},
    {2, kAny, Size::k32, "1B 5B"},
    {2, kAny, Size::kElement, "43 4D 4F 90-93 99 9B 9D 9F A0-A3 A9 AB AD AF B9 BB BD BF"},

    {3, kNp | kEvex, Size::k2, "0A 27 57 67"},
    {3, kF3 | kEvex, Size::k2, "C2"},
    {3, kNp | kLegacy, Size::k8, "0F"},
    {3, kAny, Size::k1, "14 20"},
    {3, kAny, Size::k2, "15"},
    {3, kAny, Size::k4, "0A 17 21 6A 6E 7A 7E"},
    {3, kAny, Size::k8, "0B 6B 6F 7B 7F"},
    {3, kAny, Size::k16, "18-19 38-39"},
    {3, kAny, Size::k32, "1A-1B 3A-3B"},
    {3, kAny, Size::kHalf, "1D"},
    {3, kAny, Size::kElement, "27 51 55 57 67"},
    {3, kAny, Size::kGpr, "16 22 F0"},

    {5, kNp | kEvex, Size::k4, "1D"},
    {5, kAny, Size::kGpr, "2A"},
    {5, kAny, Size::k2, "2E-2F 6E 7E"},
    {5, kNp | kEvex, Size::kQuarter, "5A"},
    {5, kF2 | kEvex, Size::k8, "5A"},
    {5, k66 | kF3 | kEvex, Size::kHalf, "5B"},
    {5, kNp | kEvex, Size::kHalf, "78-79"},
    {5, k66 | kEvex, Size::kQuarter, "78-7B"},
    {5, kF3 | kEvex, Size::kGpr, "7B"},
    {5, kAny, Size::kFull, "7C-7D"},
    {5, kF3 | kEvex, Size::k2, "10-7F"},

    {6, kNp | kEvex, Size::k2, "13"},
    {6, kAny, Size::kHalf, "13"},
    {6, kAny, Size::k2, "2D 43 4D 4F 99 9B 9D 9F A9 AB AD AF B9 BB BD BF"},
    {6, kAny, Size::k4, "57 D7"},

    {9, kAny, Size::kGpr, "01-02"},
    {9, kAny, Size::k4, "82"},
    {9, kAny, Size::k8, "83"},
    {10, kAny, Size::kGpr, "10"},
    {10, kAny, Size::k4, "12"},
};

/// x87 memory operands by opcode (rows) and ModRM.reg: bytes in decimal, 'T' 10, 'E' environment
/// (14 or 28), 'S' state (94 or 108).
inline constexpr const char kX87[8][9] = {"44444444", "4.44E2E2", "44444444", "4444.T.T",
                                          "88888888", "8888S.S2", "22222222", "2222T8T8"};

}  // namespace base::x86::tables
