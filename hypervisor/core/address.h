// SPDX-License-Identifier: MIT
// Address kinds. A guest-physical, a system-physical and a guest-virtual address are different
// types; nothing converts between them implicitly. Only direct_map() turns an Spa into a pointer.
#pragma once

#include <compare>
#include <cstdint>

#include "base/bits.h"

namespace hv {

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kLargePageSize = 2 * 1024 * 1024;
inline constexpr uint64_t kHugePageSize = 1024 * 1024 * 1024;
inline constexpr unsigned kPageShift = 12;
// Physical addresses above 48 bits are refused; every supported part has at most 52.
inline constexpr uint64_t kMaxPhysicalAddress = uint64_t{1} << 48;

template <class Tag>
class Address {
 public:
  constexpr Address() = default;
  constexpr explicit Address(uint64_t value) : value_(value) {}
  static constexpr Address from_page(uint64_t page) { return Address(page << kPageShift); }

  constexpr uint64_t value() const { return value_; }
  constexpr uint64_t page() const { return value_ >> kPageShift; }
  constexpr uint64_t offset() const { return value_ & (kPageSize - 1); }
  constexpr Address page_base() const { return Address(value_ & ~(kPageSize - 1)); }
  constexpr bool is_aligned(uint64_t alignment) const {
    return base::is_aligned(value_, alignment);
  }

  constexpr Address operator+(uint64_t bytes) const { return Address(value_ + bytes); }
  constexpr uint64_t operator-(Address other) const { return value_ - other.value_; }
  friend constexpr auto operator<=>(Address, Address) = default;

 private:
  uint64_t value_ = 0;
};

using Gpa = Address<struct GpaTag>;
using Spa = Address<struct SpaTag>;
using Gva = Address<struct GvaTag>;

// Where system-physical address 0 appears in the hypervisor's address space. The loader maps all
// memory there, read-write and never executable; hosted tests point it at an arena.
extern uint64_t direct_map_base;

template <class T = void>
T* direct_map(Spa address) {
  return reinterpret_cast<T*>(direct_map_base + address.value());
}

}  // namespace hv
