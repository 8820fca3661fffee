// SPDX-License-Identifier: MIT
// Task<T>: a coroutine that begins when it is awaited and answers a T, once. Errors are values
// (Task<Result<T>>); an exception that leaves a task ends the process. A task runs under a
// CancelSource, its awaiter's unless it is told another, and every request that it awaits is ended
// by that source.
#pragma once

#include <cassert>
#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "runtime/cancel.h"
#include "runtime/error.h"

namespace runtime {

/// What a promise has, whatever the task answers.
class TaskPromiseBase {
 public:
  const CancelSource* cancel_source() const { return source_; }
  void set_cancel_source(const CancelSource* source) { source_ = source; }
  void set_continuation(std::coroutine_handle<> continuation) { continuation_ = continuation; }

  std::suspend_always initial_suspend() noexcept { return {}; }
  auto final_suspend() noexcept { return Final{}; }
  void unhandled_exception() noexcept { std::terminate(); }

 private:
  struct Final {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> handle) noexcept {
      return handle.promise().continuation_;
    }
    void await_resume() noexcept {}
  };

  std::coroutine_handle<> continuation_;
  const CancelSource* source_ = nullptr;
};

template <class T>
class TaskPromise : public TaskPromiseBase {
 public:
  template <class U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T take() { return *std::move(value_); }

 private:
  std::optional<T> value_;
};

template <>
class TaskPromise<void> : public TaskPromiseBase {
 public:
  void return_void() {}
  void take() {}
};

template <class T = void>
class [[nodiscard]] Task {
 public:
  class promise_type : public TaskPromise<T> {
   public:
    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
  };
  using Value = T;

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  /// Runs the task under `source` instead of the awaiter's; `source` must outlive it.
  Task under(const CancelSource& source) && {
    handle_.promise().set_cancel_source(&source);
    return std::move(*this);
  }

  // The awaiter owns the task, so that its frame, with the arguments in it, is gone when the
  // awaiting expression ends.
  class Await {
   public:
    explicit Await(Task task) : task_(std::move(task)) {}

    bool await_ready() const { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiter) {
      promise_type& promise = task_.handle_.promise();
      promise.set_continuation(awaiter);
      if constexpr (requires { awaiter.promise().cancel_source(); })
        if (!promise.cancel_source()) promise.set_cancel_source(awaiter.promise().cancel_source());
      return task_.handle_;
    }
    T await_resume() { return task_.handle_.promise().take(); }

   private:
    Task task_;
  };

  Await operator co_await() && { return Await(std::move(*this)); }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

/// `co_await this_source()` answers the source under which the awaiting task runs.
struct this_source {
  bool await_ready() const { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    source = handle.promise().cancel_source();
    return false;
  }
  const CancelSource& await_resume() const {
    assert(source);
    return *source;
  }
  const CancelSource* source = nullptr;
};

}  // namespace runtime
