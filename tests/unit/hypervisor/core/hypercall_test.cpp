// SPDX-License-Identifier: MIT
// What the validator checks before any handler, for every call alike.
#include "hypervisor/core/hypercall.h"

#include <gtest/gtest.h>

#include <numeric>

#include "abi/tlfs/partition.h"
#include "hypervisor/core/hypercall_table.h"
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
using fake::Request;
using fake::simple;

class HypercallTest : public testing::Test {
 protected:
  HypercallTest() {
    env_.root().privileges = fake::kRootPrivileges;
    root_ = &env_.make_vp(env_.root(), 0);
    child_ = &env_.make_child();
    vp_ = &env_.make_vp(*child_, 0);
  }
  HvStatus status(Vp& caller, uint64_t control, uint64_t input = fake::kInputPage.value(),
                  uint64_t output = fake::kOutputPage.value()) {
    const HypercallResult result = dispatch_hypercall(caller, {control, input, output});
    EXPECT_FALSE(result.restart);
    return static_cast<HvStatus>(result.value & 0xffff);
  }
  HvStatus status(uint64_t control, uint64_t input = fake::kInputPage.value(),
                  uint64_t output = fake::kOutputPage.value()) {
    return status(*root_, control, input, output);
  }
  static constexpr uint64_t code(abi::HvCall call) { return static_cast<uint64_t>(call); }
  static constexpr uint64_t reps(uint64_t count, uint64_t start = 0) {
    return count << 32 | start << 48;
  }
  uint64_t child_id() const { return child_->id.value(); }

  fake::Environment env_;
  Vp* root_;
  Partition* child_;
  Vp* vp_;
};

TEST_F(HypercallTest, UnknownCodesAreRefused) {
  for (unsigned number = 0; number < 0x10000; ++number)
    if (!find_hypercall(static_cast<uint16_t>(number))) {
      ASSERT_EQ(status(number), HvStatus::kInvalidHypercallCode) << number;
    }
  EXPECT_EQ(status(*vp_, 0x8001), HvStatus::kInvalidHypercallCode);
}

TEST_F(HypercallTest, EveryRowIsFoundByItsCode) {
  for (const HypercallRow& row : hypercall_table)
    EXPECT_EQ(find_hypercall(static_cast<uint16_t>(row.code)), &row) << row.name;
}

TEST_F(HypercallTest, ReservedBitsAreRefusedInEveryCall) {
  for (const HypercallRow& row : hypercall_table) {
    const uint64_t good = code(row.code) | (row.kind == HypercallKind::rep ? reps(1) : 0);
    for (const unsigned bit : {27, 30, 31, 44, 47, 60, 63})
      EXPECT_EQ(status(good | uint64_t{1} << bit), row.privileges & ~fake::kRootPrivileges
                                                       ? HvStatus::kAccessDenied
                                                       : HvStatus::kInvalidHypercallInput)
          << row.name << " bit " << bit;
  }
}

TEST_F(HypercallTest, PrivilegesAreCheckedInEveryCall) {
  env_.root().privileges = 0;
  for (const HypercallRow& row : hypercall_table) {
    const uint64_t control = code(row.code) | (row.kind == HypercallKind::rep ? reps(1) : 0);
    if (row.privileges != 0) {
      EXPECT_EQ(status(control), HvStatus::kAccessDenied) << row.name;
    }
  }
}

TEST_F(HypercallTest, NoChildMayCallWhatManagesPartitions) {
  child_->privileges = kChildPrivileges;
  for (const HypercallRow& row : hypercall_table) {
    if ((row.privileges & ~kChildPrivileges) == 0) continue;
    const uint64_t control = code(row.code) | (row.kind == HypercallKind::rep ? reps(1) : 0);
    EXPECT_EQ(status(*vp_, control), HvStatus::kAccessDenied) << row.name;
  }
}

TEST_F(HypercallTest, RepCountsMustFitTheKind) {
  for (const HypercallRow& row : hypercall_table) {
    if (row.privileges & ~fake::kRootPrivileges) continue;
    if (row.kind == HypercallKind::rep) {
      for (const uint64_t control : {reps(0), reps(0, 1), reps(1, 1), reps(3, 4)})
        EXPECT_EQ(status(code(row.code) | control), HvStatus::kInvalidHypercallInput) << row.name;
    } else {
      EXPECT_EQ(status(code(row.code) | reps(1)), HvStatus::kInvalidHypercallInput) << row.name;
      EXPECT_EQ(status(code(row.code) | reps(0, 1)), HvStatus::kInvalidHypercallInput) << row.name;
    }
  }
}

TEST_F(HypercallTest, VariableHeadersBelongToSomeCalls) {
  for (const HypercallRow& row : hypercall_table) {
    if (row.variable == VariableHeader::yes || row.privileges & ~fake::kRootPrivileges) continue;
    const uint64_t control = code(row.code) | (row.kind == HypercallKind::rep ? reps(1) : 0);
    EXPECT_EQ(status(control | uint64_t{1} << 17), HvStatus::kInvalidHypercallInput) << row.name;
  }
}

TEST_F(HypercallTest, FastIsForCallsThatFitTwoRegisters) {
  for (const HypercallRow& row : hypercall_table) {
    if (row.fast() || row.privileges & ~fake::kRootPrivileges) continue;
    const uint64_t control = code(row.code) | (row.kind == HypercallKind::rep ? reps(1) : 0);
    EXPECT_EQ(status(control | uint64_t{1} << 16), HvStatus::kInvalidHypercallInput) << row.name;
  }
}

TEST_F(HypercallTest, FastRepsMayNotSpillOver) {
  Request request = rep(HvCallDepositMemory, env_.root().id.value(),
                        std::vector<uint64_t>{env_.free_page().page()});
  request.fast = true;
  EXPECT_TRUE(call(*root_, request).ok());
  EXPECT_EQ(status(code(HvCallDepositMemory) | uint64_t{1} << 16 | reps(2), 1, 0x200),
            HvStatus::kInvalidHypercallInput);
}

TEST_F(HypercallTest, BlocksAreAlignedAndWithinAPage) {
  const uint64_t property = code(HvCallGetPartitionProperty);
  for (const uint64_t input : {0x10004, 0x10001, 0x10ff8}) {
    EXPECT_EQ(status(property, input), HvStatus::kInvalidAlignment) << input;
    EXPECT_EQ(status(code(HvCallGetPartitionId), input), HvStatus::kSuccess) << input;
  }
  EXPECT_EQ(status(code(HvCallGetPartitionId), 0, 0x11004), HvStatus::kInvalidAlignment);
  EXPECT_EQ(status(code(HvCallGetPartitionId), 0, 0x11ff8), HvStatus::kSuccess);
  // 511 repetitions fill a page with the header, 512 do not fit.
  EXPECT_EQ(status(code(HvCallDepositMemory) | reps(512)), HvStatus::kInvalidAlignment);
  // Output of all repetitions counts, whatever is done now.
  EXPECT_EQ(status(code(HvCallWithdrawMemory) | reps(513)), HvStatus::kInvalidAlignment);
  // A variable header too.
  EXPECT_EQ(status(code(HvCallMapDeviceInterrupt) | uint64_t{504} << 17),
            HvStatus::kInvalidAlignment);
}

TEST_F(HypercallTest, InputMustBeReadableAndOutputWritable) {
  const uint64_t hole = 0x1000000;  // beyond the child's memory
  child_->privileges = kChildPrivileges;
  EXPECT_EQ(status(*vp_, code(HvCallFlushVirtualAddressSpace), hole), HvStatus::kInvalidParameter);
  EXPECT_EQ(status(*vp_, code(HvCallGetPartitionId), 0, hole), HvStatus::kInvalidParameter);
  const Spa page = child_->space.lookup(fake::kOutputPage)->spa;
  ASSERT_TRUE(child_->space.map(fake::kOutputPage, page, kPageSize, Access::read));
  EXPECT_EQ(status(*vp_, code(HvCallGetPartitionId)), HvStatus::kInvalidParameter);
  ASSERT_TRUE(child_->space.map(fake::kOutputPage, page, kPageSize, kAllAccess));
  EXPECT_EQ(status(*vp_, code(HvCallGetPartitionId)), HvStatus::kSuccess);
}

TEST_F(HypercallTest, TheHypervisorsMemoryIsNoParameter) {
  const uint64_t reserve = (page_db.frames() - 1) * kPageSize;
  ASSERT_TRUE(page_db.owned_by_hypervisor(Spa(reserve)));
  EXPECT_EQ(status(code(HvCallGetPartitionId), 0, reserve), HvStatus::kInvalidParameter);
  EXPECT_EQ(status(code(HvCallGetPartitionProperty), reserve), HvStatus::kInvalidParameter);
}

TEST_F(HypercallTest, OutputAddressOfCallsWithoutOutputIsIgnored) {
  const uint64_t fast = uint64_t{1} << 16;
  EXPECT_EQ(status(code(HvCallNotifyLongSpinWait) | fast, 5, 0x12345), HvStatus::kSuccess);
  EXPECT_EQ(status(code(HvCallNotifyLongSpinWait), fake::kInputPage.value(), ~uint64_t{0}),
            HvStatus::kSuccess);
}

TEST_F(HypercallTest, TargetsAreResolvedByRelation) {
  const auto property = [&](uint64_t id) {
    const abi::HvInputGetPartitionProperty in{
        id, abi::HvPartitionPropertyCode::HvPartitionPropertyPrivilegeFlags, 0};
    return call(*root_, simple(HvCallGetPartitionProperty, in, 8));
  };
  EXPECT_EQ(property(abi::kHvPartitionIdSelf).as<uint64_t>(), fake::kRootPrivileges);
  EXPECT_EQ(property(1).as<uint64_t>(), fake::kRootPrivileges);
  EXPECT_EQ(property(child_id()).as<uint64_t>(), child_->privileges.load());
  EXPECT_EQ(property(0).status, HvStatus::kInvalidPartitionId);
  EXPECT_EQ(property(child_id() + kMaxPartitions).status, HvStatus::kInvalidPartitionId);
  // Finalize is not for oneself.
  EXPECT_EQ(call(*root_, simple(HvCallFinalizePartition, uint64_t{1})).status,
            HvStatus::kAccessDenied);
  // A child is no parent of its siblings.
  Partition& sibling = env_.make_child();
  child_->privileges = fake::kRootPrivileges;
  EXPECT_EQ(call(*vp_, simple(HvCallFinalizePartition, sibling.id.value())).status,
            HvStatus::kAccessDenied);
  EXPECT_EQ(call(*vp_, simple(HvCallFinalizePartition, uint64_t{1})).status,
            HvStatus::kAccessDenied);
}

TEST_F(HypercallTest, RepsRunInBoundedPiecesAndCountFromZero) {
  std::vector<uint64_t> pages(300);
  for (uint64_t& page : pages) page = env_.free_page().page();
  const uint64_t before = child_->pool.total_pages();
  const Reply reply = call(*root_, rep(HvCallDepositMemory, child_id(), pages));
  EXPECT_TRUE(reply.ok());
  EXPECT_EQ(reply.reps, 300u);
  EXPECT_EQ(reply.entries, (300 + kRepsPerEntry - 1) / kRepsPerEntry);
  EXPECT_EQ(child_->pool.total_pages(), before + 300);
}

TEST_F(HypercallTest, RestartKeepsTheControlWordButForTheStart) {
  std::vector<uint64_t> pages(100);
  for (uint64_t& page : pages) page = env_.free_page().page();
  const Request request = rep(HvCallDepositMemory, child_id(), pages);
  call(*root_, request);  // lays out the block; these pages are gone now
  const HypercallResult result =
      dispatch_hypercall(*root_, {code(HvCallWithdrawMemory) | reps(100, 10),
                                  fake::kInputPage.value(), fake::kOutputPage.value()});
  EXPECT_TRUE(result.restart);
  EXPECT_EQ(result.control, code(HvCallWithdrawMemory) | reps(100, 10 + kRepsPerEntry));
}

TEST_F(HypercallTest, StartIndexSkipsRepetitions) {
  std::vector<uint64_t> pages{1ull << 40, env_.free_page().page()};
  Request request = rep(HvCallDepositMemory, child_id(), pages);
  EXPECT_EQ(call(*root_, request).status, HvStatus::kInvalidParameter);
  request.rep_start = 1;
  const Reply reply = call(*root_, request);
  EXPECT_TRUE(reply.ok());
  EXPECT_EQ(reply.reps, 2u);
}

TEST_F(HypercallTest, FailureTellsHowFarItCame) {
  std::vector<uint64_t> pages(70);
  for (uint64_t& page : pages) page = env_.free_page().page();
  pages[66] = 1ull << 40;
  const Reply reply = call(*root_, rep(HvCallDepositMemory, child_id(), pages));
  EXPECT_EQ(reply.status, HvStatus::kInvalidParameter);
  EXPECT_EQ(reply.reps, 66u);
}

TEST_F(HypercallTest, OutputOfFinishedRepetitionsIsWrittenEvenIfOneFails) {
  struct {
    uint64_t partition, proximity;
  } in{child_id(), 0};
  std::memset(&env_.at<uint8_t>(env_.root(), fake::kOutputPage), 0xff, kPageSize);
  const uint64_t free = child_->pool.free_pages();
  const Reply reply =
      call(*root_, counted(HvCallWithdrawMemory, in, static_cast<unsigned>(free) + 5, 4096));
  EXPECT_EQ(reply.status, HvStatus::kNoResources);
  EXPECT_EQ(reply.reps, free);
  for (unsigned i = 0; i < free; ++i) EXPECT_LT(reply.as<uint64_t>(i), page_db.frames());
  EXPECT_EQ(reply.as<uint64_t>(free), ~uint64_t{0}) << "wrote more than it did";
}

TEST_F(HypercallTest, NothingOfTheBufferLeaks) {
  std::memset(hypercall_buffer(), 0xa5, 2 * kPageSize);
  abi::HvInputVpState in{};
  in.partition_id = child_id();
  in.state_data.type = abi::HvVpStateType::HvGetSetVpStateSyntheticTimers;
  const Reply reply = call(*root_, simple(HvCallGetVpState, in, 0xc8));
  ASSERT_TRUE(reply.ok());
  for (size_t i = 0xa0; i < 0xc8; ++i) EXPECT_EQ(reply.output[i], 0) << i;
}

TEST_F(HypercallTest, EveryErrorHasAStatus) {
  EXPECT_EQ(to_status(Error::insufficient_memory), HvStatus::kInsufficientMemory);
  EXPECT_EQ(to_status(Error::insufficient_buffers), HvStatus::kInsufficientBuffers);
  for (const Error inner : {Error::retry, Error::unmapped, Error::inject_gp, Error::inject_ud})
    EXPECT_EQ(to_status(inner), HvStatus::kInvalidParameter);
}

TEST_F(HypercallTest, CallsAreCounted) {
  const uint64_t before = root_->counters.hypercalls;
  status(code(HvCallGetPartitionId), 0);
  EXPECT_EQ(root_->counters.hypercalls, before + 1);
}

}  // namespace
}  // namespace hv
