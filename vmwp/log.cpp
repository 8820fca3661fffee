// SPDX-License-Identifier: MIT
#include "vmwp/log.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace vmwp {

Result<std::unique_ptr<Log>> Log::open(const std::string& path, std::string name) {
  int fd = STDERR_FILENO;
  if (!path.empty()) {
    fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
      return bad_input(
          fmt::format("log {}: {}; accepted: a file to append to", path, std::strerror(errno)));
    }
  }
  return std::unique_ptr<Log>(new Log(fd, std::move(name)));
}

Log::~Log() {
  if (fd_ != STDERR_FILENO) ::close(fd_);
}

void Log::line(std::string_view text) {
  std::string entry;
  if (fd_ == STDERR_FILENO) {
    // The terminal may be in raw mode: bring the carriage back as well.
    entry = fmt::format("vmwp: {}: {}{}\n", name_, text, ::isatty(fd_) != 0 ? "\r" : "");
  } else {
    const auto now =
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
    entry = fmt::format("{:%FT%T}Z {}: {}\n", now, name_, text);
  }
  const std::lock_guard guard(lock_);
  // A log that cannot be written must not stop the VM.
  if (::write(fd_, entry.data(), entry.size()) < 0) return;
}

std::string printable(std::string_view bytes) {
  std::string text(bytes);
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c != '\n' && c != '\t' && (byte < 0x20 || byte >= 0x7F)) c = '.';
  }
  return text;
}

}  // namespace vmwp
