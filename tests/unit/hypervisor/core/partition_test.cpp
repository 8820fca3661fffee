// SPDX-License-Identifier: MIT
#include "hypervisor/core/partition.h"

#include <gtest/gtest.h>

#include "abi/tlfs/partition.h"
#include "hypervisor/core/guest_memory.h"
#include "hypervisor/core/scheduler.h"
#include "tests/fake/environment.h"

namespace hv {
namespace {

class PartitionTest : public testing::Test {
 protected:
  PartitionTest() {
    env_.make_vp(env_.root(), 0);
    env_.make_vp(env_.root(), 1, 1);
  }

  template <class Action>
  Result<> until_done(Action action) {
    for (int i = 0; i < 10000; ++i)
      if (const Result<> result = action(); result || result.error() != Error::retry)
        return action_result(result);
    return fail(Error::retry);
  }
  static Result<> action_result(const Result<>& result) {
    return result ? Result<>() : fail(result.error());
  }
  Result<> finalize(Partition& p) {
    return until_done([&] { return finalize_partition(p); });
  }
  Result<> remove(Partition& p) {
    return until_done([&] { return delete_partition(p); });
  }

  struct Account {
    uint64_t root_free, hypervisor_frames, mapped_frames, hidden_frames;
    bool operator==(const Account&) const = default;
  };
  // Everything that must be as before once a partition is gone.
  Account account() {
    Account a{env_.root().pool.free_pages(), 0, 0, 0};
    for (uint64_t i = 0; i < page_db.frames(); ++i) {
      const Spa page = Spa::from_page(i);
      a.hypervisor_frames += page_db.owned_by_hypervisor(page);
      a.mapped_frames += page_db.mappings(page) != 0;
      a.hidden_frames += !env_.root().space.lookup(Gpa::from_page(i)).has_value();
    }
    return a;
  }

  fake::Environment env_;
};

TEST_F(PartitionTest, RootHasIdOneAndChildrenNeverReuseIds) {
  EXPECT_EQ(env_.root().id, kRootPartitionId);
  EXPECT_TRUE(env_.root().is_root());
  EXPECT_EQ(find_partition(kRootPartitionId), &env_.root());
  uint64_t last = 1;
  for (int i = 0; i < 600; ++i) {
    const auto child = create_partition(env_.root());
    ASSERT_TRUE(child);
    EXPECT_GT((*child)->id.value(), last);
    last = (*child)->id.value();
    EXPECT_EQ(find_partition((*child)->id), *child);
    ASSERT_TRUE(remove(**child));
    EXPECT_EQ(find_partition(PartitionId{last}), nullptr);
  }
}

TEST_F(PartitionTest, TableHasRoomForItsLimitAndThenRefuses) {
  const Account before = account();
  std::vector<Partition*> children;
  for (;;) {
    const auto child = create_partition(env_.root());
    if (!child) {
      EXPECT_EQ(child.error(), Error::no_resources);
      break;
    }
    children.push_back(*child);
  }
  EXPECT_EQ(children.size(), kMaxPartitions - 1);
  for (Partition* child : children) ASSERT_TRUE(remove(*child));
  EXPECT_EQ(account(), before);
}

TEST_F(PartitionTest, CreationIsChargedToTheParent) {
  std::vector<Spa> held;
  while (const auto page = env_.root().pool.allocate()) held.push_back(*page);
  EXPECT_EQ(create_partition(env_.root()).error(), Error::insufficient_memory);
  env_.root().pool.free(held.back());
  const auto child = create_partition(env_.root());
  ASSERT_TRUE(child);
  EXPECT_EQ(initialize_partition(**child).error(), Error::insufficient_memory);
  EXPECT_FALSE((*child)->is_active());
}

TEST_F(PartitionTest, EveryPageReturns) {
  const Account before = account();
  Partition& child = env_.make_child(300, 200);
  for (unsigned i = 0; i < 4; ++i) env_.make_vp(child, i, i % 2);
  EXPECT_NE(account(), before);
  ASSERT_TRUE(finalize(child));
  EXPECT_EQ(child.vp_count, 0u);
  EXPECT_EQ(child.pool.free_pages(), child.pool.total_pages());
  EXPECT_EQ(child.pool.total_pages(), 200u);
  ASSERT_TRUE(remove(child));
  EXPECT_EQ(account(), before);
  EXPECT_EQ(env_.console, "");
}

TEST_F(PartitionTest, StatesAllowOneOrder) {
  const auto created = create_partition(env_.root());
  ASSERT_TRUE(created);
  Partition& child = **created;
  EXPECT_EQ(create_vp(child, VpIndex{0}, env_.lp(0), false).error(),
            Error::invalid_partition_state);
  EXPECT_EQ(finalize(child).error(), Error::invalid_partition_state);
  child.pool.deposit(*take_from_root(env_.free_page()));
  ASSERT_TRUE(initialize_partition(child));
  EXPECT_EQ(initialize_partition(child).error(), Error::invalid_partition_state);
  EXPECT_EQ(remove(child).error(), Error::invalid_partition_state);
  ASSERT_TRUE(finalize(child));
  EXPECT_EQ(finalize(child).error(), Error::invalid_partition_state);
  EXPECT_EQ(create_vp(child, VpIndex{0}, env_.lp(0), false).error(),
            Error::invalid_partition_state);
  ASSERT_TRUE(remove(child));
  EXPECT_EQ(remove(env_.root()).error(), Error::invalid_partition_state);
}

TEST_F(PartitionTest, InitializationDerivesPrivileges) {
  Partition& child = env_.make_child();
  EXPECT_TRUE(child.may(uint64_t{1} << abi::kHvPrivilegeAccessHypercallMsrsBit |
                        uint64_t{1} << abi::kHvPrivilegePostMessagesBit));
  EXPECT_FALSE(child.may(uint64_t{1} << abi::kHvPrivilegeAccessPartitionIdBit));
  EXPECT_FALSE(child.may(uint64_t{1} << abi::kHvPrivilegeCreatePartitionsBit));
  EXPECT_EQ(kChildPrivileges & (uint64_t{1} << abi::kHvPrivilegeCpuManagementBit), 0u);
}

TEST_F(PartitionTest, VpIndicesAreBoundedAndUnique) {
  Partition& child = env_.make_child();
  env_.make_vp(child, 3);
  EXPECT_EQ(child.vp_count, 4u);
  EXPECT_EQ(create_vp(child, VpIndex{3}, env_.lp(0), false).error(), Error::object_in_use);
  EXPECT_EQ(create_vp(child, VpIndex{kMaxVpsPerPartition}, env_.lp(0), false).error(),
            Error::invalid_vp_index);
  EXPECT_TRUE(child.vp(VpIndex{3})->is(VpSuspend::explicit_suspend));
  const uint64_t free = child.pool.free_pages();
  env_.make_vp(child, 1);
  ASSERT_TRUE(delete_vp(child, VpIndex{1}));
  EXPECT_EQ(child.pool.free_pages(), free);
  EXPECT_EQ(child.vp(VpIndex{1}), nullptr);
  EXPECT_EQ(delete_vp(child, VpIndex{1}).error(), Error::invalid_vp_index);
  ASSERT_TRUE(delete_vp(child, VpIndex{3}));
  EXPECT_EQ(child.vp_count, 0u);
}

TEST_F(PartitionTest, RunningVpMustLeaveItsGuestBeforeItGoes) {
  Partition& child = env_.make_child();
  Vp& vp = env_.make_running_vp(child, 0, 1);
  vp.run_state = Vp::RunState::running;
  env_.load(1, &vp);
  const unsigned kicks = env_.kicks(1);
  EXPECT_EQ(delete_vp(child, VpIndex{0}).error(), Error::retry);
  EXPECT_GT(env_.kicks(1), kicks);
  EXPECT_EQ(finalize_partition(child).error(), Error::retry);
  EXPECT_EQ(child.vp(VpIndex{0}), &vp);
  EXPECT_FALSE(child.teardown.load());
  vp.run_state = Vp::RunState::blocked;
  env_.load(1, nullptr);
  EXPECT_TRUE(finalize(child));
  EXPECT_EQ(child.vp(VpIndex{0}), nullptr);
}

TEST_F(PartitionTest, OneTeardownAtATime) {
  Partition& child = env_.make_child();
  env_.make_vp(child, 0);
  child.teardown = true;
  EXPECT_EQ(delete_vp(child, VpIndex{0}).error(), Error::retry);
  EXPECT_EQ(finalize_partition(child).error(), Error::retry);
  EXPECT_EQ(delete_partition(child).error(), Error::retry);
  child.teardown = false;
  EXPECT_TRUE(finalize(child));
}

TEST_F(PartitionTest, TeardownIsBoundedByTheCall) {
  Partition& child = env_.make_child(1000, 100);
  EXPECT_EQ(finalize_partition(child).error(), Error::retry);
  uint64_t mapped = 0;
  for (uint64_t i = 0; i < 1000; ++i) mapped += child.space.lookup(Gpa::from_page(i)).has_value();
  EXPECT_GT(mapped, 0u);
  EXPECT_LT(mapped, 1000u);
  EXPECT_TRUE(finalize(child));
}

TEST_F(PartitionTest, TakenPageIsOutOfTheRootsSightAndComesBackZeroed) {
  const Gpa page = env_.free_page();
  env_.at<uint64_t>(env_.root(), page) = 42;
  const auto taken = take_from_root(page);
  ASSERT_TRUE(taken);
  EXPECT_TRUE(page_db.owned_by_hypervisor(*taken));
  EXPECT_EQ(copy_in<uint64_t>(env_.root(), page).error(), Error::unmapped);
  EXPECT_EQ(take_from_root(page).error(), Error::unmapped);
  return_to_root(*taken);
  EXPECT_FALSE(page_db.owned_by_hypervisor(*taken));
  EXPECT_EQ(*copy_in<uint64_t>(env_.root(), page), 0u);
}

TEST_F(PartitionTest, PageOfAChildCannotBeTaken) {
  Partition& child = env_.make_child(1);
  const Gpa page(child.space.lookup(Gpa(0))->spa.value());
  EXPECT_EQ(take_from_root(page).error(), Error::object_in_use);
  EXPECT_TRUE(copy_in<uint64_t>(env_.root(), page));
}

TEST_F(PartitionTest, ExportedPageIsSeenButStaysTheHypervisors) {
  const Spa page = *env_.root().pool.allocate();
  EXPECT_FALSE(env_.root().space.lookup(Gpa(page.value())));
  ASSERT_TRUE(export_to_root(page));
  EXPECT_TRUE(env_.root().space.lookup(Gpa(page.value())));
  EXPECT_EQ(take_from_root(Gpa(page.value())).error(), Error::access_denied);
  EXPECT_EQ(page_db.add_mapping(page).error(), Error::access_denied);
  unexport_from_root(page);
  EXPECT_FALSE(env_.root().space.lookup(Gpa(page.value())));
}

TEST_F(PartitionTest, TheRootsReserveIsHiddenFromIt) {
  for (uint64_t i = 0; i < page_db.frames(); ++i) {
    const Spa page = Spa::from_page(i);
    EXPECT_NE(page_db.owned_by_hypervisor(page),
              env_.root().space.lookup(Gpa::from_page(i)).has_value());
  }
}

TEST_F(PartitionTest, RestartOfTheRootTakesEverythingBack) {
  const Account before = account();
  Partition& child = env_.make_child(300, 200);
  env_.make_vp(child, 0);
  env_.make_child(10, 20);
  ASSERT_TRUE(create_partition(env_.root()));
  for (int i = 0; i < 5; ++i) env_.root().pool.deposit(*take_from_root(env_.free_page()));
  ASSERT_TRUE(until_done([] { return partition_reset_root(); }));
  EXPECT_EQ(account(), before);
  for (unsigned slot = 0; slot < kMaxPartitions; ++slot) {
    Partition* const partition = partition_in_slot(slot);
    EXPECT_TRUE(!partition || partition == &env_.root());
  }
  EXPECT_TRUE(env_.root().vp(VpIndex{1}));
}

TEST_F(PartitionTest, HomesAreOnlineLps) {
  env_.lp(1).online = false;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(&next_home(), &env_.lp(0));
  env_.lp(1).online = true;
  const Lp* const first = &next_home();
  EXPECT_NE(&next_home(), first);
}

TEST_F(PartitionTest, CopiesCrossPagesAndStopAtHoles) {
  Partition& child = env_.make_child(2);
  std::array<uint8_t, 64> data;
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(i);
  ASSERT_TRUE(copy_out_bytes(child, Gpa(0x1000 - 20), data.data(), data.size()));
  std::array<uint8_t, 64> back{};
  ASSERT_TRUE(copy_in_bytes(child, Gpa(0x1000 - 20), back.data(), back.size()));
  EXPECT_EQ(back, data);
  EXPECT_EQ(copy_in<uint64_t>(child, Gpa(0x2000 - 4)).error(), Error::unmapped);
  EXPECT_EQ(copy_in<uint64_t>(child, Gpa(~uint64_t{0} - 3)).error(), Error::unmapped);
  EXPECT_EQ(pin_page(child, Gpa(0x2000), Access::read).error(), Error::unmapped);
  const Spa page = child.space.lookup(Gpa(0x1000))->spa;
  EXPECT_EQ(*pin_page(child, Gpa(0x1234), Access::write), page);
}

TEST_F(PartitionTest, CopiesReachNothingThatIsNoRam) {
  Partition& child = env_.make_child(1);
  ASSERT_TRUE(
      child.space.map(Gpa(0x100000), Spa::from_page(page_db.frames()), kPageSize, kAllAccess));
  EXPECT_EQ(copy_in<uint8_t>(child, Gpa(0x100000)).error(), Error::unmapped);
  const Spa ram = child.space.lookup(Gpa(0))->spa;
  page_db.drop_mapping(ram);
  page_db.exclude(ram, ram + kPageSize);
  EXPECT_EQ(copy_out<uint8_t>(child, Gpa(0), 1).error(), Error::unmapped);
}

}  // namespace
}  // namespace hv
