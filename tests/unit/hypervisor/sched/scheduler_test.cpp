// SPDX-License-Identifier: MIT
#include "hypervisor/sched/run_queue.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "tests/fake/environment.h"

namespace hv {
namespace {

constexpr uint64_t kMs = 1'000'000;  // in ticks of the environment's clock
constexpr uint64_t kUs = 1'000;

class SchedulerTest : public testing::Test {
 protected:
  Vp& busy(unsigned index, unsigned home = 0) {
    Vp& vp = environment.make_vp(child, index, home);
    vp.remove(VpSuspend::wait_for_startup);
    resume(vp, VpSuspend::explicit_suspend);
    return vp;
  }
  // What LP `index` does for `ticks`, in steps of 50 us: whoever is picked runs until its slice is
  // over and others wait, or somebody asked for another choice. `step` is called in between.
  void run(unsigned index, uint64_t ticks, const std::function<void()>& step = [] {}) {
    environment.run_on(index);
    Lp& lp = environment.lp(index);
    const uint64_t end = environment.tsc() + ticks;
    while (environment.tsc() < end) {
      Vp* const vp = sched::pick(lp);
      do {
        step();
        environment.advance(50 * kUs);
        if (vp) had[vp] += 50 * kUs;
      } while (environment.tsc() < end && !lp.reschedule.load() && vp && vp->suspend.load() == 0 &&
               !(environment.tsc() >= vp->slice_end && sched::others_wait(lp)));
      if (vp) sched::put_back(lp, *vp);
    }
  }
  static void halt(Vp& vp) { vp.add(VpSuspend::halted); }
  static void wake(Vp& vp) {
    vp.remove(VpSuspend::halted);
    post_request(vp, VpRequest::evaluate);
    vp.take(VpRequest::evaluate);
  }

  fake::Environment environment;
  Partition& child = environment.make_child();
  std::map<const Vp*, uint64_t> had;
};

TEST_F(SchedulerTest, BusyVpsShareAnLpEvenly) {
  Vp* const vps[] = {&busy(0), &busy(1), &busy(2)};
  run(0, 300 * kMs);
  for (const Vp* vp : vps) EXPECT_NEAR(had[vp], 100 * kMs, 5 * kMs);
}

TEST_F(SchedulerTest, OneThatWaitsAloneKeepsItsLp) {
  Vp& only = busy(0);
  run(0, 50 * kMs);
  EXPECT_EQ(had[&only], 50 * kMs);
}

TEST_F(SchedulerTest, TheRootCountsMoreThanAChild) {
  Vp& root = environment.make_vp(environment.root(), 0);
  resume(root, VpSuspend::explicit_suspend);
  Vp& guest = busy(0);
  run(0, 100 * kMs);
  EXPECT_NEAR(had[&root], 80 * kMs, 5 * kMs);
  EXPECT_NEAR(had[&guest], 20 * kMs, 5 * kMs);
}

TEST_F(SchedulerTest, AWakerThatSleptGoesFirst) {
  Vp& worker = busy(0);
  Vp& sleeper = busy(1);
  halt(sleeper);
  run(0, 20 * kMs);
  EXPECT_EQ(had[&sleeper], 0u);
  // Asks for a turn while the other one runs; gets it at once, not at the end of a slice.
  bool asked = false;
  uint64_t waited = 0;
  run(0, 5 * kMs, [&] {
    if (!asked && had[&worker] >= 21 * kMs) {
      wake(sleeper);
      asked = true;
      waited = environment.tsc();
    }
    if (asked && had[&sleeper] == 0 && environment.lp(0).current.load() == &sleeper)
      waited = environment.tsc() - waited;
  });
  EXPECT_GT(had[&sleeper], 0u);
  EXPECT_LE(waited, 100 * kUs);
}

// Two VPs that wake each other and halt, for ever: a third one and the root still get their share.
TEST_F(SchedulerTest, VpsThatWakeEachOtherStarveNobody) {
  Vp& ping = busy(0);
  Vp& pong = busy(1);
  Vp& worker = busy(2);
  Vp& root = environment.make_vp(environment.root(), 0);
  resume(root, VpSuspend::explicit_suspend);
  halt(pong);
  run(0, 200 * kMs, [&] {
    const Vp* const current = environment.lp(0).current.load();
    if (current != &ping && current != &pong) return;
    Vp& self = current == &ping ? ping : pong;
    Vp& other = current == &ping ? pong : ping;
    wake(other);
    halt(self);
  });
  EXPECT_GE(had[&worker], 25 * kMs);
  EXPECT_GE(had[&root], 100 * kMs);
}

TEST_F(SchedulerTest, ALongSleepIsNoCreditForALongRun) {
  Vp& worker = busy(0);
  Vp& sleeper = busy(1);
  halt(sleeper);
  run(0, 500 * kMs);
  wake(sleeper);
  had.clear();
  run(0, 40 * kMs);
  EXPECT_NEAR(had[&worker], 20 * kMs, 4 * kMs);
}

TEST_F(SchedulerTest, ALongRunIsNoDebtForLong) {
  Vp& worker = busy(0);
  run(0, 500 * kMs);
  Vp& newcomer = busy(1);
  had.clear();
  run(0, 40 * kMs);
  EXPECT_NEAR(had[&worker], 20 * kMs, 4 * kMs);
  EXPECT_NEAR(had[&newcomer], 20 * kMs, 4 * kMs);
}

TEST_F(SchedulerTest, AnIdleLpTakesWorkThatIsNotPinned) {
  Vp& first = busy(0);
  Vp& second = busy(1);
  Vp& root = environment.make_vp(environment.root(), 0);
  resume(root, VpSuspend::explicit_suspend);
  environment.run_on(1);
  Vp* const stolen = sched::pick(environment.lp(1));
  ASSERT_TRUE(stolen == &first || stolen == &second);
  EXPECT_EQ(stolen->home.load(), &environment.lp(1));
  sched::put_back(environment.lp(1), *stolen);
  first.add(VpSuspend::explicit_suspend);
  second.add(VpSuspend::explicit_suspend);
  Vp* const none = sched::pick(environment.lp(1));
  EXPECT_EQ(none, nullptr) << "the root's VP stays on its LP";
}

// The LP armed no timer for the end of a slice, since nobody waited.
TEST_F(SchedulerTest, AnLpIsToldOfTheFirstThatWaits) {
  Vp& spinner = busy(0, 1);
  environment.run_on(1);
  ASSERT_EQ(sched::pick(environment.lp(1)), &spinner);
  environment.lp(1).idle = false;
  environment.run_on(0);
  environment.lp(1).idle = false;
  const unsigned before = environment.kicks(1);
  Vp& waker = busy(1, 1);  // no more ahead than the other was
  EXPECT_FALSE(environment.lp(1).reschedule.load());
  EXPECT_EQ(environment.kicks(1), before + 1);
  EXPECT_EQ(sched::next_event(environment.lp(1), &spinner), spinner.slice_end);
  EXPECT_EQ(waker.run_state, Vp::RunState::ready);
}

TEST_F(SchedulerTest, AnIdleLpIsToldOfWorkThatItCouldTake) {
  busy(0);
  environment.run_on(0);
  ASSERT_NE(sched::pick(environment.lp(0)), nullptr);
  environment.lp(1).idle = true;
  const unsigned before = environment.kicks(1);
  busy(1);
  EXPECT_EQ(environment.kicks(1), before + 1);
  EXPECT_TRUE(environment.lp(1).reschedule.load());
  // Of a VP that cannot move it is not.
  resume(environment.make_vp(environment.root(), 0), VpSuspend::explicit_suspend);
  EXPECT_EQ(environment.kicks(1), before + 1);
}

TEST_F(SchedulerTest, RunTimeIsCounted) {
  Vp& vp = busy(0);
  run(0, 30 * kMs);
  EXPECT_EQ(vp.counters.runtime_tsc, 30 * kMs);
}

}  // namespace
}  // namespace hv
