// SPDX-License-Identifier: MIT
// The wheel against a model that keeps deadlines in a map: no timer early, none late for somebody
// who advances when next_expiry() says, and expiries in order. Examples show the corners.
#include "base/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace base {
namespace {

struct Named : WheelTimer {
  int name = 0;
};

int name_of(const WheelTimer& timer) {
  return static_cast<const Named&>(timer).name;
}

std::vector<int> advance(TimerWheel& wheel, uint64_t now) {
  std::vector<int> names;
  const size_t count = wheel.advance(now, [&](WheelTimer& timer) {
    EXPECT_FALSE(timer.armed());
    names.push_back(name_of(timer));
  });
  EXPECT_EQ(count, names.size());
  return names;
}

/// Named 0, 1, 2, ...
std::deque<Named> make_timers(int count) {
  std::deque<Named> timers(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) timers[static_cast<size_t>(i)].name = i;
  return timers;
}

using Names = std::vector<int>;

TEST(TimerWheelTest, EmptyWheelNeverExpires) {
  TimerWheel wheel(1000);
  EXPECT_TRUE(wheel.empty());
  EXPECT_EQ(wheel.next_expiry(), TimerWheel::kNever);
  EXPECT_EQ(advance(wheel, 5'000'000), Names{});
  EXPECT_EQ(wheel.next_expiry(), TimerWheel::kNever);
}

TEST(TimerWheelTest, ExpiresAtItsTickAndNotBefore) {
  // On both sides of every boundary between slots and between levels.
  std::vector<uint64_t> distances{1, 2};
  for (unsigned bits = 2; bits < 64; ++bits) {
    const uint64_t power = uint64_t{1} << bits;
    distances.insert(distances.end(), {power - 1, power, power + 1});
  }
  for (const uint64_t start : {uint64_t{0}, uint64_t{63}, uint64_t{4095}, uint64_t{0x123456789abc}})
    for (const uint64_t distance : distances) {
      if (distance > TimerWheel::kNever - start) continue;
      TimerWheel wheel(start);
      Named timer;
      wheel.arm(timer, start + distance);
      EXPECT_TRUE(timer.armed());
      EXPECT_FALSE(wheel.empty());
      EXPECT_EQ(wheel.next_expiry(), start + distance);
      EXPECT_EQ(advance(wheel, start + distance - 1), Names{});
      EXPECT_EQ(wheel.next_expiry(), start + distance);
      EXPECT_EQ(advance(wheel, start + distance), Names{0});
      EXPECT_TRUE(wheel.empty());
    }
}

TEST(TimerWheelTest, DeadlineThatPassedExpiresAtTheNextAdvance) {
  TimerWheel wheel(1000);
  auto timers = make_timers(2);
  wheel.arm(timers[0], 1000);
  wheel.arm(timers[1], 3);
  EXPECT_EQ(wheel.next_expiry(), 1000u);
  EXPECT_EQ(advance(wheel, 1000), (Names{0, 1}));
  EXPECT_EQ(wheel.next_expiry(), TimerWheel::kNever);
}

TEST(TimerWheelTest, LateAdvanceKeepsTheOrder) {
  TimerWheel wheel(0);
  auto timers = make_timers(6);
  const uint64_t deadlines[] = {70'000, 12, 70'001, 5'000, 12, 4'999};
  for (size_t i = 0; i < 6; ++i) wheel.arm(timers[i], deadlines[i]);
  EXPECT_EQ(advance(wheel, 1'000'000'000), (Names{1, 4, 5, 3, 0, 2}));
}

TEST(TimerWheelTest, CancelledTimerDoesNotExpire) {
  TimerWheel wheel(0);
  auto timers = make_timers(3);
  for (size_t i = 0; i < 3; ++i) wheel.arm(timers[i], 100 + i);
  EXPECT_TRUE(wheel.cancel(timers[1]));
  EXPECT_FALSE(timers[1].armed());
  EXPECT_FALSE(wheel.cancel(timers[1]));
  EXPECT_EQ(advance(wheel, 200), (Names{0, 2}));
  EXPECT_FALSE(wheel.cancel(timers[0]));
}

TEST(TimerWheelTest, CancelOfTheLastTimerForgetsItsExpiry) {
  TimerWheel wheel(0);
  Named timer;
  wheel.arm(timer, 77'777);
  wheel.cancel(timer);
  EXPECT_TRUE(wheel.empty());
  EXPECT_EQ(wheel.next_expiry(), TimerWheel::kNever);
}

TEST(TimerWheelTest, EarlierDeadlineMovesATimerForward) {
  TimerWheel wheel(0);
  Named timer;
  wheel.arm(timer, 1'000'000);
  wheel.arm(timer, 10);
  EXPECT_EQ(wheel.next_expiry(), 10u);
  EXPECT_EQ(advance(wheel, 10), Names{0});
  EXPECT_EQ(advance(wheel, 2'000'000), Names{});
}

TEST(TimerWheelTest, LaterDeadlinePostponesATimer) {
  TimerWheel wheel(0);
  Named timer;
  wheel.arm(timer, 10);
  wheel.arm(timer, 1'000'000);
  EXPECT_EQ(timer.expiry(), 1'000'000u);
  EXPECT_LE(wheel.next_expiry(), 1'000'000u);
  EXPECT_EQ(advance(wheel, 999'999), Names{});
  EXPECT_EQ(wheel.next_expiry(), 1'000'000u);
  EXPECT_EQ(advance(wheel, 1'000'000), Names{0});
}

TEST(TimerWheelTest, PostponedAgainAndAgainCostsFewWakeUps) {
  // A session that re-arms a timer of 100 000 ticks every 10: old slots must not add up.
  TimerWheel wheel(0);
  Named timer;
  uint64_t woken = 0;
  for (uint64_t now = 0; now < 10'000'000; now += 10) {
    while (wheel.next_expiry() <= now) {
      ++woken;
      EXPECT_EQ(advance(wheel, now), Names{});
    }
    wheel.arm(timer, now + 100'000);
  }
  EXPECT_LE(woken, 200u);  // about once per 100 000 ticks
}

TEST(TimerWheelTest, ToleranceDelaysWithinItsBoundsOnly) {
  TimerWheel wheel(1);
  std::mt19937_64 random(1);
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t deadline = random() >> (random() % 64);
    const uint64_t tolerance = random() >> (random() % 64);
    Named timer;
    wheel.arm(timer, deadline, tolerance);
    EXPECT_GE(timer.expiry(), deadline);
    EXPECT_LE(timer.expiry() - deadline, tolerance);
    wheel.cancel(timer);
  }
}

TEST(TimerWheelTest, ToleranceMakesTimersShareATick) {
  TimerWheel wheel(0);
  auto timers = make_timers(1000);
  std::mt19937_64 random(2);
  for (Named& timer : timers) wheel.arm(timer, 1'000'000 + random() % 10'000, 1000);
  std::set<uint64_t> ticks;
  size_t expired = 0;
  while (!wheel.empty()) {
    ticks.insert(wheel.next_expiry());
    expired += advance(wheel, wheel.next_expiry()).size();
  }
  EXPECT_EQ(expired, 1000u);
  EXPECT_LE(ticks.size(), 11'000u / 512 + 1);  // multiples of 512, at least
}

TEST(TimerWheelTest, ExtremeDeadlines) {
  TimerWheel wheel(0);
  auto timers = make_timers(3);
  wheel.arm(timers[0], 0, TimerWheel::kNever);
  wheel.arm(timers[1], TimerWheel::kNever);
  wheel.arm(timers[2], TimerWheel::kNever - 1, 100);  // the end of time cuts the tolerance
  EXPECT_EQ(advance(wheel, TimerWheel::kNever - 2), Names{0});
  EXPECT_EQ(advance(wheel, TimerWheel::kNever - 1), Names{2});
  EXPECT_EQ(advance(wheel, TimerWheel::kNever), Names{1});
}

TEST(TimerWheelTest, ClockThatStandsStillOrGoesBackIsHarmless) {
  TimerWheel wheel(5000);
  auto timers = make_timers(2);
  EXPECT_EQ(advance(wheel, 10), Names{});
  wheel.arm(timers[0], 5020);
  EXPECT_EQ(advance(wheel, 10), Names{});
  EXPECT_EQ(advance(wheel, 5000), Names{});
  wheel.arm(timers[1], 5010);
  EXPECT_EQ(wheel.next_expiry(), 5010u);
  EXPECT_EQ(advance(wheel, 5010), Names{1});
  EXPECT_EQ(advance(wheel, 5020), Names{0});
}

// ---- what a call from advance() may do
// -----------------------------------------------------------

TEST(TimerWheelTest, TimerThatReArmsItselfForThePastRunsOncePerAdvance) {
  TimerWheel wheel(0);
  Named timer;
  wheel.arm(timer, 5);
  int calls = 0;
  const auto again = [&](WheelTimer& self) {
    ++calls;
    wheel.arm(self, 5);
  };
  EXPECT_EQ(wheel.advance(10, again), 1u);
  EXPECT_EQ(wheel.next_expiry(), 10u);
  EXPECT_EQ(wheel.advance(10, again), 1u);
  EXPECT_EQ(calls, 2);
}

TEST(TimerWheelTest, CallMayCancelAndPostponeOthersThatAreDue) {
  TimerWheel wheel(0);
  auto timers = make_timers(4);
  for (Named& timer : timers) wheel.arm(timer, 50);
  Names ran;
  wheel.advance(60, [&](WheelTimer& timer) {
    ran.push_back(name_of(timer));
    if (name_of(timer) != 0) return;
    EXPECT_TRUE(wheel.cancel(timers[1]));
    wheel.arm(timers[2], 100);
  });
  EXPECT_EQ(ran, (Names{0, 3}));
  EXPECT_TRUE(timers[2].armed());
  EXPECT_EQ(wheel.next_expiry(), 100u);
  EXPECT_EQ(advance(wheel, 100), Names{2});
}

TEST(TimerWheelTest, CallMayCancelTheLastThatIsDue) {
  TimerWheel wheel(0);
  auto timers = make_timers(2);
  for (Named& timer : timers) wheel.arm(timer, 50);
  EXPECT_EQ(wheel.advance(50, [&](WheelTimer&) { wheel.cancel(timers[1]); }), 1u);
  EXPECT_TRUE(wheel.empty());
}

// ---- restart
// -------------------------------------------------------------------------------------

TEST(TimerWheelTest, RestartHandsOverEveryTimerOnce) {
  TimerWheel wheel(0);
  auto timers = make_timers(100);
  for (size_t i = 0; i < timers.size(); ++i) wheel.arm(timers[i], i * i * i * i);
  std::set<int> taken;
  wheel.restart(0, [&](WheelTimer& timer) {
    EXPECT_FALSE(timer.armed());
    EXPECT_TRUE(taken.insert(name_of(timer)).second);
  });
  EXPECT_EQ(taken.size(), timers.size());
  EXPECT_TRUE(wheel.empty());
}

TEST(TimerWheelTest, RestartFollowsAClockThatWasSetBack) {
  TimerWheel wheel(0);
  Named timer;
  EXPECT_EQ(advance(wheel, 1'000'000), Names{});
  wheel.arm(timer, 1'000'500);
  wheel.restart(1000, [&](WheelTimer& taken) { wheel.arm(taken, taken.expiry() - 999'000); });
  EXPECT_EQ(wheel.next_expiry(), 1500u);
  EXPECT_EQ(advance(wheel, 1499), Names{});
  EXPECT_EQ(advance(wheel, 1500), Names{0});
}

TEST(TimerWheelTest, RestartMayCancelWhatItHasNotHandedOver) {
  TimerWheel wheel(0);
  auto timers = make_timers(3);
  for (Named& timer : timers) wheel.arm(timer, 50);
  Names taken;
  wheel.restart(0, [&](WheelTimer& timer) {
    taken.push_back(name_of(timer));
    wheel.cancel(timers[1]);
    wheel.cancel(timers[2]);
  });
  EXPECT_EQ(taken, Names{0});
  EXPECT_TRUE(wheel.empty());
}

// ---- the model
// -----------------------------------------------------------------------------------

class Model {
 public:
  Model(uint64_t seed, uint64_t start)
      : random_(seed), wheel_(start), now_(start), reached_(start) {
    for (size_t i = 0; i < timers_.size(); ++i) timers_[i].name = static_cast<int>(i);
  }

  void step() {
    Named& timer = timers_[random_() % timers_.size()];
    switch (random_() % 8) {
      case 0:
      case 1:
      case 2:
        return arm(timer);
      case 3:
        return cancel(timer);
      case 4:
        return advance_to(now_ + distance());
      default:
        return advance_to_next();
    }
  }

  void check() const {
    EXPECT_EQ(wheel_.empty(), armed_.empty());
    for (const Named& timer : timers_) EXPECT_EQ(timer.armed(), armed_.contains(timer.name));
    EXPECT_LE(wheel_.next_expiry(), earliest());
  }

 private:
  uint64_t distance() { return random_() >> (random_() % 64); }

  uint64_t earliest() const {
    uint64_t least = TimerWheel::kNever;
    for (const auto& [name, expiry] : armed_) least = std::min(least, std::max(expiry, now_));
    return least;
  }

  void arm(Named& timer) {
    const uint64_t deadline = random_() % 16 == 0 ? now_ - std::min(now_, distance())
                                                  : now_ + std::min(distance(), ~now_);
    const uint64_t tolerance = random_() % 2 == 0 ? 0 : distance();
    wheel_.arm(timer, deadline, tolerance);
    ASSERT_GE(timer.expiry(), deadline);
    ASSERT_LE(timer.expiry() - deadline, tolerance);
    armed_[timer.name] = timer.expiry();
  }

  void cancel(Named& timer) { EXPECT_EQ(wheel_.cancel(timer), armed_.erase(timer.name) == 1); }

  /// Whoever sleeps until next_expiry() must be woken in time, and not endlessly in vain.
  void advance_to_next() {
    if (armed_.empty()) return;
    const uint64_t wanted = earliest();
    for (unsigned wakes = 0; now_ < wanted; ++wakes) {
      ASSERT_LT(wakes, 3 * timers_.size());
      ASSERT_LE(wheel_.next_expiry(), wanted);
      advance_to(wheel_.next_expiry());
    }
    advance_to(now_);
  }

  void advance_to(uint64_t moment) {
    if (moment < now_) return;  // beyond the end of time
    now_ = moment;
    std::map<int, uint64_t> due;
    for (const auto& [name, expiry] : armed_)
      if (expiry <= now_) due[name] = expiry;
    uint64_t last = 0;
    wheel_.advance(now_, [&](WheelTimer& timer) {
      const auto found = due.find(name_of(timer));
      ASSERT_NE(found, due.end()) << "early, or twice";
      // What was armed for the past runs first, in any order.
      const uint64_t expiry = std::max(found->second, reached_);
      EXPECT_GE(expiry, last) << "out of order";
      last = expiry;
      armed_.erase(found->first);
      due.erase(found);
    });
    EXPECT_TRUE(due.empty()) << "late";
    reached_ = now_;
  }

  std::mt19937_64 random_;
  TimerWheel wheel_;
  uint64_t now_;
  uint64_t reached_;  // by the last advance
  std::deque<Named> timers_{50};
  std::map<int, uint64_t> armed_;
};

TEST(TimerWheelTest, RandomOperationsAgreeWithTheModel) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    Model model(seed, random() >> (1 + random() % 63));
    for (int i = 0; i < 1000; ++i) {
      model.step();
      model.check();
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace base
