// SPDX-License-Identifier: MIT
#include "chipset/uart16550.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/chipset/fake_clock.h"

namespace chipset {
namespace {

class FakePeer final : public SerialPeer {
 public:
  bool put(uint8_t byte) override {
    if (room == 0) return false;
    --room;
    sent += static_cast<char>(byte);
    return true;
  }
  std::optional<uint8_t> get() override {
    if (input.empty()) return std::nullopt;
    const auto byte = static_cast<uint8_t>(input.front());
    input.erase(0, 1);
    return byte;
  }
  size_t room = 1000;
  std::string sent;
  std::string input;
};

class UartTest : public ::testing::Test {
 protected:
  static constexpr uint16_t kBase = 0x3F8;
  uint8_t in(unsigned reg) {
    return static_cast<uint8_t>(uart_.read_port(static_cast<uint16_t>(kBase + reg), 1));
  }
  void out(unsigned reg, uint8_t value) {
    uart_.write_port(static_cast<uint16_t>(kBase + reg), 1, value);
  }
  void enable_fifos() { out(2, 0x07); }
  void enable_line() { out(4, 0x0B); }  // DTR, RTS, OUT2
  void type(const std::string& text) {
    peer_.input += text;
    uart_.transfer();
  }

  FakePeer peer_;
  FakeLine line_;
  Uart16550 uart_{kBase, peer_, line_.callback()};
};

TEST_F(UartTest, LooksLikeA16550A) {
  out(1, 0x00);
  EXPECT_EQ(in(1), 0x00);
  out(1, 0xFF);
  EXPECT_EQ(in(1), 0x0F);  // only four interrupt sources
  out(1, 0);
  out(7, 0xA5);
  EXPECT_EQ(in(7), 0xA5);
  EXPECT_EQ(in(2) & 0xC0, 0x00);
  enable_fifos();
  EXPECT_EQ(in(2) & 0xC0, 0xC0);
  EXPECT_EQ(in(5), 0x60);
  EXPECT_EQ(in(6) & 0xF0, 0xB0);  // the peer is always there
}

TEST_F(UartTest, LoopbackConnectsModemLinesAndData) {
  out(4, 0x10 | 0x0A);
  EXPECT_EQ(in(6) & 0xF0, 0x90);  // what autoconfig() of Linux's driver checks
  out(0, 'x');
  EXPECT_EQ(in(5) & 0x01, 0x01);
  EXPECT_EQ(in(0), 'x');
  EXPECT_EQ(peer_.sent, "");
}

TEST_F(UartTest, LoopbackHidesThePeer) {
  out(4, 0x10);
  type("hidden");
  EXPECT_EQ(in(5) & 0x01, 0);
  out(4, 0x00);
  EXPECT_EQ(in(0), 'h');
}

TEST_F(UartTest, ModemDeltasAreReportedOnceAndInterrupt) {
  in(6);
  out(1, 0x08);
  enable_line();
  EXPECT_FALSE(line_.level);
  out(4, 0x1B);  // loopback: CTS and DSR stay, DCD stays; nothing but RI could change
  out(4, 0x18);
  EXPECT_EQ(in(6) & 0x0F, 0x03);  // CTS and DSR fell
  EXPECT_EQ(in(6) & 0x0F, 0x00);
}

TEST_F(UartTest, DivisorLatchReplacesDataAndInterruptEnable) {
  out(3, 0x83);
  out(0, 0x0C);
  out(1, 0x01);
  EXPECT_EQ(in(0), 0x0C);
  EXPECT_EQ(in(1), 0x01);
  out(3, 0x03);
  EXPECT_EQ(in(1), 0x00);
  EXPECT_EQ(peer_.sent, "");
}

TEST_F(UartTest, SendsAtOnceAndInterruptsWhenEmpty) {
  enable_fifos();
  enable_line();
  out(1, 0x02);
  EXPECT_TRUE(line_.level);  // enabling while empty raises
  EXPECT_EQ(in(2) & 0x0F, 0x02);
  EXPECT_FALSE(line_.level);  // reading IIR answered it
  out(0, 'a');
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(peer_.sent, "a");
}

TEST_F(UartTest, BackPressureKeepsTheFifoFull) {
  enable_fifos();
  enable_line();
  out(1, 0x02);
  in(2);
  peer_.room = 1;
  out(0, 'a');
  in(2);
  out(0, 'b');
  EXPECT_EQ(in(5) & 0x60, 0);
  EXPECT_FALSE(line_.level);
  peer_.room = 10;
  uart_.transfer();
  EXPECT_EQ(in(5) & 0x60, 0x60);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(peer_.sent, "ab");
}

TEST_F(UartTest, OverfullTransmitterLosesOnlyTheLast) {
  enable_fifos();
  peer_.room = 0;
  for (char c = 'a'; c < 'a' + 20; ++c) out(0, static_cast<uint8_t>(c));
  peer_.room = 100;
  uart_.transfer();
  EXPECT_EQ(peer_.sent,
            "abcdefghijklmno"
            "t");
}

TEST_F(UartTest, ReceivesWithTriggerAndTimeout) {
  out(2, 0x47);  // trigger at 4
  enable_line();
  out(1, 0x01);
  type("abc");
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(in(2) & 0x0F, 0x0C);
  type("d");
  EXPECT_EQ(in(2) & 0x0F, 0x04);
  EXPECT_EQ(in(0), 'a');
  EXPECT_EQ(in(2) & 0x0F, 0x0C);
  in(0), in(0), in(0);
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(in(2) & 0x0F, 0x01);
}

TEST_F(UartTest, TakesFromThePeerOnlyWhatFits) {
  enable_fifos();
  type(std::string(100, 'x'));
  EXPECT_EQ(peer_.input.size(), 84u);
  in(0);
  EXPECT_EQ(peer_.input.size(), 83u);
}

TEST_F(UartTest, OverrunIsALineStatusInterrupt) {
  enable_line();
  out(1, 0x04);
  out(4, 0x1B);  // loopback: the only way to overrun
  out(0, 'a');
  out(0, 'b');
  out(4, 0x0B);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(in(2) & 0x0F, 0x06);
  EXPECT_EQ(in(5) & 0x02, 0x02);
  EXPECT_EQ(in(5) & 0x02, 0);
  EXPECT_EQ(in(0), 'b');  // without FIFOs the old character is lost
}

TEST_F(UartTest, Out2GatesTheInterrupt) {
  out(1, 0x02);
  EXPECT_FALSE(line_.level);
  out(4, 0x08);
  EXPECT_TRUE(line_.level);
  out(4, 0x00);
  EXPECT_FALSE(line_.level);
}

TEST_F(UartTest, ClearingFifosForgetsTheirContents) {
  enable_fifos();
  type("abc");
  out(2, 0x03);
  EXPECT_EQ(in(5) & 0x01, 0);
}

}  // namespace
}  // namespace chipset
