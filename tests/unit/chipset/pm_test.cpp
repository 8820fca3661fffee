// SPDX-License-Identifier: MIT
#include "chipset/pm.h"

#include <gtest/gtest.h>

#include "tests/unit/chipset/fake_clock.h"

namespace chipset {
namespace {

class PmTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  FakeLine sci_;
  unsigned power_offs_ = 0;
  Pm pm_{clock_, sci_.callback(), [this] { ++power_offs_; }};
};

TEST_F(PmTest, TimerRunsAt3579545Hz) {
  EXPECT_EQ(pm_.read_port(0x608, 4), 0u);
  clock_.pass(kNsPerSecond);
  EXPECT_EQ(pm_.read_port(0x608, 4), 3'579'545u);
  EXPECT_EQ(pm_.read_port(0x60A, 2), 3'579'545u >> 16);
  pm_.write_port(0x608, 4, 0);
  EXPECT_EQ(pm_.read_port(0x608, 4), 3'579'545u);
}

TEST_F(PmTest, TimerCarryRaisesSciWhenEnabled) {
  pm_.write_port(0x602, 2, 1);
  const uint64_t half = ticks_to_ns(uint64_t{1} << 31, Pm::kTimerFrequency);
  EXPECT_EQ(pm_.next_event(), clock_.now() + half);
  clock_.pass(half);
  pm_.advance();
  EXPECT_TRUE(sci_.level);
  EXPECT_EQ(pm_.read_port(0x600, 2), 1u);
  pm_.write_port(0x600, 2, 1);
  EXPECT_FALSE(sci_.level);
}

TEST_F(PmTest, PowerButton) {
  pm_.press_power_button();
  EXPECT_FALSE(sci_.level);
  pm_.write_port(0x602, 2, 1 << 8);
  EXPECT_TRUE(sci_.level);
  pm_.write_port(0x601, 1, 0x01);  // byte access to the status register
  EXPECT_FALSE(sci_.level);
}

TEST_F(PmTest, AcpiModeIsAlwaysOn) {
  EXPECT_EQ(pm_.read_port(0x604, 2), 1u);
  pm_.write_port(0x604, 2, 0);
  EXPECT_EQ(pm_.read_port(0x604, 2), 1u);
}

TEST_F(PmTest, OnlyS5PowersOff) {
  pm_.write_port(0x604, 2, 1 << 13 | 3 << 10);
  EXPECT_EQ(power_offs_, 0u);
  pm_.write_port(0x604, 2, 5 << 10);
  EXPECT_EQ(power_offs_, 0u);
  pm_.write_port(0x604, 2, 1 << 13 | 5 << 10);
  EXPECT_EQ(power_offs_, 1u);
}

}  // namespace
}  // namespace chipset
