// SPDX-License-Identifier: MIT
// I/O APIC with 24 pins [Intel 82093AA data sheet; ICH9 13.5 for the EOI register]. Edges are sent
// once; a level pin is sent while asserted and not in service (remote IRR), and again at its EOI.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "chipset/bus.h"

namespace chipset {

/// Delivery modes as the redirection entry and the local APIC's ICR encode them.
enum class DeliveryMode : uint8_t {
  kFixed = 0,
  kLowestPriority = 1,
  kSmi = 2,
  kNmi = 4,
  kInit = 5,
  kExtInt = 7,
};

enum class Trigger : uint8_t { kEdge, kLevel };
enum class DestinationMode : uint8_t { kPhysical, kLogical };

struct InterruptMessage {
  DeliveryMode mode;
  Trigger trigger;
  DestinationMode destination_mode;
  uint8_t destination;  // APIC id or logical id
  uint8_t vector;
  uint8_t pin;  // that sends it
};

class IoApic final : public MmioDevice {
 public:
  static constexpr uint64_t kBase = 0xFEC00000;
  static constexpr uint64_t kWindow = 0x1000;
  static constexpr unsigned kPins = 24;

  using Deliver = std::function<void(const InterruptMessage&)>;
  /// `acknowledge` is the interrupt acknowledge cycle towards the 8259s, for ExtINT pins.
  IoApic(Deliver deliver, std::function<uint8_t()> acknowledge);

  uint64_t read_mmio(uint64_t offset, unsigned size) override;
  void write_mmio(uint64_t offset, unsigned size, uint64_t value) override;

  /// Asserts or releases an input. Polarity is the caller's affair: true means asserted.
  void set_pin(unsigned pin, bool asserted);
  /// The local APICs are done with the level-triggered interrupt that this pin sent last.
  void end_of_interrupt(unsigned pin);

 private:
  uint32_t read_register(uint8_t index) const;
  void write_register(uint8_t index, uint32_t value);
  void end_of_vector(uint8_t vector);
  void service(unsigned pin);

  Deliver deliver_;
  std::function<uint8_t()> acknowledge_;
  std::array<uint64_t, kPins> entries_;
  uint32_t asserted_ = 0;
  uint8_t id_ = 0;
  uint8_t select_ = 0;
};

}  // namespace chipset
