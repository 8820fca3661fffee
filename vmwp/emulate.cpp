// SPDX-License-Identifier: MIT
#include "vmwp/emulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/bits.h"
#include "base/x86/access.h"

namespace vmwp {
namespace {

using namespace hv::abi;
using base::x86::AccessState;
using base::x86::AccessStatus;
using base::x86::DecodeStatus;
using base::x86::Instruction;
using base::x86::Mode;
using base::x86::Op;
using base::x86::Segment;

constexpr uint64_t kRflagsTrap = 1 << 8;
constexpr uint8_t kDebugException = 1;
constexpr uint8_t kStackFault = 12;
constexpr uint8_t kGeneralProtection = 13;
constexpr uint64_t kDr6SingleStep = 0xFFFF4FF0;  // BS and the bits that read as one

constexpr size_t kGprCount = 16;
constexpr size_t kSegmentCount = std::extent_v<decltype(AccessState::segment_base)>;

// Iterations of a repeated string instruction before the VP may take interrupts again.
constexpr unsigned kIterationsPerSlice = 1024;

constexpr uint64_t mask_of(unsigned bytes) {
  return ~uint64_t{0} >> (64 - 8 * bytes);
}

// A register after a write of `bytes` bytes: 4 clear the upper half, 1 and 2 keep the rest.
constexpr uint64_t merge(uint64_t old, uint64_t value, unsigned bytes) {
  const uint64_t mask = mask_of(bytes);
  return bytes == 4 ? value & mask : (old & ~mask) | (value & mask);
}

unsigned instruction_length(const HvX64InterceptMessageHeader& header) {
  return header.instruction_length_and_cr8 & 15u;
}

Failure unknown_instruction(const HvX64InterceptMessageHeader& header,
                            std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format(" {:02x}", byte);
  return {ExitStatus::kCrashed, fmt::format("VP {}: cannot emulate the instruction at {:#x}:{}",
                                            header.vp_index, header.rip, text)};
}

// Decodes from the bytes in the message or, where they do not suffice, from guest memory.
AccessResult<Instruction> fetch(const EmulationContext& context,
                                const HvX64InterceptMessageHeader& header,
                                std::span<const uint8_t> given, GuestVirtual& guest) {
  const Mode mode = code_mode(header);
  Instruction instruction;
  DecodeStatus status = base::x86::decode(given, mode, instruction);
  if (status == DecodeStatus::kOk) return instruction;

  std::array<uint8_t, base::x86::kMaxInstructionLength> bytes{};
  const uint64_t base = mode == Mode::k64 ? 0 : header.cs_segment.base;
  const uint64_t at = (base + header.rip) & (mode == Mode::k64 ? ~uint64_t{0} : mask_of(4));
  size_t count = std::min<size_t>(bytes.size(), kPageSize - at % kPageSize);
  const auto read_to = [&](size_t end, size_t from) {
    return guest.read(at + from, std::as_writable_bytes(std::span(bytes)).subspan(from, end - from),
                      GuestAccess::kExecute);
  };
  if (auto read = read_to(count, 0); !read) return std::unexpected(read.error());
  status = base::x86::decode(std::span(bytes).first(count), mode, instruction);
  if (status == DecodeStatus::kNeedMoreBytes && count < bytes.size()) {
    // The next page is touched only if the instruction really reaches into it.
    if (auto read = read_to(bytes.size(), count); !read) return std::unexpected(read.error());
    status = base::x86::decode(bytes, mode, instruction);
    count = bytes.size();
  }
  if (status == DecodeStatus::kOk) return instruction;
  return std::unexpected(AccessFault(unknown_instruction(header, std::span(bytes).first(count))));
}

// Injects the guest's own exception, or passes the failure on.
Result<> resolve(const AccessFault& fault, RegisterBatch& batch) {
  if (const auto* exception = std::get_if<GuestException>(&fault)) {
    inject(*exception, batch);
    return {};
  }
  return std::unexpected(std::get<Failure>(fault));
}

uint64_t advance_rip(const HvX64InterceptMessageHeader& header, unsigned length) {
  const uint64_t rip = header.rip + length;
  const Mode mode = code_mode(header);
  return mode == Mode::k64 ? rip : rip & mask_of(mode == Mode::k32 ? 4 : 2);
}

}  // namespace

void RegisterBatch::set(HvRegisterName name, uint64_t value) {
  HvRegisterAssoc assoc{};
  assoc.name = name;
  assoc.value.reg64 = value;
  set(assoc);
}

void RegisterBatch::set(const HvRegisterAssoc& assoc) {
  if (size_ < list_.size()) list_[size_++] = assoc;
}

Mode code_mode(const HvX64InterceptMessageHeader& header) {
  const bool long_mode = (header.execution_state >> kHvExecutionEferLmaBit & 1) != 0;
  const uint16_t cs = header.cs_segment.attributes;
  if (long_mode && (cs >> kHvSegmentLongBit & 1) != 0) return Mode::k64;
  return (cs >> kHvSegmentDefaultBit & 1) != 0 ? Mode::k32 : Mode::k16;
}

Privilege privilege(const HvX64InterceptMessageHeader& header) {
  return (header.execution_state & 3) == 3 ? Privilege::kUser : Privilege::kSupervisor;
}

Result<> finish_instruction(const EmulationContext& context,
                            const HvX64InterceptMessageHeader& header, unsigned length,
                            RegisterBatch& batch) {
  batch.set(HvRegisterName::HvX64RegisterRip, advance_rip(header, length));
  if ((header.execution_state >> kHvExecutionInterruptShadowBit & 1) != 0) {
    constexpr std::array kName{HvRegisterName::HvRegisterInterruptState};
    std::array<HvRegisterValue, 1> state{};
    HV_PROPAGATE(context.partition.get_registers(context.vp, kName, state));
    batch.set(kName[0], state[0].reg64 & ~(uint64_t{1} << kHvInterruptShadowBit));
  }
  if ((header.rflags & kRflagsTrap) != 0) {
    inject({kDebugException, std::nullopt, kDr6SingleStep}, batch);
  }
  return {};
}

void inject(const GuestException& exception, RegisterBatch& batch) {
  HvRegisterAssoc assoc{};
  assoc.name = HvRegisterName::HvRegisterPendingEvent0;
  HvX64PendingExceptionEvent& event = assoc.value.pending_exception_event;
  event.header = 1 << kHvPendingEventPendingBit;  // type 0: exception
  event.vector = exception.vector;
  event.exception_parameter = exception.parameter;
  if (exception.error_code) {
    event.flags = 1 << kHvPendingExceptionDeliverErrorCodeBit;
    event.error_code = *exception.error_code;
  }
  batch.set(assoc);
}

namespace {

// What segmentation says about the memory operand of INS or OUTS, which the processor leaves to who
// intercepts: the others are intercepted after it was asked.
struct StringSegment {
  HvX64SegmentRegister segment{};
  Mode mode = Mode::k64;
  uint8_t vector = kGeneralProtection;  // of the fault
  bool error_code = true;               // not in real mode

  bool allows(uint64_t address, unsigned size, bool write) const {
    if (mode == Mode::k64) return is_canonical(address) && is_canonical(address + size - 1);
    constexpr uint16_t kPresent = 1 << 7, kCode = 1 << 3, kExpandDown = 1 << 2, kAccess = 1 << 1;
    const uint16_t attributes = segment.attributes;
    const bool code = (attributes & kCode) != 0;
    const bool accessible =
        write ? !code && (attributes & kAccess) != 0 : !code || (attributes & kAccess) != 0;
    if ((attributes & kPresent) == 0 || !accessible) return false;
    const uint64_t first = (address - segment.base) & mask_of(4);
    const uint64_t last = first + size - 1;
    if (code || (attributes & kExpandDown) == 0) return last <= segment.limit;
    const bool big = (attributes >> kHvSegmentDefaultBit & 1) != 0;
    return first > segment.limit && last <= mask_of(big ? 4 : 2);
  }
  GuestException fault() const {
    return {vector, error_code ? std::optional<uint32_t>(0) : std::nullopt, 0};
  }

 private:
  static bool is_canonical(uint64_t address) {
    const auto value = static_cast<int64_t>(address);
    return value << 16 >> 16 == value;
  }
};

// What execute_memory_access() sees of the VM. Remembers why an access failed.
class InstructionBus {
 public:
  InstructionBus(chipset::Chipset& chipset, GuestVirtual& guest, const StringSegment* segment)
      : chipset_(chipset), guest_(guest), segment_(segment) {}

  bool read(uint64_t address, unsigned size, uint64_t& value) {
    value = 0;
    return allowed(address, size, false) && keep(guest_.read(address, bytes(value, size)));
  }
  bool write(uint64_t address, unsigned size, uint64_t value) {
    return allowed(address, size, true) && keep(guest_.write(address, bytes(value, size)));
  }
  bool in(uint16_t port, unsigned size, uint64_t& value) {
    value = chipset_.read_port(port, size);
    return true;
  }
  bool out(uint16_t port, unsigned size, uint64_t value) {
    chipset_.write_port(port, size, static_cast<uint32_t>(value));
    return true;
  }
  bool probe_write(uint64_t address, unsigned size) {
    return allowed(address, size, true) && keep(guest_.probe_write(address, size));
  }
  const std::optional<AccessFault>& fault() const { return fault_; }

 private:
  static std::span<std::byte> bytes(uint64_t& value, unsigned size) {
    return std::as_writable_bytes(std::span(&value, 1)).first(size);
  }
  bool allowed(uint64_t address, unsigned size, bool write) {
    if (segment_ == nullptr || segment_->allows(address, size, write)) return true;
    fault_ = AccessFault(segment_->fault());
    return false;
  }
  bool keep(AccessResult<void> result) {
    if (result) return true;
    fault_ = std::move(result).error();
    return false;
  }

  chipset::Chipset& chipset_;
  GuestVirtual& guest_;
  const StringSegment* segment_;  // or none to ask
  std::optional<AccessFault> fault_;
};

enum class Progress { kDone, kAgain, kFault, kUnsupported };

// Executes an instruction, or a slice of a repeated one: then RIP stays, and the VP comes back
// after taking what interrupts are due.
Progress execute(const Instruction& instruction, AccessState& state, InstructionBus& bus) {
  for (unsigned left = kIterationsPerSlice; left != 0; --left) {
    if (instruction.op == Op::kIns) {
      // Reading a port may have effects: do it only when the write cannot fault any more.
      base::x86::DataAccess access;
      if (!plan_access(instruction, state, access)) return Progress::kUnsupported;
      if (access.writes && !access.skip && !bus.probe_write(access.write_address, access.size)) {
        return Progress::kFault;
      }
    }
    switch (execute_memory_access(instruction, state, bus)) {
      case AccessStatus::kDone:
        return Progress::kDone;
      case AccessStatus::kRepeat:
        break;
      case AccessStatus::kFailed:
        return Progress::kFault;
      case AccessStatus::kUnsupported:
        return Progress::kUnsupported;
    }
  }
  return Progress::kAgain;
}

// What string port I/O touches: the message has it, but for segments other than DS and ES.
Result<StringSegment> load_string_state(const EmulationContext& context,
                                        const HvX64IoPortInterceptMessage& message,
                                        const Instruction& instruction, AccessState& state) {
  state.gpr[base::x86::kRax] = message.rax;
  state.gpr[base::x86::kRcx] = message.rcx;
  state.gpr[base::x86::kRdx] = message.port_number;
  state.gpr[base::x86::kRsi] = message.rsi;
  state.gpr[base::x86::kRdi] = message.rdi;
  auto name = Segment::kEs;
  if (instruction.op == Op::kOuts) {
    name = instruction.prefixes.segment;
    if (static_cast<size_t>(name) >= kSegmentCount) name = Segment::kDs;
  }
  StringSegment used{.mode = state.mode};
  used.error_code = (message.header.execution_state >> kHvExecutionCr0PeBit & 1) != 0;
  if (name == Segment::kSs && state.mode != Mode::k64) used.vector = kStackFault;
  if (name == Segment::kEs) {
    used.segment = message.es_segment;
  } else if (name == Segment::kDs) {
    used.segment = message.ds_segment;
  } else {
    const std::array names{static_cast<HvRegisterName>(
        static_cast<size_t>(HvRegisterName::HvX64RegisterEs) + static_cast<size_t>(name))};
    std::array<HvRegisterValue, 1> value{};
    HV_PROPAGATE(context.partition.get_registers(context.vp, names, value));
    used.segment = value[0].segment;
  }
  state.segment_base[static_cast<size_t>(name)] = used.segment.base;
  return used;
}

// All general registers, and segment bases where they count: one hypercall.
Result<> load_full_state(const EmulationContext& context, AccessState& state) {
  std::array<HvRegisterName, kGprCount + kSegmentCount> names;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto base =
        i < kGprCount ? HvRegisterName::HvX64RegisterRax : HvRegisterName::HvX64RegisterEs;
    names[i] = static_cast<HvRegisterName>(static_cast<size_t>(base) + i % kGprCount);
  }
  std::array<HvRegisterValue, names.size()> values{};
  HV_PROPAGATE(context.partition.get_registers(context.vp, names, values));
  for (size_t i = 0; i < kGprCount; ++i) state.gpr[i] = values[i].reg64;
  for (size_t i = 0; i < kSegmentCount; ++i) {
    state.segment_base[i] = values[kGprCount + i].segment.base;
  }
  return {};
}

// Runs the instruction and puts what it changed into the batch.
Result<> carry_out(const EmulationContext& context, const HvX64InterceptMessageHeader& header,
                   const Instruction& instruction, AccessState& state, GuestVirtual& guest,
                   const StringSegment* segment, RegisterBatch& batch) {
  std::array<uint64_t, kGprCount> before;
  std::copy_n(state.gpr, kGprCount, before.begin());
  InstructionBus bus(context.chipset, guest, segment);
  const Progress progress = execute(instruction, state, bus);
  if (progress == Progress::kUnsupported) {
    return std::unexpected(unknown_instruction(header, {}));
  }
  for (size_t i = 0; i < kGprCount; ++i) {
    if (state.gpr[i] == before[i]) continue;
    batch.set(
        static_cast<HvRegisterName>(static_cast<size_t>(HvRegisterName::HvX64RegisterRax) + i),
        state.gpr[i]);
  }
  if (state.rflags != header.rflags) batch.set(HvRegisterName::HvX64RegisterRflags, state.rflags);
  if (progress == Progress::kFault) return resolve(*bus.fault(), batch);
  if (progress == Progress::kAgain) return {};
  return finish_instruction(context, header, instruction.length, batch);
}

// The processor has translated the operand already: its page need not be asked for again. Where the
// message does not give the linear address, it is that of the one explicit memory operand.
void remember_operand(const HvX64MemoryInterceptMessage& message, const Instruction& instruction,
                      const AccessState& state, GuestVirtual& guest) {
  const bool told = (message.memory_access_info >> kHvMemoryAccessGvaGpaValidBit & 1) != 0;
  if (!told && !instruction.has_memory) return;
  const uint64_t gpa = message.guest_physical_address;
  const uint64_t gva =
      told ? message.guest_virtual_address : base::x86::linear_address(instruction, state);
  if ((gva ^ gpa) % kPageSize != 0) return;
  guest.remember(gva, gpa, GuestAccess::kRead);  // what may be written may be read
  if (message.header.intercept_access_type == HvInterceptAccessType::HvInterceptAccessWrite) {
    guest.remember(gva, gpa, GuestAccess::kWrite);
  }
}

AccessState state_of(const HvX64InterceptMessageHeader& header, uint64_t* gpr) {
  AccessState state;
  state.gpr = gpr;
  state.rip = header.rip;
  state.rflags = header.rflags;
  state.mode = code_mode(header);
  return state;
}

// What runs at RIP may not be what was intercepted: the guest's other processors write its code.
// The processor checked the right to use ports for INS and OUTS of the intercepted size only.
bool is_intercepted(const Instruction& instruction, const HvX64IoPortInterceptMessage& message,
                    unsigned size) {
  const bool write =
      message.header.intercept_access_type == HvInterceptAccessType::HvInterceptAccessWrite;
  const bool string = (message.access_info >> kHvIoPortStringOpBit & 1) != 0;
  const Op op = string ? (write ? Op::kOuts : Op::kIns) : (write ? Op::kOut : Op::kIn);
  return instruction.op == op && std::min<unsigned>(instruction.operand_size, 4) == size;
}

}  // namespace

Result<> emulate_port(const EmulationContext& context, const HvX64IoPortInterceptMessage& message,
                      RegisterBatch& batch) {
  const unsigned size = message.access_info & 7u;
  if (size != 1 && size != 2 && size != 4) {
    return fail(fmt::format("VP {}: port intercept of {} bytes", context.vp, size));
  }
  unsigned length = instruction_length(message.header);
  const bool string = (message.access_info >> kHvIoPortStringOpBit & 1) != 0;
  if (string || length == 0) {
    GuestVirtual guest(context.vp, context.partition, context.chipset, context.memory,
                       privilege(message.header));
    const size_t given =
        std::min<size_t>(message.instruction_byte_count, sizeof(message.instruction_bytes));
    const auto instruction =
        fetch(context, message.header, std::span(message.instruction_bytes).first(given), guest);
    if (!instruction) return resolve(instruction.error(), batch);
    if (!is_intercepted(*instruction, message, size)) return {};  // it is executed again
    if (string) {
      std::array<uint64_t, kGprCount> gpr{};
      AccessState state = state_of(message.header, gpr.data());
      const auto segment = load_string_state(context, message, *instruction, state);
      HV_PROPAGATE(segment);
      return carry_out(context, message.header, *instruction, state, guest, &*segment, batch);
    }
    length = instruction->length;
  }
  if (message.header.intercept_access_type == HvInterceptAccessType::HvInterceptAccessWrite) {
    context.chipset.write_port(message.port_number, size, static_cast<uint32_t>(message.rax));
  } else {
    const uint32_t value = context.chipset.read_port(message.port_number, size);
    batch.set(HvRegisterName::HvX64RegisterRax, merge(message.rax, value, size));
  }
  return finish_instruction(context, message.header, length, batch);
}

Result<> emulate_memory(const EmulationContext& context, const HvX64MemoryInterceptMessage& message,
                        RegisterBatch& batch) {
  const HvX64InterceptMessageHeader& header = message.header;
  if ((header.execution_state >> kHvExecutionInterruptionPendingBit & 1) != 0) {
    // Delivering an event touched it, not the instruction at RIP: there is no memory at the IDT,
    // the TSS or the stack. The processor would shut down over it.
    return fail(
        fmt::format("VP {}: an interrupt or exception cannot be delivered: no memory at {:#x}",
                    context.vp, message.guest_physical_address),
        ExitStatus::kCrashed);
  }
  GuestVirtual guest(context.vp, context.partition, context.chipset, context.memory,
                     privilege(header));
  const size_t given =
      std::min<size_t>(message.instruction_byte_count, sizeof(message.instruction_bytes));
  const auto instruction =
      fetch(context, header, std::span(message.instruction_bytes).first(given), guest);
  if (!instruction) return resolve(instruction.error(), batch);
  // Written there since by another processor: executed again, it gets the intercept it deserves.
  if (instruction->op == Op::kIns || instruction->op == Op::kOuts) return {};
  std::array<uint64_t, kGprCount> gpr{};
  AccessState state = state_of(header, gpr.data());
  HV_PROPAGATE(load_full_state(context, state));
  remember_operand(message, *instruction, state, guest);
  return carry_out(context, header, *instruction, state, guest, nullptr, batch);
}

}  // namespace vmwp
