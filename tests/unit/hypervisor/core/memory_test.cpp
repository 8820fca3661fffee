// SPDX-License-Identifier: MIT
#include "hypervisor/core/memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>

#include "tests/fake/environment.h"

namespace hv {
namespace {

constexpr Spa page(uint64_t number) {
  return Spa::from_page(number);
}
constexpr fake::Options kSmall{
    .lps = 1, .memory = 4 * fake::kMegabyte, .reserve = 2 * fake::kMegabyte};

TEST(PageDb, PageIsEitherMappedOrAcquired) {
  fake::Environment env(kSmall);
  ASSERT_TRUE(page_db.add_mapping(page(3)));
  ASSERT_TRUE(page_db.add_mapping(page(3)));
  EXPECT_EQ(page_db.mappings(page(3)), 2);
  EXPECT_EQ(page_db.acquire(page(3)).error(), Error::object_in_use);
  page_db.drop_mapping(page(3));
  page_db.drop_mapping(page(3));
  ASSERT_TRUE(page_db.acquire(page(3)));
  EXPECT_TRUE(page_db.owned_by_hypervisor(page(3)));
  EXPECT_EQ(page_db.mappings(page(3)), 0);
  EXPECT_EQ(page_db.add_mapping(page(3)).error(), Error::access_denied);
  EXPECT_EQ(page_db.acquire(page(3)).error(), Error::access_denied);
  page_db.release(page(3));
  EXPECT_FALSE(page_db.owned_by_hypervisor(page(3)));
  EXPECT_TRUE(page_db.add_mapping(page(3)));
}

TEST(PageDb, HolesAndFramesBeyondTheEndAreNobodys) {
  fake::Environment env(kSmall);
  page_db.exclude(page(5), page(7));
  for (const uint64_t number : {5, 6, 1024, 1025}) {
    EXPECT_FALSE(page_db.is_ram(page(number))) << number;
    EXPECT_EQ(page_db.acquire(page(number)).error(), Error::access_denied);
    EXPECT_EQ(page_db.add_mapping(page(number)).error(), Error::access_denied);
    EXPECT_EQ(page_db.mappings(page(number)), 0);
  }
  EXPECT_TRUE(page_db.is_ram(page(4)));
  EXPECT_TRUE(page_db.is_ram(page(7)));
}

TEST(PageDb, PageZeroStaysTheRoots) {
  fake::Environment env(kSmall);
  EXPECT_EQ(page_db.acquire(Spa()).error(), Error::access_denied);
  EXPECT_TRUE(page_db.add_mapping(Spa()));
}

TEST(PageDb, MappingCountSaturatesBelowTheMarks) {
  fake::Environment env(kSmall);
  for (unsigned i = 0; i < PageDb::kMaxMappings; ++i) ASSERT_TRUE(page_db.add_mapping(page(1)));
  EXPECT_EQ(page_db.add_mapping(page(1)).error(), Error::no_resources);
  EXPECT_EQ(page_db.mappings(page(1)), PageDb::kMaxMappings);
}

TEST(PageDb, OneOfTwoRacersGetsThePage) {
  fake::Environment env(kSmall);
  for (int round = 0; round < 200; ++round) {
    bool mapped = false;
    std::thread mapper([&] { mapped = page_db.add_mapping(page(2)).has_value(); });
    const bool acquired = page_db.acquire(page(2)).has_value();
    mapper.join();
    EXPECT_NE(mapped, acquired);
    if (mapped) page_db.drop_mapping(page(2));
    if (acquired) page_db.release(page(2));
  }
}

TEST(PagePool, PagesComeOutZeroedAndEachOnce) {
  fake::Environment env(kSmall);
  PagePool pool;
  EXPECT_EQ(pool.allocate().error(), Error::insufficient_memory);
  EXPECT_EQ(pool.withdraw().error(), Error::no_resources);
  for (uint64_t i = 1; i <= 8; ++i) {
    std::memset(direct_map(page(i)), 0xa5, kPageSize);
    pool.deposit(page(i));
  }
  EXPECT_EQ(pool.total_pages(), 8u);
  std::set<uint64_t> seen;
  while (const auto got = pool.allocate()) {
    EXPECT_TRUE(seen.insert(got->page()).second);
    const auto* bytes = direct_map<uint8_t>(*got);
    for (size_t i = 0; i < kPageSize; ++i) ASSERT_EQ(bytes[i], 0);
    std::memset(direct_map(*got), 0x5a, kPageSize);
  }
  EXPECT_EQ(seen.size(), 8u);
  EXPECT_EQ(pool.free_pages(), 0u);
  EXPECT_EQ(pool.total_pages(), 8u);
  for (const uint64_t number : seen) pool.free(page(number));
  const auto withdrawn = pool.withdraw();
  ASSERT_TRUE(withdrawn);
  EXPECT_EQ(*direct_map<uint64_t>(*withdrawn), 0u);
  EXPECT_EQ(pool.free_pages(), 7u);
  EXPECT_EQ(pool.total_pages(), 7u);
}

TEST(PagePool, KeepsWhatWasNotDepositedAndUsesItFirst) {
  fake::Environment env(kSmall);
  PagePool pool;
  pool.keep(page(4), page(6));
  pool.deposit(page(3));
  pool.deposit(page(6));
  EXPECT_EQ(pool.total_pages(), 4u);
  const std::set<uint64_t> first{pool.allocate()->page(), pool.allocate()->page()};
  EXPECT_EQ(first, (std::set<uint64_t>{4, 5}));
  pool.free(page(5));
  EXPECT_EQ(*pool.withdraw(), page(6));
  EXPECT_EQ(*pool.withdraw(), page(3));
  EXPECT_EQ(pool.withdraw().error(), Error::no_resources);
  EXPECT_EQ(pool.free_pages(), 1u);
  EXPECT_EQ(pool.total_pages(), 2u);
}

TEST(PooledPage, ReturnsToThePoolUnlessReleased) {
  fake::Environment env(kSmall);
  PagePool pool;
  pool.deposit(page(1));
  {
    const auto held = PooledPage::allocate(pool);
    ASSERT_TRUE(held);
    EXPECT_EQ(pool.free_pages(), 0u);
  }
  EXPECT_EQ(pool.free_pages(), 1u);
  {
    auto held = PooledPage::allocate(pool);
    ASSERT_TRUE(held);
    EXPECT_EQ((*held).release(), page(1));
  }
  EXPECT_EQ(pool.free_pages(), 0u);
}

}  // namespace
}  // namespace hv
