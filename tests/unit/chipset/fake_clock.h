// SPDX-License-Identifier: MIT
// A clock that moves only when told to.
#pragma once

#include "chipset/clock.h"

namespace chipset {

class FakeClock final : public Clock {
 public:
  uint64_t now() const override { return now_; }
  int64_t wall() const override { return wall_ + static_cast<int64_t>(now_); }
  void pass(uint64_t ns) { now_ += ns; }
  void set_wall(int64_t seconds) {
    wall_ = seconds * static_cast<int64_t>(kNsPerSecond) - static_cast<int64_t>(now_);
  }

 private:
  uint64_t now_ = 5 * kNsPerSecond;
  int64_t wall_ = 1'767'225'600 * static_cast<int64_t>(kNsPerSecond);  // 2026-01-01
};

/// An interrupt line: its level and how often it rose.
struct FakeLine {
  bool level = false;
  unsigned rises = 0;
  void set(bool value) {
    rises += value && !level ? 1 : 0;
    level = value;
  }
  auto callback() {
    return [this](bool value) { set(value); };
  }
};

}  // namespace chipset
