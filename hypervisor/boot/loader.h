// SPDX-License-Identifier: MIT
// Parts of hvloader. It runs once, single-threaded, on an identity map of the first 4 GB; what it
// cannot do ends in a sentence on the console and, where a Linux kernel is at hand, in booting that
// kernel bare.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hypervisor/boot/boot_info.h"

namespace hv::boot {

// --- console.cpp ---
void console_init();
void print(std::string_view text);
void print_hex(uint64_t value);
void print_number(uint64_t value);
template <class... Rest>
void say(std::string_view text, Rest... rest);
[[noreturn]] void stop(std::string_view reason);

// --- multiboot.cpp: what the boot program left, copied out of the memory it sits in ---
struct Module {
  uint64_t base = 0, size = 0;
  char command_line[2048] = {};
  bool present() const { return size != 0; }
};
struct Handover {
  char command_line[256] = {};
  Module hypervisor, kernel, initrd;
  MemoryRange memory[kMaxMemoryRanges];
  uint32_t memory_count = 0;
};
Handover read_multiboot(uint32_t magic, uint64_t information);
// The value of `key=` in a command line, or `fallback`.
std::string_view option(std::string_view command_line, std::string_view key,
                        std::string_view fallback);

// --- memory.cpp ---
// Takes `bytes` (2 MB aligned) from the top of usable memory below 4 GB and marks them reserved.
uint64_t take_region(Handover& handover, uint64_t bytes);
uint64_t top_of_ram(const Handover& handover);
uint64_t total_ram(const Handover& handover);
// Bump allocation of zeroed pages inside the region.
class Region {
 public:
  Region(uint64_t base, uint64_t size) : next_(base), end_(base + size) {}
  uint64_t take(uint64_t bytes, uint64_t alignment = 4096);
  uint64_t next() const { return next_; }
  uint64_t left() const { return end_ - next_; }

 private:
  uint64_t next_, end_;
};

// --- acpi.cpp ---
// Fills RSDP, processors, APIC bases and the PM timer from the firmware's tables; hides the IOMMU's
// tables (IVRS, DMAR) from the root, since the hypervisor owns interrupt remapping.
void read_acpi(BootInfo& info);

// --- page_tables.cpp ---
class PageTables {
 public:
  explicit PageTables(Region& region) : region_(region), root_(region.take(4096)) {}
  uint64_t root() const { return root_; }
  struct Rights {
    bool write, execute;
  };
  void map(uint64_t address, uint64_t physical, uint64_t bytes, Rights rights);
  // Shares the loader's own identity map until every LP has left the loader.
  void link_identity(uint64_t table);

 private:
  uint64_t* entry(uint64_t address, unsigned level);
  Region& region_;
  uint64_t root_;
};

// --- image.cpp: the hypervisor's ELF64 image ---
struct LoadedImage {
  uint64_t entry, base, size;
};
LoadedImage load_image(const Module& module, Region& region, PageTables& tables);

// --- linux.cpp: Linux's 64-bit boot protocol ---
// Places kernel, initrd and boot parameters in the root's memory and fills the root_* fields.
void load_linux(Handover& handover, BootInfo& info);

// --- processors.cpp ---
// Starts every processor of info.lp_apic_ids but this one at `entry`; drops those that do not come.
void start_processors(BootInfo& info, uint64_t entry);

// nullptr if the processor can run the hypervisor, else what is missing.
const char* missing_feature(bool& is_amd);

extern "C" {
[[noreturn]] void enter_linux(uint64_t entry, uint64_t params, uint64_t page_tables,
                              const void* gdt_pointer, uint64_t stack);
[[noreturn]] void enter_hypervisor(uint64_t entry, const BootInfo* info, uint64_t lp,
                                   uint64_t page_tables, uint64_t stack);
extern char loader_begin[], loader_end[], loader_pml4[];
extern char trampoline_start[], trampoline_end[], trampoline_data[];
}

namespace detail {
inline void say_one(std::string_view text) {
  print(text);
}
inline void say_one(const char* text) {
  print(text);
}
inline void say_one(uint64_t number) {
  print_number(number);
}
struct Hex {
  uint64_t value;
};
inline void say_one(Hex hex) {
  print_hex(hex.value);
}
}  // namespace detail
using detail::Hex;

template <class... Rest>
void say(std::string_view text, Rest... rest) {
  print("hvloader: ");
  print(text);
  (detail::say_one(rest), ...);
  print("\n");
}

}  // namespace hv::boot
