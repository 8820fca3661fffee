// SPDX-License-Identifier: MIT
// The bus: which device answers at which port or guest-physical address. Accesses wider than a
// device takes, misaligned or hanging over its end, are split into the halves it would see on an
// ISA bus. What nobody answers reads as all ones. Not thread-safe: the owner serializes.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "chipset/clock.h"

namespace chipset {

/// Devices are called with the absolute port, a size of 1, 2 or 4 within what they registered, and
/// an aligned port; written values are zero-extended, read ones cut to size.
class PortDevice {
 public:
  virtual ~PortDevice() = default;
  virtual uint32_t read_port(uint16_t port, unsigned size) = 0;
  virtual void write_port(uint16_t port, unsigned size, uint32_t value) = 0;
};

/// Devices are called with the offset into their window and a size of 1, 2, 4 or 8, aligned.
class MmioDevice {
 public:
  virtual ~MmioDevice() = default;
  virtual uint64_t read_mmio(uint64_t offset, unsigned size) = 0;
  virtual void write_mmio(uint64_t offset, unsigned size, uint64_t value) = 0;
};

/// Passes at most `burst` events per second on, so that a guest cannot fill a log.
class RateLimit {
 public:
  RateLimit(const Clock& clock, unsigned burst) : clock_(clock), burst_(burst) {}
  bool allow();

 private:
  const Clock& clock_;
  unsigned burst_;
  unsigned used_ = 0;
  uint64_t window_ = 0;
};

using LogSink = std::function<void(std::string_view line)>;

class Bus {
 public:
  /// `log` gets a rate-limited line for accesses that no device answers.
  Bus(const Clock& clock, LogSink log);

  /// `max_size` is the widest access the device takes. Ranges must not overlap.
  void add_ports(uint16_t first, uint16_t count, unsigned max_size, PortDevice& device);
  void add_mmio(uint64_t first, uint64_t count, unsigned max_size, MmioDevice& device);

  /// size is 1, 2 or 4; ports wrap at 64 KiB as the processor's do.
  uint32_t read_port(uint16_t port, unsigned size);
  void write_port(uint16_t port, unsigned size, uint32_t value);
  /// size is 1, 2, 4 or 8; the access may cross windows.
  uint64_t read_mmio(uint64_t address, unsigned size);
  void write_mmio(uint64_t address, unsigned size, uint64_t value);

 private:
  template <class Device>
  struct Window {
    uint64_t first;
    uint64_t count;
    unsigned max_size;
    Device* device;

    bool takes(uint64_t address, unsigned size) const {
      return address >= first && address - first < count && size <= count - (address - first) &&
             size <= max_size && address % size == 0;
    }
    bool touches(uint64_t address) const { return address >= first && address - first < count; }
  };

  void log_unassigned(std::string_view kind, uint64_t address, unsigned size);

  std::vector<Window<PortDevice>> ports_;
  std::vector<Window<MmioDevice>> windows_;
  LogSink log_;
  RateLimit limit_;
};

}  // namespace chipset
