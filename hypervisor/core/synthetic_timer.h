// SPDX-License-Identifier: MIT
// The four synthetic timers of a VP [TLFS 12.3], message and direct mode.
#pragma once

#include <cstdint>

#include "hypervisor/core/error.h"

namespace hv {

struct Vp;

class SyntheticTimers {};

}  // namespace hv
