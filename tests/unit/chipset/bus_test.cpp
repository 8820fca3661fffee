// SPDX-License-Identifier: MIT
#include "chipset/bus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/chipset/fake_clock.h"

namespace chipset {
namespace {

using ::testing::ElementsAre;

class Recorder final : public PortDevice, public MmioDevice {
 public:
  uint32_t read_port(uint16_t port, unsigned size) override {
    log.push_back("r" + std::to_string(size) + "@" + std::to_string(port));
    return port & 0xFF;
  }
  void write_port(uint16_t port, unsigned size, uint32_t value) override {
    log.push_back("w" + std::to_string(size) + "@" + std::to_string(port) + "=" +
                  std::to_string(value));
  }
  uint64_t read_mmio(uint64_t offset, unsigned size) override {
    log.push_back("r" + std::to_string(size) + "@" + std::to_string(offset));
    return 0x11 * (offset + 1);
  }
  void write_mmio(uint64_t offset, unsigned size, uint64_t value) override {
    log.push_back("w" + std::to_string(size) + "@" + std::to_string(offset) + "=" +
                  std::to_string(value));
  }
  std::vector<std::string> log;
};

class BusTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  std::vector<std::string> lines_;
  Bus bus_{clock_, [this](std::string_view line) { lines_.emplace_back(line); }};
  Recorder device_;
};

TEST_F(BusTest, PassesAnAccessThatTheDeviceTakes) {
  bus_.add_ports(16, 4, 4, device_);
  bus_.write_port(16, 4, 0x12345678);
  EXPECT_THAT(device_.log, ElementsAre("w4@16=305419896"));
}

TEST_F(BusTest, SplitsWhatIsTooWideMisalignedOrHangsOver) {
  bus_.add_ports(16, 4, 1, device_);
  bus_.write_port(16, 2, 0x0201);
  bus_.write_port(17, 2, 0x0403);
  EXPECT_THAT(device_.log, ElementsAre("w1@16=1", "w1@17=2", "w1@17=3", "w1@18=4"));
  device_.log.clear();
  EXPECT_EQ(bus_.read_port(19, 2), 0xFF13u);  // the byte after the device is nobody's
  EXPECT_THAT(device_.log, ElementsAre("r1@19"));
}

TEST_F(BusTest, UnassignedReadsAllOnes) {
  EXPECT_EQ(bus_.read_port(0x1234, 1), 0xFFu);
  EXPECT_EQ(bus_.read_port(0x1234, 2), 0xFFFFu);
  EXPECT_EQ(bus_.read_port(0xFFFF, 4), 0xFFFFFFFFu);  // wraps
  EXPECT_EQ(bus_.read_mmio(0xFFFF'FFFF'FFFF'FFFC, 8), ~uint64_t{0});
}

TEST_F(BusTest, LogsUnassignedAtALimitedRate) {
  for (int i = 0; i < 1000; ++i) bus_.write_port(0x1234, 1, 0);
  EXPECT_EQ(lines_.size(), 4u);
  clock_.pass(kNsPerSecond);
  bus_.write_port(0x1234, 1, 0);
  EXPECT_EQ(lines_.size(), 5u);
  EXPECT_EQ(lines_[0], "port write of 1 byte(s) at 0x1234: no device there");
}

TEST_F(BusTest, MmioIsSplitAndTruncated) {
  bus_.add_mmio(0x1000, 0x10, 4, device_);
  bus_.write_mmio(0x1000, 8, 0x2'0000'0001);
  EXPECT_THAT(device_.log, ElementsAre("w4@0=1", "w4@4=2"));
  EXPECT_EQ(bus_.read_mmio(0x100E, 4), 0xFFFF00FFu);
}

}  // namespace
}  // namespace chipset
