// SPDX-License-Identifier: MIT
// The wiring: which device is behind which port, and which pin its interrupt reaches.
#include "chipset/chipset.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/chipset/fake_clock.h"

namespace chipset {
namespace {

class NoPeer final : public SerialPeer {
 public:
  bool put(uint8_t byte) override {
    sent += static_cast<char>(byte);
    return true;
  }
  std::optional<uint8_t> get() override { return std::nullopt; }
  std::string sent;
};

class ChipsetTest : public ::testing::Test {
 protected:
  void program_pin(unsigned pin, uint8_t vector) {
    chipset_.write_mmio(0xFEC00000, 4, 0x10 + 2 * pin);
    chipset_.write_mmio(0xFEC00010, 4, vector);
  }

  FakeClock clock_;
  NoPeer peer_;
  std::vector<uint8_t> vectors_;
  unsigned power_offs_ = 0, resets_ = 0, reschedules_ = 0;
  Rtc::Battery battery_;
  Chipset chipset_{
      clock_, battery_, peer_,
      Hooks{.deliver = [this](const InterruptMessage& m) { vectors_.push_back(m.vector); },
            .power_off = [this] { ++power_offs_; },
            .reset = [this] { ++resets_; },
            .reschedule = [this] { ++reschedules_; },
            .log = {}}};
};

TEST_F(ChipsetTest, SerialPortReachesPin4) {
  program_pin(4, 0x34);
  chipset_.write_port(0x3FC, 1, 0x08);
  chipset_.write_port(0x3F9, 1, 0x02);
  EXPECT_EQ(vectors_, std::vector<uint8_t>{0x34});
  chipset_.write_port(0x3F8, 1, '!');
  EXPECT_EQ(peer_.sent, "!");
}

TEST_F(ChipsetTest, TimerReachesPin2AndReschedules) {
  program_pin(2, 0x30);
  chipset_.write_port(0x43, 1, 0x34);
  chipset_.write_port(0x40, 1, 0x9C);
  chipset_.write_port(0x40, 1, 0x2E);
  EXPECT_GT(reschedules_, 0u);
  clock_.pass(chipset_.next_event() - clock_.now());
  vectors_.clear();
  chipset_.advance();
  EXPECT_EQ(vectors_, std::vector<uint8_t>{0x30});
}

TEST_F(ChipsetTest, PowerButtonReachesPin9AndWaitsForEoi) {
  program_pin(9, 0x29);
  chipset_.write_mmio(0xFEC00000, 4, 0x10 + 18);
  chipset_.write_mmio(0xFEC00010, 4, 0x8029);
  chipset_.write_port(0x602, 2, 0x100);
  chipset_.press_power_button();
  EXPECT_EQ(vectors_, std::vector<uint8_t>{0x29});
  chipset_.end_of_interrupt(9);
  EXPECT_EQ(vectors_.size(), 2u);
}

TEST_F(ChipsetTest, The8259sReachPin0) {
  chipset_.write_mmio(0xFEC00000, 4, 0x10);
  chipset_.write_mmio(0xFEC00010, 4, 0x700);
  for (const auto& [port, value] : {std::pair{0x20, 0x11}, {0x21, 0x40}, {0x21, 4}, {0x21, 1}}) {
    chipset_.write_port(static_cast<uint16_t>(port), 1, static_cast<uint32_t>(value));
  }
  chipset_.write_port(0x3FC, 1, 0x08);
  chipset_.write_port(0x3F9, 1, 0x02);
  EXPECT_EQ(vectors_, std::vector<uint8_t>{0x44});
}

TEST_F(ChipsetTest, WaysToResetAndPowerOff) {
  chipset_.write_port(0xCF9, 1, 0x02);
  EXPECT_EQ(resets_, 0u);
  chipset_.write_port(0xCF9, 1, 0x06);
  chipset_.write_port(0x64, 1, 0xFE);
  chipset_.write_port(0x92, 1, 0x01);
  EXPECT_EQ(resets_, 3u);
  chipset_.write_port(0x604, 2, 0x3400);
  EXPECT_EQ(power_offs_, 1u);
}

TEST_F(ChipsetTest, PciMechanismOneWithoutDevices) {
  chipset_.write_port(0xCFB, 1, 0x01);
  chipset_.write_port(0xCF8, 4, 0x80000000);
  EXPECT_EQ(chipset_.read_port(0xCF8, 4), 0x80000000u);
  EXPECT_EQ(chipset_.read_port(0xCFC, 4), 0xFFFFFFFFu);
  EXPECT_EQ(chipset_.read_port(0xCFE, 2), 0xFFFFu);
}

TEST_F(ChipsetTest, KeyboardControllerNeverBlocksAReset) {
  EXPECT_EQ(chipset_.read_port(0x64, 1) & 0x02, 0u);
}

}  // namespace
}  // namespace chipset
