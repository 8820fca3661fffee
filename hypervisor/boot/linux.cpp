// SPDX-License-Identifier: MIT
// Linux's 64-bit boot protocol [Documentation/x86/boot.rst]. Kernel and initrd move to where they
// may stay; boot parameters, identity page tables and a GDT sit in low memory, which Linux
// reclaims.

#include <cstring>

#include "base/bits.h"
#include "hypervisor/boot/loader.h"

namespace hv::boot {
namespace {

// Offsets in the setup header and boot_params ("zero page").
constexpr unsigned kSetupSectors = 0x1f1, kHeaderMagic = 0x202, kVersion = 0x206,
                   kLoaderType = 0x210, kRamdiskImage = 0x218, kRamdiskSize = 0x21c,
                   kCommandLine = 0x228, kXloadflags = 0x236, kCommandLineSize = 0x238,
                   kPreferredAddress = 0x258, kInitSize = 0x260, kRsdp = 0x070, kE820Count = 0x1e8,
                   kE820Table = 0x2d0;
constexpr uint16_t kEntry64 = 1;
constexpr uint64_t kEntry64Offset = 0x200;

// Low memory that the boot structures use: below the EBDA, above what boot programs keep there.
constexpr uint64_t kLowBlock = 0x70000;
constexpr uint64_t kParams = kLowBlock, kCommand = kLowBlock + 0x1000, kGdt = kLowBlock + 0x2000,
                   kStackTop = kLowBlock + 0x4000, kTables = kLowBlock + 0x4000;

template <class T>
T field(uint64_t base, unsigned offset) {
  T value;
  memcpy(&value, reinterpret_cast<void*>(base + offset), sizeof(value));
  return value;
}
template <class T>
void set_field(uint64_t base, unsigned offset, T value) {
  memcpy(reinterpret_cast<void*>(base + offset), &value, sizeof(value));
}

uint64_t free_below(const Handover& handover, uint64_t limit, uint64_t bytes) {
  uint64_t best = 0;
  for (uint32_t i = 0; i < handover.memory_count; ++i) {
    const MemoryRange& range = handover.memory[i];
    if (range.kind != MemoryKind::ram || range.base < 0x100000) continue;
    const uint64_t end = range.base + range.size < limit ? range.base + range.size : limit;
    if (end < range.base + bytes) continue;
    const uint64_t base = base::align_down(end - bytes, 4096);
    if (base > best) best = base;
  }
  return best;
}

void move_module(Handover& handover, Module& module, uint64_t& limit) {
  const uint64_t to = free_below(handover, limit, module.size);
  if (!to) stop("not enough memory below 4 GB to place Linux's initrd and kernel");
  memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(module.base), module.size);
  module.base = to;
  limit = to;
}

void build_identity_tables() {
  memset(reinterpret_cast<void*>(kTables), 0, 6 * 4096);
  auto* pml4 = reinterpret_cast<uint64_t*>(kTables);
  auto* pdpt = pml4 + 512;
  auto* pd = pdpt + 512;
  pml4[0] = (kTables + 0x1000) | 3;
  for (uint64_t i = 0; i < 4; ++i) pdpt[i] = (kTables + 0x2000 + i * 4096) | 3;
  for (uint64_t i = 0; i < 2048; ++i) pd[i] = (i << 21) | 0x83;
}

void build_gdt() {
  const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
  memcpy(reinterpret_cast<void*>(kGdt), gdt, sizeof(gdt));
}

void sort_memory(Handover& handover) {
  for (uint32_t i = 1; i < handover.memory_count; ++i)
    for (uint32_t k = i; k && handover.memory[k].base < handover.memory[k - 1].base; --k) {
      const MemoryRange swap = handover.memory[k];
      handover.memory[k] = handover.memory[k - 1];
      handover.memory[k - 1] = swap;
    }
}

void fill_params(Handover& handover, uint64_t kernel, const BootInfo& info) {
  memset(reinterpret_cast<void*>(kParams), 0, 4096);
  const unsigned header_end = kHeaderMagic + field<uint8_t>(kernel, 0x201);
  memcpy(reinterpret_cast<void*>(kParams + kSetupSectors),
         reinterpret_cast<void*>(kernel + kSetupSectors), header_end - kSetupSectors);
  set_field<uint8_t>(kParams, kLoaderType, 0xff);
  set_field<uint32_t>(kParams, kRamdiskImage, static_cast<uint32_t>(handover.initrd.base));
  set_field<uint32_t>(kParams, kRamdiskSize, static_cast<uint32_t>(handover.initrd.size));
  set_field<uint32_t>(kParams, kCommandLine, kCommand);
  set_field<uint64_t>(kParams, kRsdp, info.rsdp);
  // screen_info: 80x25 VGA text, as the firmware left it.
  set_field<uint8_t>(kParams, 0x06, 3);
  set_field<uint8_t>(kParams, 0x07, 80);
  set_field<uint8_t>(kParams, 0x0e, 25);
  set_field<uint8_t>(kParams, 0x0f, 1);
  set_field<uint16_t>(kParams, 0x10, 16);
  sort_memory(handover);
  set_field<uint8_t>(kParams, kE820Count, static_cast<uint8_t>(handover.memory_count));
  for (uint32_t i = 0; i < handover.memory_count; ++i) {
    set_field<uint64_t>(kParams, kE820Table + i * 20, handover.memory[i].base);
    set_field<uint64_t>(kParams, kE820Table + i * 20 + 8, handover.memory[i].size);
    set_field<uint32_t>(kParams, kE820Table + i * 20 + 16,
                        static_cast<uint32_t>(handover.memory[i].kind));
  }
}

}  // namespace

void load_linux(Handover& handover, BootInfo& info) {
  Module& kernel = handover.kernel;
  if (kernel.size < 0x1000 || field<uint32_t>(kernel.base, kHeaderMagic) != 0x53726448)
    stop("the second module is no Linux bzImage");
  if (field<uint16_t>(kernel.base, kVersion) < 0x020c ||
      !(field<uint16_t>(kernel.base, kXloadflags) & kEntry64))
    stop("the Linux kernel has no 64-bit entry (boot protocol 2.12 or later is needed)");
  const size_t line = strlen(kernel.command_line);
  if (line > field<uint32_t>(kernel.base, kCommandLineSize))
    stop("the Linux command line is longer than the kernel accepts");

  uint64_t limit = uint64_t{4} << 30;
  if (handover.initrd.present()) move_module(handover, handover.initrd, limit);
  move_module(handover, kernel, limit);

  unsigned sectors = field<uint8_t>(kernel.base, kSetupSectors);
  if (!sectors) sectors = 4;
  const uint64_t setup = (sectors + 1) * 512;
  const uint64_t place = field<uint64_t>(kernel.base, kPreferredAddress);
  const uint64_t needed = field<uint32_t>(kernel.base, kInitSize);
  if (setup >= kernel.size || place + needed > limit ||
      place < reinterpret_cast<uint64_t>(loader_end))
    stop("not enough memory to place the Linux kernel at its preferred address");
  fill_params(handover, kernel.base, info);
  memcpy(reinterpret_cast<void*>(kCommand), kernel.command_line, line + 1);
  memcpy(reinterpret_cast<void*>(place), reinterpret_cast<void*>(kernel.base + setup),
         kernel.size - setup);
  build_identity_tables();
  build_gdt();

  info.root_entry = place + kEntry64Offset;
  info.root_params = kParams;
  info.root_page_tables = kTables;
  info.root_gdt = kGdt;
  info.root_gdt_limit = 31;
  info.root_stack = kStackTop;
}

}  // namespace hv::boot
