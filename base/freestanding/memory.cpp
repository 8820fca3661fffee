// SPDX-License-Identifier: MIT
// The four memory functions that compilers call on their own. Images only; hosted code has libc's.
// Word-wise loops: no SSE, and no `rep` whose start-up cost dominates small copies.

#include <cstddef>
#include <cstdint>

#if defined(PARTITA_FREESTANDING)

#if defined(__clang__)
#define HV_NO_IDIOM __attribute__((no_builtin))
#else
#define HV_NO_IDIOM __attribute__((optimize("no-tree-loop-distribute-patterns")))
#endif

namespace {
using Word __attribute__((may_alias, aligned(1))) = uint64_t;
}

extern "C" {

HV_NO_IDIOM void* memcpy(void* to, const void* from, size_t bytes) {
  auto* out = static_cast<uint8_t*>(to);
  auto* in = static_cast<const uint8_t*>(from);
  for (; bytes >= 8; bytes -= 8, out += 8, in += 8)
    *reinterpret_cast<Word*>(out) = *reinterpret_cast<const Word*>(in);
  for (; bytes; --bytes) *out++ = *in++;
  return to;
}

HV_NO_IDIOM void* memmove(void* to, const void* from, size_t bytes) {
  auto* out = static_cast<uint8_t*>(to);
  auto* in = static_cast<const uint8_t*>(from);
  if (out <= in || out >= in + bytes) return memcpy(to, from, bytes);
  out += bytes;
  in += bytes;
  for (; bytes >= 8; bytes -= 8) {
    out -= 8;
    in -= 8;
    *reinterpret_cast<Word*>(out) = *reinterpret_cast<const Word*>(in);
  }
  for (; bytes; --bytes) *--out = *--in;
  return to;
}

HV_NO_IDIOM void* memset(void* to, int value, size_t bytes) {
  auto* out = static_cast<uint8_t*>(to);
  const uint64_t word = 0x0101010101010101 * static_cast<uint8_t>(value);
  for (; bytes >= 8; bytes -= 8, out += 8) *reinterpret_cast<Word*>(out) = word;
  for (; bytes; --bytes) *out++ = static_cast<uint8_t>(value);
  return to;
}

HV_NO_IDIOM int memcmp(const void* left, const void* right, size_t bytes) {
  auto* a = static_cast<const uint8_t*>(left);
  auto* b = static_cast<const uint8_t*>(right);
  for (; bytes; --bytes, ++a, ++b)
    if (*a != *b) return *a < *b ? -1 : 1;
  return 0;
}

void* memchr(const void* from, int value, size_t bytes) {
  auto* in = static_cast<uint8_t*>(const_cast<void*>(from));
  for (; bytes; --bytes, ++in)
    if (*in == static_cast<uint8_t>(value)) return in;
  return nullptr;
}

size_t strlen(const char* text) {
  size_t length = 0;
  while (text[length]) ++length;
  return length;
}

}  // extern "C"

#endif
