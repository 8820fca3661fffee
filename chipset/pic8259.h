// SPDX-License-Identifier: MIT
// The pair of 8259A interrupt controllers at 20h and A0h with their edge/level registers
// [Intel 8259A data sheet; ICH9 13.4]. INT drives one line; the vector is taken by acknowledge().
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "chipset/bus.h"

namespace chipset {

class Pic8259Pair final : public PortDevice {
 public:
  static constexpr uint16_t kMasterPort = 0x20;
  static constexpr uint16_t kSlavePort = 0xA0;
  static constexpr uint16_t kElcrPort = 0x4D0;

  /// `output` follows the master's INT pin.
  explicit Pic8259Pair(std::function<void(bool level)> output);

  uint32_t read_port(uint16_t port, unsigned size) override;
  void write_port(uint16_t port, unsigned size, uint32_t value) override;

  /// IRQ 0..15; IRQ 2 is the cascade and cannot be driven.
  void set_line(unsigned irq, bool asserted);
  /// Interrupt acknowledge: the vector to take. A request that went away gives IRQ 7's.
  uint8_t acknowledge();

 private:
  struct Chip {
    uint8_t irr = 0;
    uint8_t isr = 0;
    uint8_t imr = 0xFF;
    uint8_t lines = 0;
    uint8_t level = 0;  // ELCR
    uint8_t vector_base = 0;
    uint8_t lowest = 7;     // the input with the lowest priority now
    uint8_t init_step = 0;  // which ICW comes next; 0: initialized
    bool expects_icw4 = false;
    bool auto_eoi = false;
    bool rotate_on_auto_eoi = false;
    bool special_mask = false;
    bool special_fully_nested = false;
    bool read_isr = false;
    bool poll = false;

    void set_line(unsigned pin, bool asserted);
    int highest(uint8_t set) const;
    int request(bool master) const;
    void accept(unsigned pin);
    void end_of_interrupt(unsigned pin, bool rotate);
    void write_command(uint8_t value);
    void write_data(uint8_t value);
    void operate(uint8_t ocw2);
  };

  uint8_t read_chip(Chip& chip, bool data, bool master);
  void update();

  std::array<Chip, 2> chips_;
  std::function<void(bool)> output_;
  bool output_level_ = false;
};

}  // namespace chipset
