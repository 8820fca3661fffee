// SPDX-License-Identifier: MIT
#include "chipset/bus.h"

#include <fmt/format.h>

#include <utility>

namespace chipset {
namespace {

constexpr unsigned kUnassignedLinesPerSecond = 4;

constexpr uint64_t ones(unsigned size) {
  return ~uint64_t{0} >> (64 - 8 * size);
}

template <class Windows>
auto* find_taker(Windows& windows, uint64_t address, unsigned size) {
  for (auto& window : windows) {
    if (window.takes(address, size)) return &window;
  }
  return static_cast<typename Windows::value_type*>(nullptr);
}

// A single byte that no window takes is nobody's; so is a wider access none of whose bytes is
// anybody's, which saves splitting it and logging every part.
template <class Windows>
bool is_unassigned(const Windows& windows, uint64_t address, unsigned size) {
  for (unsigned i = 0; i < size; ++i) {
    for (const auto& window : windows) {
      if (window.touches(address + i)) return false;
    }
  }
  return true;
}

}  // namespace

bool RateLimit::allow() {
  const uint64_t window = clock_.now() / kNsPerSecond;
  if (window != window_) {
    window_ = window;
    used_ = 0;
  }
  return used_ < burst_ && ++used_ != 0;
}

Bus::Bus(const Clock& clock, LogSink log)
    : log_(std::move(log)), limit_(clock, kUnassignedLinesPerSecond) {}

void Bus::add_ports(uint16_t first, uint16_t count, unsigned max_size, PortDevice& device) {
  ports_.push_back({first, count, max_size, &device});
}

void Bus::add_mmio(uint64_t first, uint64_t count, unsigned max_size, MmioDevice& device) {
  windows_.push_back({first, count, max_size, &device});
}

uint32_t Bus::read_port(uint16_t port, unsigned size) {
  if (auto* window = find_taker(ports_, port, size)) {
    return window->device->read_port(port, size) & static_cast<uint32_t>(ones(size));
  }
  if (size == 1 || is_unassigned(ports_, port, size)) {
    log_unassigned("port read", port, size);
    return static_cast<uint32_t>(ones(size));
  }
  const unsigned half = size / 2;
  const uint32_t low = read_port(port, half);
  return low | read_port(static_cast<uint16_t>(port + half), half) << (8 * half);
}

void Bus::write_port(uint16_t port, unsigned size, uint32_t value) {
  value &= static_cast<uint32_t>(ones(size));
  if (auto* window = find_taker(ports_, port, size)) {
    window->device->write_port(port, size, value);
    return;
  }
  if (size == 1 || is_unassigned(ports_, port, size)) {
    log_unassigned("port write", port, size);
    return;
  }
  const unsigned half = size / 2;
  write_port(port, half, value);
  write_port(static_cast<uint16_t>(port + half), half, value >> (8 * half));
}

uint64_t Bus::read_mmio(uint64_t address, unsigned size) {
  if (auto* window = find_taker(windows_, address, size)) {
    return window->device->read_mmio(address - window->first, size) & ones(size);
  }
  if (size == 1 || is_unassigned(windows_, address, size)) {
    log_unassigned("memory read", address, size);
    return ones(size);
  }
  const unsigned half = size / 2;
  const uint64_t low = read_mmio(address, half);
  return low | read_mmio(address + half, half) << (8 * half);
}

void Bus::write_mmio(uint64_t address, unsigned size, uint64_t value) {
  value &= ones(size);
  if (auto* window = find_taker(windows_, address, size)) {
    window->device->write_mmio(address - window->first, size, value);
    return;
  }
  if (size == 1 || is_unassigned(windows_, address, size)) {
    log_unassigned("memory write", address, size);
    return;
  }
  const unsigned half = size / 2;
  write_mmio(address, half, value);
  write_mmio(address + half, half, value >> (8 * half));
}

void Bus::log_unassigned(std::string_view kind, uint64_t address, unsigned size) {
  if (log_ && limit_.allow()) {
    log_(fmt::format("{} of {} byte(s) at {:#x}: no device there", kind, size, address));
  }
}

}  // namespace chipset
