// SPDX-License-Identifier: MIT
// Against a driver that records routes and irqfds, and signals resample eventfds.
#include "vmwp/level_eoi.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "abi/root/mshv.h"

namespace vmwp {
namespace {

class Driver {
 public:
  int ioctl(unsigned long request, void* argument) {
    if (request == MSHV_SET_MSI_ROUTING) {
      mshv_user_irq_table table;
      std::memcpy(&table, argument, sizeof(table));
      const auto* entries = reinterpret_cast<const mshv_user_irq_entry*>(
          static_cast<const char*>(argument) + sizeof(table));
      routes.clear();
      for (uint32_t i = 0; i < table.nr; ++i) routes[entries[i].gsi] = entries[i].data;
      return 0;
    }
    mshv_user_irqfd irqfd;
    std::memcpy(&irqfd, argument, sizeof(irqfd));
    if (fail || (routes[irqfd.gsi] & 0x8000) == 0) return errno = EINVAL, -1;
    resample[irqfd.gsi] = irqfd.resamplefd;
    return 0;
  }
  /// The guest ends `vector`.
  void end(uint32_t vector) {
    for (const auto& [gsi, data] : routes) {
      const uint64_t one = 1;
      if (data == (0x8000 | vector)) {
        ASSERT_EQ(::write(resample[gsi], &one, sizeof(one)), 8);
      }
    }
  }
  bool fail = false;
  std::map<uint32_t, uint32_t> routes;
  std::map<uint32_t, int> resample;
};

class LevelEoisTest : public ::testing::Test {
 protected:
  Driver driver_;
  LevelEois eois_{[this](unsigned long r, void* a) { return driver_.ioctl(r, a); }};
};

TEST_F(LevelEoisTest, TellsWhichVectorsEnded) {
  ASSERT_TRUE(eois_.expect(0x29).has_value());
  ASSERT_TRUE(eois_.expect(0x31).has_value());
  ASSERT_TRUE(eois_.expect(0x29).has_value());
  EXPECT_EQ(driver_.resample.size(), 2u);
  EXPECT_TRUE(eois_.take().empty());
  driver_.end(0x31);
  driver_.end(0x31);
  EXPECT_EQ(eois_.take(), std::vector<uint8_t>{0x31});
  EXPECT_TRUE(eois_.take().empty());
}

TEST_F(LevelEoisTest, RecyclesSlotsOfAGuestThatUsesManyVectors) {
  for (unsigned vector = 0x20; vector < 0xF0; ++vector) {
    ASSERT_TRUE(eois_.expect(static_cast<uint8_t>(vector)).has_value());
  }
  EXPECT_EQ(driver_.resample.size(), LevelEois::kSlots);
  driver_.end(0xEF);
  EXPECT_EQ(eois_.take(), std::vector<uint8_t>{0xEF});
}

TEST_F(LevelEoisTest, RefusalIsAnErrorAndLeavesNothing) {
  driver_.fail = true;
  EXPECT_FALSE(eois_.expect(0x29).has_value());
  driver_.fail = false;
  EXPECT_TRUE(eois_.expect(0x29).has_value());
  driver_.end(0x29);
  EXPECT_EQ(eois_.take(), std::vector<uint8_t>{0x29});
}

}  // namespace
}  // namespace vmwp
