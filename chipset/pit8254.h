// SPDX-License-Identifier: MIT
// 8254 interval timer at 40h..43h with system control port B (61h), which gates channel 2
// [Intel 8254 data sheet]. Counters are computed from the clock when read: nothing ticks. Channel 0
// is IRQ 0; its events come at most every 100 microseconds, however short the guest makes it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "chipset/bus.h"
#include "chipset/clock.h"

namespace chipset {

class Pit8254 final : public PortDevice, public TimedDevice {
 public:
  static constexpr uint16_t kPort = 0x40;
  static constexpr uint16_t kControlPortB = 0x61;
  static constexpr uint64_t kFrequency = 1'193'182;

  /// `irq` follows the output of channel 0.
  Pit8254(const Clock& clock, std::function<void(bool level)> irq);

  uint32_t read_port(uint16_t port, unsigned size) override;
  void write_port(uint16_t port, unsigned size, uint32_t value) override;
  uint64_t next_event() const override;
  void advance() override;

 private:
  class Channel {
   public:
    void control(uint8_t word, uint64_t now);
    void write(uint8_t value, uint64_t now);
    uint8_t read(uint64_t now);
    void latch_count(uint64_t now);
    void latch_status(uint64_t now);
    void set_gate(bool gate, uint64_t now);
    bool output(uint64_t now) const;
    bool gate() const { return gate_; }
    /// Time of the first rising edge of the output after `after`, or kNever.
    uint64_t next_rising_edge(uint64_t after) const;

   private:
    enum class Access : uint8_t { kLow = 1, kHigh = 2, kBoth = 3 };

    uint64_t ticks(uint64_t now) const;
    uint16_t count(uint64_t now) const;
    void load(uint16_t value, uint64_t now);

    uint8_t mode_ = 0;
    Access access_ = Access::kBoth;
    bool bcd_ = false;
    bool gate_ = true;
    bool loaded_ = false;     // a count was written since the control word
    bool running_ = false;    // loaded and, in modes 1 and 5, triggered
    bool high_next_ = false;  // the next written byte is the high one
    bool read_high_next_ = false;
    uint8_t low_byte_ = 0;
    uint8_t control_ = 0;
    uint32_t reload_ = 0x10000;
    uint64_t start_ = 0;   // when counting began
    uint64_t frozen_ = 0;  // ticks counted before the gate closed
    std::optional<uint16_t> latched_count_;
    std::optional<uint8_t> latched_status_;
  };

  void write_control(uint8_t word);
  uint8_t read_port_b() const;
  void update_irq();

  const Clock& clock_;
  std::function<void(bool)> irq_;
  std::array<Channel, 3> channels_;
  uint8_t port_b_ = 0;
  uint64_t last_advance_;
  bool irq_level_ = false;
};

}  // namespace chipset
