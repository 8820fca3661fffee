// SPDX-License-Identifier: MIT
// The few facts the hypervisor needs from ACPI [ACPI 5.2]: processors, APICs, the PM timer.

#include <cstring>

#include "hypervisor/boot/loader.h"

namespace hv::boot {
namespace {

struct [[gnu::packed]] Rsdp {
  char signature[8];
  uint8_t checksum;
  char oem[6];
  uint8_t revision;
  uint32_t rsdt;
  uint32_t length;
  uint64_t xsdt;
};
struct [[gnu::packed]] Header {
  char signature[4];
  uint32_t length;
  uint8_t revision, checksum;
  char oem[6], oem_table[8];
  uint32_t oem_revision, creator, creator_revision;
};

uint8_t sum(const void* data, size_t bytes) {
  uint8_t total = 0;
  for (size_t i = 0; i < bytes; ++i) total += static_cast<const uint8_t*>(data)[i];
  return total;
}

uint64_t find_rsdp_in(uint64_t from, uint64_t to) {
  for (uint64_t at = from; at + sizeof(Rsdp) <= to; at += 16)
    if (!memcmp(reinterpret_cast<void*>(at), "RSD PTR ", 8) &&
        !sum(reinterpret_cast<void*>(at), 20))
      return at;
  return 0;
}

uint64_t find_rsdp() {
  uint16_t ebda_segment;
  memcpy(&ebda_segment, reinterpret_cast<void*>(uint64_t{0x40e}), sizeof(ebda_segment));
  const uint64_t ebda = uint64_t{ebda_segment} << 4;
  if (ebda >= 0x80000 && ebda < 0xa0000)
    if (const uint64_t found = find_rsdp_in(ebda, ebda + 1024)) return found;
  return find_rsdp_in(0xe0000, 0x100000);
}

void read_madt(const Header* madt, BootInfo& info) {
  auto* bytes = reinterpret_cast<const uint8_t*>(madt);
  uint32_t base;
  memcpy(&base, bytes + 36, 4);
  info.local_apic_base = base;
  for (uint32_t at = 44; at + 2 <= madt->length && bytes[at + 1] >= 2; at += bytes[at + 1]) {
    const uint8_t* entry = bytes + at;
    uint32_t id = 0, flags = 0;
    if (entry[0] == 0) {  // local APIC
      id = entry[3];
      memcpy(&flags, entry + 4, 4);
    } else if (entry[0] == 9) {  // local x2APIC
      memcpy(&id, entry + 4, 4);
      memcpy(&flags, entry + 8, 4);
    } else if (entry[0] == 1 && info.io_apic_count < 8) {
      uint32_t address;
      memcpy(&address, entry + 4, 4);
      info.io_apic_bases[info.io_apic_count++] = address;
    }
    if ((flags & 1) && info.lp_count < kMaxBootLps) info.lp_apic_ids[info.lp_count++] = id;
  }
}

void read_fadt(const Header* fadt, BootInfo& info) {
  auto* bytes = reinterpret_cast<const uint8_t*>(fadt);
  if (fadt->length < 116) return;
  uint32_t flags;
  memcpy(&info.pm_timer_port, bytes + 76, 4);
  memcpy(&flags, bytes + 112, 4);
  info.pm_timer_bits = (flags >> 8) & 1 ? 32 : 24;
}

void hide(Header* table) {
  memcpy(table->signature, "XXXX", 4);
  table->checksum = static_cast<uint8_t>(table->checksum - sum(table, table->length));
}

void visit(Header* table, BootInfo& info, bool hide_iommu) {
  if (!memcmp(table->signature, "APIC", 4)) read_madt(table, info);
  if (!memcmp(table->signature, "FACP", 4)) read_fadt(table, info);
  if (hide_iommu && (!memcmp(table->signature, "IVRS", 4) || !memcmp(table->signature, "DMAR", 4)))
    hide(table);
}

}  // namespace

void read_acpi(BootInfo& info) {
  info.rsdp = find_rsdp();
  if (!info.rsdp) stop("no ACPI tables: the firmware's RSDP was not found");
  const auto* rsdp = reinterpret_cast<const Rsdp*>(info.rsdp);
  const bool wide = rsdp->revision >= 2 && rsdp->xsdt;
  const uint64_t directory = wide ? rsdp->xsdt : rsdp->rsdt;
  const auto* header = reinterpret_cast<const Header*>(directory);
  const unsigned width = wide ? 8 : 4;
  for (uint64_t at = directory + sizeof(Header); at + width <= directory + header->length;
       at += width) {
    uint64_t address = 0;
    memcpy(&address, reinterpret_cast<void*>(at), width);
    if (address && address < uint64_t{4} << 30)
      visit(reinterpret_cast<Header*>(address), info, true);
  }
  if (!info.lp_count) stop("ACPI's MADT lists no usable processor");
}

}  // namespace hv::boot
