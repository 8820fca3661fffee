// SPDX-License-Identifier: MIT
#include "chipset/ioapic.h"

#include <utility>

#include "base/bits.h"

namespace chipset {
namespace {

using RteVector = base::Field<7, 0>;
using RteDelivery = base::Field<10, 8>;
using RteLogical = base::Field<11>;
using RteRemoteIrr = base::Field<14>;
using RteLevel = base::Field<15>;
using RteMask = base::Field<16>;
using RteDestination = base::Field<63, 56>;

// Delivery status and remote IRR are read-only; bits 55:17 are reserved.
constexpr uint64_t kRteWritable = base::Field<63, 56>::kMask | base::Field<16, 15>::kMask |
                                  base::Field<13>::kMask | base::Field<11, 0>::kMask;

constexpr uint64_t kSelectOffset = 0x00;
constexpr uint64_t kWindowOffset = 0x10;
constexpr uint64_t kEoiOffset = 0x40;

constexpr uint8_t kIdRegister = 0;
constexpr uint8_t kVersionRegister = 1;
constexpr uint8_t kArbitrationRegister = 2;
constexpr uint8_t kFirstEntryRegister = 0x10;
constexpr uint32_t kVersion = 0x20;  // the first one with an EOI register
constexpr unsigned kIdShift = 24;

constexpr uint8_t kLowestVector = 0x10;

}  // namespace

IoApic::IoApic(Deliver deliver, std::function<uint8_t()> acknowledge)
    : deliver_(std::move(deliver)), acknowledge_(std::move(acknowledge)) {
  entries_.fill(RteMask::kMask);
}

uint64_t IoApic::read_mmio(uint64_t offset, unsigned) {
  switch (offset) {
    case kSelectOffset:
      return select_;
    case kWindowOffset:
      return read_register(select_);
    default:
      return 0;
  }
}

void IoApic::write_mmio(uint64_t offset, unsigned, uint64_t value) {
  switch (offset) {
    case kSelectOffset:
      select_ = static_cast<uint8_t>(value);
      break;
    case kWindowOffset:
      write_register(select_, static_cast<uint32_t>(value));
      break;
    case kEoiOffset:
      end_of_vector(static_cast<uint8_t>(value));
      break;
    default:
      break;
  }
}

uint32_t IoApic::read_register(uint8_t index) const {
  if (index == kIdRegister || index == kArbitrationRegister) return uint32_t{id_} << kIdShift;
  if (index == kVersionRegister) return kVersion | (kPins - 1) << 16;
  const unsigned slot = index - kFirstEntryRegister;
  if (index < kFirstEntryRegister || slot >= 2 * kPins) return 0;
  return static_cast<uint32_t>(entries_[slot / 2] >> (slot % 2 == 0 ? 0 : 32));
}

void IoApic::write_register(uint8_t index, uint32_t value) {
  if (index == kIdRegister) {
    id_ = (value >> kIdShift) & 0x0F;
    return;
  }
  const unsigned slot = index - kFirstEntryRegister;
  if (index < kFirstEntryRegister || slot >= 2 * kPins) return;
  uint64_t& entry = entries_[slot / 2];
  const unsigned shift = slot % 2 == 0 ? 0 : 32;
  const uint64_t half = uint64_t{0xFFFFFFFF} << shift;
  const uint64_t writable = half & kRteWritable;
  entry = (entry & ~writable) | ((uint64_t{value} << shift) & writable);
  // An edge entry has no interrupt in service; software clears a stuck one by switching to edge.
  if (!RteLevel::test(entry)) entry &= ~RteRemoteIrr::kMask;
  if (RteLevel::test(entry)) service(slot / 2);
}

void IoApic::set_pin(unsigned pin, bool asserted) {
  if (pin >= kPins) return;
  const uint32_t bit = 1u << pin;
  const bool rising = asserted && (asserted_ & bit) == 0;
  asserted_ = asserted ? asserted_ | bit : asserted_ & ~bit;
  // An edge on a masked pin is lost, as in the 82093AA.
  if (rising) service(pin);
}

void IoApic::end_of_interrupt(unsigned pin) {
  if (pin >= kPins || !RteRemoteIrr::test(entries_[pin])) return;
  entries_[pin] &= ~RteRemoteIrr::kMask;
  service(pin);
}

void IoApic::end_of_vector(uint8_t vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    if (RteVector::get(entries_[pin]) == vector) end_of_interrupt(pin);
  }
}

// Sends the pin's message if its entry allows it now.
void IoApic::service(unsigned pin) {
  uint64_t& entry = entries_[pin];
  const bool level = RteLevel::test(entry);
  if (RteMask::test(entry) || (asserted_ & 1u << pin) == 0) return;
  if (level && RteRemoteIrr::test(entry)) return;

  InterruptMessage message{
      .mode = static_cast<DeliveryMode>(RteDelivery::get(entry)),
      .trigger = level ? Trigger::kLevel : Trigger::kEdge,
      .destination_mode =
          RteLogical::test(entry) ? DestinationMode::kLogical : DestinationMode::kPhysical,
      .destination = static_cast<uint8_t>(RteDestination::get(entry)),
      .vector = static_cast<uint8_t>(RteVector::get(entry)),
      .pin = static_cast<uint8_t>(pin),
  };
  switch (message.mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
      if (message.vector < kLowestVector) return;  // illegal vector: no local APIC accepts it
      if (level) entry = RteRemoteIrr::set(entry, 1);
      break;
    case DeliveryMode::kNmi:
    case DeliveryMode::kInit:
      message.trigger = Trigger::kEdge;  // whatever the entry says
      break;
    case DeliveryMode::kExtInt:
      message.trigger = Trigger::kEdge;
      message.vector = acknowledge_();
      break;
    default:  // SMI has nobody to handle it; the rest is reserved
      return;
  }
  deliver_(message);
}

}  // namespace chipset
