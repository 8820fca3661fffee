// SPDX-License-Identifier: MIT
// The hypervisor's ids and the limits that size its fixed tables.
#pragma once

#include <cstdint>

#include "base/id.h"

namespace hv {

using PartitionId = base::Id<struct PartitionTag, uint64_t>;
using VpIndex = base::Id<struct VpTag, uint32_t>;
using LpIndex = base::Id<struct LpTag, uint32_t>;
using PortId = base::Id<struct PortTag, uint32_t>;
using ConnectionId = base::Id<struct ConnectionTag, uint32_t>;
using ApicId = base::Id<struct ApicTag, uint32_t>;

inline constexpr unsigned kMaxLps = 64;
inline constexpr unsigned kMaxPartitions = 256;
inline constexpr unsigned kMaxVpsPerPartition = 64;

}  // namespace hv
