// SPDX-License-Identifier: MIT
// The hypervisor's own console: an emulator's debug port, or a serial port that the root is then
// kept from.

#include "hypervisor/core/console.h"

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/native/x86_lp.h"

namespace hv {
namespace {

constexpr uint16_t kDebugPort = 0xe9, kCom1 = 0x3f8, kCom2 = 0x2f8;
constexpr uint16_t kLineStatus = 5;
constexpr uint8_t kTransmitEmpty = 0x20;
uint16_t port = 0;

}  // namespace

namespace x86 {

void init_console(boot::Console console) {
  switch (console) {
    case boot::Console::debug_port:
      port = cpu::in8(kDebugPort) == kDebugPort ? kDebugPort : 0;
      return;
    case boot::Console::com1:
      port = kCom1;
      break;
    case boot::Console::com2:
      port = kCom2;
      break;
    case boot::Console::none:
      return;
  }
  cpu::out8(port + 3, 0x80);
  cpu::out8(port + 0, 1);
  cpu::out8(port + 1, 0);
  cpu::out8(port + 3, 3);
  cpu::out8(port + 2, 7);
  cpu::out8(port + 4, 3);
}

uint16_t console_port() {
  return port == kDebugPort ? 0 : port;
}

}  // namespace x86

void console_write(std::string_view text) {
  if (!port) return;
  for (char c : text) {
    if (port != kDebugPort)
      for (int i = 0; i < 10000 && !(cpu::in8(port + kLineStatus) & kTransmitEmpty); ++i) {
      }
    cpu::out8(port, static_cast<uint8_t>(c));
  }
}

}  // namespace hv
