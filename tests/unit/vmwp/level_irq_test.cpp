// SPDX-License-Identifier: MIT
// Against a driver that records routes and irqfds, and signals resample eventfds.
#include "vmwp/level_irq.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "runtime/scope.h"

namespace vmwp {
namespace {

using chipset::InterruptMessage;

class Driver {
 public:
  int ioctl(unsigned long request, void* argument) {
    ++calls;
    if (request == MSHV_SET_MSI_ROUTING) {
      mshv_user_irq_table table;
      std::memcpy(&table, argument, sizeof(table));
      const auto* entries = reinterpret_cast<const mshv_user_irq_entry*>(
          static_cast<const char*>(argument) + sizeof(table));
      routes.clear();
      for (uint32_t i = 0; i < table.nr; ++i) routes[entries[i].gsi] = entries[i];
      return 0;
    }
    mshv_user_irqfd irqfd;
    std::memcpy(&irqfd, argument, sizeof(irqfd));
    if (fail || (routes[irqfd.gsi].data & 0x8000) == 0) return errno = EINVAL, -1;
    irq[irqfd.gsi] = irqfd.fd;
    resample[irqfd.gsi] = irqfd.resamplefd;
    return 0;
  }
  /// How often the pin's interrupt was sent since the last call.
  uint64_t sent(uint32_t gsi) {
    uint64_t count = 0;
    return ::read(irq[gsi], &count, sizeof(count)) < 0 ? 0 : count;
  }
  /// The guest ends `vector`.
  void end(uint32_t vector) {
    for (const auto& [gsi, entry] : routes) {
      const uint64_t one = 1;
      if ((entry.data & 0x80FF) == (0x8000 | vector)) {
        ASSERT_EQ(::write(resample[gsi], &one, sizeof(one)), 8);
      }
    }
  }
  bool fail = false;
  unsigned calls = 0;
  std::map<uint32_t, mshv_user_irq_entry> routes;
  std::map<uint32_t, int> irq, resample;
};

InterruptMessage message(uint8_t pin, uint8_t vector, uint8_t destination = 0) {
  return {chipset::DeliveryMode::kFixed,
          chipset::Trigger::kLevel,
          chipset::DestinationMode::kPhysical,
          destination,
          vector,
          pin};
}

class LevelIrqsTest : public ::testing::Test {
 protected:
  LevelIrqsTest() {
    scope_.spawn(irqs_.serve(*port_, [this](uint8_t pin) { told(pin); }));
  }
  ~LevelIrqsTest() override {
    scope_.cancel();
    (void)runtime::block_on(*port_, scope_.join());
  }

  void told(uint8_t pin) {
    const std::lock_guard guard(lock_);
    ended_.push_back(pin);
    changed_.notify_all();
  }
  /// The pins that have ended since the last call, once there are `count`.
  std::vector<uint8_t> ended(size_t count) {
    std::unique_lock guard(lock_);
    changed_.wait_for(guard, std::chrono::seconds(30), [&] { return ended_.size() >= count; });
    std::ranges::sort(ended_);
    return std::exchange(ended_, {});
  }

  std::mutex lock_;
  std::condition_variable changed_;
  std::vector<uint8_t> ended_;
  Driver driver_;
  LevelIrqs irqs_{[this](unsigned long r, void* a) { return driver_.ioctl(r, a); }};
  const std::unique_ptr<runtime::Port> port_ = *runtime::Port::create({.name = "irqs"});
  const runtime::IoThreads threads_ = *runtime::IoThreads::start(*port_, 1);
  runtime::Scope scope_{*port_};
};

using Pins = std::vector<uint8_t>;

TEST_F(LevelIrqsTest, SendsAndTellsWhichPinsEnded) {
  ASSERT_TRUE(irqs_.send(message(9, 0x29)).has_value());
  ASSERT_TRUE(irqs_.send(message(11, 0x31)).has_value());
  EXPECT_EQ(driver_.sent(9), 1u);
  EXPECT_EQ(driver_.sent(11), 1u);
  driver_.end(0x31);
  EXPECT_EQ(ended(1), Pins{11});
  driver_.end(0x29);
  EXPECT_EQ(ended(1), Pins{9});
}

TEST_F(LevelIrqsTest, CallsTheDriverOnlyWhenTheEntryChanged) {
  ASSERT_TRUE(irqs_.send(message(9, 0x29)).has_value());
  const unsigned calls = driver_.calls;
  ASSERT_TRUE(irqs_.send(message(9, 0x29)).has_value());
  EXPECT_EQ(driver_.calls, calls);
  EXPECT_EQ(driver_.sent(9), 2u);
  ASSERT_TRUE(irqs_.send(message(11, 0x31)).has_value());
  InterruptMessage logical = message(9, 0x45, 3);
  logical.destination_mode = chipset::DestinationMode::kLogical;
  logical.mode = chipset::DeliveryMode::kLowestPriority;
  ASSERT_TRUE(irqs_.send(logical).has_value());
  EXPECT_EQ(driver_.routes[9].address_lo, 0xFEE03004u);
  EXPECT_EQ(driver_.routes[9].data, 0x8145u);
  EXPECT_EQ(driver_.routes[11].data, 0x8031u);
  driver_.end(0x29);  // nobody's by now
  driver_.end(0x45);
  EXPECT_EQ(ended(1), Pins{9});
}

TEST_F(LevelIrqsTest, PinsWithOneVectorEndTogether) {
  ASSERT_TRUE(irqs_.send(message(16, 0x50)).has_value());
  ASSERT_TRUE(irqs_.send(message(17, 0x50)).has_value());
  driver_.end(0x50);
  EXPECT_EQ(ended(2), (Pins{16, 17}));
}

TEST_F(LevelIrqsTest, RefusalIsAnErrorAndLeavesNothing) {
  driver_.fail = true;
  EXPECT_FALSE(irqs_.send(message(9, 0x29)).has_value());
  driver_.fail = false;
  EXPECT_TRUE(irqs_.send(message(9, 0x29)).has_value());
  driver_.end(0x29);
  EXPECT_EQ(ended(1), Pins{9});
}

}  // namespace
}  // namespace vmwp
