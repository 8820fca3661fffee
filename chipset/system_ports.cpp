// SPDX-License-Identifier: MIT
#include "chipset/system_ports.h"

namespace chipset {
namespace {

constexpr uint8_t kPulseResetMask = 0xF1;  // F0h..FFh pulse output lines; bit 0 low: reset
constexpr uint8_t kPulseReset = 0xF0;
constexpr uint8_t kFastReset = 0x01;
constexpr uint8_t kA20Enabled = 0x02;
constexpr uint8_t kResetNow = 0x04;  // of the reset control register, on its rising edge
constexpr uint8_t kResetWritable = 0x0E;
constexpr uint32_t kPciAddressWritable = 0x80FFFFFC;

}  // namespace

void SystemPorts::attach(Bus& bus) {
  bus.add_ports(kKeyboardData, 1, 1, *this);
  bus.add_ports(kKeyboardCommand, 1, 1, *this);
  bus.add_ports(kPostCode, 1, 1, *this);
  bus.add_ports(kControlPortA, 1, 1, *this);
  bus.add_ports(kPciAddress, kPciPortCount, 4, *this);
}

uint32_t SystemPorts::read_port(uint16_t port, unsigned size) {
  switch (port) {
    case kKeyboardCommand:
      return 0;  // input buffer empty, so that nobody waits to send the reset command
    case kPostCode:
      return post_code_;
    case kControlPortA:
      return kA20Enabled;
    case kPciAddress:
      if (size == 4) return pci_address_;
      break;
    case kResetControl:
      if (size == 1) return reset_control_;
      break;
    default:
      break;
  }
  return ~0u >> (32 - 8 * size);  // no keyboard, and no device answers a configuration cycle
}

void SystemPorts::write_port(uint16_t port, unsigned size, uint32_t value) {
  const auto byte = static_cast<uint8_t>(value);
  switch (port) {
    case kKeyboardCommand:
      if ((byte & kPulseResetMask) == kPulseReset) reset_();
      break;
    case kPostCode:
      post_code_ = byte;
      break;
    case kControlPortA:
      if ((byte & kFastReset) != 0) reset_();
      break;
    case kPciAddress:
      if (size == 4) pci_address_ = value & kPciAddressWritable;
      break;
    case kResetControl:
      if (size == 1) write_reset_control(byte);
      break;
    default:
      break;
  }
}

void SystemPorts::write_reset_control(uint8_t value) {
  const bool rising = (value & ~reset_control_ & kResetNow) != 0;
  reset_control_ = value & kResetWritable;
  if (rising) reset_();
}

}  // namespace chipset
