// SPDX-License-Identifier: MIT
// The synthetic interrupt controller of a VP [TLFS 11]: 16 SINTs, a message page, an event flags
// page, and for the root an event ring page.
#pragma once

#include <cstdint>

#include "hypervisor/core/error.h"

namespace hv {

struct Vp;

class Synic {};

}  // namespace hv
