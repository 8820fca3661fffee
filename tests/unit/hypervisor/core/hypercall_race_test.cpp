// SPDX-License-Identifier: MIT
// Two root VPs on two LPs manage the same children at the same time. Each thread is an LP: inside
// the hypervisor during a call, outside between two. When both are done and the root restarts,
// every page is where it was.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>

#include "abi/tlfs/partition.h"
#include "hypervisor/core/hypercall.h"
#include "tests/fake/environment.h"

namespace hv {
namespace {

using enum abi::HvCall;

constexpr uint64_t kPages = 512;  // 0x200 to 0x3ff, contended by both
constexpr uint64_t kFirstPage = 0x200;

class HypercallRaceTest : public testing::Test {
 protected:
  HypercallRaceTest() {
    env_.root().privileges = ~uint64_t{0};
    for (unsigned i = 0; i < 2; ++i) env_.make_vp(env_.root(), i, i);
  }

  struct Account {
    uint64_t root_free, hypervisor_frames, mapped_frames, hidden_frames;
    bool operator==(const Account&) const = default;
  };
  Account account() {
    Account a{env_.root().pool.free_pages(), 0, 0, 0};
    for (uint64_t i = 0; i < page_db.frames(); ++i) {
      a.hypervisor_frames += page_db.owned_by_hypervisor(Spa::from_page(i));
      a.mapped_frames += page_db.mappings(Spa::from_page(i)) != 0;
      a.hidden_frames += !env_.root().space.lookup(Gpa::from_page(i)).has_value();
    }
    return a;
  }

  fake::Environment env_;
};

// One LP with its parameter pages.
class Processor {
 public:
  Processor(fake::Environment& env, unsigned index, uint64_t seed)
      : lp_(env.lp(index)),
        vp_(*env.root().vp(VpIndex{index})),
        random_(seed),
        input_(Gpa(0x10000 + 0x2000 * index)),
        output_(input_ + kPageSize) {}

  template <class In>
  abi::HvStatus call(abi::HvCall code, const In& in, const std::vector<uint64_t>& reps = {},
                     unsigned count = 0) {
    auto* const bytes = direct_map<uint8_t>(Spa(input_.value()));  // the root's map is one-to-one
    std::memcpy(bytes, &in, sizeof(in));
    if (!reps.empty()) std::memcpy(bytes + sizeof(in), reps.data(), reps.size() * sizeof(uint64_t));
    if (count == 0) count = static_cast<unsigned>(reps.size());
    HypercallRegisters registers{static_cast<uint64_t>(code) | uint64_t{count} << 32,
                                 input_.value(), output_.value()};
    for (;;) {
      lp_.enter_guest();  // into the hypervisor: the epoch is odd from here on
      const HypercallResult result = dispatch_hypercall(vp_, registers);
      lp_.leave_guest();
      if (!result.restart) return static_cast<abi::HvStatus>(result.value & 0xffff);
      registers.control = result.control;
    }
  }

  uint64_t below(uint64_t limit) { return random_() % limit; }
  std::vector<uint64_t> some_pages(size_t count) {
    std::vector<uint64_t> pages(count);
    for (uint64_t& page : pages) page = kFirstPage + below(kPages);
    return pages;
  }

  void step(std::array<std::atomic<uint64_t>, 3>& children) {
    std::atomic<uint64_t>& slot = children[below(children.size())];
    const uint64_t id = slot.load();
    if (id == 0 && below(2) == 0) return create(slot);
    switch (below(12)) {
      case 0:
        call(HvCallFinalizePartition, id);
        return;
      case 1:
        if (call(HvCallDeletePartition, id) == abi::HvStatus::kSuccess) {
          uint64_t expected = id;
          slot.compare_exchange_strong(expected, 0);
        }
        return;
      case 2:
      case 3:
        call(HvCallDepositMemory, id, some_pages(1 + below(20)));
        return;
      case 4:
        call(HvCallWithdrawMemory, abi::HvInputWithdrawMemory{id, {}}, {},
             static_cast<unsigned>(1 + below(20)));
        return;
      case 5:
      case 6:
        call(HvCallMapGpaPages, abi::HvInputMapGpaPages{id, below(64), 0xf, 0},
             some_pages(1 + below(20)));
        return;
      case 7:
        call(HvCallUnmapGpaPages, abi::HvInputUnmapGpaPages{id, below(64) & ~uint64_t{63}, 0, 0},
             {}, static_cast<unsigned>(1 + below(80)));
        return;
      case 8: {
        abi::HvInputCreateVp in{};
        in.partition_id = id;
        in.vp_index = static_cast<uint32_t>(below(2));
        call(HvCallCreateVp, in);
        return;
      }
      case 9:
        call(HvCallDeleteVp, abi::HvInputDeleteVp{id, static_cast<uint32_t>(below(2)), 0});
        return;
      case 10: {
        abi::HvInputMapStatsPage in{};
        in.type = below(2) ? abi::HvStatsObjectType::HvStatsObjectVp
                           : abi::HvStatsObjectType::HvStatsObjectPartition;
        in.identity.vp.partition_id = id;
        in.identity.vp.vp_index = static_cast<uint32_t>(below(2));
        call(HvCallMapStatsPage, in);
        return;
      }
      default:
        call(HvCallMapVpStatePage,
             abi::HvInputMapVpStatePage{id, static_cast<uint32_t>(below(2)),
                                        static_cast<abi::HvVpStatePageType>(below(2))});
    }
  }

 private:
  void create(std::atomic<uint64_t>& slot) {
    if (call(HvCallCreatePartition, abi::HvInputCreatePartition{}) != abi::HvStatus::kSuccess)
      return;
    const uint64_t id = *direct_map<uint64_t>(Spa(output_.value()));
    call(HvCallDepositMemory, id, some_pages(40));
    call(HvCallInitializePartition, id);
    uint64_t expected = 0;
    slot.compare_exchange_strong(expected, id);  // else it is the restart's to remove
  }

  Lp& lp_;
  Vp& vp_;
  std::mt19937_64 random_;
  Gpa input_, output_;
};

TEST_F(HypercallRaceTest, EveryPageReturns) {
  const Account before = account();
  std::array<std::atomic<uint64_t>, 3> children{};
  // Both are outside until their first call.
  for (unsigned i = 0; i < 2; ++i) env_.lp(i).leave_guest();
  std::atomic<bool> ready{false};
  const auto run = [&](unsigned index) {
    env_.run_on(index);
    env_.lp(0).idle = env_.lp(1).idle = false;
    ready.store(true);
    Processor processor(env_, index, 17 + index);
    for (int i = 0; i < 4000; ++i) processor.step(children);
    env_.lp(index).idle = true;
  };
  std::thread other([&] { run(1); });
  while (!ready.load()) {
  }
  run(0);
  other.join();
  env_.run_on(0);
  env_.lp(0).enter_guest();
  for (bool done = false; !done;) {
    const Result<> result = partition_reset_root();
    if (!result) {
      ASSERT_EQ(result.error(), Error::retry);
    }
    done = result.has_value();
  }
  EXPECT_EQ(account(), before);
  EXPECT_EQ(env_.console, "");
}

}  // namespace
}  // namespace hv
