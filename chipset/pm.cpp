// SPDX-License-Identifier: MIT
#include "chipset/pm.h"

#include <utility>

namespace chipset {
namespace {

constexpr uint16_t kTimerCarry = 1 << 0;
constexpr uint16_t kGlobal = 1 << 5;
constexpr uint16_t kPowerButton = 1 << 8;
constexpr uint16_t kRtc = 1 << 10;
constexpr uint16_t kWake = 1 << 15;
constexpr uint16_t kStatusMask = kTimerCarry | kGlobal | kPowerButton | kRtc | kWake;
constexpr uint16_t kEnableMask = kTimerCarry | kGlobal | kPowerButton | kRtc;

constexpr uint16_t kSciEnable = 1 << 0;
constexpr uint16_t kBusMasterReload = 1 << 1;
constexpr uint16_t kSleepEnable = 1 << 13;
constexpr unsigned kSleepTypeShift = 10;
constexpr uint16_t kSleepType = 7 << kSleepTypeShift;

constexpr unsigned kCarryShift = 31;  // the status bit is set when bit 31 changes [ACPI 4.8.2.1]

}  // namespace

Pm::Pm(const Clock& clock, std::function<void(bool)> sci, std::function<void()> power_off)
    : clock_(clock),
      sci_(std::move(sci)),
      power_off_(std::move(power_off)),
      origin_(clock.now()),
      control_(kSciEnable) {}

uint32_t Pm::timer() const {
  return static_cast<uint32_t>(ns_to_ticks(clock_.now() - origin_, kTimerFrequency));
}

// Ports are 16 bits wide but for the timer: the bus splits wider accesses of the others.
uint32_t Pm::read_port(uint16_t port, unsigned size) {
  const uint32_t mask = size == 4 ? ~0u : (1u << 8 * size) - 1;
  if (port >= kTimerPort) return timer() >> 8 * (port - kTimerPort) & mask;
  const auto base = static_cast<uint16_t>(port & ~1);
  if (size == 4) return read16(base) | uint32_t{read16(static_cast<uint16_t>(base + 2))} << 16;
  return uint32_t{read16(base)} >> 8 * (port - base) & mask;
}

uint16_t Pm::read16(uint16_t port) {
  switch (port) {
    case kEventPort:
      advance();
      return status_;
    case kEventPort + 2:
      return enable_;
    case kControlPort:
      return control_;
    default:
      return 0;
  }
}

void Pm::write_port(uint16_t port, unsigned size, uint32_t value) {
  if (size == 4) {
    write_port(port, 2, value & 0xFFFF);
    write_port(static_cast<uint16_t>(port + 2), 2, value >> 16);
    return;
  }
  const auto base = static_cast<uint16_t>(port & ~1);
  const unsigned shift = 8 * (port - base);
  const auto mask = static_cast<uint16_t>(size == 1 ? 0xFF << shift : 0xFFFF);
  const auto bits = static_cast<uint16_t>(value << shift & mask);
  advance();
  switch (base) {
    case kEventPort:
      status_ &= static_cast<uint16_t>(~bits);
      break;
    case kEventPort + 2:
      enable_ = static_cast<uint16_t>(((enable_ & ~mask) | bits) & kEnableMask);
      break;
    case kControlPort:
      write_control(static_cast<uint16_t>((control_ & ~mask) | bits));
      break;
    default:  // the timer is read-only
      break;
  }
  update_sci();
}

void Pm::write_control(uint16_t value) {
  control_ = (value & (kSleepType | kBusMasterReload)) | kSciEnable;
  const unsigned type = (value & kSleepType) >> kSleepTypeShift;
  if ((value & kSleepEnable) != 0 && type == kSleepTypeS5) power_off_();
}

uint64_t Pm::next_event() const {
  if ((enable_ & kTimerCarry) == 0 || (status_ & kTimerCarry) != 0) return kNever;
  return origin_ + ticks_to_ns((last_carry_ + 1) << kCarryShift, kTimerFrequency);
}

void Pm::advance() {
  const uint64_t carry = ns_to_ticks(clock_.now() - origin_, kTimerFrequency) >> kCarryShift;
  if (carry != last_carry_) {
    last_carry_ = carry;
    status_ |= kTimerCarry;
  }
  update_sci();
}

void Pm::press_power_button() {
  status_ |= kPowerButton;
  update_sci();
}

void Pm::update_sci() {
  const bool level = (status_ & enable_ & kStatusMask) != 0;
  if (level == sci_level_) return;
  sci_level_ = level;
  sci_(level);
}

}  // namespace chipset
