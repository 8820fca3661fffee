// SPDX-License-Identifier: MIT
#include "hypervisor/core/gpa_space.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/fake/environment.h"

namespace hv {
namespace {

constexpr Access kReadWrite = Access::read | Access::write;

class GpaSpaceTest : public testing::Test {
 protected:
  GpaSpaceTest() {
    for (uint64_t i = 1; i < kPoolPages; ++i) pool_.deposit(Spa::from_page(i));
    EXPECT_TRUE(space_.init());
  }
  Result<Mapping> map(uint64_t gpa, uint64_t spa, uint64_t size, Access access = kReadWrite) {
    return space_.map(Gpa(gpa), Spa(spa), size, access);
  }
  Mapping at(uint64_t gpa) { return *space_.lookup(Gpa(gpa)); }
  bool mapped(uint64_t gpa) { return space_.lookup(Gpa(gpa)).has_value(); }
  void destroy() {
    while (space_.root() != Spa()) {
      const auto result = space_.destroy();
      if (!result) {
        ASSERT_EQ(result.error(), Error::retry);
      }
    }
  }

  static constexpr uint64_t kPoolPages = 600;
  fake::Environment env_{{.lps = 1, .memory = 8 * fake::kMegabyte, .reserve = 2 * fake::kMegabyte}};
  PagePool pool_;
  GpaSpace space_{pool_};
};

TEST_F(GpaSpaceTest, PagesOfEverySizeTranslateInside) {
  ASSERT_TRUE(map(0x1000, 0x7000, kPageSize));
  ASSERT_TRUE(map(0x200000, 0x4000000, kLargePageSize));
  ASSERT_TRUE(map(0x40000000, 0x80000000, kHugePageSize));
  EXPECT_EQ(space_.translate(Gpa(0x1234), Access::read), Spa(0x7234));
  EXPECT_EQ(space_.translate(Gpa(0x3ffff8), Access::read), Spa(0x41ffff8));
  EXPECT_EQ(space_.translate(Gpa(0x7fffffff), Access::read), Spa(0xbfffffff));
  EXPECT_EQ(space_.translate(Gpa(0x2000), Access::read), GpaSpace::kNowhere);
  EXPECT_EQ(space_.translate(Gpa(0x400000), Access::read), GpaSpace::kNowhere);
  EXPECT_EQ(at(0x40001000).size, kHugePageSize);
  EXPECT_EQ(at(0x40001000).spa, Spa(0x80000000));
  EXPECT_EQ(at(0x2fffff).size, kLargePageSize);
}

TEST_F(GpaSpaceTest, AddressesBeyondTheLimitAreUnmapped) {
  EXPECT_FALSE(mapped(kMaxPhysicalAddress));
  EXPECT_FALSE(mapped(~uint64_t{0}));
  EXPECT_EQ(space_.translate(Gpa(~uint64_t{0}), Access::read), GpaSpace::kNowhere);
  EXPECT_EQ(map(kMaxPhysicalAddress, 0, kPageSize).error(), Error::invalid_parameter);
  EXPECT_EQ(space_.unmap(Gpa(kMaxPhysicalAddress)).error(), Error::unmapped);
}

TEST_F(GpaSpaceTest, AccessIsWhatWasAskedFor) {
  unsigned page = 1;
  for (const Access access : {Access::read, kReadWrite, Access::read | Access::execute, kAllAccess})
    ASSERT_TRUE(map(page++ * kPageSize, 0x9000, kPageSize, access));
  EXPECT_EQ(at(0x1000).access, Access::read);
  EXPECT_EQ(at(0x2000).access, kReadWrite);
  EXPECT_EQ(at(0x3000).access, Access::read | Access::execute);
  EXPECT_EQ(at(0x4000).access, kAllAccess);
  EXPECT_EQ(space_.translate(Gpa(0x1000), Access::write), GpaSpace::kNowhere);
  EXPECT_EQ(space_.translate(Gpa(0x2000), Access::execute), GpaSpace::kNowhere);
  EXPECT_EQ(space_.translate(Gpa(0x2000), Access::write), Spa(0x9000));
}

TEST_F(GpaSpaceTest, MapAnswersWhatItReplaced) {
  EXPECT_EQ(map(0x1000, 0x7000, kPageSize)->size, 0u);
  const auto replaced = map(0x1000, 0x8000, kPageSize);
  ASSERT_TRUE(replaced);
  EXPECT_EQ(replaced->spa, Spa(0x7000));
  EXPECT_EQ(replaced->size, kPageSize);
  EXPECT_EQ(at(0x1000).spa, Spa(0x8000));
}

TEST_F(GpaSpaceTest, MapRefusesWherePagesOfAnotherSizeAre) {
  ASSERT_TRUE(map(0, 0, kLargePageSize));
  EXPECT_EQ(map(0x1000, 0x7000, kPageSize).error(), Error::object_in_use);
  ASSERT_TRUE(map(0x200000, 0x7000, kPageSize));
  EXPECT_EQ(map(0x200000, 0x400000, kLargePageSize).error(), Error::object_in_use);
  EXPECT_EQ(at(0x1000).spa, Spa(0));
  EXPECT_EQ(at(0x200000).spa, Spa(0x7000));
}

TEST_F(GpaSpaceTest, LargePageOverAnEmptyTableFillsIt) {
  ASSERT_TRUE(map(0x200000, 0x7000, kPageSize));
  ASSERT_TRUE(space_.unmap(Gpa(0x200000)));
  ASSERT_TRUE(map(0x200000, 0x600000, kLargePageSize, Access::read));
  for (const uint64_t offset : {0x0, 0x1000, 0x1ff000}) {
    EXPECT_EQ(at(0x200000 + offset).spa, Spa(0x600000 + offset));
    EXPECT_EQ(at(0x200000 + offset).access, Access::read);
  }
  EXPECT_FALSE(mapped(0x400000));
}

TEST_F(GpaSpaceTest, UnmapSplitsAndLeavesTheRest) {
  ASSERT_TRUE(map(0x40000000, 0x80000000, kHugePageSize, kAllAccess));
  const auto was = space_.unmap(Gpa(0x40605678));
  ASSERT_TRUE(was);
  EXPECT_EQ(was->spa, Spa(0x80605000));
  EXPECT_EQ(was->size, kPageSize);
  EXPECT_FALSE(mapped(0x40605000));
  EXPECT_EQ(at(0x40604000).spa, Spa(0x80604000));
  EXPECT_EQ(at(0x40604000).access, kAllAccess);
  EXPECT_EQ(at(0x40604000).size, kPageSize);
  EXPECT_EQ(at(0x40800000).size, kLargePageSize);
  EXPECT_EQ(at(0x7fffffff).spa, Spa(0xbfe00000));
  EXPECT_EQ(space_.unmap(Gpa(0x40605000)).error(), Error::unmapped);
}

TEST_F(GpaSpaceTest, UnmapLeafTakesWholePagesByTheirStart) {
  ASSERT_TRUE(map(0x200000, 0x600000, kLargePageSize));
  EXPECT_EQ(space_.unmap_leaf(Gpa(0x201000)).error(), Error::unmapped);
  const auto was = space_.unmap_leaf(Gpa(0x200000));
  ASSERT_TRUE(was);
  EXPECT_EQ(was->size, kLargePageSize);
  EXPECT_FALSE(mapped(0x200000));
}

TEST_F(GpaSpaceTest, WithoutMemoryNothingChanges) {
  ASSERT_TRUE(map(0, 0, kLargePageSize));
  std::vector<Spa> taken;
  while (const auto page = pool_.allocate()) taken.push_back(*page);
  EXPECT_EQ(map(uint64_t{1} << 40, 0, kPageSize).error(), Error::insufficient_memory);
  EXPECT_EQ(space_.unmap(Gpa(0x1000)).error(), Error::insufficient_memory);
  EXPECT_EQ(space_.access_state(Gpa(0x1000), GpaSpace::Track::clear, GpaSpace::Track::keep).error(),
            Error::insufficient_memory);
  EXPECT_EQ(at(0x1000).size, kLargePageSize);
  for (const Spa page : taken) pool_.free(page);
  EXPECT_TRUE(space_.unmap(Gpa(0x1000)));
}

TEST_F(GpaSpaceTest, NextLeafWalksInOrderAndStopsAtTheEnd) {
  ASSERT_TRUE(map(0x3000, 0x1000, kPageSize));
  ASSERT_TRUE(map(0x200000, 0x600000, kLargePageSize));
  ASSERT_TRUE(map(uint64_t{1} << 46, 0x2000, kPageSize));
  std::vector<uint64_t> found;
  Gpa at_gpa(0);
  for (;;) {
    const auto leaf = space_.next_leaf(at_gpa);
    if (!leaf && leaf.error() == Error::retry) continue;
    if (!leaf) break;
    found.push_back(at_gpa.value());
    at_gpa = at_gpa + leaf->size;
  }
  EXPECT_EQ(found, (std::vector<uint64_t>{0x3000, 0x200000, uint64_t{1} << 46}));
  Gpa inside(0x2ff000);
  ASSERT_TRUE(space_.next_leaf(inside));
  EXPECT_EQ(inside, Gpa(0x200000));
  Gpa limited(0x4000);
  EXPECT_EQ(space_.next_leaf(limited, Gpa(0x200000)).error(), Error::not_found);
}

TEST_F(GpaSpaceTest, AccessedAndDirtyAreTrackedByThePage) {
  ASSERT_TRUE(map(0x200000, 0x600000, kLargePageSize));
  EXPECT_FALSE(at(0x200000).dirty);
  EXPECT_EQ(space_.translate(Gpa(0x200000), Access::read), Spa(0x600000));
  EXPECT_FALSE(at(0x200000).dirty);
  EXPECT_EQ(space_.translate(Gpa(0x200000), Access::write), Spa(0x600000));
  EXPECT_TRUE(at(0x200000).dirty);
  using Track = GpaSpace::Track;
  const auto before = space_.access_state(Gpa(0x201000), Track::clear, Track::clear);
  ASSERT_TRUE(before);
  EXPECT_TRUE(before->dirty && before->accessed);
  EXPECT_FALSE(at(0x201000).dirty || at(0x201000).accessed);
  EXPECT_TRUE(at(0x202000).dirty) << "a page next to it lost what was known about it";
  ASSERT_TRUE(space_.access_state(Gpa(0x201000), Track::keep, Track::set));
  EXPECT_TRUE(at(0x201000).dirty);
  EXPECT_FALSE(at(0x201000).accessed);
  EXPECT_EQ(space_.access_state(Gpa(0x1000), Track::clear, Track::keep).error(), Error::unmapped);
}

TEST_F(GpaSpaceTest, DestroyReturnsEveryTable) {
  for (uint64_t i = 0; i < 500; ++i) ASSERT_TRUE(map(i * kLargePageSize, 0x1000, kPageSize));
  EXPECT_LT(pool_.free_pages(), pool_.total_pages());
  destroy();
  EXPECT_EQ(pool_.free_pages(), pool_.total_pages());
  EXPECT_EQ(space_.root(), Spa());
}

// Any order of operations, against a map of 4 KB pages.
TEST_F(GpaSpaceTest, AgreesWithAModel) {
  std::mt19937_64 random(1);
  std::map<uint64_t, uint64_t> model;  // guest page to system page
  const auto none_mapped = [&](uint64_t first) {
    const auto it = model.lower_bound(first);
    return it == model.end() || it->first >= first + 512;
  };
  for (int step = 0; step < 20000; ++step) {
    const uint64_t page = random() % 4096;
    const uint64_t first = page & ~uint64_t{511};
    switch (random() % 4) {
      case 0:
        if (map(page << 12, (page + 7) << 12, kPageSize)) model[page] = page + 7;
        break;
      case 1:
        if (map(first << 12, (first + 1024) << 12, kLargePageSize)) {
          EXPECT_TRUE(none_mapped(first) || model[first] == first + 1024);
          for (uint64_t i = 0; i < 512; ++i) model[first + i] = first + 1024 + i;
        }
        break;
      case 2: {
        const auto was = space_.unmap(Gpa::from_page(page));
        ASSERT_EQ(was.has_value(), model.contains(page));
        if (was) {
          EXPECT_EQ(was->spa.page(), model[page]);
        }
        model.erase(page);
        break;
      }
      default: {
        const auto was = space_.unmap_leaf(Gpa::from_page(page));
        if (was)
          for (uint64_t i = 0; i < was->size / kPageSize; ++i) {
            EXPECT_EQ(model[page + i], was->spa.page() + i);
            model.erase(page + i);
          }
      }
    }
    const uint64_t probe = random() % 4096;
    const Spa spa = space_.translate(Gpa::from_page(probe), Access::read);
    const auto expected = model.find(probe);
    ASSERT_EQ(spa, expected == model.end() ? GpaSpace::kNowhere : Spa::from_page(expected->second));
  }
  destroy();
  EXPECT_EQ(pool_.free_pages(), pool_.total_pages());
}

}  // namespace
}  // namespace hv
