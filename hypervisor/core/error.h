// SPDX-License-Identifier: MIT
// Errors inside the hypervisor: those of the TLFS, and some that never leave it. to_status() in
// hypercall.h turns them into status codes at the edge, and nowhere else.
#pragma once

#include <cstdint>
#include <utility>

#include "abi/tlfs/status.h"
#include "base/result.h"

namespace hv {

enum class Error : uint16_t {
  access_denied = std::to_underlying(abi::HvStatus::kAccessDenied),
  invalid_alignment = std::to_underlying(abi::HvStatus::kInvalidAlignment),
  invalid_parameter = std::to_underlying(abi::HvStatus::kInvalidParameter),
  invalid_hypercall_code = std::to_underlying(abi::HvStatus::kInvalidHypercallCode),
  invalid_hypercall_input = std::to_underlying(abi::HvStatus::kInvalidHypercallInput),
  operation_denied = std::to_underlying(abi::HvStatus::kOperationDenied),
  unknown_property = std::to_underlying(abi::HvStatus::kUnknownProperty),
  property_value_out_of_range = std::to_underlying(abi::HvStatus::kPropertyValueOutOfRange),
  insufficient_memory = std::to_underlying(abi::HvStatus::kInsufficientMemory),
  invalid_partition_id = std::to_underlying(abi::HvStatus::kInvalidPartitionId),
  invalid_partition_state = std::to_underlying(abi::HvStatus::kInvalidPartitionState),
  invalid_vp_index = std::to_underlying(abi::HvStatus::kInvalidVpIndex),
  invalid_vp_state = std::to_underlying(abi::HvStatus::kInvalidVpState),
  invalid_lp_index = std::to_underlying(abi::HvStatus::kInvalidLpIndex),
  invalid_register_value = std::to_underlying(abi::HvStatus::kInvalidRegisterValue),
  not_found = std::to_underlying(abi::HvStatus::kNotFound),
  invalid_port_id = std::to_underlying(abi::HvStatus::kInvalidPortId),
  invalid_connection_id = std::to_underlying(abi::HvStatus::kInvalidConnectionId),
  insufficient_buffers = std::to_underlying(abi::HvStatus::kInsufficientBuffers),
  not_acknowledged = std::to_underlying(abi::HvStatus::kNotAcknowledged),
  invalid_synic_state = std::to_underlying(abi::HvStatus::kInvalidSynicState),
  object_in_use = std::to_underlying(abi::HvStatus::kObjectInUse),
  no_resources = std::to_underlying(abi::HvStatus::kNoResources),
  feature_unavailable = std::to_underlying(abi::HvStatus::kFeatureUnavailable),
  operation_failed = std::to_underlying(abi::HvStatus::kOperationFailed),
  // Not a status: the caller's instruction is executed again, after other work had its turn.
  retry = 0xf000,
  // Not a status: the guest-physical address is not backed by memory of that access.
  unmapped,
  // Not a status: raise the named exception in the guest.
  inject_gp,
  inject_ud,
};

template <class T = void>
using Result = base::Result<T, Error>;

inline base::Unexpected<Error> fail(Error error) {
  return base::Unexpected<Error>{error};
}

}  // namespace hv
