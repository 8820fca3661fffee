// SPDX-License-Identifier: MIT
// What hvloader tells the hypervisor image, and where it put things. The loader has built the
// image's page tables: segments W^X at their linked addresses, all memory at kDirectMapBase
// (read-write, no execute), one stack per LP below a guard page, and the loader itself one-to-one
// until the last LP has left it.
#pragma once

#include <cstdint>

namespace hv::boot {

inline constexpr uint64_t kBootInfoMagic = 0x31746f6f42615048;  // "HPaBoot1"
inline constexpr uint64_t kDirectMapBase = 0xffff'8000'0000'0000;
// Stacks: slot i holds a guard page, then kStackPages mapped pages, for each of kStacksPerLp.
inline constexpr uint64_t kStackBase = 0xffff'ffff'c000'0000;
inline constexpr unsigned kStackPages = 4;
inline constexpr unsigned kStacksPerLp = 3;  // normal, double fault, NMI and machine check
inline constexpr uint64_t kStackSlot = (kStackPages + 1) * 4096;
constexpr uint64_t stack_top(unsigned lp, unsigned which) {
  return kStackBase + (lp * kStacksPerLp + which + 1) * kStackSlot;
}

inline constexpr unsigned kMaxMemoryRanges = 64;
inline constexpr unsigned kMaxBootLps = 64;

enum class MemoryKind : uint32_t { ram = 1, reserved = 2, acpi = 3, nvs = 4, bad = 5 };

struct MemoryRange {
  uint64_t base;
  uint64_t size;
  MemoryKind kind;
  uint32_t reserved;
};

// The memory of the hypervisor: image, tables, page database, stacks, then the free reserve.
struct BootInfo {
  uint64_t magic;
  uint64_t region_base, region_size;    // everything; reserved in the root's memory map
  uint64_t reserve_base, reserve_size;  // the free part of it
  uint64_t page_db_base, frames;        // one zeroed uint16_t per frame below `frames`
  uint64_t image_base, image_size;      // physical place of the image's segments
  uint64_t page_tables;                 // CR3 of the hypervisor

  uint64_t rsdp;
  uint64_t local_apic_base;
  uint32_t pm_timer_port;  // 0: none
  uint32_t pm_timer_bits;
  uint32_t io_apic_count;
  uint32_t lp_count;
  uint32_t lp_apic_ids[kMaxBootLps];
  uint64_t io_apic_bases[8];

  uint32_t console;  // boot::Console
  uint32_t memory_range_count;
  MemoryRange memory[kMaxMemoryRanges];

  // Where the root partition's VP 0 starts: 64-bit, paging on with `root_page_tables`, RSI =
  // params.
  uint64_t root_entry, root_params, root_page_tables, root_gdt, root_gdt_limit, root_stack;

  char command_line[256];
};

enum class Console : uint32_t { none, debug_port, com1, com2 };

}  // namespace hv::boot
