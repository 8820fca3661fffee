// SPDX-License-Identifier: MIT
// What every TLFS header shares: the page size, a 128-bit value, and the checks that pin a type to
// its wire layout. All TLFS data is little endian; an offset or size in these headers is in bytes.
// Naming: types and enumerators carry the TLFS name (HV_INPUT_CREATE_VP is HvInputCreateVp);
// constants the TLFS writes in macro case are kXxx. kXxxBit is a bit position, kXxxShift and
// kXxxWidth a field of several bits, kXxxMask a mask. Enums are open: any value may arrive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

// A wire type has no hidden padding (nothing of the sender's stack leaks) and copies bytewise.
#define HV_ABI_STRUCT(type, size)                               \
  HV_ABI_SIZE(type, size);                                      \
  static_assert(std::has_unique_object_representations_v<type>, \
                #type " has padding bytes: name them as reserved fields")

// The same for types whose unions have members of different sizes.
#define HV_ABI_SIZE(type, size)                                                        \
  static_assert(sizeof(type) == (size), #type " does not have its wire size");         \
  static_assert(std::is_trivially_copyable_v<type> && std::is_standard_layout_v<type>, \
                #type " is not plain data")

#define HV_ABI_AT(type, member, offset) \
  static_assert(offsetof(type, member) == (offset), #type "::" #member " is misplaced")

namespace hv::abi {

inline constexpr unsigned kHvPageShift = 12;
inline constexpr unsigned kHvPageSize = 1u << kHvPageShift;

// HV_UINT128. Aligned to 8 like the packed structures it stands in.
struct HvUint128 {
  uint64_t low;
  uint64_t high;
};
HV_ABI_STRUCT(HvUint128, 0x10);
HV_ABI_AT(HvUint128, low, 0x0);
HV_ABI_AT(HvUint128, high, 0x8);

}  // namespace hv::abi
