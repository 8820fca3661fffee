// SPDX-License-Identifier: MIT
#include "hypervisor/core/synthetic_timer.h"

#include <gtest/gtest.h>

#include "tests/fake/environment.h"

namespace hv {
namespace {

constexpr Gpa kSim = Gpa(0x3000);
constexpr uint64_t kEnable = 1, kPeriodic = 2, kAutoEnable = 8, kDirect = 1 << 12;
constexpr uint64_t sint(uint64_t number) {
  return number << 16;
}
constexpr uint64_t vector(uint64_t number) {
  return number << 4;
}

class SyntheticTimerTest : public testing::Test {
 protected:
  SyntheticTimerTest() {
    vp.apic.power_on(x86::LocalApic::Mode::x2apic, true);
    EXPECT_TRUE(vp.apic.write_msr(0x80f, 0x1ff));
    EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSimp, kSim.value() | 1));
    EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrScontrol, 1));
    EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSint0 + 2, 0xf3));
    environment.advance_100ns(1000);
  }
  uint64_t now() const { return child.reference_time(); }
  Result<> try_config(unsigned timer, uint64_t value) {
    return vp.timers.write(vp, abi::kHvX64MsrStimer0Config + 2 * timer, value);
  }
  void config(unsigned timer, uint64_t value) { ASSERT_TRUE(try_config(timer, value)); }
  void count(unsigned timer, uint64_t value) {
    ASSERT_TRUE(vp.timers.write(vp, abi::kHvX64MsrStimer0Count + 2 * timer, value));
  }
  uint64_t config(unsigned timer) {
    return *vp.timers.read(abi::kHvX64MsrStimer0Config + 2 * timer);
  }
  uint64_t count(unsigned timer) { return *vp.timers.read(abi::kHvX64MsrStimer0Count + 2 * timer); }
  abi::HvMessage& slot() { return environment.at<abi::HvMessagePage>(child, kSim).sint_message[2]; }
  // Takes the timer message in the slot; {index, expiration, delivery} or index ~0.
  abi::HvTimerMessagePayload consume() {
    abi::HvTimerMessagePayload payload{~0u, 0, 0, 0};
    if (slot().header.message_type == abi::HvMessageType::HvMessageTypeTimerExpired)
      memcpy(&payload, slot().payload, sizeof(payload));
    slot().header.message_type = abi::HvMessageType::HvMessageTypeNone;
    return payload;
  }
  bool fired() { return consume().timer_index != ~0u; }
  // Lets the clock reach the deadline, as the scheduler would.
  void sleep_until_deadline() {
    const uint64_t deadline = vp.timers.next_deadline(vp);
    ASSERT_NE(deadline, kNever);
    ASSERT_GE(deadline, environment.tsc());
    environment.set_tsc(deadline);
    vp.timers.expire(vp);
  }

  fake::Environment environment;
  Partition& child = environment.make_child();
  x86::Vcpu& vp = environment.make_running_vp(child, 0);
};

TEST_F(SyntheticTimerTest, OneShotPostsAMessageAndDisablesItself) {
  config(0, kEnable | kAutoEnable | sint(2));
  EXPECT_EQ(vp.timers.next_deadline(vp), kNever);  // COUNT is 0
  const uint64_t expiration = now() + 500;
  count(0, expiration);
  EXPECT_EQ(vp.deadline, vp.timers.next_deadline(vp));
  environment.advance_100ns(499);
  vp.timers.expire(vp);
  EXPECT_FALSE(fired());
  sleep_until_deadline();
  EXPECT_EQ(slot().header.payload_size, 24);
  EXPECT_EQ(slot().header.sender, 0u);
  const auto payload = consume();
  EXPECT_EQ(payload.timer_index, 0u);
  EXPECT_EQ(payload.expiration_time, expiration);
  EXPECT_GE(payload.delivery_time, expiration);
  EXPECT_LE(payload.delivery_time, expiration + 1);
  EXPECT_EQ(config(0), kAutoEnable | sint(2));
  EXPECT_EQ(count(0), expiration);
  EXPECT_EQ(vp.timers.next_deadline(vp), kNever);
  EXPECT_EQ(vp.apic.highest_pending(), 0xf3);
}

TEST_F(SyntheticTimerTest, AnExpirationInThePastFiresAtOnce) {
  config(1, kEnable | sint(2));
  count(1, now());
  EXPECT_EQ(consume().timer_index, 1u);
  config(1, kAutoEnable | sint(2));
  count(1, 1);
  EXPECT_EQ(consume().expiration_time, 1u);
}

TEST_F(SyntheticTimerTest, EnableRules) {
  config(0, kEnable);  // SINT 0 in message mode
  EXPECT_EQ(config(0), 0u);
  config(0, kAutoEnable);
  count(0, 1);
  EXPECT_EQ(config(0), kAutoEnable);
  EXPECT_FALSE(fired());
  config(0, sint(2));
  count(0, 1);  // without auto-enable
  EXPECT_FALSE(fired());
  config(0, kEnable | sint(2));
  EXPECT_TRUE(fired());
  config(0, kEnable | sint(2));
  count(0, 0);  // stops
  EXPECT_EQ(config(0), sint(2));
  config(0, kEnable | sint(2));
  EXPECT_EQ(config(0), kEnable | sint(2));
  EXPECT_EQ(vp.timers.next_deadline(vp), kNever);
  config(0, ~uint64_t{0} & ~kPeriodic);
  EXPECT_EQ(config(0), 0xf1ffdu);  // reserved bits read zero
}

TEST_F(SyntheticTimerTest, DirectModeRaisesItsVector) {
  config(3, kEnable | kDirect | vector(0xed));
  count(3, now() + 10);
  sleep_until_deadline();
  EXPECT_EQ(vp.apic.highest_pending(), 0xed);
  EXPECT_FALSE(fired());
  EXPECT_EQ(try_config(3, kEnable | kDirect | vector(15)).error(), Error::inject_gp);
  EXPECT_EQ(try_config(3, kAutoEnable | kDirect | vector(0)).error(), Error::inject_gp);
  EXPECT_TRUE(try_config(3, kDirect | vector(0)));
}

TEST_F(SyntheticTimerTest, PeriodicKeepsItsPhase) {
  config(0, kEnable | kPeriodic | sint(2));
  const uint64_t begin = now();
  count(0, 100);
  for (uint64_t i = 1; i <= 3; ++i) {
    sleep_until_deadline();
    EXPECT_EQ(consume().expiration_time, begin + i * 100);
  }
  environment.advance_100ns(350);  // three are missed
  vp.timers.expire(vp);
  EXPECT_EQ(consume().expiration_time, begin + 400);
  sleep_until_deadline();
  EXPECT_EQ(consume().expiration_time, begin + 700);
  EXPECT_EQ(config(0), kEnable | kPeriodic | sint(2));
}

TEST_F(SyntheticTimerTest, ABusySlotDelaysTheMessage) {
  config(0, kAutoEnable | sint(2));
  config(1, kAutoEnable | sint(2));
  count(0, 1);
  count(1, 2);
  EXPECT_TRUE(slot().header.message_flags & 1);
  EXPECT_EQ(consume().timer_index, 0u);
  environment.advance_100ns(70);
  retry_messages(vp);
  const auto payload = consume();
  EXPECT_EQ(payload.timer_index, 1u);
  EXPECT_EQ(payload.expiration_time, 2u);
  EXPECT_EQ(payload.delivery_time, now());
  retry_messages(vp);
  EXPECT_FALSE(fired());
}

TEST_F(SyntheticTimerTest, StoppingATimerForgetsItsMessage) {
  config(0, kAutoEnable | sint(2));
  config(1, kAutoEnable | sint(2));
  count(0, 1);
  count(1, 2);
  count(1, 0);
  EXPECT_EQ(consume().timer_index, 0u);
  retry_messages(vp);
  EXPECT_FALSE(fired());
}

TEST_F(SyntheticTimerTest, ExtremeCountsAreHarmless) {
  config(0, kAutoEnable | sint(2));
  count(0, ~uint64_t{0});
  EXPECT_EQ(vp.timers.next_deadline(vp), kNever);
  count(0, ~uint64_t{0} - 1);
  EXPECT_GT(vp.timers.next_deadline(vp), environment.tsc() + (uint64_t{1} << 60));
  config(1, kEnable | kPeriodic | sint(2));
  count(1, ~uint64_t{0} - 5);
  count(1, 1);
  environment.advance_100ns(1'000'000'000);
  vp.timers.expire(vp);
  EXPECT_TRUE(fired());
}

TEST_F(SyntheticTimerTest, OtherNumbersRaiseGp) {
  EXPECT_EQ(vp.timers.read(abi::kHvX64MsrStimer3Count + 1).error(), Error::inject_gp);
  EXPECT_EQ(vp.timers.write(vp, abi::kHvX64MsrStimer0Config - 1, 0).error(), Error::inject_gp);
}

TEST_F(SyntheticTimerTest, SavedStateRestores) {
  config(0, kAutoEnable | sint(2));
  count(0, 1);  // fills the slot
  config(1, kAutoEnable | sint(2));
  count(1, 2);  // waits for it
  config(2, kEnable | kPeriodic | sint(2));
  count(2, 100);
  environment.advance_100ns(30);
  config(3, kEnable | kDirect | vector(0xed));
  count(3, now() + 1000);
  abi::HvSyntheticTimersState state;
  vp.timers.save(state);
  const uint64_t deadline = vp.timers.next_deadline(vp);
  vp.timers.reset();
  EXPECT_EQ(vp.timers.next_deadline(vp), kNever);
  ASSERT_TRUE(vp.timers.restore(vp, state));
  EXPECT_EQ(vp.timers.next_deadline(vp), deadline);
  abi::HvSyntheticTimersState again;
  vp.timers.save(again);
  EXPECT_EQ(memcmp(&state, &again, sizeof(state)), 0);
  consume();
  retry_messages(vp);
  EXPECT_EQ(consume().timer_index, 1u);
  state.timers[2].config = kEnable;  // no SINT
  EXPECT_EQ(vp.timers.restore(vp, state).error(), Error::invalid_parameter);
}

}  // namespace
}  // namespace hv
