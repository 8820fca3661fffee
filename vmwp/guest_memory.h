// SPDX-License-Identifier: MIT
// The VM's memory, seen from vmwp: one anonymous mapping of ours, split around the guest's hole
// below 4 GiB. The guest changes it at any time: read by copy, once, and judge the copy. Every
// access is checked against what is memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmwp/failure.h"

namespace vmwp {

inline constexpr uint64_t kMiB = uint64_t{1} << 20;
inline constexpr uint64_t kGiB = uint64_t{1} << 30;
inline constexpr uint64_t kPageSize = 4096;

// Guest-physical address map.
inline constexpr uint64_t kVideoHole = 0xA0000;
inline constexpr uint64_t kVideoHoleEnd = 0xC0000;
inline constexpr uint64_t kFirmwareBase = 0xE0000;  // tables of ours, reserved to the guest
inline constexpr uint64_t kFirmwareEnd = 0x100000;
inline constexpr uint64_t kMmioHole = 0xF800'0000;
inline constexpr uint64_t kHighMemory = 4 * kGiB;
inline constexpr uint64_t kHighMmio =
    448 * kGiB;  // below 2^39, which every supported CPU addresses
inline constexpr uint64_t kMinMemory = 32 * kMiB;
inline constexpr uint64_t kMaxMemory = 384 * kGiB;

class GuestMemory {
 public:
  /// A run of guest-physical memory and where it is here. Congruent modulo 2 MiB.
  struct Region {
    uint64_t gpa;
    uint64_t size;
    std::byte* host;
  };

  /// `size` is a multiple of 1 MiB in [kMinMemory, kMaxMemory]. The memory is zero.
  static Result<GuestMemory> create(uint64_t size);
  GuestMemory(GuestMemory&& other) noexcept;
  GuestMemory& operator=(GuestMemory&&) = delete;
  ~GuestMemory();

  /// In ascending order of guest-physical address.
  const std::vector<Region>& regions() const { return regions_; }
  uint64_t size() const { return size_; }
  /// End of the memory below 4 GiB.
  uint64_t low_end() const;

  /// Where [gpa, gpa + size) is, if all of it is memory and contiguous.
  std::optional<std::span<std::byte>> at(uint64_t gpa, uint64_t size) const;
  /// False, with nothing or a part copied, where there is no memory.
  bool read(uint64_t gpa, std::span<std::byte> to) const;
  bool write(uint64_t gpa, std::span<const std::byte> from) const;

 private:
  GuestMemory(std::byte* base, uint64_t reserved, uint64_t size);

  std::byte* base_;
  uint64_t reserved_;  // bytes of address space at base_
  uint64_t size_;
  std::vector<Region> regions_;
};

}  // namespace vmwp
