// SPDX-License-Identifier: MIT
// The whole chipset of one VM, wired: bus, interrupt controllers, timers, serial port, power.
// Every public function takes the one lock, so VP threads and the event loop may call at any time;
// callbacks run under it and must not call back in.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "chipset/bus.h"
#include "chipset/clock.h"
#include "chipset/ioapic.h"
#include "chipset/pic8259.h"
#include "chipset/pit8254.h"
#include "chipset/pm.h"
#include "chipset/rtc.h"
#include "chipset/system_ports.h"
#include "chipset/uart16550.h"

namespace chipset {

inline constexpr uint16_t kCom1Port = 0x3F8;
inline constexpr unsigned kCom1Irq = 4;
inline constexpr unsigned kTimerIrq = 0;
inline constexpr unsigned kRtcIrq = 8;
inline constexpr unsigned kTimerGsi = 2;  // IRQ 0 arrives at pin 2, the 8259s at pin 0

/// What the chipset asks of the machine around it.
struct Hooks {
  std::function<void(const InterruptMessage&)> deliver;
  std::function<void()> power_off;
  std::function<void()> reset;
  /// The next timed event may have moved: ask next_event() again. Not under the lock.
  std::function<void()> reschedule;
  LogSink log;
};

class Chipset {
 public:
  /// The battery outlives the chipset: a machine that is reset gets a new one around the same.
  Chipset(const Clock& clock, Rtc::Battery& battery, SerialPeer& console, Hooks hooks);
  Chipset(const Chipset&) = delete;
  Chipset& operator=(const Chipset&) = delete;

  uint32_t read_port(uint16_t port, unsigned size);
  void write_port(uint16_t port, unsigned size, uint32_t value);
  uint64_t read_mmio(uint64_t address, unsigned size);
  void write_mmio(uint64_t address, unsigned size, uint64_t value);

  void end_of_interrupt(unsigned pin);
  void press_power_button();
  /// The console has input or room again.
  void console_ready();

  /// Clock::now() value at which advance() is wanted, or kNever.
  uint64_t next_event();
  void advance();

 private:
  void set_isa_irq(unsigned irq, bool asserted);
  uint64_t earliest() const;
  /// Runs `access` under the lock; tells the machine if the next event came closer.
  template <class Access>
  auto locked(Access access);

  Hooks hooks_;
  std::mutex lock_;
  Pic8259Pair pic_;
  IoApic io_apic_;
  Pit8254 pit_;
  Rtc rtc_;
  Pm pm_;
  Uart16550 com1_;
  SystemPorts system_;
  Bus bus_;
  uint64_t announced_ = kNever;  // the event the machine was last told of
};

}  // namespace chipset
