// SPDX-License-Identifier: MIT
#include "chipset/pic8259.h"

#include <utility>

namespace chipset {
namespace {

constexpr unsigned kCascade = 2;
constexpr unsigned kSpurious = 7;

// IRQ 0, 1, 2 and 8, 13 are edge-triggered whatever software says [ICH9 13.4.10].
constexpr uint8_t kElcrWritable[2] = {0xF8, 0xDE};

constexpr uint8_t kIcw1 = 0x10;
constexpr uint8_t kIcw1NeedsIcw4 = 0x01;
constexpr uint8_t kIcw1Single = 0x02;
constexpr uint8_t kIcw4AutoEoi = 0x02;
constexpr uint8_t kIcw4SpecialFullyNested = 0x10;
constexpr uint8_t kOcw3 = 0x08;

constexpr uint8_t bit(unsigned pin) {
  return static_cast<uint8_t>(1u << pin);
}

}  // namespace

void Pic8259Pair::Chip::set_line(unsigned pin, bool asserted) {
  const uint8_t mask = bit(pin);
  if (asserted) {
    if ((level & mask) != 0 || (lines & mask) == 0) irr |= mask;
    lines |= mask;
  } else {
    lines &= static_cast<uint8_t>(~mask);
    irr &= static_cast<uint8_t>(~mask);  // a request must be held until it is acknowledged
  }
}

// The pin of highest priority in the set, or -1.
int Pic8259Pair::Chip::highest(uint8_t set) const {
  for (unsigned i = 1; i <= 8; ++i) {
    const unsigned pin = (lowest + i) & 7;
    if ((set & bit(pin)) != 0) return static_cast<int>(pin);
  }
  return -1;
}

// The pin that asks for service now, or -1.
int Pic8259Pair::Chip::request(bool master) const {
  if (init_step != 0) return -1;
  // Special mask mode: everything unmasked may interrupt, except what is in service itself.
  if (special_mask) return highest(static_cast<uint8_t>(irr & ~imr & ~isr));
  const int wanted = highest(irr & static_cast<uint8_t>(~imr));
  if (wanted < 0) return -1;
  uint8_t blocking = isr;
  // In special fully nested mode the slave may interrupt its own service.
  if (special_fully_nested && master && wanted == static_cast<int>(kCascade)) {
    blocking &= static_cast<uint8_t>(~bit(kCascade));
  }
  const int serving = highest(blocking);
  if (serving < 0) return wanted;
  const unsigned wanted_rank = static_cast<unsigned>(wanted - lowest - 1) & 7;
  const unsigned serving_rank = static_cast<unsigned>(serving - lowest - 1) & 7;
  return wanted_rank < serving_rank ? wanted : -1;
}

void Pic8259Pair::Chip::accept(unsigned pin) {
  const uint8_t mask = bit(pin);
  if ((level & mask) == 0) irr &= static_cast<uint8_t>(~mask);
  if (!auto_eoi) {
    isr |= mask;
  } else if (rotate_on_auto_eoi) {
    lowest = static_cast<uint8_t>(pin);
  }
}

void Pic8259Pair::Chip::end_of_interrupt(unsigned pin, bool rotate) {
  isr &= static_cast<uint8_t>(~bit(pin));
  if (rotate) lowest = static_cast<uint8_t>(pin);
}

void Pic8259Pair::Chip::write_command(uint8_t value) {
  if ((value & kIcw1) != 0) {
    const uint8_t keep_level = level;
    const uint8_t keep_lines = lines;
    *this = Chip{};
    level = keep_level;
    lines = keep_lines;
    irr = lines & level;  // edges are forgotten, levels are not
    imr = 0;
    expects_icw4 = (value & kIcw1NeedsIcw4) != 0;
    init_step = (value & kIcw1Single) != 0 ? 12 : 2;  // 12: ICW2 follows, but no ICW3
    return;
  }
  if ((value & kOcw3) == 0) {
    operate(value);
    return;
  }
  if ((value & 0x40) != 0) special_mask = (value & 0x20) != 0;
  poll = (value & 0x04) != 0;
  if ((value & 0x02) != 0) read_isr = (value & 0x01) != 0;
}

void Pic8259Pair::Chip::write_data(uint8_t value) {
  switch (init_step) {
    case 0:
      imr = value;
      break;
    case 2:
    case 12:
      vector_base = value & 0xF8;
      init_step = init_step == 2 ? 3 : (expects_icw4 ? 4 : 0);
      break;
    case 3:  // the wiring of the cascade is fixed
      init_step = expects_icw4 ? 4 : 0;
      break;
    default:
      auto_eoi = (value & kIcw4AutoEoi) != 0;
      special_fully_nested = (value & kIcw4SpecialFullyNested) != 0;
      init_step = 0;
      break;
  }
}

// OCW2: R, SL, EOI in bits 7:5, the pin in 2:0.
void Pic8259Pair::Chip::operate(uint8_t ocw2) {
  const unsigned pin = ocw2 & 7;
  const int serving = highest(isr);
  switch (ocw2 >> 5) {
    case 0:
      rotate_on_auto_eoi = false;
      break;
    case 4:
      rotate_on_auto_eoi = true;
      break;
    case 1:
    case 5:
      if (serving >= 0) end_of_interrupt(static_cast<unsigned>(serving), (ocw2 & 0x80) != 0);
      break;
    case 3:
    case 7:
      end_of_interrupt(pin, (ocw2 & 0x80) != 0);
      break;
    case 6:
      lowest = static_cast<uint8_t>(pin);
      break;
    default:
      break;
  }
}

Pic8259Pair::Pic8259Pair(std::function<void(bool)> output) : output_(std::move(output)) {}

uint32_t Pic8259Pair::read_port(uint16_t port, unsigned) {
  if (port == kElcrPort || port == kElcrPort + 1) return chips_[port - kElcrPort].level;
  const bool master = port < kSlavePort;
  const uint8_t value = read_chip(chips_[master ? 0 : 1], (port & 1) != 0, master);
  update();
  return value;
}

uint8_t Pic8259Pair::read_chip(Chip& chip, bool data, bool master) {
  if (chip.poll) {
    chip.poll = false;
    const int pin = chip.request(master);
    if (pin < 0) return 0;
    chip.accept(static_cast<unsigned>(pin));
    return static_cast<uint8_t>(0x80 | pin);
  }
  if (data) return chip.imr;
  return chip.read_isr ? chip.isr : chip.irr;
}

void Pic8259Pair::write_port(uint16_t port, unsigned, uint32_t value) {
  const auto byte = static_cast<uint8_t>(value);
  if (port == kElcrPort || port == kElcrPort + 1) {
    const unsigned index = port - kElcrPort;
    chips_[index].level = byte & kElcrWritable[index];
    chips_[index].irr |= chips_[index].lines & chips_[index].level;
  } else {
    Chip& chip = chips_[port < kSlavePort ? 0 : 1];
    (port & 1) != 0 ? chip.write_data(byte) : chip.write_command(byte);
  }
  update();
}

void Pic8259Pair::set_line(unsigned irq, bool asserted) {
  if (irq >= 16 || irq == kCascade) return;
  chips_[irq / 8].set_line(irq % 8, asserted);
  update();
}

uint8_t Pic8259Pair::acknowledge() {
  int pin = chips_[0].request(true);
  uint8_t vector = static_cast<uint8_t>(chips_[0].vector_base + kSpurious);
  if (pin >= 0) {
    chips_[0].accept(static_cast<unsigned>(pin));
    vector = static_cast<uint8_t>(chips_[0].vector_base + pin);
  }
  if (pin == static_cast<int>(kCascade)) {
    pin = chips_[1].request(false);
    if (pin >= 0) chips_[1].accept(static_cast<unsigned>(pin));
    chips_[0].set_line(kCascade, false);  // INT falls with the acknowledge: the next is a new edge
    vector = static_cast<uint8_t>(chips_[1].vector_base +
                                  (pin >= 0 ? static_cast<unsigned>(pin) : kSpurious));
  }
  update();
  return vector;
}

// The slave's INT is the master's pin 2; the master's INT is the pair's output.
void Pic8259Pair::update() {
  const bool slave = chips_[1].request(false) >= 0;
  chips_[0].set_line(kCascade, slave);
  const bool level = chips_[0].request(true) >= 0;
  if (level == output_level_) return;
  output_level_ = level;
  output_(level);
}

}  // namespace chipset
