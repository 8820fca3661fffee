// SPDX-License-Identifier: MIT
// Level-triggered interrupts of the I/O APIC's pins. The driver tells when a guest ends one only to
// irqfds with a resample eventfd, so each pin that sends one gets an irqfd (its GSI is the pin)
// whose route follows the pin's redirection entry.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>

#include "abi/root/mshv.h"
#include "chipset/ioapic.h"
#include "runtime/port.h"
#include "runtime/task.h"
#include "vmwp/failure.h"

namespace vmwp {

class LevelIrqs {
 public:
  /// An ioctl on the partition: result and errno are those of ioctl().
  using Ioctl = std::function<int(unsigned long request, void* argument)>;

  explicit LevelIrqs(Ioctl ioctl);

  /// Sends the pin's interrupt. Any thread.
  Result<> send(const chipset::InterruptMessage& message);
  /// Says which pins' interrupts have ended, until it is cancelled.
  runtime::Task<> serve(runtime::Port& port, std::function<void(uint8_t pin)> ended);

 private:
  struct Pin {
    runtime::UniqueFd irq;
    runtime::UniqueFd ended;
    mshv_user_irq_entry route{};
    bool routed = false;
  };

  Result<> route(uint8_t number, const mshv_user_irq_entry& entry);
  Result<> open(uint8_t number);

  Ioctl ioctl_;
  std::mutex lock_;  // of what send() changes: the pins' routes and irqfds
  std::array<Pin, chipset::IoApic::kPins> pins_;
};

}  // namespace vmwp
