// SPDX-License-Identifier: MIT
#include "vmwp/vp.h"

#include <fmt/format.h>
#include <signal.h>

#include <array>
#include <chrono>
#include <cstring>

#include "abi/tlfs/msr.h"
#include "vmwp/crash.h"

namespace vmwp {
namespace {

using namespace hv::abi;

constexpr uint8_t kGeneralProtection = 13;
constexpr unsigned kWrmsrLength = 2;  // without prefixes
constexpr auto kKickInterval = std::chrono::milliseconds(1);

template <class T>
T payload(const HvMessage& message) {
  static_assert(sizeof(T) <= sizeof(message.payload));
  T value;
  std::memcpy(&value, message.payload, sizeof(T));
  return value;
}

bool is_write(const HvX64InterceptMessageHeader& header) {
  return header.intercept_access_type == HvInterceptAccessType::HvInterceptAccessWrite;
}

}  // namespace

void Vp::start() {
  thread_ = std::thread([this] { loop(); });
}

// RUN_VP returns on a signal, but one that comes just before the call is lost: knock again.
void Vp::stop() {
  request_stop();
  if (!thread_.joinable()) return;
  while (!left_) {
    ::pthread_kill(thread_.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(kKickInterval);
  }
  thread_.join();
}

void Vp::loop() {
  HvMessage message;
  while (!stopping_) {
    const auto outcome = context_.partition.run(context_.vp, message);
    if (!outcome) {
      end_({EndKind::kError, outcome.error().text, {}});
      break;
    }
    if (*outcome == RunOutcome::kInterrupted) continue;
    if (auto ending = handle(message)) {
      end_(*std::move(ending));
      break;
    }
  }
  left_ = true;
}

// These are all that the hypervisor sends a parent that asks for what ours does.
std::optional<Ending> Vp::handle(const HvMessage& message) {
  RegisterBatch batch;
  Result<> result;
  switch (message.header.message_type) {
    case HvMessageType::HvMessageTypeX64IoPortIntercept:
      result = emulate_port(context_, payload<HvX64IoPortInterceptMessage>(message), batch);
      break;
    case HvMessageType::HvMessageTypeUnmappedGpa:
    case HvMessageType::HvMessageTypeGpaIntercept:
      result = emulate_memory(context_, payload<HvX64MemoryInterceptMessage>(message), batch);
      break;
    case HvMessageType::HvMessageTypeX64MsrIntercept: {
      const auto msr = payload<HvX64MsrInterceptMessage>(message);
      if (is_crash_notice(msr)) {
        if (auto crash = guest_crash(); !goes_on_(crash)) return crash;
      }
      result = handle_msr(msr, batch);
      break;
    }
    case HvMessageType::HvMessageTypeUnrecoverableException:
      return triple_fault(payload<HvX64InterceptMessageHeader>(message));
    default:
      return Ending{EndKind::kError,
                    fmt::format("VP {}: unexpected message {:#x}", context_.vp,
                                static_cast<uint32_t>(message.header.message_type)),
                    describe_registers()};
  }
  if (result && !batch.list().empty()) {
    result = context_.partition.set_registers(context_.vp, batch.list());
  }
  if (result) return std::nullopt;
  const auto kind =
      result.error().status == ExitStatus::kCrashed ? EndKind::kCrashed : EndKind::kError;
  return Ending{kind, result.error().text, describe_registers()};
}

// The guest reports a panic; the parameters are written before [TLFS 2.6].
bool Vp::is_crash_notice(const HvX64MsrInterceptMessage& message) {
  return message.msr_number == kHvX64MsrCrashCtl && is_write(message.header) &&
         (message.rdx >> (kHvCrashCtlNotifyBit - 32) & 1) != 0;
}

Ending Vp::guest_crash() {
  const auto crash = read_guest_crash(context_.partition, context_.vp, context_.memory);
  return {EndKind::kCrashed, crash ? crash->summary() : "the guest reported a panic",
          crash ? crash->text : std::string()};
}

// The hypervisor knows every MSR but the one we asked for; what else arrives does not exist. A
// write to the crash control MSR has done what it does.
Result<> Vp::handle_msr(const HvX64MsrInterceptMessage& message, RegisterBatch& batch) {
  if (message.msr_number != kHvX64MsrCrashCtl || !is_write(message.header)) {
    inject({kGeneralProtection, 0, 0}, batch);
    return {};
  }
  const unsigned length = message.header.instruction_length_and_cr8 & 15u;
  return finish_instruction(context_, message.header, length == 0 ? kWrmsrLength : length, batch);
}

Ending Vp::triple_fault(const HvX64InterceptMessageHeader& header) {
  if (const auto crash = read_guest_crash(context_.partition, context_.vp, context_.memory)) {
    return {EndKind::kCrashed, crash->summary(), crash->text};
  }
  return {EndKind::kCrashed, fmt::format("triple fault on VP {} at {:#x}", context_.vp, header.rip),
          describe_registers()};
}

// Lines for the log, or nothing where the registers cannot be read.
std::string Vp::describe_registers() {
  using enum HvRegisterName;
  constexpr std::array kNames{
      HvX64RegisterRip, HvX64RegisterRflags, HvX64RegisterRsp, HvX64RegisterRax, HvX64RegisterRbx,
      HvX64RegisterRcx, HvX64RegisterRdx,    HvX64RegisterRsi, HvX64RegisterRdi, HvX64RegisterRbp,
      HvX64RegisterCr0, HvX64RegisterCr2,    HvX64RegisterCr3, HvX64RegisterCr4, HvX64RegisterEfer};
  std::array<HvRegisterValue, kNames.size()> v{};
  if (!context_.partition.get_registers(context_.vp, kNames, v)) return {};
  return fmt::format(
      "VP {} RIP {:016x} RFLAGS {:08x} RSP {:016x}\n"
      "RAX {:016x} RBX {:016x} RCX {:016x} RDX {:016x}\n"
      "RSI {:016x} RDI {:016x} RBP {:016x}\n"
      "CR0 {:08x} CR2 {:016x} CR3 {:016x} CR4 {:08x} EFER {:08x}",
      context_.vp, v[0].reg64, v[1].reg64, v[2].reg64, v[3].reg64, v[4].reg64, v[5].reg64,
      v[6].reg64, v[7].reg64, v[8].reg64, v[9].reg64, v[10].reg64, v[11].reg64, v[12].reg64,
      v[13].reg64, v[14].reg64);
}

}  // namespace vmwp
