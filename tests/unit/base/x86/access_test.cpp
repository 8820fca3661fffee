// SPDX-License-Identifier: MIT
// Semantics are compared with the processor this test runs on: NativeCpu executes the very bytes
// with the very registers, flags and memory that the emulator gets.
#include "base/x86/access.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <random>
#include <vector>

namespace base::x86 {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kFixedFlags = 0x202;  // IF and the bit that is always one
constexpr uint64_t kCarry = 1, kAdjust = 0x10, kDirection = 0x400, kArithmeticFlags = 0x8D5;
constexpr size_t kData = 4096, kDataSize = 4096;  // behind the page of code

struct Registers {
  uint64_t gpr[16];
  uint64_t rflags;
};

/// A page of code and one of data. Instructions under test must leave RSP alone.
class NativeCpu {
 public:
  NativeCpu() {
    memory_ =
        static_cast<uint8_t*>(mmap(nullptr, kData + kDataSize, PROT_READ | PROT_WRITE | PROT_EXEC,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory_ == MAP_FAILED) memory_ = nullptr;
  }
  ~NativeCpu() {
    if (memory_ != nullptr) munmap(memory_, kData + kDataSize);
  }
  NativeCpu(const NativeCpu&) = delete;
  NativeCpu& operator=(const NativeCpu&) = delete;

  uint8_t* data() const { return memory_ + kData; }
  uint64_t data_address() const { return reinterpret_cast<uint64_t>(data()); }
  /// Where run() puts the instruction.
  uint64_t instruction_address() const {
    return reinterpret_cast<uint64_t>(memory_) + kCode + kPrologue;
  }

  void run(const Bytes& instruction, Registers& registers) {
    code_.clear();
    emit({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x57});  // push; push rdi
    emit({0xFF, 0xB7, 0x80, 0, 0, 0, 0x9D});                                   // push flags; popf
    for (unsigned i = 0; i < 16; ++i)
      if (i != kRsp && i != kRdi) move(0x8B, i);
    move(0x8B, kRdi);
    code_.resize(kPrologue, 0x90);
    code_.insert(code_.end(), instruction.begin(), instruction.end());
    emit({0x57, 0x48, 0x8B, 0x7C, 0x24, 0x08});  // push rdi; mov rdi, [rsp + 8]
    for (unsigned i = 0; i < 16; ++i)
      if (i != kRsp && i != kRdi) move(0x89, i);
    emit({0x9C, 0x8F, 0x87, 0x80, 0, 0, 0});  // pushf; pop flags
    emit({0x8F, 0x47, 0x38, 0xFC});           // pop [rdi + 56]; cld
    emit({0x5F, 0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3});
    uint8_t* const entry = memory_ + kCode;
    std::memcpy(entry, code_.data(), code_.size());
    void (*function)(Registers*);
    std::memcpy(&function, &entry, sizeof function);
    function(&registers);
  }

 private:
  static constexpr size_t kCode = 64;  // UBSan looks for a signature before a called function
  static constexpr size_t kPrologue = 160;

  void emit(std::initializer_list<uint8_t> bytes) { code_.insert(code_.end(), bytes); }
  /// MOV between register `number` and its slot at [rdi].
  void move(uint8_t opcode, unsigned number) {
    emit({static_cast<uint8_t>(0x48 | (number >= 8 ? 4 : 0)), opcode,
          static_cast<uint8_t>(0x87 | (number & 7) << 3), static_cast<uint8_t>(number * 8), 0, 0,
          0});
  }

  uint8_t* memory_ = nullptr;
  Bytes code_;
};

struct DirectBus {
  bool read(uint64_t address, unsigned size, uint64_t& value) {
    value = 0;
    std::memcpy(&value, reinterpret_cast<const void*>(address), size);
    return true;
  }
  bool write(uint64_t address, unsigned size, uint64_t value) {
    std::memcpy(reinterpret_cast<void*>(address), &value, size);
    return true;
  }
};

class AccessTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(cpu_.data(), nullptr); }

  uint64_t random() { return random_(); }

  /// Values near the edges as often as arbitrary ones.
  uint64_t interesting() {
    static constexpr uint64_t kEdges[] = {0,
                                          1,
                                          0x7F,
                                          0x80,
                                          0xFF,
                                          0x7FFF,
                                          0x8000,
                                          0x7FFFFFFF,
                                          0x80000000,
                                          ~uint64_t{0},
                                          0x7FFFFFFFFFFFFFFF,
                                          0x8000000000000000};
    return random() % 2 == 0 ? kEdges[random() % 12] : random();
  }

  Registers random_registers() {
    Registers registers;
    for (auto& value : registers.gpr) value = interesting();
    registers.gpr[kRbx] = cpu_.data_address() + kDataSize / 2;
    registers.rflags = kFixedFlags | (random() & kArithmeticFlags);
    return registers;
  }

  /// Runs both; flags outside `flags` are not compared.
  void compare(const Bytes& bytes, const Registers& before, uint64_t flags = kArithmeticFlags) {
    Instruction insn;
    ASSERT_EQ(decode({bytes.data(), bytes.size()}, Mode::k64, insn), DecodeStatus::kOk);
    ASSERT_EQ(insn.length, bytes.size());
    std::string text;
    for (uint8_t byte : bytes)
      text += std::to_string(byte / 16) + "," + std::to_string(byte % 16) + " ";
    SCOPED_TRACE(text);
    Bytes data(kDataSize);
    for (size_t i = 0; i < kDataSize; i += 8) {
      const uint64_t value = interesting();
      std::memcpy(&data[i], &value, 8);
    }
    Registers native = before;
    std::memcpy(cpu_.data(), data.data(), kDataSize);
    cpu_.run(bytes, native);
    const Bytes native_data(cpu_.data(), cpu_.data() + kDataSize);

    std::memcpy(cpu_.data(), data.data(), kDataSize);
    Registers ours = before;
    AccessState state{.gpr = ours.gpr, .rip = cpu_.instruction_address(), .rflags = before.rflags};
    AccessStatus status;
    do {
      status = execute_memory_access(insn, state, DirectBus{});
    } while (status == AccessStatus::kRepeat);
    ASSERT_EQ(status, AccessStatus::kDone);
    EXPECT_EQ(state.rip, cpu_.instruction_address() + bytes.size());
    for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(ours.gpr[i], native.gpr[i]) << "register " << i;
    EXPECT_EQ(state.rflags & flags, native.rflags & flags);
    EXPECT_TRUE(std::memcmp(cpu_.data(), native_data.data(), kDataSize) == 0) << "memory";
  }

  NativeCpu cpu_;
  std::mt19937_64 random_{20240607};
};

/// Prefixes for 16, 32 and 64 bits; REX without W makes SPL and kin of byte registers.
const Bytes kPrefixes[] = {{}, {0x66}, {0x48}, {0x40}, {0x44}, {0x4C}, {0x66, 0x44}};

struct Template {
  Bytes opcode;
  int fixed_reg;       // ModRM.reg, or -1 for any register
  unsigned immediate;  // bytes; 4 stands for "by operand size"
  uint64_t flags = kArithmeticFlags;
};

std::vector<Template> templates() {
  constexpr uint64_t kLogic = kArithmeticFlags & ~kAdjust;
  std::vector<Template> list;
  for (uint8_t op = 0; op < 8; ++op) {
    const uint64_t flags = op == 1 || op == 4 || op == 6 ? kLogic : kArithmeticFlags;
    for (uint8_t low = 0; low < 4; ++low)
      list.push_back({{static_cast<uint8_t>(op << 3 | low)}, -1, 0, flags});
    list.push_back({{0x80}, op, 1, flags});
    list.push_back({{0x81}, op, 4, flags});
    list.push_back({{0x83}, op, 1, flags});
  }
  for (uint8_t opcode : {0x84, 0x85}) list.push_back({{opcode}, -1, 0, kLogic});
  for (uint8_t opcode : {0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B}) list.push_back({{opcode}, -1, 0});
  list.push_back({{0xC6}, 0, 1});
  list.push_back({{0xC7}, 0, 4});
  list.push_back({{0xF6}, 0, 1, kLogic});
  list.push_back({{0xF7}, 0, 4, kLogic});
  for (uint8_t opcode : {0xF6, 0xF7})
    for (int reg : {2, 3}) list.push_back({{opcode}, reg, 0});
  for (uint8_t opcode : {0xFE, 0xFF})
    for (int reg : {0, 1}) list.push_back({{opcode}, reg, 0});
  for (uint8_t low = 0; low < 16; ++low) {
    list.push_back({{0x0F, static_cast<uint8_t>(0x40 | low)}, -1, 0});
    list.push_back({{0x0F, static_cast<uint8_t>(0x90 | low)}, 0, 0});
  }
  for (uint8_t opcode : {0xB0, 0xB1, 0xB6, 0xB7, 0xBE, 0xBF, 0xC0, 0xC1})
    list.push_back({{0x0F, opcode}, -1, 0});
  for (int reg = 4; reg < 8; ++reg) list.push_back({{0x0F, 0xBA}, reg, 1, kCarry});
  list.push_back({{0x63}, -1, 0});
  return list;
}

TEST_F(AccessTest, EveryFormDoesWhatTheProcessorDoes) {
  for (const Template& form : templates()) {
    for (const Bytes& prefix : kPrefixes) {
      for (unsigned round = 0; round < 40; ++round) {
        Bytes bytes = prefix;
        bytes.insert(bytes.end(), form.opcode.begin(), form.opcode.end());
        const unsigned reg = form.fixed_reg >= 0 ? form.fixed_reg : random() % 8;
        bytes.push_back(static_cast<uint8_t>(0x43 | reg << 3));  // [rbx + disp8]
        bytes.push_back(static_cast<uint8_t>(random()));
        Instruction insn;
        Bytes padded = bytes;
        padded.resize(15);
        ASSERT_EQ(decode({padded.data(), 15}, Mode::k64, insn), DecodeStatus::kOk);
        for (unsigned i = 0; i < insn.immediate_size; ++i)
          bytes.push_back(static_cast<uint8_t>(interesting()));
        ASSERT_EQ(insn.immediate_size != 0, form.immediate != 0);
        const bool high = insn.operand_size == 1 && !insn.prefixes.has_rex();
        if (form.fixed_reg < 0 && insn.reg == kRsp && !high) continue;
        if (form.opcode[0] == 0x63 && insn.operand_size == 2) continue;  // differs by vendor
        compare(bytes, random_registers(), form.flags);
        if (HasFatalFailure() || HasNonfatalFailure()) return;
      }
    }
  }
}

TEST_F(AccessTest, CmpxchgSucceeds) {
  const Bytes bytes = {0xF0, 0x48, 0x0F, 0xB1, 0x0B};
  Registers registers = random_registers();
  for (uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{0x80}}) {
    registers.gpr[kRax] = value;
    for (unsigned i = 0; i < 50; ++i) compare(bytes, registers);  // memory holds edges: some match
  }
}

TEST_F(AccessTest, BitStringsReachBothSides) {
  for (uint8_t opcode : {0xA3, 0xAB, 0xB3, 0xBB}) {
    for (const Bytes& prefix : {Bytes{}, Bytes{0x66}, Bytes{0x48}}) {
      for (unsigned i = 0; i < 50; ++i) {
        Bytes bytes = prefix;
        bytes.insert(bytes.end(), {0x0F, opcode, 0x03 | kRdx << 3});
        Registers registers = random_registers();
        registers.gpr[kRdx] = random() % 8192 - 4096;
        compare(bytes, registers, kCarry);
        if (HasNonfatalFailure()) return;
      }
    }
  }
}

TEST_F(AccessTest, StringsInBothDirections) {
  for (uint8_t opcode : {0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF}) {
    for (const Bytes& prefix : {Bytes{}, Bytes{0x66}, Bytes{0x48}, Bytes{0xF3}, Bytes{0xF2},
                                Bytes{0xF3, 0x66}, Bytes{0xF3, 0x48}, Bytes{0xF2, 0x48}}) {
      const bool compares = (opcode & 0xF6) == 0xA6;
      if (!compares && !prefix.empty() && prefix[0] == 0xF2) continue;  // undefined
      for (unsigned i = 0; i < 30; ++i) {
        Bytes bytes = prefix;
        bytes.push_back(opcode);
        Registers registers = random_registers();
        registers.gpr[kRcx] = random() % 20;
        registers.gpr[kRsi] = cpu_.data_address() + 1024 + random() % 64;
        registers.gpr[kRdi] = cpu_.data_address() + 1024 + random() % 64;
        if (random() % 2 == 0) registers.rflags |= kDirection;
        compare(bytes, registers);
        if (HasNonfatalFailure()) return;
      }
    }
  }
}

TEST_F(AccessTest, AbsoluteAndRipRelative) {
  for (uint8_t opcode : {0xA0, 0xA1, 0xA2, 0xA3}) {
    for (const Bytes& prefix : {Bytes{}, Bytes{0x66}, Bytes{0x48}}) {
      Bytes bytes = prefix;
      bytes.push_back(opcode);
      const uint64_t address = cpu_.data_address() + 24;
      for (unsigned i = 0; i < 8; ++i) bytes.push_back(static_cast<uint8_t>(address >> (8 * i)));
      compare(bytes, random_registers());
    }
  }
  const auto distance =
      static_cast<uint32_t>(cpu_.data_address() + 48 - (cpu_.instruction_address() + 10));
  Bytes bytes = {0x81, 0x2D};  // sub dword [rip + distance], imm32
  for (unsigned i = 0; i < 4; ++i) bytes.push_back(static_cast<uint8_t>(distance >> (8 * i)));
  bytes.insert(bytes.end(), {1, 2, 3, 4});
  compare(bytes, random_registers());
}

TEST_F(AccessTest, MovbeAndMovnti) {
  if (!__builtin_cpu_supports("movbe")) GTEST_SKIP() << "no MOVBE here";
  for (const Bytes& prefix : {Bytes{}, Bytes{0x66}, Bytes{0x48}}) {
    for (uint8_t opcode : {0xF0, 0xF1}) {
      Bytes bytes = prefix;
      bytes.insert(bytes.end(), {0x0F, 0x38, opcode, 0x13});
      compare(bytes, random_registers());
    }
  }
  compare({0x48, 0x0F, 0xC3, 0x13}, random_registers());
}

/// LEA computes what effective_address() does; the displacement is random.
TEST_F(AccessTest, EffectiveAddressIsWhatLeaComputes) {
  for (unsigned i = 0; i < 20000; ++i) {
    Bytes bytes;
    if (random() % 3 == 0) bytes.push_back(0x67);
    const uint8_t rex = static_cast<uint8_t>(0x48 | (random() & 3));
    bytes.insert(bytes.end(), {rex, 0x8D, static_cast<uint8_t>(random() % 3 << 6 | random() % 8)});
    while (bytes.size() < 15) bytes.push_back(static_cast<uint8_t>(random()));
    Instruction insn;
    ASSERT_EQ(decode({bytes.data(), bytes.size()}, Mode::k64, insn), DecodeStatus::kOk);
    if (insn.memory.base == kRsp) continue;
    bytes.resize(insn.length);
    Registers registers = random_registers();
    AccessState state{.gpr = registers.gpr, .rip = cpu_.instruction_address()};
    const uint64_t ours = effective_address(insn, state);
    cpu_.run(bytes, registers);
    ASSERT_EQ(ours, registers.gpr[kRax]) << "mod " << int{insn.mod()};
  }
}

TEST_F(AccessTest, RexBDoesNotNameABase) {
  const Bytes bytes = {0x67, 0x49, 0x8D, 0x04, 0xCD, 0x10, 0, 0, 0};  // lea rax, [ecx * 8 + 16]
  Registers registers = random_registers();
  registers.gpr[kRcx] = 3;
  registers.gpr[13] = 0x1000;
  cpu_.run(bytes, registers);
  EXPECT_EQ(registers.gpr[kRax], 40u);
}

TEST(Condition, IsInvertedByItsLowBit) {
  EXPECT_TRUE(condition_holds(4, 0x40));
  EXPECT_FALSE(condition_holds(5, 0x40));
  EXPECT_TRUE(condition_holds(0xC, 0x80));
  EXPECT_FALSE(condition_holds(0xC, 0x880));
}

/// Sparse memory and ports that remember, and can refuse.
struct FakeBus {
  std::map<uint64_t, uint64_t> memory;
  std::map<uint16_t, uint64_t> ports;
  std::vector<uint64_t> written;
  bool refuse_read = false, refuse_write = false;

  bool read(uint64_t address, unsigned, uint64_t& value) {
    value = memory[address];
    return !refuse_read;
  }
  bool write(uint64_t address, unsigned, uint64_t value) {
    if (refuse_write) return false;
    memory[address] = value;
    written.push_back(address);
    return true;
  }
  bool in(uint16_t port, unsigned, uint64_t& value) {
    value = ports[port];
    return true;
  }
  bool out(uint16_t port, unsigned, uint64_t value) {
    ports[port] = value;
    return true;
  }
};

struct Machine {
  uint64_t gpr[16] = {};
  AccessState state{.gpr = gpr, .rip = 0x1000, .rflags = 2};
  FakeBus bus;

  AccessStatus run(const Bytes& bytes) {
    Instruction insn;
    EXPECT_EQ(decode({bytes.data(), bytes.size()}, state.mode, insn), DecodeStatus::kOk);
    return execute_memory_access(insn, state, bus);
  }
};

TEST(Access, LocalApicRegisterWrite) {
  Machine machine;
  machine.gpr[kRdx] = 0xFEE00000;
  machine.gpr[kRax] = 0x123456789;
  EXPECT_EQ(machine.run({0x89, 0x82, 0xB0, 0, 0, 0}), AccessStatus::kDone);
  EXPECT_EQ(machine.bus.memory[0xFEE000B0], 0x23456789u);
  EXPECT_EQ(machine.state.rip, 0x1006u);
}

TEST(Access, SegmentBasesByMode) {
  Machine machine;
  machine.gpr[kRbx] = 0x10;
  machine.state.segment_base[static_cast<int>(Segment::kDs)] = 0x50000;
  machine.state.segment_base[static_cast<int>(Segment::kGs)] = 0xFFFF0000;
  machine.run({0x88, 0x03});
  machine.run({0x65, 0x88, 0x03});
  machine.state.mode = Mode::k32;
  machine.run({0x88, 0x03});
  machine.gpr[kRbx] = 0x20000;
  machine.run({0x65, 0x88, 0x03});
  machine.state.mode = Mode::k16;
  machine.state.rip = 0xFFFE;
  machine.gpr[kRbx] = 0xFFFF;
  machine.run({0x88, 0x47, 0x02});  // [bx + 2] wraps at 64 KB
  const std::vector<uint64_t> expected = {0x10, 0xFFFF0010, 0x50010, 0x10000, 0x50001};
  EXPECT_EQ(machine.bus.written, expected);
  EXPECT_EQ(machine.state.rip, 1u);
}

TEST(Access, RefusedAccessChangesNothing) {
  for (const Bytes& bytes : {Bytes{0x01, 0x03}, Bytes{0xF3, 0xA4}, Bytes{0x0F, 0xC1, 0x03}}) {
    for (bool at_write : {false, true}) {
      Machine machine;
      for (unsigned i = 0; i < 16; ++i) machine.gpr[i] = 100 + i;
      machine.bus.memory[103] = ~uint64_t{0};
      (at_write ? machine.bus.refuse_write : machine.bus.refuse_read) = true;
      EXPECT_EQ(machine.run(bytes), AccessStatus::kFailed);
      for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(machine.gpr[i], 100 + i);
      EXPECT_EQ(machine.state.rip, 0x1000u);
      EXPECT_EQ(machine.state.rflags, 2u);
    }
  }
}

TEST(Access, RepeatedStringTakesOneIterationAtATime) {
  Machine machine;
  machine.gpr[kRcx] = 2;
  machine.gpr[kRdi] = 0x2000;
  machine.gpr[kRax] = 7;
  const Bytes rep_stosd = {0xF3, 0xAB};
  EXPECT_EQ(machine.run(rep_stosd), AccessStatus::kRepeat);
  EXPECT_EQ(machine.state.rip, 0x1000u);
  EXPECT_EQ(machine.gpr[kRcx], 1u);
  EXPECT_EQ(machine.gpr[kRdi], 0x2004u);
  EXPECT_EQ(machine.run(rep_stosd), AccessStatus::kDone);
  EXPECT_EQ(machine.state.rip, 0x1002u);
  EXPECT_EQ(machine.run(rep_stosd), AccessStatus::kDone) << "a count of zero is done at once";
  EXPECT_EQ(machine.bus.written.size(), 2u);
}

TEST(Access, StringPortsMoveBetweenPortAndMemory) {
  Machine machine;
  machine.gpr[kRdx] = 0x1F0;
  machine.gpr[kRdi] = 0x3000;
  machine.bus.ports[0x1F0] = 0xABCD;
  EXPECT_EQ(machine.run({0x66, 0x6D}), AccessStatus::kDone);
  EXPECT_EQ(machine.bus.memory[0x3000], 0xABCDu);
  EXPECT_EQ(machine.gpr[kRdi], 0x3002u);
  machine.gpr[kRsi] = 0x4000;
  machine.bus.memory[0x4000] = 0x55;
  machine.state.rflags |= kDirection;
  EXPECT_EQ(machine.run({0x6E}), AccessStatus::kDone);
  EXPECT_EQ(machine.bus.ports[0x1F0], 0x55u);
  EXPECT_EQ(machine.gpr[kRsi], 0x3FFFu);
}

TEST(Access, WhatIsNotADataAccessIsUnsupported) {
  Machine machine;
  EXPECT_EQ(machine.run({0x89, 0xD8}), AccessStatus::kUnsupported);
  EXPECT_EQ(machine.run({0x0F, 0xA2}), AccessStatus::kUnsupported);
  EXPECT_EQ(machine.run({0x0F, 0x58, 0x03}), AccessStatus::kUnsupported);
  EXPECT_EQ(machine.run({0xFF, 0x33}), AccessStatus::kUnsupported);
  EXPECT_EQ(machine.state.rip, 0x1000u);
}

}  // namespace
}  // namespace base::x86
