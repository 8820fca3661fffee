// SPDX-License-Identifier: MIT
// The loader's console: the first serial port and, under an emulator that has one, the debug port.

#include "hypervisor/boot/loader.h"

namespace hv::boot {
namespace {

constexpr uint16_t kCom1 = 0x3f8, kLineStatus = 5, kDebugPort = 0xe9;
constexpr uint8_t kTransmitEmpty = 0x20;
bool serial_present = false;
bool debug_port_present = false;

uint8_t in8(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
void out8(uint16_t port, uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

void put(char c) {
  if (debug_port_present) out8(kDebugPort, static_cast<uint8_t>(c));
  if (!serial_present) return;
  for (int spins = 0; spins < 100000 && !(in8(kCom1 + kLineStatus) & kTransmitEmpty); ++spins) {
  }
  out8(kCom1, static_cast<uint8_t>(c));
}

}  // namespace

void console_init() {
  debug_port_present = in8(kDebugPort) == kDebugPort;
  out8(kCom1 + 7, 0x5a);  // scratch register: reads back where a UART exists
  serial_present = in8(kCom1 + 7) == 0x5a;
  if (!serial_present) return;
  out8(kCom1 + 3, 0x80);
  out8(kCom1 + 0, 1);  // 115200 baud
  out8(kCom1 + 1, 0);
  out8(kCom1 + 3, 3);  // 8N1
  out8(kCom1 + 2, 7);
  out8(kCom1 + 4, 3);
}

void print(std::string_view text) {
  for (char c : text) {
    if (c == '\n') put('\r');
    put(c);
  }
}

void print_hex(uint64_t value) {
  char digits[18] = {'0', 'x'};
  for (int i = 0; i < 16; ++i) digits[2 + i] = "0123456789abcdef"[(value >> (60 - 4 * i)) & 15];
  print({digits, sizeof(digits)});
}

void print_number(uint64_t value) {
  char digits[20];
  int at = sizeof(digits);
  do digits[--at] = static_cast<char>('0' + value % 10);
  while (value /= 10);
  print({digits + at, sizeof(digits) - static_cast<size_t>(at)});
}

void stop(std::string_view reason) {
  say(reason, ". Halted.");
  for (;;) asm volatile("cli; hlt");
}

}  // namespace hv::boot
