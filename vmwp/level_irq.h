// SPDX-License-Identifier: MIT
// Level-triggered interrupts of the I/O APIC's pins. The driver tells when a guest ends one only to
// irqfds with a resample eventfd, so each pin that sends one gets an irqfd (its GSI is the pin)
// whose route follows the pin's redirection entry.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "abi/root/mshv.h"
#include "chipset/ioapic.h"
#include "vmwp/failure.h"
#include "vmwp/unique_fd.h"

namespace vmwp {

class LevelIrqs {
 public:
  /// An ioctl on the partition: result and errno are those of ioctl().
  using Ioctl = std::function<int(unsigned long request, void* argument)>;

  explicit LevelIrqs(Ioctl ioctl);

  /// Sends the pin's interrupt. Any thread.
  Result<> send(const chipset::InterruptMessage& message);
  /// Readable while take() has something to give.
  int fd() const { return epoll_.get(); }
  /// The vectors whose interrupts ended since the last call, each once.
  std::vector<uint8_t> take();

 private:
  struct Pin {
    UniqueFd irq;
    UniqueFd ended;
    mshv_user_irq_entry route{};
    bool routed = false;
  };

  Result<> route(uint8_t number, const mshv_user_irq_entry& entry);
  Result<> open(uint8_t number);

  Ioctl ioctl_;
  UniqueFd epoll_;
  std::mutex lock_;
  std::array<Pin, chipset::IoApic::kPins> pins_;
};

}  // namespace vmwp
