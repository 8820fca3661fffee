// SPDX-License-Identifier: MIT
#include "chipset/pit8254.h"

#include <algorithm>
#include <utility>

namespace chipset {
namespace {

constexpr uint64_t kMinimumEventDistance = 100'000;  // ns
constexpr uint64_t kRefreshToggle = 15'085;          // ns between two memory refreshes

constexpr uint8_t kPortBGate2 = 0x01;
constexpr uint8_t kPortBWritable = 0x0F;
constexpr uint8_t kPortBRefresh = 0x10;
constexpr uint8_t kPortBOutput2 = 0x20;

constexpr uint16_t to_bcd(uint32_t value) {
  return static_cast<uint16_t>(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 |
                               value / 1000 % 10 << 12);
}

constexpr uint32_t from_bcd(uint16_t value) {
  return (value & 15u) + 10 * (value >> 4 & 15u) + 100 * (value >> 8 & 15u) + 1000 * (value >> 12);
}

}  // namespace

void Pit8254::Channel::control(uint8_t word, uint64_t now) {
  control_ = word & 0x3F;
  access_ = static_cast<Access>(word >> 4 & 3);
  const uint8_t mode = word >> 1 & 7;
  mode_ = mode > 5 ? mode & 3 : mode;  // 6 and 7 are aliases of 2 and 3
  bcd_ = (word & 1) != 0;
  loaded_ = running_ = false;
  high_next_ = read_high_next_ = false;
  latched_count_.reset();
  latched_status_.reset();
  frozen_ = 0;
  start_ = now;
}

void Pit8254::Channel::write(uint8_t value, uint64_t now) {
  if (access_ == Access::kLow) return load(value, now);
  if (access_ == Access::kHigh) return load(static_cast<uint16_t>(value << 8), now);
  if (!high_next_) {
    low_byte_ = value;
    high_next_ = true;
    if (mode_ == 0) loaded_ = running_ = false;  // the first byte stops mode 0
    return;
  }
  high_next_ = false;
  load(static_cast<uint16_t>(low_byte_ | value << 8), now);
}

// A count written while modes 2 and 3 run takes effect at the end of the period on the real part;
// here it takes effect at once, which no known driver can tell from a write just before that end.
void Pit8254::Channel::load(uint16_t value, uint64_t now) {
  const uint32_t wrap = bcd_ ? 10'000 : 0x10000;
  const uint32_t count = bcd_ ? from_bcd(value) : value;
  reload_ = count == 0 ? wrap : count;
  loaded_ = true;
  if (mode_ == 1 || mode_ == 5) return;  // these wait for a rising gate
  running_ = true;
  start_ = now;
  frozen_ = 0;
}

void Pit8254::Channel::set_gate(bool gate, uint64_t now) {
  if (gate == gate_) return;
  if (gate) {
    const bool retrigger = mode_ != 0 && mode_ != 4;
    if (retrigger) {
      running_ = loaded_;
      frozen_ = 0;
    }
    start_ = now;
  } else if (mode_ != 1 && mode_ != 5) {
    frozen_ = ticks(now);
  }
  gate_ = gate;
}

uint64_t Pit8254::Channel::ticks(uint64_t now) const {
  const bool counting = gate_ || mode_ == 1 || mode_ == 5;
  return counting && now > start_ ? frozen_ + ns_to_ticks(now - start_, kFrequency) : frozen_;
}

// What the counting element holds now.
uint16_t Pit8254::Channel::count(uint64_t now) const {
  const uint64_t elapsed = running_ ? ticks(now) : 0;
  const uint64_t wrap = bcd_ ? 10'000 : 0x10000;
  uint64_t value;
  if (mode_ == 2) {
    value = reload_ - elapsed % reload_;
  } else if (mode_ == 3) {
    const uint64_t phase = 2 * elapsed % (2 * uint64_t{reload_});
    value = reload_ - phase % reload_;
    value &= ~uint64_t{1};  // counts by two
  } else {
    value = (reload_ + wrap - elapsed % wrap) % wrap;
  }
  value %= wrap;
  return bcd_ ? to_bcd(static_cast<uint32_t>(value)) : static_cast<uint16_t>(value);
}

bool Pit8254::Channel::output(uint64_t now) const {
  if (!running_) return mode_ != 0;
  const uint64_t elapsed = ticks(now);
  switch (mode_) {
    case 0:
    case 1:
      return elapsed >= reload_;
    case 2:
      return !gate_ || elapsed % reload_ != reload_ - 1;
    case 3:
      return !gate_ || elapsed % reload_ < (reload_ + 1) / 2;
    default:
      return elapsed != reload_;
  }
}

uint64_t Pit8254::Channel::next_rising_edge(uint64_t after) const {
  if (!running_ || !gate_) return kNever;
  const uint64_t elapsed = ticks(after);
  uint64_t edge;
  if (mode_ == 2 || mode_ == 3) {
    edge = (elapsed / reload_ + 1) * reload_;
  } else {
    edge = mode_ >= 4 ? reload_ + 1 : reload_;
    if (elapsed >= edge) return kNever;
  }
  return start_ + ticks_to_ns(edge - frozen_, kFrequency);
}

void Pit8254::Channel::latch_count(uint64_t now) {
  if (!latched_count_) latched_count_ = count(now);
}

void Pit8254::Channel::latch_status(uint64_t now) {
  if (latched_status_) return;
  latched_status_ =
      static_cast<uint8_t>((output(now) ? 0x80 : 0) | (loaded_ ? 0 : 0x40) | control_);
}

uint8_t Pit8254::Channel::read(uint64_t now) {
  if (latched_status_) {
    const uint8_t status = *latched_status_;
    latched_status_.reset();
    return status;
  }
  const uint16_t value = latched_count_ ? *latched_count_ : count(now);
  const bool high = access_ == Access::kHigh || (access_ == Access::kBoth && read_high_next_);
  if (access_ == Access::kBoth) read_high_next_ = !read_high_next_;
  if (access_ != Access::kBoth || high) latched_count_.reset();
  return static_cast<uint8_t>(high ? value >> 8 : value);
}

Pit8254::Pit8254(const Clock& clock, std::function<void(bool)> irq)
    : clock_(clock), irq_(std::move(irq)), last_advance_(clock.now()) {
  channels_[2].set_gate(false, clock.now());
}

uint32_t Pit8254::read_port(uint16_t port, unsigned) {
  if (port == kControlPortB) return read_port_b();
  const unsigned index = port - kPort;
  return index < channels_.size() ? channels_[index].read(clock_.now()) : 0xFF;
}

void Pit8254::write_port(uint16_t port, unsigned, uint32_t value) {
  const auto byte = static_cast<uint8_t>(value);
  advance();
  if (port == kControlPortB) {
    port_b_ = byte & kPortBWritable;
    channels_[2].set_gate((byte & kPortBGate2) != 0, clock_.now());
  } else if (port - kPort < 3) {
    channels_[static_cast<unsigned>(port - kPort)].write(byte, clock_.now());
  } else {
    write_control(byte);
  }
  update_irq();
}

void Pit8254::write_control(uint8_t word) {
  const uint64_t now = clock_.now();
  const unsigned select = word >> 6;
  if (select == 3) {  // read-back: bits 5 and 4 are active low
    for (unsigned i = 0; i < channels_.size(); ++i) {
      if ((word & 2u << i) == 0) continue;
      if ((word & 0x20) == 0) channels_[i].latch_count(now);
      if ((word & 0x10) == 0) channels_[i].latch_status(now);
    }
  } else if ((word & 0x30) == 0) {
    channels_[select].latch_count(now);
  } else {
    channels_[select].control(word, now);
  }
}

uint8_t Pit8254::read_port_b() const {
  const uint64_t now = clock_.now();
  uint8_t value = port_b_;
  if (now / kRefreshToggle % 2 != 0) value |= kPortBRefresh;
  if (channels_[2].output(now)) value |= kPortBOutput2;
  return value;
}

uint64_t Pit8254::next_event() const {
  const uint64_t edge = channels_[0].next_rising_edge(last_advance_);
  return edge == kNever ? kNever : std::max(edge, last_advance_ + kMinimumEventDistance);
}

// However many edges were missed, the guest gets one.
void Pit8254::advance() {
  const uint64_t now = clock_.now();
  const bool edge = channels_[0].next_rising_edge(last_advance_) <= now;
  if (edge) {
    if (now < last_advance_ + kMinimumEventDistance) return;
    irq_(false);
    irq_(true);
    irq_level_ = true;
  }
  last_advance_ = now;
}

// Follows the levels that writes cause: a new mode 0 count lowers the line until it expires.
void Pit8254::update_irq() {
  const bool level = channels_[0].output(clock_.now());
  if (level == irq_level_) return;
  irq_level_ = level;
  irq_(level);
}

}  // namespace chipset
