// SPDX-License-Identifier: MIT
#include "chipset/rtc.h"

#include <gtest/gtest.h>

#include "tests/unit/chipset/fake_clock.h"

namespace chipset {
namespace {

class RtcTest : public ::testing::Test {
 protected:
  uint8_t get(uint8_t index) {
    rtc_.write_port(0x70, 1, index);
    return static_cast<uint8_t>(rtc_.read_port(0x71, 1));
  }
  void set(uint8_t index, uint8_t value) {
    rtc_.write_port(0x70, 1, index);
    rtc_.write_port(0x71, 1, value);
  }
  void run(uint64_t ns) {
    const uint64_t end = clock_.now() + ns;
    while (rtc_.next_event() <= end) {
      clock_.pass(rtc_.next_event() - clock_.now());
      rtc_.advance();
      if (line_.level) ++interrupts_, causes_ |= get(0x0C);
    }
    clock_.pass(end - clock_.now());
  }

  static FakeClock make_clock() {
    FakeClock clock;
    clock.set_wall(1'795'387'509);  // Sunday, 2026-11-22 22:45:09
    return clock;
  }
  FakeClock clock_ = make_clock();
  FakeLine line_;
  Rtc::Battery battery_;
  Rtc rtc_{clock_, battery_, line_.callback()};
  unsigned interrupts_ = 0;
  uint8_t causes_ = 0;
};

TEST_F(RtcTest, TellsTheTimeInBcd) {
  EXPECT_EQ(get(0), 0x09);
  EXPECT_EQ(get(2), 0x45);
  EXPECT_EQ(get(4), 0x22);
  EXPECT_EQ(get(6), 0x01);
  EXPECT_EQ(get(7), 0x22);
  EXPECT_EQ(get(8), 0x11);
  EXPECT_EQ(get(9), 0x26);
  EXPECT_EQ(get(0x32), 0x20);
  EXPECT_EQ(get(0x0D), 0x80);
  EXPECT_EQ(get(0x0B), 0x02);
}

TEST_F(RtcTest, BinaryAndTwelveHours) {
  set(0x0B, 0x04);
  EXPECT_EQ(get(2), 45);
  EXPECT_EQ(get(4), 0x80 | 10);
  EXPECT_EQ(get(9), 26);
}

TEST_F(RtcTest, SettingStopsAndRestarts) {
  set(0x0B, 0x82);
  set(0, 0x30), set(2, 0x59), set(4, 0x23), set(7, 0x31), set(8, 0x12), set(9, 0x99);
  set(0x32, 0x19);
  clock_.pass(5 * kNsPerSecond);
  EXPECT_EQ(get(0), 0x30);  // stopped
  set(0x0B, 0x02);
  clock_.pass(30 * kNsPerSecond);
  EXPECT_EQ(get(0), 0x00);
  EXPECT_EQ(get(9), 0x00);
  EXPECT_EQ(get(0x32), 0x20);
}

TEST_F(RtcTest, HostileTimesStayTimes) {
  set(0x0B, 0x82);
  for (uint8_t i = 0; i < 10; ++i) set(i, 0xFF);
  set(0x32, 0xFF);
  set(0x0B, 0x02);
  for (uint8_t i = 0; i < 10; ++i) get(i);
  EXPECT_LE(get(8), 0x12);
}

TEST_F(RtcTest, UpdateInProgressJustBeforeTheSecond) {
  EXPECT_EQ(get(0x0A) & 0x80, 0);
  clock_.pass(kNsPerSecond - 1'000'000);
  EXPECT_EQ(get(0x0A) & 0x80, 0x80);
  clock_.pass(1'000'000);
  EXPECT_EQ(get(0x0A) & 0x80, 0);
}

TEST_F(RtcTest, UpdateInterruptEverySecond) {
  set(0x0B, 0x12);
  run(10 * kNsPerSecond);
  EXPECT_EQ(interrupts_, 10u);
  EXPECT_EQ(causes_ & 0x90, 0x90);
}

TEST_F(RtcTest, PeriodicInterrupt) {
  set(0x0A, 0x26);  // 1024 Hz
  set(0x0B, 0x42);
  run(kNsPerSecond);
  EXPECT_NEAR(interrupts_, 1024, 1);
}

TEST_F(RtcTest, PeriodicInterruptWaitsForRegisterC) {
  set(0x0A, 0x26);
  set(0x0B, 0x42);
  clock_.pass(kNsPerSecond);
  rtc_.advance();
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(rtc_.next_event(), kNever);
  EXPECT_EQ(get(0x0C), 0xC0 | 0x10);
  EXPECT_FALSE(line_.level);
}

TEST_F(RtcTest, AlarmMatchesWithWildcards) {
  set(1, 0x15), set(3, 0xFF), set(5, 0xFF);
  set(0x0B, 0x22);
  run(5 * kNsPerSecond);
  EXPECT_EQ(interrupts_, 0u);
  run(60 * kNsPerSecond);
  EXPECT_EQ(interrupts_, 1u);
  EXPECT_EQ(causes_ & 0xA0, 0xA0);
}

TEST_F(RtcTest, NvramKeeps) {
  for (uint8_t i = 0x0E; i < 0x32; ++i) set(i, static_cast<uint8_t>(i * 3));
  set(0x7F, 0x5A);
  for (uint8_t i = 0x0E; i < 0x32; ++i) EXPECT_EQ(get(i), static_cast<uint8_t>(i * 3));
  EXPECT_EQ(get(0xFF), 0x5A);  // bit 7 is the NMI mask
}

TEST_F(RtcTest, ResetKeepsMemoryAndTimeButNoInterrupt) {
  set(0x40, 0xA5);
  set(0x0A, 0x2A);  // 64 Hz
  set(4, 0x23);     // an hour later
  set(0x0B, 0x72);  // periodic, alarm and update interrupts
  clock_.pass(2 * kNsPerSecond);
  rtc_.advance();
  EXPECT_TRUE(line_.level);

  FakeLine line;
  Rtc again(clock_, battery_, line.callback());
  const auto read = [&](uint8_t index) {
    again.write_port(0x70, 1, index);
    return again.read_port(0x71, 1);
  };
  EXPECT_EQ(read(0x40), 0xA5u);
  EXPECT_EQ(read(4), 0x23u);
  EXPECT_EQ(read(0), 0x11u);
  EXPECT_EQ(read(0x0A) & 0x7F, 0x2Au);
  EXPECT_EQ(read(0x0B), 0x02u);
  EXPECT_EQ(read(0x0C), 0u);
  EXPECT_EQ(again.next_event(), kNever);
  EXPECT_FALSE(line.level);
}

}  // namespace
}  // namespace chipset
