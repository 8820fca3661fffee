// SPDX-License-Identifier: MIT
// Guest memory, read and written by value only: copy once into a local, validate the local, use the
// local. Every page is looked up in the partition's GPA space with the access that is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hypervisor/core/partition.h"

namespace hv {

// Errors: unmapped. May have copied a part when they fail.
Result<> copy_in_bytes(const Partition& partition, Gpa from, void* to, size_t bytes);
Result<> copy_out_bytes(const Partition& partition, Gpa to, const void* from, size_t bytes);

template <class T>
Result<T> copy_in(const Partition& partition, Gpa from) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  HV_TRY(copy_in_bytes(partition, from, &value, sizeof(T)));
  return value;
}

template <class T>
Result<> copy_out(const Partition& partition, Gpa to, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return copy_out_bytes(partition, to, &value, sizeof(T));
}

// The system-physical page behind a guest page, for structures that both sides update atomically
// (message and event pages). Valid until the handler returns. Error: unmapped.
Result<Spa> pin_page(const Partition& partition, Gpa page, Access access);

}  // namespace hv
