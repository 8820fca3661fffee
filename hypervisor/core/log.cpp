// SPDX-License-Identifier: MIT
// Formatting and the log ring.

#include "hypervisor/core/log.h"

#include <cstring>

#include "base/lock.h"
#include "hypervisor/core/console.h"
#include "hypervisor/core/log_ring.h"
#include "hypervisor/core/time.h"

namespace hv {
namespace {

base::SpinLock log_lock{90};
LogRing ring HV_GUARDED_BY(log_lock);

class Writer {
 public:
  Writer(char* out, size_t capacity) : out_(out), capacity_(capacity) {}
  void put(char c) {
    if (used_ < capacity_) out_[used_++] = c;
  }
  void put(std::string_view text) {
    for (char c : text) put(c);
  }
  void put_number(uint64_t value, unsigned base, unsigned width = 1, char pad = '0') {
    char digits[20];
    unsigned count = 0;
    do digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    for (unsigned i = count; i < width; ++i) put(pad);
    while (count) put(digits[--count]);
  }
  void put_arg(const LogArg& arg, bool hex) {
    if (arg.is_text()) return put(arg.text());
    uint64_t value = arg.number();
    if (hex) {
      put("0x");
      return put_number(value, 16);
    }
    if (arg.is_signed() && static_cast<int64_t>(value) < 0) {
      put('-');
      value = 0 - value;
    }
    put_number(value, 10);
  }
  size_t used() const { return used_; }

 private:
  char* out_;
  size_t capacity_;
  size_t used_ = 0;
};

void format_into(Writer& writer, std::string_view format, const LogArg* args, size_t count) {
  size_t next = 0;
  for (size_t i = 0; i < format.size(); ++i) {
    const bool plain = format.substr(i, 2) == "{}", hex = format.substr(i, 3) == "{x}";
    if ((!plain && !hex) || next == count) {
      writer.put(format[i]);
      continue;
    }
    writer.put_arg(args[next++], hex);
    i += plain ? 1 : 2;
  }
}

std::string_view name(LogLevel level) {
  switch (level) {
    case LogLevel::info:
      return "";
    case LogLevel::warning:
      return "warning: ";
    case LogLevel::error:
      return "error: ";
  }
  return "";
}

}  // namespace

size_t format_to(char* out, size_t capacity, std::string_view format, const LogArg* args,
                 size_t count) {
  Writer writer(out, capacity);
  format_into(writer, format, args, count);
  return writer.used();
}

void log_line(LogLevel level, std::string_view format, const LogArg* args, size_t count) {
  char line[256];
  Writer writer(line, sizeof(line) - 1);
  const uint64_t us = time_scale.tsc_hz ? time_scale.ticks_to_100ns(read_tsc()) / 10 : 0;
  writer.put('[');
  writer.put_number(us / 1'000'000, 10, 5, ' ');
  writer.put('.');
  writer.put_number(us % 1'000'000, 10, 6);
  writer.put("] hv: ");
  writer.put(name(level));
  format_into(writer, format, args, count);
  size_t used = writer.used();
  line[used++] = '\n';
  base::Guard guard(log_lock);
  ring.append({line, used});
  console_write({line, used});
}

size_t read_log(uint64_t& position, char* out, size_t capacity) {
  base::Guard guard(log_lock);
  return ring.read(position, out, capacity);
}

bool RateLimit::allow(uint64_t now) {
  if (now - window_start_ >= interval_) {
    window_start_ = now;
    used_ = 0;
  }
  return used_++ < burst_;
}

}  // namespace hv
