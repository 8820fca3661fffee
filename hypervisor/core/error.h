// SPDX-License-Identifier: MIT
// Errors inside the hypervisor. to_status() in hypercall.h turns them into TLFS status codes at the
// edge, and nowhere else.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace hv {

enum class Error : uint8_t {
  access_denied,
  invalid_alignment,
  invalid_parameter,
  invalid_hypercall_code,
  invalid_hypercall_input,
  operation_denied,
  unknown_property,
  property_value_out_of_range,
  insufficient_memory,
  invalid_partition_id,
  invalid_partition_state,
  invalid_vp_index,
  invalid_vp_state,
  invalid_lp_index,
  invalid_register_value,
  not_found,
  invalid_port_id,
  invalid_connection_id,
  insufficient_buffers,
  not_acknowledged,
  invalid_synic_state,
  object_in_use,
  no_resources,
  feature_unavailable,
  operation_failed,
  // Not a status: the caller's instruction is executed again, after other work had its turn.
  retry,
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
