// SPDX-License-Identifier: MIT
// HV_STATUS: what a hypercall reports in bits 15:0 of its result. [TLFS Appendix B, Linux
// hvgdk_mini.h] An unlisted value is legal. TLFS v6.0b prints INSUFFICIENT_BUFFERS as 0x33, Linux
// retries on 0x13: PostMessage and SignalEvent use kInsufficientBuffers (0x13).
#pragma once

#include <cstdint>

namespace hv::abi {

enum class HvStatus : uint16_t {
  kSuccess = 0x00,
  kInvalidHypercallCode = 0x02,
  kInvalidHypercallInput = 0x03,  // control word: reserved bits, rep count, fast, variable header
  kInvalidAlignment = 0x04,       // a parameter block is misaligned or crosses a page
  kInvalidParameter = 0x05,
  kAccessDenied = 0x06,  // the caller lacks a privilege or the right relation to the target
  kInvalidPartitionState = 0x07,
  kOperationDenied = 0x08,
  kUnknownProperty = 0x09,
  kPropertyValueOutOfRange = 0x0a,
  kInsufficientMemory = 0x0b,  // deposit pages and repeat the call
  kInvalidPartitionId = 0x0d,
  kInvalidVpIndex = 0x0e,
  kNotFound = 0x10,
  kInvalidPortId = 0x11,
  kInvalidConnectionId = 0x12,
  kInsufficientBuffers = 0x13,  // message queue full, try again
  kNotAcknowledged = 0x14,
  kInvalidVpState = 0x15,
  kInvalidSynicState = 0x18,  // SynIC or SINT disabled or masked
  kObjectInUse = 0x19,
  kNoResources = 0x1d,  // WithdrawMemory: nothing (more) to give back
  kFeatureUnavailable = 0x1e,
  kInvalidLpIndex = 0x41,
  kInvalidRegisterValue = 0x50,
  kOperationFailed = 0x71,
};

static_assert(sizeof(HvStatus) == 2);

}  // namespace hv::abi
