// SPDX-License-Identifier: MIT
// Any bytes in any mode: the decoder stays within them and within 15, says the same about the
// instruction's own bytes as about a longer string, and the access of what it accepts neither
// overruns nor touches more than two operands.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "base/x86/access.h"
#include "base/x86/decoder.h"

namespace {

using namespace base::x86;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Gives the input's bytes as data and counts accesses; refuses one in 16.
struct InputBus {
  std::span<const uint8_t> data;
  unsigned reads = 0, writes = 0, ports = 0;

  uint64_t next(unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size && !data.empty(); ++i) {
      value = value << 8 | data[0];
      data = data.subspan(1);
    }
    return value;
  }
  static bool valid(unsigned size) { return size == 1 || size == 2 || size == 4 || size == 8; }
  bool read(uint64_t, unsigned size, uint64_t& value) {
    require(valid(size) && ++reads <= 2);
    value = next(size);
    return next(1) % 16 != 15;
  }
  bool write(uint64_t, unsigned size, uint64_t value) {
    require(valid(size) && ++writes <= 1 && (size == 8 || value >> (8 * size) == 0));
    return next(1) % 16 != 15;
  }
  bool in(uint16_t, unsigned size, uint64_t& value) {
    require(size <= 4 && valid(size) && ++ports <= 1);
    value = next(size);
    return true;
  }
  bool out(uint16_t, unsigned size, uint64_t) {
    require(size <= 4 && valid(size) && ++ports <= 1);
    return true;
  }
};

void execute(const Instruction& insn, Mode mode, InputBus bus) {
  uint64_t gpr[16], before[16];
  for (auto& value : gpr) value = bus.next(8);
  std::copy(std::begin(gpr), std::end(gpr), before);
  AccessState state{.gpr = gpr, .rip = bus.next(8), .rflags = bus.next(8), .mode = mode};
  for (auto& segment : state.segment_base) segment = bus.next(8);
  const uint64_t rip = state.rip, rflags = state.rflags;
  const AccessStatus status = execute_memory_access(insn, state, bus);
  if (status == AccessStatus::kFailed || status == AccessStatus::kUnsupported)
    require(std::equal(std::begin(gpr), std::end(gpr), before) && state.rip == rip &&
            state.rflags == rflags);
  if (status == AccessStatus::kRepeat) require(state.rip == rip);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const Mode mode = static_cast<Mode>(data[0] % 3);
  std::span<const uint8_t> bytes(data + 1, size - 1);
  while (!bytes.empty()) {
    Instruction insn;
    const DecodeStatus status = decode(bytes, mode, insn);
    if (status == DecodeStatus::kNeedMoreBytes) require(bytes.size() < kMaxInstructionLength);
    if (status != DecodeStatus::kOk) {
      bytes = bytes.subspan(1);
      continue;
    }
    require(insn.length >= 1 && insn.length <= kMaxInstructionLength &&
            insn.length <= bytes.size());
    const auto exact = std::make_unique<uint8_t[]>(insn.length);
    std::copy_n(bytes.begin(), insn.length, exact.get());
    Instruction again;
    require(decode({exact.get(), insn.length}, mode, again) == DecodeStatus::kOk);
    require(again.length == insn.length && again.op == insn.op &&
            again.memory.displacement == insn.memory.displacement &&
            again.immediate == insn.immediate);
    execute(insn, mode, {bytes});
    bytes = bytes.subspan(insn.length);
  }
  return 0;
}
