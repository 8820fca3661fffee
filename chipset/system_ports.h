// SPDX-License-Identifier: MIT
// The board's odd ports: keyboard controller command (pulse reset only), port 92h, POST code, PCI
// configuration mechanism #1 with an empty bus, and the reset control register CF9h.
#pragma once

#include <cstdint>
#include <functional>

#include "chipset/bus.h"

namespace chipset {

class SystemPorts final : public PortDevice {
 public:
  static constexpr uint16_t kKeyboardData = 0x60;
  static constexpr uint16_t kKeyboardCommand = 0x64;
  static constexpr uint16_t kPostCode = 0x80;
  static constexpr uint16_t kControlPortA = 0x92;
  static constexpr uint16_t kPciAddress = 0xCF8;
  static constexpr uint16_t kPciPortCount = 8;
  static constexpr uint16_t kResetControl = 0xCF9;
  static constexpr uint8_t kResetValue = 0x06;  // full reset, hard

  explicit SystemPorts(std::function<void()> reset) : reset_(std::move(reset)) {}

  void attach(Bus& bus);
  uint32_t read_port(uint16_t port, unsigned size) override;
  void write_port(uint16_t port, unsigned size, uint32_t value) override;

 private:
  void write_reset_control(uint8_t value);

  std::function<void()> reset_;
  uint32_t pci_address_ = 0;
  uint8_t reset_control_ = 0;
  uint8_t post_code_ = 0;
};

}  // namespace chipset
