// SPDX-License-Identifier: MIT
#include "vmwp/guest_virtual.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bits.h"

namespace vmwp {
namespace {

constexpr uint64_t kPageMask = kPageSize - 1;
constexpr unsigned kMaxDeviceAccess = 8;

constexpr uint8_t kPageFault = 14;
constexpr uint32_t kFaultPresent = 1 << 0;
constexpr uint32_t kFaultWrite = 1 << 1;
constexpr uint32_t kFaultUser = 1 << 2;
constexpr uint32_t kFaultReserved = 1 << 3;
constexpr uint32_t kFaultFetch = 1 << 4;

// The widest piece a device access may start with: a power of two that the rest still holds.
unsigned piece(size_t rest) {
  return static_cast<unsigned>(std::bit_floor(std::min<size_t>(rest, kMaxDeviceAccess)));
}

}  // namespace

void read_physical(uint64_t gpa, std::span<std::byte> to, const GuestMemory& memory,
                   chipset::Chipset& chipset) {
  if (memory.read(gpa, to)) return;
  while (!to.empty()) {
    const unsigned size = piece(to.size());
    const uint64_t value = chipset.read_mmio(gpa, size);
    std::memcpy(to.data(), &value, size);
    gpa += size;
    to = to.subspan(size);
  }
}

void write_physical(uint64_t gpa, std::span<const std::byte> from, const GuestMemory& memory,
                    chipset::Chipset& chipset) {
  if (memory.write(gpa, from)) return;
  while (!from.empty()) {
    const unsigned size = piece(from.size());
    uint64_t value = 0;
    std::memcpy(&value, from.data(), size);
    chipset.write_mmio(gpa, size, value);
    gpa += size;
    from = from.subspan(size);
  }
}

void GuestVirtual::remember(uint64_t gva, uint64_t gpa, GuestAccess access) {
  known_[next_known_++ % std::size(known_)] = Page{gva & ~kPageMask, gpa & ~kPageMask, access};
}

AccessResult<uint64_t> GuestVirtual::translate(uint64_t gva, GuestAccess access) {
  for (const auto& page : known_) {
    if (page && page->gva == (gva & ~kPageMask) && page->access == access) {
      return page->gpa | (gva & kPageMask);
    }
  }
  const auto result = partition_.translate(vp_, gva, access, privilege_);
  if (!result) return std::unexpected(AccessFault(result.error()));
  using enum hv::abi::HvTranslateGvaResultCode;
  switch (result->code) {
    case HvTranslateGvaSuccess:
      remember(gva, result->gpa, access);
      return result->gpa;
    case HvTranslateGvaGpaUnmapped:  // a page table outside memory reads as ones: reserved bits
    case HvTranslateGvaPageNotPresent:
    case HvTranslateGvaPrivilegeViolation:
    case HvTranslateGvaInvalidPageTableFlags:
      return std::unexpected(AccessFault(page_fault(gva, access, result->code)));
    default:
      break;
  }
  return std::unexpected(AccessFault(Failure{
      ExitStatus::kCrashed,
      fmt::format("cannot translate {:#x}: result {}", gva, static_cast<uint32_t>(result->code))}));
}

GuestException GuestVirtual::page_fault(uint64_t gva, GuestAccess access,
                                        hv::abi::HvTranslateGvaResultCode code) const {
  using enum hv::abi::HvTranslateGvaResultCode;
  uint32_t error = 0;
  if (code != HvTranslateGvaPageNotPresent) error |= kFaultPresent;
  if (code == HvTranslateGvaInvalidPageTableFlags || code == HvTranslateGvaGpaUnmapped) {
    error |= kFaultReserved;
  }
  if (access == GuestAccess::kWrite) error |= kFaultWrite;
  if (access == GuestAccess::kExecute) error |= kFaultFetch;
  if (privilege_ == Privilege::kUser) error |= kFaultUser;
  return {kPageFault, error, gva};
}

AccessResult<void> GuestVirtual::read(uint64_t gva, std::span<std::byte> to, GuestAccess access) {
  while (!to.empty()) {
    const size_t size = std::min<size_t>(to.size(), kPageSize - (gva & kPageMask));
    const auto gpa = translate(gva, access);
    if (!gpa) return std::unexpected(gpa.error());
    read_physical(*gpa, to.first(size), memory_, chipset_);
    gva += size;
    to = to.subspan(size);
  }
  return {};
}

AccessResult<void> GuestVirtual::write(uint64_t gva, std::span<const std::byte> from) {
  // All pages first: a faulting instruction must not have written a part.
  if (auto allowed = probe_write(gva, from.size()); !allowed) return allowed;
  while (!from.empty()) {
    const size_t size = std::min<size_t>(from.size(), kPageSize - (gva & kPageMask));
    const auto gpa = translate(gva, GuestAccess::kWrite);
    if (!gpa) return std::unexpected(gpa.error());
    write_physical(*gpa, from.first(size), memory_, chipset_);
    gva += size;
    from = from.subspan(size);
  }
  return {};
}

AccessResult<void> GuestVirtual::probe_write(uint64_t gva, uint64_t size) {
  const uint64_t end = gva + size;
  for (uint64_t at = gva; at < end || (end < gva && at >= gva);
       at = base::align_down(at, kPageSize) + kPageSize) {
    if (const auto gpa = translate(at, GuestAccess::kWrite); !gpa) {
      return std::unexpected(gpa.error());
    }
    if (base::align_down(at, kPageSize) + kPageSize == 0) break;
  }
  return {};
}

}  // namespace vmwp
