// SPDX-License-Identifier: MIT
// CancelSource: one switch for everything that a scope has in flight. cancel() reaches requests
// that the kernel already holds, on whichever thread's ring; requests issued later fail at once. A
// source below another one is cancelled with it. It costs a running request nothing but one load.
#pragma once

#include <atomic>

namespace runtime {

class Port;

class CancelSource {
 public:
  explicit CancelSource(Port& port, const CancelSource* parent = nullptr)
      : port_(port), parent_(parent) {}
  CancelSource(const CancelSource&) = delete;
  CancelSource& operator=(const CancelSource&) = delete;

  /// Any thread, any number of times. Every request below this source completes exactly once:
  /// with ECANCELED, or with what it had already achieved.
  void cancel();

  bool cancelled() const {
    for (const CancelSource* source = this; source; source = source->parent_)
      if (source->cancelled_.load(std::memory_order_acquire)) return true;
    return false;
  }
  /// Whether this source is `other` or stands below it.
  bool below(const CancelSource* other) const {
    const CancelSource* source = this;
    while (source && source != other) source = source->parent_;
    return source != nullptr;
  }
  Port& port() const { return port_; }

 private:
  Port& port_;
  const CancelSource* parent_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace runtime
