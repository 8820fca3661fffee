// SPDX-License-Identifier: MIT
// Nested page tables use the long-mode format, walked as user accesses [APM2 15.25.5].

#include "hypervisor/core/gpa_space.h"

namespace hv {

constexpr uint64_t kPresent = 1, kWrite = 2, kUser = 4, kWriteThrough = 8, kCacheDisable = 0x10,
                   kAccessed = 0x20, kDirty = 0x40, kLarge = 0x80;

const SlatFormat slat_format = {
    .table = kPresent | kWrite | kUser | kAccessed,
    .present = kPresent,
    .write = kWrite,
    .execute = 0,
    .inverted_execute = uint64_t{1} << 63,
    .large = kLarge,
    .accessed = kAccessed,
    .dirty = kDirty,
    .uncached = kCacheDisable | kWriteThrough,
    .uncached_mask = kCacheDisable | kWriteThrough,
    .leaf = kUser,
};

}  // namespace hv
