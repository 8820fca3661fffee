// SPDX-License-Identifier: MIT
// MC146818 real-time clock with 128 bytes of NVRAM at 70h and 71h: BCD and binary, 12 and 24 hours,
// alarm, periodic and update interrupts [MC146818A data sheet]. It runs on the wall clock (UTC);
// what a guest sets is kept as a difference to it. What the battery keeps outlives the device, so
// that the machine around it may be reset.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "chipset/bus.h"
#include "chipset/clock.h"

namespace chipset {

class Rtc final : public PortDevice, public TimedDevice {
 public:
  static constexpr uint16_t kIndexPort = 0x70;
  static constexpr uint16_t kDataPort = 0x71;
  static constexpr uint8_t kCenturyRegister = 0x32;

  /// What a reset does not change but for interrupts: they are off and none is pending after it.
  struct Battery {
    Battery();
    std::array<uint8_t, 128> ram{};
    int64_t offset = 0;  // guest's time minus the wall clock
  };

  Rtc(const Clock& clock, Battery& battery, std::function<void(bool level)> irq);

  uint32_t read_port(uint16_t port, unsigned size) override;
  void write_port(uint16_t port, unsigned size, uint32_t value) override;
  uint64_t next_event() const override;
  void advance() override;

 private:
  struct Calendar;

  int64_t now_ns() const { return clock_.wall() + battery_.offset; }
  int64_t now_seconds() const;
  bool is_running() const;
  uint64_t period_ns() const;
  uint8_t encode(unsigned value) const;
  unsigned decode(uint8_t value) const;
  uint8_t encode_hour(unsigned hour) const;
  unsigned decode_hour(uint8_t value) const;
  void store_calendar();
  void load_calendar();
  bool alarm_matches(int64_t second) const;
  uint8_t read_register(uint8_t index);
  void write_register(uint8_t index, uint8_t value);
  void raise(uint8_t causes);

  const Clock& clock_;
  Battery& battery_;
  std::array<uint8_t, 128>& ram_ = battery_.ram;
  std::function<void(bool)> irq_;
  uint8_t index_ = 0;
  int64_t last_second_ = 0;   // seconds handled by advance()
  uint64_t last_period_ = 0;  // Clock::now() of the last periodic event
};

}  // namespace chipset
