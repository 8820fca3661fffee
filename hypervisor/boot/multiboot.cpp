// SPDX-License-Identifier: MIT
// Multiboot 1: memory map, command line and modules. The order of the modules is fixed: the
// hypervisor image for AMD, Linux's kernel, its initrd; the first word of a module's command line
// is its file name and is dropped.

#include <cstring>

#include "hypervisor/boot/loader.h"

namespace hv::boot {
namespace {

constexpr uint32_t kBootMagic = 0x2badb002;
constexpr uint32_t kHasCommandLine = 1 << 2, kHasModules = 1 << 3, kHasMemoryMap = 1 << 6;

struct Information {  // [Multiboot 0.6.96, 3.3]
  uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
  uint32_t module_count, modules;
  uint32_t symbols[4];
  uint32_t memory_map_bytes, memory_map;
};
struct ModuleEntry {
  uint32_t start, end, command_line, reserved;
};
struct [[gnu::packed]] MemoryEntry {
  uint32_t size;
  uint64_t base, length;
  uint32_t type;
};

void copy_text(char* to, size_t capacity, uint32_t from, bool drop_first_word) {
  const char* text = reinterpret_cast<const char*>(static_cast<uint64_t>(from));
  if (!text) return;
  if (drop_first_word) {
    while (*text && *text != ' ') ++text;
    while (*text == ' ') ++text;
  }
  size_t length = 0;
  while (text[length] && length + 1 < capacity) {
    to[length] = text[length];
    ++length;
  }
  if (text[length]) stop("a command line is longer than its buffer");
  to[length] = 0;
}

void read_memory_map(Handover& handover, const Information& information) {
  uint64_t at = information.memory_map;
  const uint64_t end = at + information.memory_map_bytes;
  while (at + sizeof(MemoryEntry) <= end) {
    MemoryEntry entry;
    memcpy(&entry, reinterpret_cast<void*>(at), sizeof(entry));
    if (handover.memory_count == kMaxMemoryRanges) stop("the memory map has too many ranges");
    const uint32_t kind = entry.type >= 1 && entry.type <= 5 ? entry.type : 2;
    handover.memory[handover.memory_count++] = {entry.base, entry.length,
                                                static_cast<MemoryKind>(kind), 0};
    at += entry.size + sizeof(entry.size);
  }
}

}  // namespace

Handover read_multiboot(uint32_t magic, uint64_t address) {
  static Handover handover;  // too large for the stack
  if (magic != kBootMagic) stop("not started by a multiboot 1 boot program");
  Information information;
  memcpy(&information, reinterpret_cast<void*>(address), sizeof(information));
  if (!(information.flags & kHasMemoryMap)) stop("the boot program gave no memory map");
  if (information.flags & kHasCommandLine)
    copy_text(handover.command_line, sizeof(handover.command_line), information.command_line, true);
  read_memory_map(handover, information);

  const uint32_t count = information.flags & kHasModules ? information.module_count : 0;
  if (count < 2)
    stop("modules are missing: give the hypervisor image, Linux's kernel and its initrd, in order");
  Module* const targets[] = {&handover.hypervisor, &handover.kernel, &handover.initrd};
  for (uint32_t i = 0; i < count && i < 3; ++i) {
    ModuleEntry entry;
    memcpy(&entry, reinterpret_cast<void*>(information.modules + i * uint64_t{sizeof(entry)}),
           sizeof(entry));
    targets[i]->base = entry.start;
    targets[i]->size = entry.end - entry.start;
    copy_text(targets[i]->command_line, sizeof(targets[i]->command_line), entry.command_line, true);
  }
  return handover;
}

std::string_view option(std::string_view line, std::string_view key, std::string_view fallback) {
  size_t at = 0;
  while (at < line.size()) {
    size_t end = line.find(' ', at);
    if (end == std::string_view::npos) end = line.size();
    const std::string_view word = line.substr(at, end - at);
    if (word.size() > key.size() && word.substr(0, key.size()) == key && word[key.size()] == '=')
      return word.substr(key.size() + 1);
    at = end + 1;
  }
  return fallback;
}

}  // namespace hv::boot
