// SPDX-License-Identifier: MIT
// ACPI fixed hardware [ACPI 4.8]: PM1a event and control registers, PM timer, SCI. ACPI mode is
// always on (no SMI command port), S5 is the only sleep state, the power button is a fixed one.
#pragma once

#include <cstdint>
#include <functional>

#include "chipset/bus.h"
#include "chipset/clock.h"

namespace chipset {

class Pm final : public PortDevice, public TimedDevice {
 public:
  static constexpr uint16_t kEventPort = 0x600;    // PM1_STS and PM1_EN, 2 bytes each
  static constexpr uint16_t kControlPort = 0x604;  // PM1_CNT, 2 bytes
  static constexpr uint16_t kTimerPort = 0x608;    // 4 bytes
  static constexpr uint16_t kPortCount = 12;
  static constexpr uint64_t kTimerFrequency = 3'579'545;
  static constexpr unsigned kSleepTypeS5 = 5;
  static constexpr unsigned kSciIrq = 9;

  Pm(const Clock& clock, std::function<void(bool level)> sci, std::function<void()> power_off);

  uint32_t read_port(uint16_t port, unsigned size) override;
  void write_port(uint16_t port, unsigned size, uint32_t value) override;
  uint64_t next_event() const override;
  void advance() override;

  /// Asks the guest to shut down.
  void press_power_button();

 private:
  uint32_t timer() const;
  uint16_t read16(uint16_t port);
  void write_control(uint16_t value);
  void update_sci();

  const Clock& clock_;
  std::function<void(bool)> sci_;
  std::function<void()> power_off_;
  uint64_t origin_;
  uint64_t last_carry_ = 0;  // how often bit 31 of the timer had toggled at the last advance()
  uint16_t status_ = 0;
  uint16_t enable_ = 0;
  uint16_t control_;
  bool sci_level_ = false;
};

}  // namespace chipset
