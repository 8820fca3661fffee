// SPDX-License-Identifier: MIT
// The hypervisor's log: lines go to its own console and into a ring that the root can read. Never
// blocks on a guest. Formatting is type-safe: "{}" decimal, "{x}" hexadecimal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace hv {

enum class LogLevel : uint8_t { info, warning, error };

class LogArg {
 public:
  template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
  constexpr LogArg(T value)
      : number_(static_cast<uint64_t>(value)),
        signed_(std::is_signed_v<T> && std::is_integral_v<T>) {}
  constexpr LogArg(std::string_view text) : text_(text), is_text_(true) {}
  constexpr LogArg(const char* text) : LogArg(std::string_view(text)) {}

  uint64_t number() const { return number_; }
  bool is_signed() const { return signed_; }
  bool is_text() const { return is_text_; }
  std::string_view text() const { return text_; }

 private:
  uint64_t number_ = 0;
  std::string_view text_;
  bool signed_ = false;
  bool is_text_ = false;
};

// Writes at most `capacity` bytes of the formatted text to `out`; returns the bytes written.
size_t format_to(char* out, size_t capacity, std::string_view format, const LogArg* args,
                 size_t count);

void log_line(LogLevel level, std::string_view format, const LogArg* args, size_t count);

template <class... Args>
void log(LogLevel level, std::string_view format, const Args&... args) {
  const LogArg array[] = {LogArg(args)..., LogArg(0)};
  log_line(level, format, array, sizeof...(args));
}

// Allows `burst` events per `interval` of reference time; for every line that a guest can trigger.
class RateLimit {
 public:
  constexpr RateLimit(uint32_t burst, uint64_t interval_100ns)
      : burst_(burst), interval_(interval_100ns) {}
  bool allow(uint64_t now_100ns);

 private:
  uint32_t burst_;
  uint32_t used_ = 0;
  uint64_t interval_;
  uint64_t window_start_ = 0;
};

[[noreturn]] void panic(std::string_view format, const LogArg* args, size_t count);
template <class... Args>
[[noreturn]] void panic(std::string_view format, const Args&... args) {
  const LogArg array[] = {LogArg(args)..., LogArg(0)};
  panic(format, array, sizeof...(args));
}

}  // namespace hv

// States an invariant of ours; never used on data that crossed a trust boundary.
#define HV_ASSERT(condition)                                                        \
  do {                                                                              \
    if (!(condition)) [[unlikely]]                                                  \
      ::hv::panic("assertion failed: {} at {}:{}", #condition, __FILE__, __LINE__); \
  } while (false)
