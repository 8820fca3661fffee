// SPDX-License-Identifier: MIT
// Expirations are kept in reference time and turned into TSC for the scheduler, rounded up: a timer
// is never early by the guest's own clock.
#include "hypervisor/core/synthetic_timer.h"

#include <algorithm>

#include "hypervisor/core/arch.h"
#include "hypervisor/core/intercept.h"
#include "hypervisor/core/scheduler.h"

namespace hv {

namespace {

struct Config {
  using Enable = base::Field<abi::kHvStimerEnableBit>;
  using Periodic = base::Field<abi::kHvStimerPeriodicBit>;
  using AutoEnable = base::Field<abi::kHvStimerAutoEnableBit>;
  using Vector = base::Field<11, abi::kHvStimerApicVectorShift>;
  using Direct = base::Field<abi::kHvStimerDirectModeBit>;
  using Sint = base::Field<19, abi::kHvStimerSintxShift>;
  static constexpr uint64_t kDefined = 0xf1fff;
};

// A timer without a destination stays off; other combinations are what they say [TLFS 12.3.1].
Result<uint64_t> checked(uint64_t config) {
  config &= Config::kDefined;
  if (!Config::Direct::test(config))
    return Config::Sint::get(config) != 0 ? config : Config::Enable::set(config, 0);
  if (Config::Vector::get(config) < abi::kHvSynicFirstValidVector &&
      (Config::Enable::test(config) || Config::AutoEnable::test(config)))
    return fail(Error::inject_gp);
  return config;
}

}  // namespace

void SyntheticTimers::reset() {
  timers_ = {};
}

Result<uint64_t> SyntheticTimers::read(uint32_t msr) const {
  const uint32_t index = msr - abi::kHvX64MsrStimer0Config;
  if (index >= 2 * timers_.size()) return fail(Error::inject_gp);
  const Timer& timer = timers_[index / 2];
  return uint64_t{index % 2 == 0 ? timer.config : timer.count};
}

Result<> SyntheticTimers::write(Vp& vp, uint32_t msr, uint64_t value) {
  const uint32_t index = msr - abi::kHvX64MsrStimer0Config;
  if (index >= 2 * timers_.size()) return fail(Error::inject_gp);
  Timer& timer = timers_[index / 2];
  if (index % 2 == 0) {
    HV_TRY_ASSIGN(timer.config, checked(value));
  } else {
    timer.count = value;
    if (value == 0)
      timer.config = Config::Enable::set(timer.config, 0);
    else if (Config::AutoEnable::test(timer.config))
      timer.config = *checked(Config::Enable::set(timer.config, 1));
  }
  timer.undelivered = kNever;
  start(vp, timer);
  expire(vp);
  deadline_changed(vp);
  return {};
}

void SyntheticTimers::start(const Vp& vp, Timer& timer) {
  timer.expiration = kNever;
  if (!Config::Enable::test(timer.config) || timer.count == 0) return;
  timer.expiration = timer.count;
  if (!Config::Periodic::test(timer.config)) return;
  if (__builtin_add_overflow(vp.partition.reference_time(), timer.count, &timer.expiration))
    timer.expiration = kNever;
}

uint64_t SyntheticTimers::next_deadline(const Vp& vp) const {
  uint64_t earliest = kNever;
  for (const Timer& timer : timers_) earliest = std::min(earliest, timer.expiration);
  if (earliest == kNever) return kNever;
  // One tick more: to_100ns is rounded down.
  const uint64_t ticks = time_scale.ticks_from_100ns(earliest) + 1;
  uint64_t deadline = 0;
  return __builtin_add_overflow(vp.partition.tsc_base, ticks, &deadline) ? kNever : deadline;
}

void SyntheticTimers::expire(Vp& vp) {
  const uint64_t now = vp.partition.reference_time();
  for (unsigned i = 0; i < timers_.size(); ++i)
    if (timers_[i].expiration <= now && timers_[i].expiration != kNever) fire(vp, i, now);
}

void SyntheticTimers::fire(Vp& vp, unsigned index, uint64_t now) {
  Timer& timer = timers_[index];
  const uint64_t expiration = timer.expiration;
  if (Config::Periodic::test(timer.config)) {
    // Periods that were missed are gone, but the phase stays.
    const uint64_t periods = (now - expiration) / timer.count + 1;
    if (__builtin_mul_overflow(periods, timer.count, &timer.expiration) ||
        __builtin_add_overflow(timer.expiration, expiration, &timer.expiration))
      timer.expiration = kNever;
  } else {
    timer.expiration = kNever;
    timer.config = Config::Enable::set(timer.config, 0);
  }
  if (Config::Direct::test(timer.config)) {
    arch::raise_interrupt(vp, static_cast<uint8_t>(Config::Vector::get(timer.config)));
  } else if (timer.undelivered == kNever) {
    timer.undelivered = expiration;
    post(vp, index);
  }
}

void SyntheticTimers::post(Vp& vp, unsigned index) {
  Timer& timer = timers_[index];
  const abi::HvTimerMessagePayload payload{index, 0, timer.undelivered,
                                           vp.partition.reference_time()};
  const auto message = make_message(abi::HvMessageType::HvMessageTypeTimerExpired, payload);
  const auto sint = static_cast<unsigned>(Config::Sint::get(timer.config));
  if (vp.synic.post(vp, sint, message) == Synic::Post::posted) timer.undelivered = kNever;
}

void SyntheticTimers::retry(Vp& vp) {
  for (unsigned i = 0; i < timers_.size(); ++i)
    if (timers_[i].undelivered != kNever) post(vp, i);
}

void SyntheticTimers::save(abi::HvSyntheticTimersState& out) const {
  out = {};
  for (unsigned i = 0; i < timers_.size(); ++i) {
    const Timer& timer = timers_[i];
    abi::HvStimerState& state = out.timers[i];
    state.config = timer.config;
    state.count = timer.count;
    // Of a running periodic timer: when the next period ends.
    if (Config::Periodic::test(timer.config) && timer.expiration != kNever)
      state.adjustment = timer.expiration;
    if (timer.undelivered == kNever) continue;
    state.flags = 1u << abi::kHvStimerUndeliveredMessagePendingBit;
    state.undelivered_expiration_time = timer.undelivered;
  }
}

Result<> SyntheticTimers::restore(Vp& vp, const abi::HvSyntheticTimersState& in) {
  for (const abi::HvStimerState& state : in.timers) {
    const auto config = checked(state.config);
    if (!config || *config != state.config) return fail(Error::invalid_parameter);
  }
  for (unsigned i = 0; i < timers_.size(); ++i) {
    const abi::HvStimerState& state = in.timers[i];
    Timer& timer = timers_[i];
    timer.config = state.config;
    timer.count = state.count;
    const bool pending = state.flags & 1u << abi::kHvStimerUndeliveredMessagePendingBit;
    timer.undelivered = pending ? state.undelivered_expiration_time : kNever;
    start(vp, timer);
    if (timer.expiration != kNever && state.adjustment != 0) timer.expiration = state.adjustment;
  }
  retry(vp);
  deadline_changed(vp);
  return {};
}

}  // namespace hv
