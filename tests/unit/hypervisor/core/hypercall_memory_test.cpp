// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <set>

#include "abi/tlfs/partition.h"
#include "hypervisor/core/guest_memory.h"
#include "hypervisor/core/hypercall.h"
#include "tests/fake/environment.h"
#include "tests/fake/hypercall.h"

namespace hv {
namespace {

using enum abi::HvCall;
using abi::HvStatus;
using fake::call;
using fake::counted;
using fake::rep;
using fake::Reply;
using fake::simple;

constexpr uint32_t kReadWriteExecute = 0xf;
constexpr uint32_t kLarge = abi::kHvMapGpaLargePageMask;

class HypercallMemoryTest : public testing::Test {
 protected:
  HypercallMemoryTest() {
    env_.root().privileges = fake::kRootPrivileges;
    root_ = &env_.make_vp(env_.root(), 0);
    child_ = &env_.make_child(0, 64);
  }
  uint64_t id() const { return child_->id.value(); }

  std::vector<uint64_t> free_pages(size_t count) {
    std::vector<uint64_t> pages(count);
    for (uint64_t& page : pages) page = env_.free_page().page();
    return pages;
  }
  Reply deposit(uint64_t partition, const std::vector<uint64_t>& pages) {
    return call(*root_, rep(HvCallDepositMemory, partition, pages));
  }
  Reply withdraw(unsigned count) {
    const abi::HvInputWithdrawMemory in{id(), {}};
    return call(*root_, counted(HvCallWithdrawMemory, in, count, count * sizeof(uint64_t)));
  }
  Reply map(uint64_t base, const std::vector<uint64_t>& sources,
            uint32_t flags = kReadWriteExecute) {
    return call(*root_,
                rep(HvCallMapGpaPages, abi::HvInputMapGpaPages{id(), base, flags, 0}, sources));
  }
  Reply unmap(uint64_t base, unsigned count, uint32_t flags = 0) {
    return call(*root_, counted(HvCallUnmapGpaPages,
                                abi::HvInputUnmapGpaPages{id(), base, flags, 0}, count));
  }
  Reply states(uint64_t base, unsigned count, uint64_t flags = 0) {
    const abi::HvInputGetGpaPagesAccessStates in{id(), flags, base};
    return call(*root_, counted(HvCallGetGpaPagesAccessStates, in, count, count));
  }
  Result<Mapping> at(uint64_t page) { return child_->space.lookup(Gpa::from_page(page)); }
  static uint16_t mappings(uint64_t page) { return page_db.mappings(Spa::from_page(page)); }

  static constexpr uint64_t kLargePageOfRoot = 0x800;  // 8 MB: nothing takes pages from there
  fake::Environment env_{{.memory = 48 * fake::kMegabyte}};
  Vp* root_;
  Partition* child_;
};

TEST_F(HypercallMemoryTest, DepositedPagesAreGoneFromTheRoot) {
  const auto pages = free_pages(3);
  for (const uint64_t page : pages) env_.at<uint64_t>(env_.root(), Gpa::from_page(page)) = 7;
  const uint64_t before = child_->pool.free_pages();
  EXPECT_EQ(deposit(id(), pages).reps, 3u);
  EXPECT_EQ(child_->pool.free_pages(), before + 3);
  for (const uint64_t page : pages) {
    EXPECT_TRUE(page_db.owned_by_hypervisor(Spa::from_page(page)));
    EXPECT_FALSE(env_.root().space.lookup(Gpa::from_page(page)));
  }
  // The newest leaves first, zeroed and usable again.
  const Reply reply = withdraw(3);
  ASSERT_TRUE(reply.ok());
  for (unsigned i = 0; i < 3; ++i) {
    const uint64_t page = reply.as<uint64_t>(i);
    EXPECT_NE(std::find(pages.begin(), pages.end(), page), pages.end());
    EXPECT_EQ(*copy_in<uint64_t>(env_.root(), Gpa::from_page(page)), 0u);
    EXPECT_TRUE(copy_out<uint64_t>(env_.root(), Gpa::from_page(page), 1));
    EXPECT_FALSE(page_db.owned_by_hypervisor(Spa::from_page(page)));
  }
}

TEST_F(HypercallMemoryTest, DepositFlushesOnceForEachRun) {
  const uint64_t flushes = env_.lp(0).epoch.load();
  deposit(id(), free_pages(64));
  EXPECT_EQ(env_.lp(0).epoch.load(), flushes + 2);
}

TEST_F(HypercallMemoryTest, DepositRefusesWhatIsNotTheRootsOwn) {
  const auto pages = free_pages(2);
  ASSERT_TRUE(deposit(id(), {pages[0]}).ok());
  EXPECT_EQ(deposit(id(), {pages[0]}).status, HvStatus::kInvalidParameter) << "twice";
  ASSERT_TRUE(map(0, {pages[1]}).ok());
  EXPECT_EQ(deposit(id(), {pages[1]}).status, HvStatus::kObjectInUse) << "mapped by the child";
  EXPECT_EQ(deposit(id(), {page_db.frames() - 1}).status, HvStatus::kInvalidParameter) << "reserve";
  EXPECT_EQ(deposit(id(), {page_db.frames() + 1}).status, HvStatus::kInvalidParameter) << "no RAM";
  EXPECT_EQ(deposit(id(), {1ull << 52}).status, HvStatus::kInvalidParameter) << "wraps to page 0";
  EXPECT_EQ(deposit(id(), {~0ull}).status, HvStatus::kInvalidParameter);
  page_db.exclude(Spa::from_page(0x700), Spa::from_page(0x701));
  EXPECT_EQ(deposit(id(), {0x700}).status, HvStatus::kAccessDenied) << "a hole";
  EXPECT_TRUE(env_.root().space.lookup(Gpa::from_page(0x700)));
}

TEST_F(HypercallMemoryTest, RootWithdrawsWhatItDepositedAndNothingOfTheReserve) {
  PagePool& pool = env_.root().pool;
  const uint64_t reserve = pool.total_pages();
  std::vector<Spa> used;
  while (const auto page = pool.allocate()) used.push_back(*page);
  const auto mine = free_pages(3);
  ASSERT_TRUE(deposit(abi::kHvPartitionIdSelf, mine).ok());
  used.push_back(*pool.allocate());
  // The order in which pages become free is no matter: one of mine, then all of the reserve.
  for (; !used.empty(); used.pop_back()) pool.free(used.back());
  const abi::HvInputWithdrawMemory in{1, {}};
  const Reply reply = call(*root_, counted(HvCallWithdrawMemory, in, 10, 80));
  EXPECT_EQ(reply.status, HvStatus::kNoResources);
  ASSERT_EQ(reply.reps, 3u);
  const std::set got{reply.as<uint64_t>(0), reply.as<uint64_t>(1), reply.as<uint64_t>(2)};
  EXPECT_EQ(got, std::set(mine.begin(), mine.end()));
  EXPECT_EQ(pool.total_pages(), reserve);
  EXPECT_TRUE(env_.root().space.lookup(Gpa::from_page(mine[0])));
}

TEST_F(HypercallMemoryTest, WithdrawEndsWithNoResources) {
  const unsigned have = static_cast<unsigned>(child_->pool.free_pages());
  const Reply reply = withdraw(have + 10);
  EXPECT_EQ(reply.status, HvStatus::kNoResources);
  EXPECT_EQ(reply.reps, have);
  EXPECT_EQ(child_->pool.free_pages(), 0u);
  EXPECT_EQ(withdraw(1).reps, 0u);
}

TEST_F(HypercallMemoryTest, MappedPagesAreShared) {
  const auto pages = free_pages(100);
  const Reply reply = map(0x1000, pages);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply.reps, 100u);
  EXPECT_EQ(reply.entries, 2u);
  for (size_t i = 0; i < pages.size(); ++i) {
    EXPECT_EQ(at(0x1000 + i)->spa.page(), pages[i]);
    EXPECT_EQ(mappings(pages[i]), 1);
  }
  ASSERT_TRUE(copy_out<uint32_t>(*child_, Gpa(0x1000004), 77));
  EXPECT_EQ(*copy_in<uint32_t>(env_.root(), Gpa::from_page(pages[0]) + 4), 77u);
  ASSERT_TRUE(unmap(0x1000, 100).ok());
  for (size_t i = 0; i < pages.size(); ++i) {
    EXPECT_FALSE(at(0x1000 + i));
    EXPECT_EQ(mappings(pages[i]), 0);
  }
}

TEST_F(HypercallMemoryTest, FlagsBecomeAccess) {
  const auto page = free_pages(1);
  const std::pair<uint32_t, Access> cases[] = {
      {abi::kHvMapGpaReadableMask, Access::read},
      {abi::kHvMapGpaReadableMask | abi::kHvMapGpaWritableMask | abi::kHvMapGpaAdjustableMask,
       Access::read | Access::write},
      {abi::kHvMapGpaReadableMask | abi::kHvMapGpaKernelExecutableMask,
       Access::read | Access::execute},
      {abi::kHvMapGpaReadableMask | abi::kHvMapGpaUserExecutableMask,
       Access::read | Access::execute},
      {kReadWriteExecute | abi::kHvMapGpaNotCachedMask, kAllAccess},
  };
  for (const auto& [flags, access] : cases) {
    ASSERT_TRUE(map(5, page, flags).ok()) << flags;
    EXPECT_EQ(at(5)->access, access) << flags;
    EXPECT_EQ(mappings(page[0]), 1) << "a page that replaces itself counts once";
  }
  for (const uint32_t bad :
       {0u, abi::kHvMapGpaWritableMask, 0x4u, 0x10u, 0x20000u | kReadWriteExecute,
        abi::kHvMapGpaNoAccessMask | abi::kHvMapGpaReadableMask})
    EXPECT_EQ(map(5, page, bad).status, HvStatus::kInvalidParameter) << bad;
}

TEST_F(HypercallMemoryTest, NoAccessUnmaps) {
  const auto page = free_pages(1);
  ASSERT_TRUE(map(5, page).ok());
  EXPECT_TRUE(map(5, {~0ull}, abi::kHvMapGpaNoAccessMask).ok());
  EXPECT_FALSE(at(5));
  EXPECT_EQ(mappings(page[0]), 0);
}

TEST_F(HypercallMemoryTest, RemappingDropsWhatWasThere) {
  const auto pages = free_pages(2);
  ASSERT_TRUE(map(5, {pages[0]}).ok());
  ASSERT_TRUE(map(5, {pages[1]}).ok());
  EXPECT_EQ(mappings(pages[0]), 0);
  EXPECT_EQ(mappings(pages[1]), 1);
}

TEST_F(HypercallMemoryTest, SourcesAreTheRootsOwnRam) {
  const auto page = free_pages(1);
  ASSERT_TRUE(deposit(id(), page).ok());
  for (const uint64_t bad :
       {page[0], page_db.frames() - 1, page_db.frames(), uint64_t{1} << 52, ~uint64_t{0}}) {
    EXPECT_EQ(map(5, {bad}).status, HvStatus::kInvalidParameter) << bad;
    EXPECT_FALSE(at(5));
  }
  const Spa exported = *env_.root().pool.allocate();
  ASSERT_TRUE(export_to_root(exported));
  EXPECT_EQ(map(5, {exported.page()}).status, HvStatus::kAccessDenied);
  unexport_from_root(exported);
}

TEST_F(HypercallMemoryTest, TargetsStayInTheAddressSpace) {
  const auto page = free_pages(1);
  for (const uint64_t bad : {uint64_t{1} << 36, uint64_t{1} << 52, ~uint64_t{0}}) {
    EXPECT_EQ(map(bad, page).status, HvStatus::kInvalidParameter) << bad;
    EXPECT_EQ(unmap(bad, 1).status, HvStatus::kInvalidParameter) << bad;
  }
  EXPECT_EQ(map((1ull << 36) - 1, {page[0], page[0]}).reps, 1u);
  EXPECT_EQ(mappings(page[0]), 1);
}

TEST_F(HypercallMemoryTest, LargePages) {
  ASSERT_TRUE(
      map(0x200, {kLargePageOfRoot, kLargePageOfRoot + 512}, kReadWriteExecute | kLarge).ok());
  EXPECT_EQ(at(0x234)->size, kLargePageSize);
  EXPECT_EQ(at(0x400)->spa.page(), kLargePageOfRoot + 512);
  for (const uint64_t i : {0, 511, 512, 1023}) EXPECT_EQ(mappings(kLargePageOfRoot + i), 1);
  EXPECT_EQ(deposit(id(), {kLargePageOfRoot + 100}).status, HvStatus::kObjectInUse);
  // One small page out of the middle.
  ASSERT_TRUE(unmap(0x210, 1).ok());
  EXPECT_EQ(mappings(kLargePageOfRoot + 0x10), 0);
  EXPECT_EQ(mappings(kLargePageOfRoot + 0x11), 1);
  EXPECT_EQ(at(0x211)->size, kPageSize);
  // Both, one of them in pieces by now.
  const Reply reply = unmap(0x200, 2, abi::kHvUnmapGpaLargePageMask);
  ASSERT_TRUE(reply.ok());
  EXPECT_GT(reply.entries, 1u);
  for (uint64_t i = 0; i < 1024; ++i) ASSERT_EQ(mappings(kLargePageOfRoot + i), 0) << i;
}

TEST_F(HypercallMemoryTest, LargePageReplacesSmallOnes) {
  const auto pages = free_pages(100);
  ASSERT_TRUE(map(0x200, pages).ok());
  ASSERT_TRUE(map(0x200, {kLargePageOfRoot}, kReadWriteExecute | kLarge).ok());
  for (const uint64_t page : pages) EXPECT_EQ(mappings(page), 0);
  EXPECT_EQ(mappings(kLargePageOfRoot + 511), 1);
  EXPECT_EQ(at(0x3ff)->spa.page(), kLargePageOfRoot + 511);
  ASSERT_TRUE(map(0x201, {pages[0]}).ok());
  EXPECT_EQ(mappings(kLargePageOfRoot + 1), 0);
  EXPECT_EQ(mappings(pages[0]), 1);
}

TEST_F(HypercallMemoryTest, LargePagesAreAlignedAndContiguous) {
  const uint32_t flags = kReadWriteExecute | kLarge;
  EXPECT_EQ(map(0x201, {kLargePageOfRoot}, flags).status, HvStatus::kInvalidAlignment);
  EXPECT_EQ(map(0x200, {kLargePageOfRoot + 1}, flags).status, HvStatus::kInvalidAlignment);
  EXPECT_EQ(unmap(0x201, 1, abi::kHvUnmapGpaLargePageMask).status, HvStatus::kInvalidAlignment);
  ASSERT_TRUE(deposit(id(), {kLargePageOfRoot + 300}).ok());
  EXPECT_FALSE(map(0x200, {kLargePageOfRoot}, flags).ok()) << "a page of it is the hypervisor's";
  for (uint64_t i = 0; i < 512; ++i) ASSERT_EQ(mappings(kLargePageOfRoot + i), 0) << i;
}

TEST_F(HypercallMemoryTest, TablesAreTheChildsToPay) {
  while (!withdraw(64).reps) FAIL();
  withdraw(64);
  ASSERT_EQ(child_->pool.free_pages(), 0u);
  const auto pages = free_pages(4);
  const Reply reply = map(0x1000000, pages);
  EXPECT_EQ(reply.status, HvStatus::kInsufficientMemory);
  EXPECT_EQ(reply.reps, 0u);
  EXPECT_EQ(mappings(pages[0]), 0);
  ASSERT_TRUE(deposit(id(), free_pages(3)).ok());
  EXPECT_TRUE(map(0x1000000, pages).ok());
}

TEST_F(HypercallMemoryTest, OnlyActivePartitionsHaveMappings) {
  const auto page = free_pages(1);
  const Partition& created = **create_partition(env_.root());
  const abi::HvInputMapGpaPages in{created.id.value(), 0, kReadWriteExecute, 0};
  EXPECT_EQ(call(*root_, rep(HvCallMapGpaPages, in, page)).status,
            HvStatus::kInvalidPartitionState);
  ASSERT_TRUE(call(*root_, simple(HvCallFinalizePartition, id())).ok());
  EXPECT_EQ(map(0, page).status, HvStatus::kInvalidPartitionState);
  EXPECT_EQ(unmap(0, 1).status, HvStatus::kInvalidPartitionState);
  EXPECT_EQ(states(0, 1).status, HvStatus::kInvalidPartitionState);
}

TEST_F(HypercallMemoryTest, AccessStatesTellWrites) {
  ASSERT_TRUE(map(0, free_pages(4)).ok());
  ASSERT_TRUE(copy_out<uint8_t>(*child_, Gpa(0x2000), 1));
  EXPECT_EQ(states(0, 5).output, (std::vector<uint8_t>{0, 0, 3, 0, 0}));
  EXPECT_EQ(states(0, 5, 1 << abi::kHvGpaAccessClearDirtyBit).output,
            (std::vector<uint8_t>{0, 0, 3, 0, 0}));
  EXPECT_EQ(states(0, 5).output, (std::vector<uint8_t>{0, 0, 1, 0, 0}));
  EXPECT_EQ(states(0, 1, 0x10).status, HvStatus::kInvalidParameter);
  EXPECT_TRUE(states(0, 1, 1 << abi::kHvGpaAccessSetDirtyBit).ok());
  EXPECT_EQ(states(0, 1).output, std::vector<uint8_t>{2});
}

// Any sequence of calls, against counts of our own.
TEST_F(HypercallMemoryTest, CountsAgreeWithAModel) {
  std::mt19937_64 random(3);
  std::map<uint64_t, uint64_t> model;  // child page to root page
  const auto source = [&] { return kLargePageOfRoot + random() % 1024; };
  for (int step = 0; step < 3000; ++step) {
    const uint64_t page = random() % 1024;
    const uint64_t first = page & ~uint64_t{511};
    switch (random() % 4) {
      case 0: {
        const uint64_t from = source();
        if (map(page, {from}).ok()) model[page] = from;
        break;
      }
      case 1: {
        const uint64_t from = source() & ~uint64_t{511};
        if (map(first, {from}, kReadWriteExecute | kLarge).ok())
          for (uint64_t i = 0; i < 512; ++i) model[first + i] = from + i;
        break;
      }
      case 2:
        if (unmap(page, 1).ok()) model.erase(page);
        break;
      default:
        if (unmap(first, 1, abi::kHvUnmapGpaLargePageMask).ok())
          model.erase(model.lower_bound(first), model.lower_bound(first + 512));
    }
    if (step % 100 != 0) continue;
    std::map<uint64_t, unsigned> counts;
    for (const auto& [to, from] : model) ++counts[from];
    for (uint64_t i = kLargePageOfRoot; i < kLargePageOfRoot + 1024; ++i)
      ASSERT_EQ(mappings(i), counts[i]) << i;
  }
  ASSERT_TRUE(call(*root_, simple(HvCallFinalizePartition, id())).ok());
  for (uint64_t i = kLargePageOfRoot; i < kLargePageOfRoot + 1024; ++i) ASSERT_EQ(mappings(i), 0);
}

}  // namespace
}  // namespace hv
