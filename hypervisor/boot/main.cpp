// SPDX-License-Identifier: MIT
// hvloader: checks the processor and the launch type, sets memory aside, loads the hypervisor image
// and Linux, starts every processor, and enters the image beneath Linux. Where that cannot be, it
// says why and boots Linux bare.

#include <cstring>

#include "base/bits.h"
#include "hypervisor/boot/loader.h"

namespace hv::boot {
namespace {

struct CpuidResult {
  uint32_t eax, ebx, ecx, edx;
};
CpuidResult cpuid(uint32_t leaf) {
  CpuidResult r{leaf, 0, 0, 0};
  asm volatile("cpuid" : "+a"(r.eax), "=b"(r.ebx), "+c"(r.ecx), "=d"(r.edx));
  return r;
}

constexpr uint64_t kMiB = 1024 * 1024;

// The reserve: a fixed part, one for each LP, and one for each GB of RAM, enough to split the whole
// of the root's second-level map into 4 KB pages.
uint64_t region_bytes(uint64_t ram, uint64_t frames, uint32_t lps) {
  const uint64_t gigabytes = base::align_up(ram, 1024 * kMiB) >> 30;
  return base::align_up(
      6 * kMiB + lps * 512 * 1024 + gigabytes * (2 * kMiB + 128 * 1024) + frames * sizeof(uint16_t),
      2 * kMiB);
}

[[noreturn]] void boot_bare(Handover& handover, BootInfo& info) {
  load_linux(handover, info);
  struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } gdt = {static_cast<uint16_t>(info.root_gdt_limit), info.root_gdt};
  enter_linux(info.root_entry, info.root_params, info.root_page_tables, &gdt, info.root_stack);
}

void map_stacks(BootInfo& info, Region& region, PageTables& tables) {
  for (unsigned lp = 0; lp < info.lp_count; ++lp)
    for (unsigned which = 0; which < kStacksPerLp; ++which) {
      const uint64_t bytes = kStackPages * 4096;
      tables.map(stack_top(lp, which) - bytes, region.take(bytes), bytes, {true, false});
    }
}

Console parse_console(std::string_view name) {
  if (name == "debug") return Console::debug_port;
  if (name == "com1") return Console::com1;
  if (name == "com2") return Console::com2;
  if (name == "none") return Console::none;
  stop("console= accepts debug, com1, com2 or none");
}

BootInfo& build_info(Handover& handover, BootInfo& draft) {
  const uint64_t top = top_of_ram(handover);
  const uint64_t frames = base::align_up(top, 2 * kMiB) >> 12;
  const uint64_t bytes = region_bytes(total_ram(handover), frames, draft.lp_count);
  const uint64_t base = take_region(handover, bytes);
  if (!base) stop("not enough memory below 4 GB for the hypervisor");

  Region region(base, bytes);
  auto& info = *reinterpret_cast<BootInfo*>(region.take(sizeof(BootInfo)));
  info = draft;
  info.region_base = base;
  info.region_size = bytes;
  info.frames = frames;
  info.page_db_base = region.take(frames * sizeof(uint16_t));

  PageTables tables(region);
  const uint64_t mapped = top > uint64_t{4} << 30 ? top : uint64_t{4} << 30;
  tables.map(kDirectMapBase, 0, base::align_up(mapped, 2 * kMiB), {true, false});
  tables.link_identity(reinterpret_cast<uint64_t>(loader_pml4));
  const LoadedImage image = load_image(handover.hypervisor, region, tables);
  info.image_base = image.base;
  info.image_size = image.size;
  map_stacks(info, region, tables);
  info.page_tables = tables.root();

  load_linux(handover, info);
  memcpy(info.memory, handover.memory, sizeof(info.memory));
  info.memory_range_count = handover.memory_count;
  memcpy(info.command_line, handover.hypervisor.command_line, sizeof(info.command_line) - 1);
  info.reserve_base = region.next();
  info.reserve_size = region.left();
  info.magic = kBootInfoMagic;

  say("hypervisor at ", Hex{base}, ", ", bytes / kMiB, " MiB of ",
      total_ram(handover) / kMiB + bytes / kMiB, " MiB; reserve ", info.reserve_size / kMiB,
      " MiB");
  start_processors(info, image.entry);
  say("entering the root partition with ", uint64_t{info.lp_count}, " processor(s)");
  enter_hypervisor(image.entry, &info, 0, info.page_tables, stack_top(0, 0));
}

}  // namespace

const char* missing_feature(bool& is_amd) {
  const CpuidResult vendor = cpuid(0);
  is_amd = (vendor.ebx == 0x68747541 && vendor.ecx == 0x444d4163) ||  // AuthenticAMD
           (vendor.ebx == 0x6f677948 && vendor.ecx == 0x656e6975);    // HygonGenuine
  if (cpuid(0x80000000).eax < 0x8000000a || !(cpuid(0x80000001).ecx & (1 << 2)))
    return is_amd ? "SVM (AMD-V) is not offered by this processor"
                  : "SVM (AMD-V) is needed; support for Intel VT-x is not built yet";
  uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xc0010114));  // VM_CR
  if (low & (1 << 4)) return "SVM (AMD-V) is disabled by the firmware";
  if (!(cpuid(0x8000000a).edx & 1)) return "nested paging is not offered by this processor";
  if (!(cpuid(0x80000001).edx & (1 << 20))) return "no-execute pages are not offered";
  if (!(cpuid(1).ecx & (1 << 26))) return "XSAVE is not offered by this processor";
  return nullptr;
}

extern "C" [[noreturn]] void loader_main(uint32_t magic, uint64_t information) {
  console_init();
  static Handover handover = read_multiboot(magic, information);
  static BootInfo draft{};
  const std::string_view line = handover.hypervisor.command_line;
  const std::string_view launch = option(line, "launch", "auto");
  if (launch != "auto" && launch != "off") stop("launch= accepts auto or off");
  bool is_amd = false;
  const char* missing = missing_feature(is_amd);
  draft.console = static_cast<uint32_t>(parse_console(option(line, "console", "debug")));
  if (launch == "auto" && !missing) {
    read_acpi(draft);
    if (!draft.pm_timer_port)
      missing = "an ACPI PM timer, the only clock to measure with, is missing";
  }
  if (launch == "off" || missing) {
    if (launch == "off")
      say("launch=off: booting Linux without the hypervisor");
    else
      say(missing, ": booting Linux without the hypervisor");
    draft.rsdp = 0;  // Linux finds it by itself
    boot_bare(handover, draft);
  }
  // The no-execute bit must be on before tables that use it are loaded.
  uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xc0000080));
  asm volatile("wrmsr" : : "c"(0xc0000080), "a"(low | (1 << 11)), "d"(high));
  build_info(handover, draft);
  __builtin_unreachable();
}

}  // namespace hv::boot
