// SPDX-License-Identifier: MIT
// How vmwp fails: a line for people and the exit status it leads to. Text never ends in a newline
// and never holds guest bytes that are not printable.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace vmwp {

/// Exit statuses, part of the interface: --help and the documentation list them.
enum class ExitStatus : int {
  kPoweredOff = 0,
  kError = 1,
  kBadInput = 2,
  kCrashed = 3,
  kKilled = 4,
};

struct Failure {
  ExitStatus status = ExitStatus::kError;
  std::string text;
};

template <class T = void>
using Result = std::expected<T, Failure>;

inline std::unexpected<Failure> fail(std::string text, ExitStatus status = ExitStatus::kError) {
  return std::unexpected(Failure{status, std::move(text)});
}
inline std::unexpected<Failure> bad_input(std::string text) {
  return fail(std::move(text), ExitStatus::kBadInput);
}

}  // namespace vmwp

// Returns the failure of `expression` from the calling function, if there is one.
#define HV_PROPAGATE(expression)                            \
  do {                                                      \
    if (auto&& hv_result = (expression); !hv_result)        \
      return std::unexpected(std::move(hv_result).error()); \
  } while (false)
