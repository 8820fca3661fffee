// SPDX-License-Identifier: MIT
// Loads the hypervisor's ELF64 image: every segment at its own rights, none both writable and
// executable.

#include <cstring>

#include "base/bits.h"
#include "hypervisor/boot/loader.h"

namespace hv::boot {
namespace {

struct ElfHeader {
  uint8_t ident[16];
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, phoff, shoff;
  uint32_t flags;
  uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct ProgramHeader {
  uint32_t type, flags;
  uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
constexpr uint32_t kLoad = 1, kExecutable = 1, kWritable = 2;
constexpr uint64_t kImageSpace = 0xffff'ffff'8000'0000;

}  // namespace

LoadedImage load_image(const Module& module, Region& region, PageTables& tables) {
  ElfHeader elf;
  if (module.size < sizeof(elf)) stop("the hypervisor image is truncated");
  memcpy(&elf, reinterpret_cast<void*>(module.base), sizeof(elf));
  if (memcmp(elf.ident, "\177ELF\2\1", 6) || elf.phentsize != sizeof(ProgramHeader))
    stop("the first module is no ELF64 hypervisor image");

  LoadedImage image{elf.entry, region.next(), 0};
  for (unsigned i = 0; i < elf.phnum; ++i) {
    ProgramHeader segment;
    if (elf.phoff + (i + 1) * sizeof(segment) > module.size)
      stop("the hypervisor image is truncated");
    memcpy(&segment, reinterpret_cast<void*>(module.base + elf.phoff + i * sizeof(segment)),
           sizeof(segment));
    if (segment.type != kLoad || !segment.memsz) continue;
    const bool write = segment.flags & kWritable, execute = segment.flags & kExecutable;
    if (write && execute) stop("the hypervisor image has a writable and executable segment");
    if (segment.offset + segment.filesz > module.size || segment.filesz > segment.memsz ||
        segment.vaddr < kImageSpace || !base::is_aligned(segment.vaddr, 4096))
      stop("the hypervisor image has a malformed segment");
    const uint64_t bytes = base::align_up(segment.memsz, 4096);
    const uint64_t place = region.take(bytes);
    memcpy(reinterpret_cast<void*>(place), reinterpret_cast<void*>(module.base + segment.offset),
           segment.filesz);
    tables.map(segment.vaddr, place, bytes, {write, execute});
  }
  image.size = region.next() - image.base;
  return image;
}

}  // namespace hv::boot
