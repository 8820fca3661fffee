// SPDX-License-Identifier: MIT
// Result<T, E>: a value or an error, with std::expected's member names, [[nodiscard]], and no path
// that throws. HV_TRY propagates the error; HV_TRY_ASSIGN also binds the value.
#pragma once

#include <new>
#include <type_traits>
#include <utility>

namespace base {

template <class E>
struct Unexpected {
  E error;
};
template <class E>
Unexpected(E) -> Unexpected<E>;

template <class T, class E>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  Result(T value) : has_value_(true) { new (&value_) T(std::move(value)); }
  Result(Unexpected<E> failure) : error_(failure.error), has_value_(false) {}
  Result(Result&& other) noexcept : has_value_(other.has_value_) {
    if (has_value_)
      new (&value_) T(std::move(other.value_));
    else
      error_ = other.error_;
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  ~Result() {
    if (has_value_) value_.~T();
  }

  bool has_value() const { return has_value_; }
  explicit operator bool() const { return has_value_; }
  T& operator*() & { return value_; }
  const T& operator*() const& { return value_; }
  T&& operator*() && { return std::move(value_); }
  T* operator->() { return &value_; }
  const T* operator->() const { return &value_; }
  E error() const { return error_; }
  template <class U>
  T value_or(U&& other) const {
    return has_value_ ? value_ : static_cast<T>(std::forward<U>(other));
  }

 private:
  union {
    T value_;
    E error_;
  };
  bool has_value_;
};

template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  using value_type = void;
  using error_type = E;

  Result() : error_{}, has_value_(true) {}
  Result(Unexpected<E> failure) : error_(failure.error), has_value_(false) {}

  bool has_value() const { return has_value_; }
  explicit operator bool() const { return has_value_; }
  E error() const { return error_; }

 private:
  E error_;
  bool has_value_;
};

}  // namespace base

#define HV_CONCAT_INNER(a, b) a##b
#define HV_CONCAT(a, b) HV_CONCAT_INNER(a, b)

// Returns the error of `expression` from the calling function, if there is one.
#define HV_TRY(expression)                                              \
  do {                                                                  \
    auto hv_try_result = (expression);                                  \
    if (!hv_try_result) return base::Unexpected{hv_try_result.error()}; \
  } while (false)

// Declares or assigns `target` from the value of `expression`, or returns its error.
#define HV_TRY_ASSIGN(target, expression) \
  HV_TRY_ASSIGN_INNER(HV_CONCAT(hv_try_, __LINE__), target, expression)
#define HV_TRY_ASSIGN_INNER(temporary, target, expression)    \
  auto temporary = (expression);                              \
  if (!temporary) return base::Unexpected{temporary.error()}; \
  target = *std::move(temporary)
