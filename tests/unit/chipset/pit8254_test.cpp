// SPDX-License-Identifier: MIT
#include "chipset/pit8254.h"

#include <gtest/gtest.h>

#include "tests/unit/chipset/fake_clock.h"

namespace chipset {
namespace {

class PitTest : public ::testing::Test {
 protected:
  void out(uint16_t port, uint8_t value) { pit_.write_port(port, 1, value); }
  uint8_t in(uint16_t port) { return static_cast<uint8_t>(pit_.read_port(port, 1)); }
  void load(unsigned channel, uint16_t count) {
    out(static_cast<uint16_t>(0x40 + channel), static_cast<uint8_t>(count));
    out(static_cast<uint16_t>(0x40 + channel), static_cast<uint8_t>(count >> 8));
  }
  uint16_t latched(unsigned channel) {
    out(0x43, static_cast<uint8_t>(channel << 6));
    const auto port = static_cast<uint16_t>(0x40 + channel);
    const uint8_t low = in(port);
    return static_cast<uint16_t>(low | in(port) << 8);
  }
  void pass_ticks(uint64_t ticks) { clock_.pass(ticks_to_ns(ticks, Pit8254::kFrequency)); }
  /// Lets time go from event to event, as vmwp does, for `ns`.
  unsigned run(uint64_t ns) {
    const uint64_t end = clock_.now() + ns;
    unsigned events = 0;
    while (pit_.next_event() <= end) {
      clock_.pass(pit_.next_event() - clock_.now());
      pit_.advance();
      ++events;
    }
    clock_.pass(end - clock_.now());
    return events;
  }

  FakeClock clock_;
  FakeLine line_;
  Pit8254 pit_{clock_, line_.callback()};
};

TEST_F(PitTest, Mode2CountsDownAndReloads) {
  out(0x43, 0x34);
  load(0, 1000);
  EXPECT_EQ(latched(0), 1000);
  pass_ticks(300);
  EXPECT_EQ(latched(0), 700);
  pass_ticks(900);
  EXPECT_EQ(latched(0), 800);
}

TEST_F(PitTest, Mode2InterruptsAtItsRate) {
  out(0x43, 0x34);
  load(0, 11932);  // 100 Hz
  line_.rises = 0;
  EXPECT_EQ(run(kNsPerSecond), 99u);
  EXPECT_GE(line_.rises, 99u);
}

TEST_F(PitTest, Mode0InterruptsOnce) {
  out(0x43, 0x30);
  EXPECT_FALSE(line_.level);
  load(0, 5000);
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(run(kNsPerSecond), 1u);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(pit_.next_event(), kNever);
  load(0, 5000);  // a new count lowers the output again
  EXPECT_FALSE(line_.level);
}

TEST_F(PitTest, TinyCountsDoNotFloodTheHost) {
  out(0x43, 0x34);
  load(0, 2);
  EXPECT_LE(run(kNsPerSecond / 100), 101u);
}

TEST_F(PitTest, MissedEventsAreOneInterrupt) {
  out(0x43, 0x34);
  load(0, 11932);
  line_.rises = 0;
  clock_.pass(10 * kNsPerSecond);
  pit_.advance();
  EXPECT_EQ(line_.rises, 1u);
  EXPECT_GT(pit_.next_event(), clock_.now());
}

TEST_F(PitTest, Channel2CalibratesLikeLinux) {
  // quick_pit_calibrate(): gate on, speaker off, mode 0, watch the high byte.
  out(0x61, static_cast<uint8_t>((in(0x61) & ~0x02) | 0x01));
  out(0x43, 0xB0);
  load(2, 0xFFFF);
  EXPECT_EQ(in(0x61) & 0x20, 0);
  in(0x42);
  EXPECT_EQ(in(0x42), 0xFF);
  pass_ticks(0x101);
  in(0x42);
  EXPECT_EQ(in(0x42), 0xFE);
  pass_ticks(0x10000);
  EXPECT_EQ(in(0x61) & 0x20, 0x20);
}

TEST_F(PitTest, ClosedGateStopsChannel2) {
  out(0x61, 0x01);
  out(0x43, 0xB0);
  load(2, 1000);
  pass_ticks(400);
  out(0x61, 0x00);
  pass_ticks(5000);
  EXPECT_EQ(latched(2), 600);
  out(0x61, 0x01);
  pass_ticks(100);
  EXPECT_EQ(latched(2), 500);
}

TEST_F(PitTest, Mode1StartsOnTheGate) {
  out(0x43, 0xB2);
  load(2, 100);
  EXPECT_EQ(in(0x61) & 0x20, 0x20);
  out(0x61, 0x01);
  EXPECT_EQ(in(0x61) & 0x20, 0);
  pass_ticks(101);
  EXPECT_EQ(in(0x61) & 0x20, 0x20);
}

TEST_F(PitTest, Mode3IsASquareWave) {
  out(0x61, 0x01);
  out(0x43, 0xB6);
  load(2, 1000);
  EXPECT_EQ(in(0x61) & 0x20, 0x20);
  pass_ticks(501);
  EXPECT_EQ(in(0x61) & 0x20, 0);
  pass_ticks(500);
  EXPECT_EQ(in(0x61) & 0x20, 0x20);
}

TEST_F(PitTest, ReadBackLatchesStatusThenCount) {
  out(0x43, 0x34);
  EXPECT_EQ((out(0x43, 0xE2), in(0x40)), 0x80 | 0x40 | 0x34);  // null count
  load(0, 1000);
  pass_ticks(10);
  out(0x43, 0xC2);
  pass_ticks(10);
  EXPECT_EQ(in(0x40), 0x80 | 0x34);
  EXPECT_EQ(in(0x40), 990 & 0xFF);
  EXPECT_EQ(in(0x40), 990 >> 8);
}

TEST_F(PitTest, BcdCounts) {
  out(0x43, 0x35);
  load(0, 0x1000);
  pass_ticks(1);
  EXPECT_EQ(latched(0), 0x0999);
}

TEST_F(PitTest, RefreshToggles) {
  const uint8_t before = in(0x61) & 0x10;
  clock_.pass(15'085);
  EXPECT_NE(in(0x61) & 0x10, before);
}

}  // namespace
}  // namespace chipset
