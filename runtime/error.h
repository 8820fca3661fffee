// SPDX-License-Identifier: MIT
// How the runtime fails: a std::error_code of the system's category, as a value. Nothing throws
// for what a system call can answer. RT_TRY propagates an error, RT_TRY_ASSIGN also binds a value;
// in a coroutine, RT_CO_TRY and RT_CO_TRY_ASSIGN do the same.
#pragma once

#include <expected>
#include <system_error>

namespace runtime {

template <class T = void>
using Result = std::expected<T, std::error_code>;

inline std::error_code system_error(int number) {
  return {number, std::system_category()};
}
inline std::unexpected<std::error_code> failure(int number) {
  return std::unexpected(system_error(number));
}

}  // namespace runtime

#define RT_CONCAT_INNER(a, b) a##b
#define RT_CONCAT(a, b) RT_CONCAT_INNER(a, b)

#define RT_TRY_WITH(leave, expression)                                \
  do {                                                                \
    auto rt_try_result = (expression);                                \
    if (!rt_try_result) leave std::unexpected(rt_try_result.error()); \
  } while (false)
#define RT_TRY_ASSIGN_WITH(leave, temporary, target, expression) \
  auto temporary = (expression);                                 \
  if (!temporary) leave std::unexpected(temporary.error());      \
  target = *std::move(temporary)

// Returns the error of `expression` from the calling function, if there is one.
#define RT_TRY(expression) RT_TRY_WITH(return, expression)
// Declares or assigns `target` from the value of `expression`, or returns its error.
#define RT_TRY_ASSIGN(target, expression) \
  RT_TRY_ASSIGN_WITH(return, RT_CONCAT(rt_try_, __LINE__), target, expression)
#define RT_CO_TRY(expression) RT_TRY_WITH(co_return, expression)
#define RT_CO_TRY_ASSIGN(target, expression) \
  RT_TRY_ASSIGN_WITH(co_return, RT_CONCAT(rt_try_, __LINE__), target, expression)
