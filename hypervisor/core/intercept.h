// SPDX-License-Identifier: MIT
// What a parent asked to see of a child's execution [TLFS 9], and the way a message gets there.
#pragma once

#include <cstdint>

#include "hypervisor/core/error.h"

namespace hv {

class InterceptTable {};

}  // namespace hv
