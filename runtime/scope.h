// SPDX-License-Identifier: MIT
// Structured concurrency: nothing that is started outlives the one who started it. A Scope's tasks
// run side by side and are joined before the scope ends; when_all and with_deadline are scopes with
// a fixed shape; block_on is where threads meet coroutines. Tasks run on threads of the port only.
#pragma once

#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <exception>
#include <mutex>
#include <optional>
#include <tuple>
#include <variant>
#include <vector>

#include "runtime/port.h"
#include "runtime/task.h"

namespace runtime {

/// A coroutine that nobody awaits: it starts itself on a thread of the port, and its frame goes
/// when it ends. What it returns is resumed then.
class Detached {
 public:
  class promise_type : public Operation {
   public:
    promise_type()
        : Operation([](Operation& operation) {
            static_cast<promise_type&>(operation).handle().resume();
          }) {}

    const CancelSource* cancel_source() const { return source_; }

    Detached get_return_object() { return Detached(*this); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Final {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> handle) noexcept {
          const std::coroutine_handle<> then = handle.promise().then_;
          handle.destroy();
          return then ? then : std::noop_coroutine();
        }
        void await_resume() noexcept {}
      };
      return Final{};
    }
    void return_value(std::coroutine_handle<> then) { then_ = then; }
    void unhandled_exception() noexcept { std::terminate(); }

   private:
    friend class Detached;
    std::coroutine_handle<promise_type> handle() {
      return std::coroutine_handle<promise_type>::from_promise(*this);
    }

    const CancelSource* source_ = nullptr;
    std::coroutine_handle<> then_;
  };

  /// At once on a thread of the port, else through its queue.
  void start(const CancelSource& source) {
    promise_.source_ = &source;
    Port& port = source.port();
    if (port.seated())
      promise_.handle().resume();
    else
      port.post(promise_, Key{});
  }

 private:
  explicit Detached(promise_type& promise) : promise_(promise) {}
  promise_type& promise_;
};

/// Counts what runs and lets one coroutine wait for the last of it.
class Join {
 public:
  void add(uint32_t count = 1) { pending_.fetch_add(count, std::memory_order_relaxed); }
  /// To be resumed by the caller, if anything; this may be gone by then.
  std::coroutine_handle<> done() {
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) != 1) return {};
    return waiter_;
  }
  bool joined() const { return pending_.load(std::memory_order_acquire) == 0; }
  /// Whether anything was added that nobody waited for.
  bool abandoned() const { return pending_.load(std::memory_order_acquire) > 1; }

  auto operator co_await() {
    struct Await {
      bool await_ready() const { return false; }
      bool await_suspend(std::coroutine_handle<> waiter) {
        join.waiter_ = waiter;
        return join.pending_.fetch_sub(1, std::memory_order_acq_rel) != 1;
      }
      void await_resume() {}
      Join& join;
    };
    return Await{*this};
  }

 private:
  std::atomic<uint32_t> pending_ = 1;  // the one who waits counts too
  std::coroutine_handle<> waiter_;
};

/// Tasks that run side by side. A task that answers an error ends the others. join() must have been
/// awaited before a scope with tasks ends.
class Scope {
 public:
  explicit Scope(Port& port) : source_(port) {}
  explicit Scope(const CancelSource& parent) : source_(parent.port(), &parent) {}
  ~Scope() {
    if (join_.abandoned()) std::terminate();
  }

  void spawn(Task<Result<>> task) {
    join_.add();
    run(std::move(task)).start(source_);
  }
  void spawn(Task<void> task) {
    join_.add();
    run(std::move(task)).start(source_);
  }

  /// Ends everything of the scope that waits for the kernel, a timer or a signal; any thread.
  void cancel() { source_.cancel(); }
  const CancelSource& source() const { return source_; }

  /// Waits for every task, also for those that they spawn here meanwhile; answers the first error.
  Task<Result<>> join() {
    co_await join_;
    const int error = error_.load(std::memory_order_acquire);
    if (error) co_return failure(error);
    co_return Result<>();
  }

 private:
  Detached run(Task<Result<>> task) {
    const Result<> result = co_await std::move(task);
    if (!result) {
      int none = 0;
      if (error_.compare_exchange_strong(none, result.error().value(), std::memory_order_acq_rel))
        source_.cancel();
    }
    co_return join_.done();
  }
  Detached run(Task<void> task) {
    co_await std::move(task);
    co_return join_.done();
  }

  CancelSource source_;
  std::atomic<int> error_ = 0;
  Join join_;
};

namespace detail {

template <class T>
using Held = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
Detached store(Task<T> task, std::optional<Held<T>>& result, Join& join) {
  if constexpr (std::is_void_v<T>) {
    co_await std::move(task);
    result.emplace();
  } else {
    result.emplace(co_await std::move(task));
  }
  co_return join.done();
}

}  // namespace detail

/// Runs the tasks side by side and answers what each answered, in order; std::monostate for void.
template <class... T>
Task<std::tuple<detail::Held<T>...>> when_all(Task<T>... tasks) {
  const CancelSource& source = co_await this_source();
  Join join;
  join.add(sizeof...(T));
  std::tuple<std::optional<detail::Held<T>>...> results;
  std::apply(
      [&](auto&... result) { (detail::store(std::move(tasks), result, join).start(source), ...); },
      results);
  co_await join;
  co_return std::apply(
      [](auto&... result) { return std::tuple<detail::Held<T>...>(*std::move(result)...); },
      results);
}

template <class T>
Task<std::vector<detail::Held<T>>> when_all(std::vector<Task<T>> tasks) {
  const CancelSource& source = co_await this_source();
  Join join;
  std::vector<std::optional<detail::Held<T>>> results(tasks.size());
  for (size_t i = 0; i < tasks.size(); ++i) {
    join.add();
    detail::store(std::move(tasks[i]), results[i], join).start(source);
  }
  co_await join;
  std::vector<detail::Held<T>> values;
  values.reserve(results.size());
  for (auto& result : results) values.push_back(*std::move(result));
  co_return values;
}

namespace detail {

// The half of with_deadline that runs beside the task.
class Deadline {
 public:
  Deadline(const CancelSource& parent, Instant deadline)
      : work_(parent.port(), &parent), clock_(parent.port(), &parent) {
    join_.add();
    store(expire(deadline), over_, join_).start(clock_);
  }

  const CancelSource& work() const { return work_; }
  bool expired() const { return expired_; }
  /// The work is done; to be awaited.
  Join& stop() {
    clock_.cancel();
    return join_;
  }

 private:
  Task<> expire(Instant deadline) {
    const Result<> slept = co_await clock_.port().sleep_until(deadline);
    if (!slept) co_return;
    expired_ = true;
    work_.cancel();
  }

  CancelSource work_;
  CancelSource clock_;
  bool expired_ = false;
  Join join_;
  std::optional<std::monostate> over_;
};

}  // namespace detail

/// Runs the task until the deadline; then it is cancelled, and if it answers ECANCELED, that
/// becomes ETIMEDOUT. What it achieved in spite of the deadline stays.
template <class T>
Task<Result<T>> with_deadline(Instant deadline, Task<Result<T>> task) {
  const CancelSource& parent = co_await this_source();
  detail::Deadline timer(parent, deadline);
  Result<T> result = co_await std::move(task).under(timer.work());
  co_await timer.stop();
  if (!result && timer.expired() && !parent.cancelled() &&
      result.error() == system_error(ECANCELED))
    co_return failure(ETIMEDOUT);
  co_return result;
}

namespace detail {

template <class T>
Detached finish(Port& port, Task<T> task, std::optional<Held<T>>& result, std::mutex& mutex,
                std::condition_variable& changed, bool& done) {
  if constexpr (std::is_void_v<T>) {
    co_await std::move(task);
    result.emplace();
  } else {
    result.emplace(co_await std::move(task));
  }
  // Under the lock: whoever waits takes all of this away once it has seen it.
  const std::lock_guard guard(mutex);
  done = true;
  changed.notify_all();
  port.nudge();
  co_return std::coroutine_handle<>();
}

}  // namespace detail

/// Runs a task from outside of any, and waits for it: a thread with a seat serves the port
/// meanwhile, any other sleeps while the port's threads do.
template <class T>
T block_on(Port& port, Task<T> task) {
  CancelSource source(port);
  std::optional<detail::Held<T>> result;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  detail::finish(port, std::move(task), result, mutex, changed, done).start(source);
  std::unique_lock lock(mutex);
  if (port.seated()) {
    while (!done) {
      lock.unlock();
      port.serve_once();
      lock.lock();
    }
  } else {
    changed.wait(lock, [&done] { return done; });
  }
  lock.unlock();
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace runtime
