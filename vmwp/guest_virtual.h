// SPDX-License-Identifier: MIT
// Reads and writes at guest-virtual addresses for the emulation of one instruction: page by page
// through the hypervisor's walk of the guest's tables, to memory or, where there is none, to the
// chipset. A page fault is the guest's: it comes back as a value, to be injected.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "chipset/chipset.h"
#include "vmwp/failure.h"
#include "vmwp/guest_memory.h"
#include "vmwp/partition.h"

namespace vmwp {

/// An exception for the guest to take instead of completing the instruction.
struct GuestException {
  uint8_t vector = 0;
  std::optional<uint32_t> error_code;
  uint64_t parameter = 0;  // CR2 of a page fault, DR6 of a debug exception
};

/// Why an access did not happen: the guest's fault, or something beyond repair.
using AccessFault = std::variant<GuestException, Failure>;
template <class T>
using AccessResult = std::expected<T, AccessFault>;

class GuestVirtual {
 public:
  GuestVirtual(uint32_t vp, VpControl& partition, chipset::Chipset& chipset,
               const GuestMemory& memory, Privilege privilege)
      : vp_(vp), partition_(partition), chipset_(chipset), memory_(memory), privilege_(privilege) {}

  /// The translation of the byte at `gva` is known (from the intercept): use it for its page.
  void remember(uint64_t gva, uint64_t gpa, GuestAccess access);

  AccessResult<void> read(uint64_t gva, std::span<std::byte> to,
                          GuestAccess access = GuestAccess::kRead);
  AccessResult<void> write(uint64_t gva, std::span<const std::byte> from);
  /// Would a write of `size` bytes fault? Lets an instruction with side effects ask first.
  AccessResult<void> probe_write(uint64_t gva, uint64_t size);

 private:
  struct Page {
    uint64_t gva;
    uint64_t gpa;
    GuestAccess access;
  };

  AccessResult<uint64_t> translate(uint64_t gva, GuestAccess access);
  GuestException page_fault(uint64_t gva, GuestAccess access,
                            hv::abi::HvTranslateGvaResultCode code) const;

  uint32_t vp_;
  VpControl& partition_;
  chipset::Chipset& chipset_;
  const GuestMemory& memory_;
  Privilege privilege_;
  std::optional<Page> known_[4];  // two operands of at most two pages
  unsigned next_known_ = 0;
};

/// Guest-physical access to memory or, in pieces a device takes, to the chipset.
void read_physical(uint64_t gpa, std::span<std::byte> to, const GuestMemory& memory,
                   chipset::Chipset& chipset);
void write_physical(uint64_t gpa, std::span<const std::byte> from, const GuestMemory& memory,
                    chipset::Chipset& chipset);

}  // namespace vmwp
