// SPDX-License-Identifier: MIT
// What the programs of runtime.py share: the kernel's account of this process over a stretch of
// time, and the one line of JSON that a program prints.
#pragma once

#include <sys/resource.h>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace bench {

[[noreturn]] inline void die(std::string_view what) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

/// The same with what errno says.
[[noreturn]] inline void die_of_errno(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Usage {
  double seconds = 0;
  double cpu_seconds = 0;
  int64_t switches = 0;  // voluntary and not
};

/// Since its construction.
class Meter {
 public:
  Meter() { ::getrusage(RUSAGE_SELF, &before_); }

  Usage read() const {
    const auto end = Clock::now();
    rusage after{};
    ::getrusage(RUSAGE_SELF, &after);
    return {
        .seconds = std::chrono::duration<double>(end - start_).count(),
        .cpu_seconds = cpu(after) - cpu(before_),
        .switches = after.ru_nvcsw + after.ru_nivcsw - before_.ru_nvcsw - before_.ru_nivcsw,
    };
  }

 private:
  using Clock = std::chrono::steady_clock;

  static double cpu(const rusage& usage) {
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  }

  rusage before_{};
  Clock::time_point start_ = Clock::now();
};

/// {"bench": "post", "peer": "asio", ...}
class Line {
 public:
  Line(std::string_view bench, std::string_view peer) {
    text_ = "{\"bench\": \"" + std::string(bench) + "\", \"peer\": \"" + std::string(peer) + "\"";
  }
  template <std::integral Number>
  Line& add(std::string_view name, Number value) {
    return append(name, std::to_string(value));
  }
  Line& add(std::string_view name, double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.6g", value);
    return append(name, text);
  }
  Line& add(const Usage& usage) {
    add("seconds", usage.seconds);
    add("cpu_seconds", usage.cpu_seconds);
    return add("switches", usage.switches);
  }
  void print() {
    std::printf("%s}\n", text_.c_str());
    std::fflush(stdout);
  }

 private:
  Line& append(std::string_view name, std::string_view value) {
    text_ += ", \"" + std::string(name) + "\": " + std::string(value);
    return *this;
  }

  std::string text_;
};

/// Steps that depend on each other, of which no compiler can spare one.
inline uint64_t compute(uint64_t value, uint64_t steps) {
  for (uint64_t i = 0; i < steps; ++i) {
    value = value * 6364136223846793005ULL + 1442695040888963407ULL;
    asm volatile("" : "+r"(value));
  }
  return value;
}

/// The implementation to time: the program's only argument.
inline std::string_view peer(int argc, char** argv) {
  if (argc != 2) die("usage: PROGRAM PEER");
  return argv[1];
}

}  // namespace bench
