// SPDX-License-Identifier: MIT
// Ports and connections of a partition [TLFS 11.10].
#pragma once

#include <cstdint>

#include "hypervisor/core/error.h"

namespace hv {

class PortTable {};

}  // namespace hv
