// SPDX-License-Identifier: MIT
#include "chipset/pic8259.h"

#include <gtest/gtest.h>

#include "tests/unit/chipset/fake_clock.h"

namespace chipset {
namespace {

class PicTest : public ::testing::Test {
 protected:
  void out(uint16_t port, uint8_t value) { pic_.write_port(port, 1, value); }
  uint8_t in(uint16_t port) { return static_cast<uint8_t>(pic_.read_port(port, 1)); }
  void initialize(uint8_t icw4 = 0x01) {
    out(0x20, 0x11), out(0x21, 0x30), out(0x21, 0x04), out(0x21, icw4);
    out(0xA0, 0x11), out(0xA1, 0x38), out(0xA1, 0x02), out(0xA1, icw4);
  }
  void pulse(unsigned irq) {
    pic_.set_line(irq, false);
    pic_.set_line(irq, true);
  }

  FakeLine line_;
  Pic8259Pair pic_{line_.callback()};
};

TEST_F(PicTest, MaskReadsBackAsLinuxProbes) {
  out(0xA1, 0xFF);
  out(0x21, 0xFB);
  EXPECT_EQ(in(0x21), 0xFB);
}

TEST_F(PicTest, DeliversByPriorityUntilEoi) {
  initialize();
  pulse(4);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(pic_.acknowledge(), 0x34);
  EXPECT_FALSE(line_.level);
  pulse(5);
  EXPECT_FALSE(line_.level);  // lower than what is in service
  pulse(1);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(pic_.acknowledge(), 0x31);
  out(0x20, 0x20);  // ends 1
  out(0x20, 0x20);  // ends 4
  EXPECT_EQ(pic_.acknowledge(), 0x35);
}

TEST_F(PicTest, CascadesTheSlave) {
  initialize();
  pulse(12);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(pic_.acknowledge(), 0x3C);
  out(0x20, 0x0B);
  EXPECT_EQ(in(0x20), 0x04);  // ISR: the cascade
  out(0xA0, 0x0B);
  EXPECT_EQ(in(0xA0), 0x10);
  out(0xA0, 0x60 | 4);
  out(0x20, 0x60 | 2);
  EXPECT_EQ(in(0x20), 0x00);
}

TEST_F(PicTest, WithdrawnRequestIsSpurious) {
  initialize();
  pulse(4);
  pic_.set_line(4, false);
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(pic_.acknowledge(), 0x37);
  out(0x20, 0x0B);
  EXPECT_EQ(in(0x20), 0);  // and leaves nothing in service
}

TEST_F(PicTest, MaskHoldsARequestBack) {
  initialize();
  out(0x21, 0x10);
  pulse(4);
  EXPECT_FALSE(line_.level);
  out(0x20, 0x0A);
  EXPECT_EQ(in(0x20), 0x10);
  out(0x21, 0x00);
  EXPECT_TRUE(line_.level);
}

TEST_F(PicTest, LevelTriggeredStaysAsLongAsTheLine) {
  initialize();
  out(0x4D1, 0xFF);
  EXPECT_EQ(in(0x4D1), 0xDE);
  pic_.set_line(10, true);
  EXPECT_EQ(pic_.acknowledge(), 0x3A);
  out(0xA0, 0x20);
  out(0x20, 0x20);
  EXPECT_TRUE(line_.level);
  pic_.set_line(10, false);
  EXPECT_FALSE(line_.level);
}

TEST_F(PicTest, AutoEoiAndRotation) {
  initialize(0x03);
  out(0x20, 0x80);
  pulse(0), pulse(1);
  EXPECT_EQ(pic_.acknowledge(), 0x30);
  pulse(0);
  EXPECT_EQ(pic_.acknowledge(), 0x31);  // 0 has the lowest priority now
  EXPECT_EQ(pic_.acknowledge(), 0x30);
}

TEST_F(PicTest, SpecialMaskModeLetsLowerPrioritiesThrough) {
  initialize();
  pulse(3);
  EXPECT_EQ(pic_.acknowledge(), 0x33);
  pulse(6);
  EXPECT_FALSE(line_.level);
  out(0x21, 0x08);
  out(0x20, 0x68);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(pic_.acknowledge(), 0x36);
}

TEST_F(PicTest, PollAcknowledges) {
  initialize();
  pulse(5);
  out(0x20, 0x0C);
  EXPECT_EQ(in(0x20), 0x85);
  out(0x20, 0x0C);
  EXPECT_EQ(in(0x20), 0x00);
}

TEST_F(PicTest, AutoEoiWithALevelThatStaysDoesNotRecurse) {
  initialize(0x03);
  out(0x4D1, 0xFF);
  pic_.set_line(10, true);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(pic_.acknowledge(), 0x3A);
}

}  // namespace
}  // namespace chipset
