// SPDX-License-Identifier: MIT
// The guest's side of the hypercall interface for tests: parameter blocks laid out in the caller's
// memory, and the instruction executed until it does not restart.
#pragma once

#include <cstring>
#include <vector>

#include "abi/tlfs/hypercall.h"
#include "abi/tlfs/status.h"
#include "hypervisor/core/hypercall.h"

namespace hv::fake {

// Pages of the caller that call() uses: mapped in children of Environment::make_child(), free in
// its root.
inline constexpr Gpa kInputPage = Gpa(0x10000), kOutputPage = Gpa(0x11000);

// What a root is allowed, as native code sets it.
extern const uint64_t kRootPrivileges;

struct Request {
  abi::HvCall code{};
  std::vector<uint8_t> input;
  std::vector<uint64_t> variable;
  std::vector<uint8_t> reps;
  unsigned rep_count = 0;
  unsigned rep_start = 0;
  size_t output_bytes = 0;  // to read back
  bool fast = false;
  Gpa input_gpa = kInputPage;  // fast calls have none
  Gpa output_gpa = kOutputPage;

  uint64_t control() const;
};

template <class T>
std::vector<uint8_t> bytes_of(const T& value) {
  std::vector<uint8_t> bytes(sizeof(T));
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

template <class In>
Request simple(abi::HvCall code, const In& in, size_t output_bytes = 0) {
  Request request;
  request.code = code;
  request.input = bytes_of(in);
  request.output_bytes = output_bytes;
  return request;
}

template <class In, class Rep>
Request rep(abi::HvCall code, const In& in, const std::vector<Rep>& elements,
            size_t output_bytes = 0) {
  Request request = simple(code, in, output_bytes);
  request.rep_count = static_cast<unsigned>(elements.size());
  request.reps.resize(elements.size() * sizeof(Rep));
  if (!elements.empty()) std::memcpy(request.reps.data(), elements.data(), request.reps.size());
  return request;
}

// Repetitions without input of their own.
template <class In>
Request counted(abi::HvCall code, const In& in, unsigned count, size_t output_bytes = 0) {
  Request request = simple(code, in, output_bytes);
  request.rep_count = count;
  return request;
}

struct Reply {
  abi::HvStatus status = abi::HvStatus::kSuccess;
  unsigned reps = 0;
  unsigned entries = 0;  // how often the instruction was executed
  bool stuck = false;    // it never ended
  std::vector<uint8_t> output;

  bool ok() const { return !stuck && status == abi::HvStatus::kSuccess; }
  template <class T>
  T as(size_t index = 0) const {
    T value{};
    if (output.size() >= (index + 1) * sizeof(T))
      std::memcpy(&value, output.data() + index * sizeof(T), sizeof(T));
    return value;
  }
};

// `max_entries` bounds the restarts.
Reply call(Vp& caller, const Request& request, unsigned max_entries = 100'000);

}  // namespace hv::fake
