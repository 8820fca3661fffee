// SPDX-License-Identifier: MIT
// One virtual processor: a thread that sits in RUN_VP and answers the intercept messages that come
// out. handle() is the table of contents of those messages and needs no thread: tests call it.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "abi/tlfs/message.h"
#include "vmwp/emulate.h"
#include "vmwp/failure.h"

namespace vmwp {

enum class EndKind { kPoweredOff, kReset, kCrashed, kKilled, kError };

/// How a VM ended. `text` is empty, or a line of explanation.
struct Ending {
  EndKind kind;
  std::string text;
  std::string detail;  // more lines for the log: a panic's text, registers
};

class Vp {
 public:
  /// `end` may be called from the VP's thread, several times; the first call counts. `goes_on` is
  /// asked there when the guest reports a panic: true if the VM runs on.
  Vp(const EmulationContext& context, std::function<void(Ending)> end,
     std::function<bool(const Ending&)> goes_on)
      : context_(context), end_(std::move(end)), goes_on_(std::move(goes_on)) {}
  ~Vp() { stop(); }
  Vp(const Vp&) = delete;
  Vp& operator=(const Vp&) = delete;

  void start();
  /// Tells the thread to stop after what it is doing; join() waits for that.
  void request_stop() { stopping_ = true; }
  void stop();

  /// Answers one message. Sets the VP's registers so that it can run again, or says how the VM
  /// ends.
  std::optional<Ending> handle(const hv::abi::HvMessage& message);

 private:
  void loop();
  static bool is_crash_notice(const hv::abi::HvX64MsrInterceptMessage& message);
  Ending guest_crash();
  Result<> handle_msr(const hv::abi::HvX64MsrInterceptMessage& message, RegisterBatch& batch);
  Ending triple_fault(const hv::abi::HvX64InterceptMessageHeader& header);
  std::string describe_registers();

  EmulationContext context_;
  std::function<void(Ending)> end_;
  std::function<bool(const Ending&)> goes_on_;
  std::thread thread_;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> left_ = false;  // the loop is over: no need to interrupt RUN_VP any more
};

}  // namespace vmwp
