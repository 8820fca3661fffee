// SPDX-License-Identifier: MIT
// Learns when a guest ends a level-triggered interrupt. The driver tells that only to irqfds with a
// resample eventfd whose route has the vector: each vector in use as a level gets such a slot. The
// irqfds themselves are never signalled; interrupts go out by hypercall.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "vmwp/failure.h"
#include "vmwp/unique_fd.h"

namespace vmwp {

class LevelEois {
 public:
  /// As many as an I/O APIC has pins: so many level interrupts can be in service at once.
  static constexpr size_t kSlots = 24;
  /// An ioctl on the partition: result and errno are those of ioctl().
  using Ioctl = std::function<int(unsigned long request, void* argument)>;

  explicit LevelEois(Ioctl ioctl);

  /// From now on the end of `vector` is told. Any thread.
  Result<> expect(uint8_t vector);
  /// Readable while take() has something to give.
  int fd() const { return epoll_.get(); }
  /// The vectors whose interrupts ended since the last call.
  std::vector<uint8_t> take();

 private:
  struct Slot {
    UniqueFd irqfd;
    UniqueFd resample;
    uint8_t vector;
  };

  Result<> add_slot(uint8_t vector);
  Result<> set_routes();

  Ioctl ioctl_;
  UniqueFd epoll_;
  std::mutex lock_;
  std::vector<Slot> slots_;
  size_t next_recycled_ = 0;
};

}  // namespace vmwp
