// SPDX-License-Identifier: MIT
// The VM's log: one line an entry, to a file or standard error, from any thread. Lines that a guest
// causes are the callers' to rate-limit (chipset::RateLimit).
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "vmwp/failure.h"

namespace vmwp {

class Log {
 public:
  /// An empty path means standard error.
  static Result<std::unique_ptr<Log>> open(const std::string& path, std::string name);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void line(std::string_view text);

 private:
  Log(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  std::mutex lock_;
  int fd_;
  std::string name_;
};

/// `bytes` with everything unprintable but newline and tab replaced by '.'.
std::string printable(std::string_view bytes);

}  // namespace vmwp
