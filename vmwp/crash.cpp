// SPDX-License-Identifier: MIT
#include "vmwp/crash.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>

#include "vmwp/log.h"

namespace vmwp {
namespace {

constexpr uint64_t kMaxText = 4096;
constexpr size_t kTextAddress = 3;  // P3 and P4, when the guest notifies with a message
constexpr size_t kTextSize = 4;

}  // namespace

std::string GuestCrash::summary() const {
  constexpr std::string_view kPanic = "Kernel panic";
  if (const size_t at = text.find(kPanic); at != std::string::npos) {
    return text.substr(at, text.find('\n', at) - at);
  }
  std::string_view last = text;
  while (last.ends_with('\n')) last.remove_suffix(1);
  if (!last.empty()) return std::string(last.substr(last.rfind('\n') + 1));
  return fmt::format("parameters {:#x} {:#x} {:#x} {:#x} {:#x}", parameters[0], parameters[1],
                     parameters[2], parameters[3], parameters[4]);
}

std::optional<GuestCrash> read_guest_crash(VpControl& partition, uint32_t vp,
                                           const GuestMemory& memory) {
  using enum hv::abi::HvRegisterName;
  constexpr std::array kNames{HvRegisterGuestCrashP0, HvRegisterGuestCrashP1,
                              HvRegisterGuestCrashP2, HvRegisterGuestCrashP3,
                              HvRegisterGuestCrashP4};
  std::array<hv::abi::HvRegisterValue, kNames.size()> values{};
  if (!partition.get_registers(vp, kNames, values)) return std::nullopt;

  GuestCrash crash;
  std::ranges::transform(values, crash.parameters.begin(),
                         [](const hv::abi::HvRegisterValue& value) { return value.reg64; });
  if (std::ranges::all_of(crash.parameters, [](uint64_t p) { return p == 0; })) return std::nullopt;

  // Whether P3 and P4 are a text is for the control register to say, but it reads as capabilities:
  // take them for one if they can be. A guest that lies gets its own memory into its own log.
  const uint64_t size = crash.parameters[kTextSize];
  if (size != 0 && size <= kMaxText) {
    std::string text(size, '\0');
    if (memory.read(crash.parameters[kTextAddress], std::as_writable_bytes(std::span(text)))) {
      text.resize(std::min(text.find('\0'), text.size()));
      crash.text = printable(text);
    }
  }
  return crash;
}

}  // namespace vmwp
