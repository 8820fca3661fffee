// SPDX-License-Identifier: MIT
// Hypercalls of Partita's own, where the TLFS has none for the purpose. Their codes lie far above
// the TLFS's, which count up from 1, and below the extended calls. Conventions as in
// abi/tlfs/hypercall.h; abi/root/hvcalls.h says the same in C.
#pragma once

#include "abi/tlfs/hypercall.h"
#include "abi/tlfs/layout.h"

namespace hv::abi {

inline constexpr uint16_t kHvPartitaCallFirst = 0x4000;
inline constexpr uint16_t kHvPartitaCallCount = 0x10;

// ReadHypervisorLog: the root only. Text from `position` on, a count of bytes since boot; from the
// oldest byte that is left if that one is gone. No text: the reader has caught up.
inline constexpr HvCall HvCallReadHypervisorLog{kHvPartitaCallFirst};

struct HvInputReadHypervisorLog {
  uint64_t position;
};
HV_ABI_STRUCT(HvInputReadHypervisorLog, 0x8);
HV_ABI_AT(HvInputReadHypervisorLog, position, 0x0);

struct HvOutputReadHypervisorLog {
  uint64_t next_position;
  uint32_t bytes;  // of text
  uint32_t reserved;
  char text[1008];
};
HV_ABI_STRUCT(HvOutputReadHypervisorLog, 0x400);
HV_ABI_AT(HvOutputReadHypervisorLog, next_position, 0x0);
HV_ABI_AT(HvOutputReadHypervisorLog, bytes, 0x8);
HV_ABI_AT(HvOutputReadHypervisorLog, reserved, 0xc);
HV_ABI_AT(HvOutputReadHypervisorLog, text, 0x10);

}  // namespace hv::abi
