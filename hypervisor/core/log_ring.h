// SPDX-License-Identifier: MIT
// The last bytes of the log. Readers keep a position, a count of bytes since boot; one that fell
// behind continues with the oldest byte that is left.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv {

class LogRing {
 public:
  static constexpr size_t kBytes = 64 * 1024;

  void append(std::string_view text) {
    for (char c : text) bytes_[end_++ % kBytes] = c;
  }
  size_t read(uint64_t& position, char* out, size_t capacity) const {
    if (end_ > kBytes && position < end_ - kBytes) position = end_ - kBytes;
    size_t count = 0;
    while (position < end_ && count < capacity) out[count++] = bytes_[position++ % kBytes];
    return count;
  }

 private:
  std::array<char, kBytes> bytes_{};
  uint64_t end_ = 0;
};

// Copies log text from `position` on and advances it; returns the bytes copied.
size_t read_log(uint64_t& position, char* out, size_t capacity);

}  // namespace hv
