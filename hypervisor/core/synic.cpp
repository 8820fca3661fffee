// SPDX-License-Identifier: MIT
// SynIC registers, message slots, event flags and rings. The order of atomic steps on a shared page
// is chosen so that either the guest sees that something waits, or we see that there is room.
#include "hypervisor/core/synic.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "hypervisor/core/arch.h"
#include "hypervisor/core/guest_memory.h"
#include "hypervisor/core/intercept.h"
#include "hypervisor/core/scheduler.h"

namespace hv {

namespace {

using Enable = base::Field<abi::kHvMsrPageEnableBit>;
using PageNumber = base::Field<63, abi::kHvMsrPageNumberShift>;
using SintVector = base::Field<7, 0>;
using SintMasked = base::Field<abi::kHvSintMaskedBit>;
using SintAutoEoi = base::Field<abi::kHvSintAutoEoiBit>;
using SintPolling = base::Field<abi::kHvSintPollingBit>;
using SintAsIntercept = base::Field<abi::kHvSintAsInterceptBit>;

constexpr uint8_t kPending = 1u << abi::kHvMessagePendingBit;

bool is_free(abi::HvMessage& slot) {
  return std::atomic_ref(slot.header.message_type).load() == abi::HvMessageType::HvMessageTypeNone;
}

// Asks the guest for an EOM. False if the slot was freed before the guest could see that.
bool ask_for_eom(abi::HvMessage& slot) {
  std::atomic_ref(slot.header.message_flags).fetch_or(kPending);
  return !is_free(slot);
}

void fill(abi::HvMessage& slot, const abi::HvMessage& message) {
  const size_t size = std::min<size_t>(message.header.payload_size, sizeof(message.payload));
  std::memcpy(slot.payload, message.payload, size);
  slot.header.payload_size = static_cast<uint8_t>(size);
  std::atomic_ref(slot.header.message_flags).store(0, std::memory_order_relaxed);
  slot.header.reserved = 0;
  slot.header.sender = message.header.sender;
  std::atomic_ref(slot.header.message_type)
      .store(message.header.message_type, std::memory_order_release);
}

}  // namespace

void Synic::reset() {
  control_ = 0;
  for (auto* page_register : {&siefp_, &simp_, &sirbp_})
    *page_register = fixed_pages_ ? Enable::set(*page_register, 0) : 0;
  for (auto& entry : sint_) entry = abi::kHvSintResetValue;
  notify_ = 0;
  intercept_pending_ = 0;
  base::Guard guard(lock_);
  ring_head_ = {};
}

void Synic::set_fixed_pages(uint64_t simp_page, uint64_t siefp_page, uint64_t sirbp_page) {
  fixed_pages_ = true;
  simp_ = PageNumber::set(0, simp_page);
  siefp_ = PageNumber::set(0, siefp_page);
  sirbp_ = PageNumber::set(0, sirbp_page);
}

template <class T>
T* Synic::page(const Vp& vp, const std::atomic<uint64_t>& reg) const {
  const uint64_t value = reg.load(std::memory_order_acquire);
  if (!Enable::test(value)) return nullptr;
  const auto spa = pin_page(vp.partition, Gpa(value).page_base(), Access::write);
  return spa ? direct_map<T>(*spa) : nullptr;
}

// --- Registers ---

Result<uint64_t> Synic::read(uint32_t msr) const {
  switch (msr) {
    case abi::kHvX64MsrScontrol:
      return control_.load();
    case abi::kHvX64MsrSversion:
      return uint64_t{abi::kHvSynicVersion1};
    case abi::kHvX64MsrSiefp:
      return siefp_.load();
    case abi::kHvX64MsrSimp:
      return simp_.load();
    case abi::kHvX64MsrEom:
      return uint64_t{0};
    case abi::kHvX64MsrSirbp:
      if (!fixed_pages_) return fail(Error::inject_gp);
      return sirbp_.load();
    default:
      if (msr < abi::kHvX64MsrSint0 || msr > abi::kHvX64MsrSint15) return fail(Error::inject_gp);
      return sint(msr - abi::kHvX64MsrSint0);
  }
}

Result<> Synic::write(Vp& vp, uint32_t msr, uint64_t value) {
  switch (msr) {
    case abi::kHvX64MsrScontrol:
      control_ = value;
      break;
    case abi::kHvX64MsrSiefp:
      write_page(vp, siefp_, value);
      break;
    case abi::kHvX64MsrSimp:
      write_page(vp, simp_, value);
      break;
    case abi::kHvX64MsrEom:
      break;
    case abi::kHvX64MsrSirbp:
      if (!fixed_pages_) return fail(Error::inject_gp);
      sirbp_ = PageNumber::set(value, PageNumber::get(sirbp_));
      for (unsigned i = 0; i < abi::kHvSynicSintCount; ++i) vp.partition.ports.refill_ring(vp, i);
      break;
    default:
      if (msr < abi::kHvX64MsrSint0 || msr > abi::kHvX64MsrSint15) return fail(Error::inject_gp);
      HV_TRY(write_sint(vp, msr - abi::kHvX64MsrSint0, value));
  }
  retry_messages(vp);
  return {};
}

void Synic::write_page(Vp& vp, std::atomic<uint64_t>& reg, uint64_t value) {
  const uint64_t before = reg;
  if (fixed_pages_) value = PageNumber::set(value, PageNumber::get(before));
  base::Guard guard(lock_);
  reg = value;
  // A page that comes up is empty: it is no message that was sent.
  const bool comes_up = Enable::test(value) && (!Enable::test(before) ||
                                                PageNumber::get(value) != PageNumber::get(before));
  if (!comes_up) return;
  if (auto* const memory = page<uint8_t>(vp, reg)) std::memset(memory, 0, kPageSize);
}

Result<> Synic::write_sint(Vp& vp, unsigned index, uint64_t value) {
  if (!SintMasked::test(value) && SintVector::get(value) < abi::kHvSynicFirstValidVector)
    return fail(Error::inject_gp);
  const uint64_t before = sint_[index].exchange(value);
  if (!SintMasked::test(before) || SintMasked::test(value)) return {};
  // What came while it was masked is announced now.
  auto* const slots = page<abi::HvMessagePage>(vp, simp_);
  if ((slots && !is_free(slots->sint_message[index])) || SintAsIntercept::test(value))
    raise(vp, index);
  return {};
}

bool Synic::accepts_messages() const {
  return enabled() && Enable::test(simp_);
}

bool Synic::accepts_messages(unsigned index) const {
  return accepts_messages() && !SintMasked::test(sint(index));
}

bool Synic::accepts_events(unsigned index) const {
  return enabled() && Enable::test(siefp_) && !SintMasked::test(sint(index));
}

bool Synic::has_ring() const {
  return enabled() && Enable::test(sirbp_);
}

// --- Messages ---

Synic::Post Synic::post(Vp& vp, unsigned sint, const abi::HvMessage& message) {
  base::Guard guard(lock_);
  return post_locked(vp, sint, message);
}

Synic::Post Synic::post_locked(Vp& vp, unsigned index, const abi::HvMessage& message) {
  auto* const slots = accepts_messages() ? page<abi::HvMessagePage>(vp, simp_) : nullptr;
  if (!slots) return Post::disabled;
  abi::HvMessage& slot = slots->sint_message[index];
  if (!is_free(slot) && ask_for_eom(slot)) return Post::busy;
  fill(slot, message);
  interrupt(vp, sint(index));
  return Post::posted;
}

void Synic::interrupt(Vp& vp, uint64_t value) {
  if (SintMasked::test(value) || SintPolling::test(value)) return;
  arch::raise_interrupt(vp, static_cast<uint8_t>(SintVector::get(value)), arch::Trigger::edge,
                        SintAutoEoi::test(value));
}

void Synic::raise(Vp& vp, unsigned index) {
  const uint64_t value = sint(index);
  if (!SintAsIntercept::test(value) || !vp.partition.is_root() || SintMasked::test(value))
    return interrupt(vp, value);
  base::Guard guard(lock_);
  // Set before the slot is tried, so that an EOM that follows finds it.
  intercept_pending_.fetch_or(static_cast<uint16_t>(1u << index));
  post_notifications(vp);
}

void Synic::post_notifications(Vp& vp) {
  while (const uint16_t pending = intercept_pending_) {
    const abi::HvNotificationMessagePayload payload{
        static_cast<uint32_t>(std::countr_zero(pending))};
    const auto message = make_message(abi::HvMessageType::HvMessageTypeSynicSintIntercept, payload);
    if (post_locked(vp, abi::kHvSynicInterceptionSintIndex, message) != Post::posted) return;
    intercept_pending_.fetch_and(static_cast<uint16_t>(~(1u << payload.sint_index)));
  }
}

// --- Events ---

Result<bool> Synic::signal(Vp& vp, unsigned sint, unsigned flag) {
  auto* const flags = accepts_events(sint) ? page<abi::HvSynicEventFlagsPage>(vp, siefp_) : nullptr;
  if (!flags) return fail(Error::invalid_synic_state);
  const uint64_t bit = uint64_t{1} << (flag % 64);
  std::atomic_ref word(flags->event_flags[sint].flags[flag / 64]);
  if ((word.fetch_or(bit) & bit) != 0) return false;
  raise(vp, sint);
  return true;
}

bool Synic::push_ring(Vp& vp, unsigned sint, PortId port) {
  auto* const rings = has_ring() ? page<abi::HvSynicEventRingPage>(vp, sirbp_) : nullptr;
  if (!rings) return false;
  abi::HvSynicEventRing& ring = rings->sint_event_ring[sint];
  {
    base::Guard guard(lock_);
    uint8_t& head = ring_head_[sint];
    std::atomic_ref entry(ring.data[head]);
    if (entry.load() != 0) {
      // Whoever frees the entry from now on sees that the ring was full.
      std::atomic_ref(ring.ring_full).store(1);
      if (entry.load() != 0) return false;
    }
    entry.store(port.value());
    head = static_cast<uint8_t>((head + 1) % abi::kHvSynicEventRingMessageCount);
  }
  if (std::atomic_ref(ring.signal_masked).load() == 0) raise(vp, sint);
  return true;
}

// --- Slots that the parent waits for ---

void Synic::set_notify_deliverable(Vp& vp, uint16_t sints) {
  notify_ = sints;
  post_request(vp, VpRequest::evaluate);
  auto* const slots = page<abi::HvMessagePage>(vp, simp_);
  if (!slots) return;
  for (unsigned i = 0; i < abi::kHvSynicSintCount; ++i) {
    abi::HvMessage& slot = slots->sint_message[i];
    if ((sints >> i & 1) != 0 && !is_free(slot)) ask_for_eom(slot);
  }
}

uint16_t Synic::take_deliverable(Vp& vp) {
  auto* const slots =
      notify_ != 0 && accepts_messages() ? page<abi::HvMessagePage>(vp, simp_) : nullptr;
  if (!slots) return 0;
  uint16_t free = 0;
  for (unsigned i = 0; i < abi::kHvSynicSintCount; ++i)
    if (is_free(slots->sint_message[i])) free |= static_cast<uint16_t>(1u << i);
  return notify_.fetch_and(static_cast<uint16_t>(~free)) & free;
}

void retry_messages(Vp& vp) {
  vp.timers.retry(vp);
  vp.partition.ports.retry(vp);
  vp.partition.intercepts.retry(vp);
  vp.synic.slot_freed(vp);
}

void Synic::slot_freed(Vp& vp) {
  if (notify_ != 0) post_request(vp, VpRequest::evaluate);
  if (intercept_pending_ == 0) return;
  base::Guard guard(lock_);
  post_notifications(vp);
}

bool report_deliverable_sints(Vp& vp) {
  const uint16_t sints = vp.synic.take_deliverable(vp);
  if (sints == 0) return false;
  abi::HvX64SynicSintDeliverableMessage payload{};
  arch::fill_intercept_header(
      vp, 0, static_cast<uint8_t>(abi::HvInterceptAccessType::HvInterceptAccessRead),
      payload.header);
  payload.deliverable_sints = sints;
  auto message = make_message(abi::HvMessageType::HvMessageTypeSynicSintDeliverable, payload);
  deliver_intercept(vp, message);
  return true;
}

}  // namespace hv
