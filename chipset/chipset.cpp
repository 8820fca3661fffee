// SPDX-License-Identifier: MIT
#include "chipset/chipset.h"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace chipset {

Chipset::Chipset(const Clock& clock, Rtc::Battery& battery, SerialPeer& console, Hooks hooks)
    : hooks_(std::move(hooks)),
      pic_([this](bool level) { io_apic_.set_pin(0, level); }),
      io_apic_([this](const InterruptMessage& message) { hooks_.deliver(message); },
               [this] { return pic_.acknowledge(); }),
      pit_(clock, [this](bool level) { set_isa_irq(kTimerIrq, level); }),
      rtc_(clock, battery, [this](bool level) { set_isa_irq(kRtcIrq, level); }),
      pm_(
          clock, [this](bool level) { set_isa_irq(Pm::kSciIrq, level); },
          [this] { hooks_.power_off(); }),
      com1_(kCom1Port, console, [this](bool level) { set_isa_irq(kCom1Irq, level); }),
      system_([this] { hooks_.reset(); }),
      bus_(clock, hooks_.log) {
  bus_.add_mmio(IoApic::kBase, IoApic::kWindow, 4, io_apic_);
  bus_.add_ports(Pic8259Pair::kMasterPort, 2, 1, pic_);
  bus_.add_ports(Pic8259Pair::kSlavePort, 2, 1, pic_);
  bus_.add_ports(Pic8259Pair::kElcrPort, 2, 1, pic_);
  bus_.add_ports(Pit8254::kPort, 4, 1, pit_);
  bus_.add_ports(Pit8254::kControlPortB, 1, 1, pit_);
  bus_.add_ports(Rtc::kIndexPort, 2, 1, rtc_);
  bus_.add_ports(Pm::kEventPort, Pm::kPortCount, 4, pm_);
  bus_.add_ports(kCom1Port, Uart16550::kPortCount, 1, com1_);
  system_.attach(bus_);
}

template <class Access>
auto Chipset::locked(Access access) {
  bool changed = false;
  const auto finish = [&] {
    const uint64_t next = earliest();
    changed = next != announced_;
    announced_ = next;
  };
  if constexpr (std::is_void_v<decltype(access())>) {
    {
      const std::lock_guard guard(lock_);
      access();
      finish();
    }
    if (changed) hooks_.reschedule();
  } else {
    std::unique_lock guard(lock_);
    const auto value = access();
    finish();
    guard.unlock();
    if (changed) hooks_.reschedule();
    return value;
  }
}

uint32_t Chipset::read_port(uint16_t port, unsigned size) {
  return locked([&] { return bus_.read_port(port, size); });
}

void Chipset::write_port(uint16_t port, unsigned size, uint32_t value) {
  locked([&] { bus_.write_port(port, size, value); });
}

uint64_t Chipset::read_mmio(uint64_t address, unsigned size) {
  return locked([&] { return bus_.read_mmio(address, size); });
}

void Chipset::write_mmio(uint64_t address, unsigned size, uint64_t value) {
  locked([&] { bus_.write_mmio(address, size, value); });
}

void Chipset::end_of_interrupt(unsigned pin) {
  const std::lock_guard guard(lock_);
  io_apic_.end_of_interrupt(pin);
}

void Chipset::press_power_button() {
  locked([&] { pm_.press_power_button(); });
}

void Chipset::console_ready() {
  locked([&] { com1_.transfer(); });
}

uint64_t Chipset::next_event() {
  const std::lock_guard guard(lock_);
  return announced_ = earliest();
}

void Chipset::advance() {
  locked([&] {
    pit_.advance();
    rtc_.advance();
    pm_.advance();
  });
}

uint64_t Chipset::earliest() const {
  return std::min({pit_.next_event(), rtc_.next_event(), pm_.next_event()});
}

void Chipset::set_isa_irq(unsigned irq, bool asserted) {
  pic_.set_line(irq, asserted);
  io_apic_.set_pin(irq == kTimerIrq ? kTimerGsi : irq, asserted);
}

}  // namespace chipset
