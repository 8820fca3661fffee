// SPDX-License-Identifier: MIT
// Registers, priorities and timer of the virtual local APIC.
#include "hypervisor/arch/x86/local_apic.h"

#include <algorithm>
#include <bit>

#include "hypervisor/arch/x86/vcpu.h"
#include "hypervisor/core/scheduler.h"

namespace hv::x86 {

namespace {

using namespace apic_register;

constexpr uint32_t kVersionValue = 0x00050014;  // integrated, six LVT entries
constexpr uint32_t kLvtReset = static_cast<uint32_t>(lvt::Mask::kMask);
constexpr uint32_t kSpuriousWritable = 0x1ff;
constexpr uint32_t kDivideWritable = 0x0b;
constexpr uint32_t kDfrFixed = 0x0fffffff;  // reads as ones

// ESR
constexpr uint32_t kSendIllegalVector = 1 << 5, kReceiveIllegalVector = 1 << 6,
                   kIllegalRegister = 1 << 7;
constexpr uint8_t kFirstVector = 16;

// Writable bits of the LVT entries, from the timer's on; delivery status and remote IRR read only.
constexpr uint32_t kLvtWritable[] = {0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};
constexpr uint32_t kLvtReadOnly = 0x5000;

struct Icr {
  using Vector = Field<7, 0>;
  using Mode = Field<10, 8>;
  using Logical = Field<11>;
  using Assert = Field<14>;
  using Level = Field<15>;
  using Shorthand = Field<19, 18>;
  static constexpr uint32_t kWritable = 0xccfff;
};

constexpr bool is_lvt(unsigned reg) {
  return reg >= kLvtTimer && reg <= kLvtError;
}

template <class Words>
int highest_bit(const Words& words) {
  for (int i = 3; i >= 0; --i)
    if (const uint64_t word = words[i]) return i * 64 + 63 - std::countl_zero(word);
  return -1;
}
constexpr uint64_t bit_of(uint8_t vector) {
  return uint64_t{1} << (vector % 64);
}
template <class Words>
bool test(const Words& words, uint8_t vector) {
  return (words[vector / 64] & bit_of(vector)) != 0;
}
template <class Words>
void assign(Words& words, uint8_t vector, bool value) {
  if (value)
    words[vector / 64] |= bit_of(vector);
  else
    words[vector / 64] &= ~bit_of(vector);
}
// The 32-bit register `index` of a 256-bit array.
template <class Words>
uint32_t dword(const Words& words, unsigned index) {
  return static_cast<uint32_t>(words[index / 2] >> (index % 2 * 32));
}
template <class Words>
void load_dwords(Words& words, const uint32_t (&in)[8]) {
  for (unsigned i = 0; i < 4; ++i) words[i] = uint64_t{in[2 * i + 1]} << 32 | in[2 * i];
}

// Ticks of one clock in another, without overflow for the rates and lengths that occur.
uint64_t convert(uint64_t ticks, uint64_t from_hz, uint64_t to_hz) {
  return ticks / from_hz * to_hz + ticks % from_hz * to_hz / from_hz;
}

unsigned divisor(uint32_t divide) {
  const unsigned code = (divide & 3) | (divide >> 1 & 4);
  return 1u << ((code + 1) & 7);
}

}  // namespace

LocalApic::LocalApic(Vp& vp, uint32_t id) : vp_(vp), id_(id) {
  power_on(Mode::xapic, false);
}

void LocalApic::power_on(Mode mode, bool bootstrap) {
  uint64_t base = apic_base::Bsp::set(kApicDefaultBase, bootstrap);
  base = apic_base::Enable::set(base, mode != Mode::disabled);
  base_ = apic_base::Extended::set(base, mode == Mode::x2apic);
  reset();
}

void LocalApic::reset() {
  tpr_ = 0;
  ldr_ = 0;
  dfr_ = ~uint32_t{0};
  spurious_ = 0xff;
  error_ = 0;
  esr_ = 0;
  icr_ = 0;
  for (unsigned i = 0; i < 4; ++i) irr_[i] = tmr_[i] = auto_eoi_[i] = isr_[i] = 0;
  for (auto& entry : lvt_) entry = kLvtReset;
  initial_count_ = 0;
  divide_ = 0;
  deadline_ = kNever;
  skip_offered = false;
}

LocalApic::Mode LocalApic::mode() const {
  const uint64_t value = base();
  if (!apic_base::Enable::test(value)) return Mode::disabled;
  return apic_base::Extended::test(value) ? Mode::x2apic : Mode::xapic;
}

Result<> LocalApic::write_base(uint64_t value) {
  const uint64_t flags =
      apic_base::Bsp::kMask | apic_base::Extended::kMask | apic_base::Enable::kMask;
  if ((value & ~flags) != kApicDefaultBase) return fail(Error::inject_gp);
  const bool enable = apic_base::Enable::test(value);
  const bool extended = apic_base::Extended::test(value);
  const Mode from = mode();
  if (extended && (!enable || from == Mode::disabled)) return fail(Error::inject_gp);
  if (from == Mode::x2apic && enable && !extended) return fail(Error::inject_gp);
  if (!enable && from != Mode::disabled) reset();
  base_ = value;
  return {};
}

// --- Reads ---

uint32_t LocalApic::logical_id() const {
  return is_x2apic() ? (id_ >> 4) << 16 | uint32_t{1} << (id_ & 15) : ldr_.load();
}

uint64_t LocalApic::peek(unsigned reg) const {
  if (reg >= kIsr && reg < kTmr) return dword(isr_, reg - kIsr);
  if (reg >= kTmr && reg < kIrr) return dword(tmr_, reg - kTmr);
  if (reg >= kIrr && reg < kEsr) return dword(irr_, reg - kIrr);
  if (is_lvt(reg)) return lvt_[reg - kLvtTimer];
  switch (reg) {
    case kId:
      return is_x2apic() ? id_ : id_ << 24;
    case kVersion:
      return kVersionValue;
    case kTpr:
      return tpr();
    case kPpr:
      return ppr();
    case kLdr:
      return logical_id();
    case kDfr:
      return dfr_;
    case kSpurious:
      return spurious_;
    case kEsr:
      return esr_;
    case kIcr:
      return is_x2apic() ? icr_ : static_cast<uint32_t>(icr_);
    case kIcrHigh:
      return icr_ >> 32;
    case kInitialCount:
      return initial_count_;
    case kCurrentCount:
      return current_count(read_tsc());
    case kDivide:
      return divide_;
    default:
      return 0;
  }
}

Result<uint64_t> LocalApic::read_msr(uint32_t msr) {
  if (msr == msr::kTscDeadline) return tsc_deadline();
  const unsigned reg = msr - msr::kX2apicFirst;
  const bool exists = reg == kId || reg == kVersion || reg == kTpr || reg == kPpr || reg == kLdr ||
                      reg == kSpurious || (reg >= kIsr && reg <= kEsr) || reg == kIcr ||
                      is_lvt(reg) || reg == kInitialCount || reg == kCurrentCount || reg == kDivide;
  if (!is_x2apic() || !exists) return fail(Error::inject_gp);
  return peek(reg);
}

uint32_t LocalApic::read_mmio(uint32_t offset) {
  const unsigned reg = offset >> 4;
  const bool exists = reg == kId || reg == kVersion || (reg >= kTpr && reg <= kEsr) ||
                      (reg >= kIcr && reg <= kCurrentCount) || reg == kDivide;
  if (exists && offset % 16 == 0) return static_cast<uint32_t>(peek(reg));
  note_error(kIllegalRegister);
  return 0;
}

// --- Writes ---

Result<ApicEffect> LocalApic::write_msr(uint32_t msr, uint64_t value) {
  if (msr == msr::kTscDeadline) return write_tsc_deadline(value);
  const unsigned reg = msr - msr::kX2apicFirst;
  if (!is_x2apic()) return fail(Error::inject_gp);
  uint64_t writable = 0;
  switch (reg) {
    case kTpr:
    case kSelfIpi:
      writable = 0xff;
      break;
    case kEoi:
    case kEsr:
      break;
    case kSpurious:
      writable = kSpuriousWritable;
      break;
    case kIcr:
      writable = ~uint64_t{0} << 32 | Icr::kWritable;
      break;
    case kInitialCount:
      writable = ~uint32_t{0};
      break;
    case kDivide:
      writable = kDivideWritable;
      break;
    default:
      if (!is_lvt(reg)) return fail(Error::inject_gp);
      writable = kLvtWritable[reg - kLvtTimer] | kLvtReadOnly;
  }
  if ((value & ~writable) != 0) return fail(Error::inject_gp);
  if (reg == kIcr) {
    icr_ = value;
    return send(static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32), true);
  }
  if (reg == kSelfIpi) {
    Ipi ipi{};
    ipi.shorthand = Ipi::Shorthand::self;
    ipi.vector = static_cast<uint8_t>(value);
    if (ipi.vector < kFirstVector) {
      note_error(kSendIllegalVector);
      return ApicEffect{};
    }
    return ApicEffect{.kind = ApicEffect::Kind::ipi, .ipi = ipi};
  }
  return write_register(reg, static_cast<uint32_t>(value));
}

ApicEffect LocalApic::write_mmio(uint32_t offset, uint32_t value) {
  const unsigned reg = offset >> 4;
  switch (offset % 16 == 0 ? reg : 0) {
    case kId:
    case kVersion:
    case kApr:
    case kPpr:
    case kRemoteRead:
    case kCurrentCount:
      return {};  // read only
    case kLdr:
      ldr_ = value & 0xff000000;
      return {};
    case kDfr:
      dfr_ = value | kDfrFixed;
      return {};
    case kIcr:
      return write_icr((icr_ & ~uint64_t{0xffffffff}) | (value & Icr::kWritable));
    case kIcrHigh:
      icr_ = uint64_t{value & 0xff000000} << 32 | static_cast<uint32_t>(icr_);
      return {};
    case kTpr:
    case kEoi:
    case kSpurious:
    case kEsr:
    case kInitialCount:
    case kDivide:
      return write_register(reg, value);
    default:
      if (offset % 16 == 0 && is_lvt(reg)) return write_register(reg, value);
      if (reg < kIsr || reg >= kEsr) note_error(kIllegalRegister);
      return {};
  }
}

ApicEffect LocalApic::write_icr(uint64_t value) {
  icr_ = value;
  return send(static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 56), false);
}

// Registers that mean the same in both views; reserved bits are dropped.
ApicEffect LocalApic::write_register(unsigned reg, uint32_t value) {
  switch (reg) {
    case kTpr:
      set_tpr(static_cast<uint8_t>(value));
      return {};
    case kEoi:
      return write_eoi();
    case kSpurious:
      write_spurious(value & kSpuriousWritable);
      return {};
    case kEsr:
      esr_ = error_.exchange(0);
      return {};
    case kInitialCount:
      if (timer_mode() == kTscDeadline) return {};
      initial_count_ = value;
      deadline_ = value != 0 ? read_tsc() + count_ticks(value) : kNever;
      return {.kind = ApicEffect::Kind::timer};
    case kDivide: {
      const uint64_t now = read_tsc();
      const uint32_t left = current_count(now);
      divide_ = value & kDivideWritable;
      if (deadline_ == kNever || timer_mode() == kTscDeadline) return {};
      deadline_ = now + count_ticks(left);
      return {.kind = ApicEffect::Kind::timer};
    }
    default:
      return write_lvt(reg, value);
  }
}

ApicEffect LocalApic::write_lvt(unsigned reg, uint32_t value) {
  value &= kLvtWritable[reg - kLvtTimer];
  if (!software_enabled()) value |= kLvtReset;
  const unsigned mode_before = timer_mode();
  lvt_of(reg) = value;
  // A change to or from the deadline mode disarms the timer [SDM3 11.5.4.1].
  const unsigned mode_now = timer_mode();
  if (mode_before == mode_now || (mode_before != kTscDeadline && mode_now != kTscDeadline))
    return {};
  deadline_ = kNever;
  return {.kind = ApicEffect::Kind::timer};
}

void LocalApic::write_spurious(uint32_t value) {
  spurious_ = value;
  if (software_enabled()) return;
  for (auto& entry : lvt_) entry |= kLvtReset;
}

ApicEffect LocalApic::write_eoi() {
  const int vector = in_service();
  if (vector < 0) return {};
  const auto ended = static_cast<uint8_t>(vector);
  assign(isr_, ended, false);
  return {.kind = ApicEffect::Kind::eoi, .level = test(tmr_, ended), .vector = ended};
}

ApicEffect LocalApic::send(uint32_t low, uint32_t destination, bool wide) {
  Ipi ipi{};
  ipi.mode = static_cast<DeliveryMode>(Icr::Mode::get(low));
  ipi.shorthand = static_cast<Ipi::Shorthand>(Icr::Shorthand::get(low));
  ipi.vector = static_cast<uint8_t>(Icr::Vector::get(low));
  ipi.logical = Icr::Logical::test(low);
  ipi.wide = wide;
  ipi.destination = destination;
  const bool fixed = ipi.mode == DeliveryMode::fixed || ipi.mode == DeliveryMode::lowest_priority;
  const bool others =
      ipi.shorthand == Ipi::Shorthand::none || ipi.shorthand == Ipi::Shorthand::others;
  if (fixed && ipi.vector < kFirstVector) {
    note_error(kSendIllegalVector);
    return {};
  }
  // Nothing but fixed interrupts may include the sender; INIT level de-assert has no effect.
  if (!others && ipi.mode != DeliveryMode::fixed) return {};
  if (ipi.mode == DeliveryMode::init && Icr::Level::test(low) && !Icr::Assert::test(low)) return {};
  if (ipi.mode == DeliveryMode::smi || ipi.mode == DeliveryMode::remote_read ||
      ipi.mode == DeliveryMode::extint)
    return {};
  return {.kind = ApicEffect::Kind::ipi, .ipi = ipi};
}

void LocalApic::note_error(uint32_t bit) {
  if (error_.fetch_or(bit) & bit) return;
  const uint32_t entry = lvt_of(kLvtError);
  const auto vector = static_cast<uint8_t>(lvt::Vector::get(entry));
  if (!lvt::Mask::test(entry) && vector >= kFirstVector) accept(vector, arch::Trigger::edge, false);
}

// --- Interrupts ---

int LocalApic::in_service() const {
  return highest_bit(isr_);
}

uint8_t LocalApic::ppr() const {
  const int vector = in_service();
  const uint8_t in_service_class = vector < 0 ? 0 : static_cast<uint8_t>(vector & 0xf0);
  return (tpr() & 0xf0) >= in_service_class ? tpr() : in_service_class;
}

bool LocalApic::accept(uint8_t vector, arch::Trigger trigger, bool auto_eoi) {
  if (mode() == Mode::disabled || !software_enabled()) return false;
  if (vector < kFirstVector) {
    note_error(kReceiveIllegalVector);
    return false;
  }
  // How it ends is known before it can be taken.
  assign(tmr_, vector, trigger == arch::Trigger::level);
  assign(auto_eoi_, vector, auto_eoi);
  assign(irr_, vector, true);
  return true;
}

void LocalApic::assert_lint(unsigned pin, uint8_t vector) {
  const uint32_t entry = lvt_of(kLvtLint0 + pin);
  const bool off = mode() == Mode::disabled;  // then the pins are INTR and NMI
  if (!off && lvt::Mask::test(entry)) return;
  const auto delivery = off ? (pin == 0 ? DeliveryMode::extint : DeliveryMode::nmi)
                            : static_cast<DeliveryMode>(lvt::Delivery::get(entry));
  switch (delivery) {
    case DeliveryMode::fixed:
      if (accept(static_cast<uint8_t>(entry), arch::Trigger::edge, false))
        post_request(vp_, VpRequest::interrupt);
      return;
    case DeliveryMode::nmi:
      return post_request(vp_, VpRequest::nmi);
    case DeliveryMode::extint:
      vp_.extint_vector = vector;
      return post_request(vp_, VpRequest::extint);
    default:
      return;
  }
}

int LocalApic::highest_pending() const {
  const int vector = highest_bit(irr_);
  return vector >= 0 && (vector & 0xf0) > (ppr() & 0xf0) ? vector : -1;
}

int LocalApic::highest_requested() const {
  return highest_bit(irr_);
}

void LocalApic::acknowledge(uint8_t vector) {
  assign(irr_, vector, false);
  if (!test(auto_eoi_, vector)) assign(isr_, vector, true);
}

void LocalApic::unacknowledge(uint8_t vector) {
  assign(isr_, vector, false);
  assign(irr_, vector, true);
}

bool LocalApic::can_skip_eoi() const {
  const int vector = in_service();
  if (vector < 0 || highest_bit(irr_) >= 0) return false;
  Bits rest = isr_;
  assign(rest, static_cast<uint8_t>(vector), false);
  return highest_bit(rest) < 0 && !test(tmr_, static_cast<uint8_t>(vector));
}

bool LocalApic::matches(const Ipi& ipi) const {
  const Mode how = mode();
  if (how == Mode::disabled) return false;
  const uint32_t to = ipi.destination;
  if (to == ~uint32_t{0} || (!ipi.wide && to == 0xff)) return true;
  if (!ipi.logical) return to == id_;
  const uint32_t self = logical_id();
  if (how == Mode::x2apic) return to >> 16 == self >> 16 && (to & self & 0xffff) != 0;
  if (to > 0xff) return false;
  const uint32_t own = self >> 24;
  const bool flat = dfr_ >> 28 == 0xf;
  return flat ? (own & to) != 0 : own >> 4 == to >> 4 && (own & to & 0xf) != 0;
}

// --- Timer ---

unsigned LocalApic::timer_mode() const {
  return static_cast<unsigned>(lvt::TimerMode::get(lvt_[0].load()));
}

// Length of a count in TSC ticks.
uint64_t LocalApic::count_ticks(uint64_t count) const {
  return convert(count * divisor(divide_), kApicHz, time_scale.tsc_hz);
}

uint32_t LocalApic::current_count(uint64_t now) const {
  if (deadline_ == kNever || deadline_ <= now || timer_mode() == kTscDeadline) return 0;
  // A tick that began has not been counted.
  const uint64_t ticks = convert(deadline_ - now - 1, time_scale.tsc_hz, kApicHz) + 1;
  const uint64_t count = (ticks + divisor(divide_) - 1) / divisor(divide_);
  return static_cast<uint32_t>(std::min<uint64_t>(count, initial_count_));
}

void LocalApic::expire(uint64_t now) {
  if (now < deadline_) return;
  const uint32_t entry = lvt_of(kLvtTimer);
  if (!lvt::Mask::test(entry))
    accept(static_cast<uint8_t>(lvt::Vector::get(entry)), arch::Trigger::edge, false);
  if (timer_mode() != kPeriodic || initial_count_ == 0) {
    deadline_ = kNever;
    return;
  }
  // Periods that were missed are gone, but the phase stays.
  const uint64_t period = std::max<uint64_t>(count_ticks(initial_count_), 1);
  deadline_ += (now - deadline_) / period * period + period;
}

uint64_t LocalApic::tsc_deadline() const {
  if (timer_mode() != kTscDeadline || deadline_ == kNever) return 0;
  return deadline_ + as_vcpu(vp_).tsc_offset;
}

ApicEffect LocalApic::write_tsc_deadline(uint64_t value) {
  if (timer_mode() != kTscDeadline) return {};
  // What lies before the host's TSC began is due, what lies beyond its end never comes.
  const auto offset = static_cast<int64_t>(as_vcpu(vp_).tsc_offset);
  const uint64_t distance = offset < 0 ? 0 - static_cast<uint64_t>(offset) : offset;
  uint64_t host = 0;
  if (offset >= 0)
    host = value > distance ? value - distance : 0;
  else if (__builtin_add_overflow(value, distance, &host))
    host = kNever;
  deadline_ = value == 0 ? kNever : host;
  return {.kind = ApicEffect::Kind::timer};
}

// --- State ---

void LocalApic::save(abi::HvLocalInterruptControllerState& out) const {
  const auto get = [this](unsigned reg) { return static_cast<uint32_t>(peek(reg)); };
  out = {};
  out.apic_id = get(kId);
  out.apic_version = get(kVersion);
  out.apic_ldr = get(kLdr);
  out.apic_dfr = get(kDfr);
  out.apic_spurious = get(kSpurious);
  for (unsigned i = 0; i < 8; ++i) {
    out.apic_isr[i] = get(kIsr + i);
    out.apic_tmr[i] = get(kTmr + i);
    out.apic_irr[i] = get(kIrr + i);
  }
  out.apic_esr = get(kEsr);
  out.apic_icr_low = get(kIcr);
  out.apic_icr_high = get(kIcrHigh);
  out.apic_lvt_timer = get(kLvtTimer);
  out.apic_lvt_thermal = get(kLvtThermal);
  out.apic_lvt_perfmon = get(kLvtPerf);
  out.apic_lvt_lint0 = get(kLvtLint0);
  out.apic_lvt_lint1 = get(kLvtLint1);
  out.apic_lvt_error = get(kLvtError);
  out.apic_lvt_cmci = kLvtReset;
  out.apic_error_status = error_;
  out.apic_initial_count = initial_count_;
  out.apic_counter_value = get(kCurrentCount);
  out.apic_divide_configuration = divide_;
}

Result<> LocalApic::restore(const abi::HvLocalInterruptControllerState& in) {
  // Vectors below 16 cannot be in any of the arrays.
  if (in.apic_id != peek(kId) || ((in.apic_isr[0] | in.apic_irr[0]) & 0xffff) != 0)
    return fail(Error::invalid_parameter);
  ldr_ = in.apic_ldr & 0xff000000;
  dfr_ = in.apic_dfr | kDfrFixed;
  spurious_ = in.apic_spurious & kSpuriousWritable;
  load_dwords(isr_, in.apic_isr);
  load_dwords(tmr_, in.apic_tmr);
  load_dwords(irr_, in.apic_irr);
  for (auto& word : auto_eoi_) word = 0;
  esr_ = in.apic_esr;
  error_ = in.apic_error_status;
  icr_ = uint64_t{in.apic_icr_high} << 32 | in.apic_icr_low;
  const uint32_t entries[] = {in.apic_lvt_timer, in.apic_lvt_thermal, in.apic_lvt_perfmon,
                              in.apic_lvt_lint0, in.apic_lvt_lint1,   in.apic_lvt_error};
  for (unsigned i = 0; i < 6; ++i)
    lvt_[i] = (entries[i] & kLvtWritable[i]) | (software_enabled() ? 0 : kLvtReset);
  divide_ = in.apic_divide_configuration & kDivideWritable;
  initial_count_ = in.apic_initial_count;
  if (timer_mode() == kTscDeadline) return {};  // MSR 0x6e0 is restored by itself
  const uint32_t left = std::min(in.apic_counter_value, initial_count_);
  deadline_ = left != 0 ? read_tsc() + count_ticks(left) : kNever;
  return {};
}

}  // namespace hv::x86
