// SPDX-License-Identifier: MIT
// The tables firmware would leave in memory: ACPI (RSDP, XSDT, FADT, MADT, FACS, and the DSDT that
// iasl compiled from dsdt.asl) and SMBIOS, all inside [kFirmwareBase, kFirmwareEnd).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmwp/failure.h"
#include "vmwp/guest_memory.h"

namespace vmwp {

struct FirmwareTable {
  std::string name;  // ACPI signature, "RSDP", or "SMBIOS"
  uint64_t gpa;
  std::vector<uint8_t> bytes;
};

struct FirmwareTables {
  std::vector<FirmwareTable> tables;
  uint64_t rsdp = 0;
};

/// `vps` in 1..255: VP i has APIC id i.
FirmwareTables build_firmware_tables(uint32_t vps, const std::string& vm_name);

void write_firmware_tables(const FirmwareTables& tables, GuestMemory& memory);

/// One file NAME.dat a table, for iasl -d.
Result<> dump_firmware_tables(const FirmwareTables& tables, const std::string& directory);

}  // namespace vmwp
