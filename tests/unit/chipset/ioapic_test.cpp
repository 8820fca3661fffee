// SPDX-License-Identifier: MIT
#include "chipset/ioapic.h"

#include <gtest/gtest.h>

#include <vector>

namespace chipset {
namespace {

class IoApicTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kMasked = 1 << 16, kLevel = 1 << 15, kRemoteIrr = 1 << 14;
  uint32_t read(uint8_t index) {
    apic_.write_mmio(0x00, 4, index);
    return static_cast<uint32_t>(apic_.read_mmio(0x10, 4));
  }
  void write(uint8_t index, uint32_t value) {
    apic_.write_mmio(0x00, 4, index);
    apic_.write_mmio(0x10, 4, value);
  }
  void program(unsigned pin, uint32_t low, uint8_t destination = 0) {
    write(static_cast<uint8_t>(0x11 + 2 * pin), uint32_t{destination} << 24);
    write(static_cast<uint8_t>(0x10 + 2 * pin), low);
  }
  uint32_t entry(unsigned pin) { return read(static_cast<uint8_t>(0x10 + 2 * pin)); }

  std::vector<InterruptMessage> sent_;
  IoApic apic_{[this](const InterruptMessage& m) { sent_.push_back(m); },
               [] { return uint8_t{0x77}; }};
};

TEST_F(IoApicTest, Identifies) {
  EXPECT_EQ(read(1), 0x00170020u);
  write(0, 0xFF000000);
  EXPECT_EQ(read(0), 0x0F000000u);
  EXPECT_EQ(read(0x40), 0u);
  for (unsigned pin = 0; pin < 24; ++pin) EXPECT_EQ(entry(pin), kMasked);
}

TEST_F(IoApicTest, EdgeIsSentOncePerRise) {
  program(4, 0x34, 3);
  apic_.set_pin(4, true);
  apic_.set_pin(4, true);
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].vector, 0x34);
  EXPECT_EQ(sent_[0].destination, 3);
  EXPECT_EQ(sent_[0].trigger, Trigger::kEdge);
  EXPECT_EQ(sent_[0].destination_mode, DestinationMode::kPhysical);
  apic_.set_pin(4, false);
  apic_.set_pin(4, true);
  EXPECT_EQ(sent_.size(), 2u);
}

TEST_F(IoApicTest, MaskedEdgeIsLost) {
  program(4, kMasked | 0x34);
  apic_.set_pin(4, true);
  program(4, 0x34);
  EXPECT_TRUE(sent_.empty());
}

TEST_F(IoApicTest, LevelWaitsForEoi) {
  program(9, kLevel | 0x29 | 1 << 11, 1);
  apic_.set_pin(9, true);
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].trigger, Trigger::kLevel);
  EXPECT_EQ(sent_[0].destination_mode, DestinationMode::kLogical);
  EXPECT_NE(entry(9) & kRemoteIrr, 0u);
  apic_.set_pin(9, false);
  apic_.set_pin(9, true);
  EXPECT_EQ(sent_.size(), 1u);  // in service
  apic_.end_of_interrupt(10);
  apic_.end_of_interrupt(IoApic::kPins);
  apic_.write_mmio(0x40, 4, 0x30);
  EXPECT_EQ(sent_.size(), 1u);  // another's
  apic_.end_of_interrupt(9);
  EXPECT_EQ(sent_.size(), 2u);  // still asserted
  apic_.set_pin(9, false);
  apic_.write_mmio(0x40, 4, 0x29);  // the EOI register does the same
  EXPECT_EQ(sent_.size(), 2u);
  EXPECT_EQ(entry(9) & kRemoteIrr, 0u);
}

TEST_F(IoApicTest, UnmaskingAnAssertedLevelPinSends) {
  program(9, kMasked | kLevel | 0x29);
  apic_.set_pin(9, true);
  EXPECT_TRUE(sent_.empty());
  program(9, kLevel | 0x29);
  EXPECT_EQ(sent_.size(), 1u);
}

TEST_F(IoApicTest, RemoteIrrIsReadOnlyAndSwitchingToEdgeClearsIt) {
  program(9, kLevel | kRemoteIrr | 0x29);
  EXPECT_EQ(entry(9) & kRemoteIrr, 0u);
  apic_.set_pin(9, true);
  program(9, kMasked | 0x29);
  EXPECT_EQ(entry(9) & kRemoteIrr, 0u);
}

TEST_F(IoApicTest, IllegalVectorsAndModesAreNotSent) {
  program(1, 0x05);
  program(2, 0x31 | 2 << 8);  // SMI
  program(3, 0x31 | 3 << 8);  // reserved
  for (unsigned pin = 1; pin <= 3; ++pin) apic_.set_pin(pin, true);
  EXPECT_TRUE(sent_.empty());
}

TEST_F(IoApicTest, ExtIntTakesTheVectorFromThe8259) {
  program(0, 7 << 8);
  apic_.set_pin(0, true);
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].mode, DeliveryMode::kExtInt);
  EXPECT_EQ(sent_[0].vector, 0x77);
}

TEST_F(IoApicTest, PinsOutOfRangeAreIgnored) {
  apic_.set_pin(24, true);
  apic_.set_pin(1000, true);
  EXPECT_TRUE(sent_.empty());
}

}  // namespace
}  // namespace chipset
