// SPDX-License-Identifier: MIT
#include "vmwp/guest_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/bits.h"

namespace vmwp {
namespace {

constexpr uint64_t kLargePage = 2 * kMiB;

}  // namespace

Result<GuestMemory> GuestMemory::create(uint64_t size) {
  // Reserve one large page more, to align: guest and host must agree modulo 2 MiB.
  const uint64_t reserved = size + kLargePage;
  void* base = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return fail(fmt::format("memory: cannot reserve {} MiB of address space: {}", size / kMiB,
                            std::strerror(errno)));
  }
  ::madvise(base, reserved, MADV_HUGEPAGE);  // a wish: without it everything works, slower
  ::madvise(base, reserved, MADV_DONTDUMP);
  return GuestMemory(static_cast<std::byte*>(base), reserved, size);
}

GuestMemory::GuestMemory(std::byte* base, uint64_t reserved, uint64_t size)
    : base_(base), reserved_(reserved), size_(size) {
  const uint64_t address = reinterpret_cast<uint64_t>(base);
  std::byte* first = base + (base::align_up(address, kLargePage) - address);
  const uint64_t low = std::min(size, kMmioHole);
  regions_.push_back({0, kVideoHole, first});
  regions_.push_back({kVideoHoleEnd, low - kVideoHoleEnd, first + kVideoHoleEnd});
  if (size > low) regions_.push_back({kHighMemory, size - low, first + low});
}

GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      reserved_(other.reserved_),
      size_(other.size_),
      regions_(std::move(other.regions_)) {}

GuestMemory::~GuestMemory() {
  if (base_ != nullptr) ::munmap(base_, reserved_);
}

uint64_t GuestMemory::low_end() const {
  return std::min(size_, kMmioHole);
}

std::optional<std::span<std::byte>> GuestMemory::at(uint64_t gpa, uint64_t size) const {
  for (const Region& region : regions_) {
    if (gpa < region.gpa || gpa - region.gpa >= region.size) continue;
    const uint64_t offset = gpa - region.gpa;
    if (size > region.size - offset) return std::nullopt;
    return std::span(region.host + offset, size);
  }
  return std::nullopt;
}

bool GuestMemory::read(uint64_t gpa, std::span<std::byte> to) const {
  const auto from = at(gpa, to.size());
  if (from) std::memcpy(to.data(), from->data(), to.size());
  return from.has_value();
}

bool GuestMemory::write(uint64_t gpa, std::span<const std::byte> from) const {
  const auto to = at(gpa, from.size());
  if (to) std::memcpy(to->data(), from.data(), from.size());
  return to.has_value();
}

}  // namespace vmwp
