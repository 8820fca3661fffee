// SPDX-License-Identifier: MIT
#include "vmwp/acpi.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <numeric>
#include <span>

#include "base/bits.h"
#include "chipset/chipset.h"
#include "dsdt.hex"  // built from dsdt.asl: dsdt_aml_code[]

namespace vmwp {
namespace {

constexpr uint64_t kSmbiosBase = 0xF0000;  // where kernels without EFI look for it

constexpr uint32_t kLocalApicBase = 0xFEE00000;

// Little-endian table under construction. Offsets are given only where a field must be patched.
class Table {
 public:
  Table() = default;
  /// Starts with the header every ACPI table but RSDP and FACS has [ACPI 5.2.6].
  Table(const char* signature, uint8_t revision) {
    text(signature, 4).u32(0).u8(revision).u8(0).text("PARTIT", 6).text("PARTITA", 8);
    u32(1).text("PRTA", 4).u32(1);
  }

  Table& u8(uint8_t value) {
    bytes_.push_back(value);
    return *this;
  }
  Table& u16(uint16_t value) { return number(value, 2); }
  Table& u32(uint32_t value) { return number(value, 4); }
  Table& u64(uint64_t value) { return number(value, 8); }
  Table& zero(size_t count) {
    bytes_.insert(bytes_.end(), count, 0);
    return *this;
  }
  Table& text(std::string_view value, size_t size) {
    for (size_t i = 0; i < size; ++i) u8(i < value.size() ? static_cast<uint8_t>(value[i]) : 0);
    return *this;
  }
  /// Zero-terminated.
  Table& string(std::string_view value) { return text(value, value.size() + 1); }
  /// Generic address structure in port space [ACPI 5.2.3.2]; access size 1 byte, 2 word, 3 dword.
  Table& port(uint16_t address, uint8_t bits, uint8_t access) {
    return u8(1).u8(bits).u8(0).u8(access).u64(address);
  }

  void patch(size_t offset, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) bytes_[offset + i] = static_cast<uint8_t>(value >> 8 * i);
  }
  /// Makes `count` bytes from `first` add up to zero by setting the one at `at`.
  void checksum(size_t at, size_t first, size_t count) {
    bytes_[at] = 0;
    const auto begin = bytes_.begin() + static_cast<ptrdiff_t>(first);
    const unsigned sum = std::accumulate(begin, begin + static_cast<ptrdiff_t>(count), 0u);
    bytes_[at] = static_cast<uint8_t>(0u - sum);
  }
  /// Fills in length and checksum of an ACPI header.
  std::vector<uint8_t> finish() {
    patch(4, bytes_.size(), 4);
    checksum(9, 0, bytes_.size());
    return bytes_;
  }
  size_t size() const { return bytes_.size(); }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  Table& number(uint64_t value, unsigned size) {
    zero(size);
    patch(bytes_.size() - size, value, size);
    return *this;
  }
  std::vector<uint8_t> bytes_;
};

std::vector<uint8_t> build_facs() {
  Table facs;
  facs.text("FACS", 4).u32(64).zero(24).u8(1).zero(31);
  return facs.bytes();
}

// [ACPI 5.2.9], revision 4: legacy hardware, always in ACPI mode.
std::vector<uint8_t> build_fadt(uint64_t facs, uint64_t dsdt) {
  using chipset::Pm;
  constexpr uint16_t kUnsupportedC2 = 101, kUnsupportedC3 = 1001;  // latencies, us
  constexpr uint16_t kLegacyDevices = 1 << 0, kVgaNotPresent = 1 << 2;
  constexpr uint32_t kWbinvd = 1 << 0, kC1Supported = 1 << 2, kNoSleepButton = 1 << 5,
                     kNoFixedRtcWake = 1 << 6, kTimerIs32Bits = 1 << 8, kResetRegister = 1 << 10;
  Table fadt("FACP", 4);
  fadt.u32(static_cast<uint32_t>(facs)).u32(static_cast<uint32_t>(dsdt));
  fadt.u8(0).u8(0);                      // preferred profile: unspecified
  fadt.u16(Pm::kSciIrq).u32(0).zero(4);  // no SMI command: ACPI mode is always on
  fadt.u32(Pm::kEventPort).u32(0).u32(Pm::kControlPort).u32(0).u32(0).u32(Pm::kTimerPort);
  fadt.u32(0).u32(0);                          // no general-purpose events
  fadt.u8(4).u8(2).u8(0).u8(4).zero(3).u8(0);  // lengths: PM1 event, control, PM2, timer, GPEs
  fadt.u16(kUnsupportedC2).u16(kUnsupportedC3).u16(0).u16(0).u8(0).u8(0);
  fadt.u8(0).u8(0).u8(chipset::Rtc::kCenturyRegister);
  fadt.u16(kLegacyDevices | kVgaNotPresent).u8(0);
  fadt.u32(kWbinvd | kC1Supported | kNoSleepButton | kNoFixedRtcWake | kTimerIs32Bits |
           kResetRegister);
  fadt.port(chipset::SystemPorts::kResetControl, 8, 1).u8(chipset::SystemPorts::kResetValue);
  fadt.zero(3).u64(0).u64(dsdt);
  fadt.port(Pm::kEventPort, 32, 2).zero(12).port(Pm::kControlPort, 16, 2).zero(12);
  fadt.zero(12).port(Pm::kTimerPort, 32, 3).zero(12).zero(12);
  assert(fadt.size() == 244);
  return fadt.finish();
}

// [ACPI 5.2.12]
std::vector<uint8_t> build_madt(uint32_t vps) {
  constexpr uint32_t kHasPic = 1;
  constexpr uint16_t kActiveHighLevel = 0x000D, kConforming = 0;
  constexpr uint8_t kAllProcessors = 0xFF, kLint1 = 1;
  Table madt("APIC", 4);
  madt.u32(kLocalApicBase).u32(kHasPic);
  for (uint32_t i = 0; i < vps; ++i) {
    madt.u8(0).u8(8).u8(static_cast<uint8_t>(i)).u8(static_cast<uint8_t>(i)).u32(1);
  }
  madt.u8(1).u8(12).u8(0).u8(0).u32(chipset::IoApic::kBase).u32(0);
  madt.u8(2).u8(10).u8(0).u8(chipset::kTimerIrq).u32(chipset::kTimerGsi).u16(kConforming);
  madt.u8(2).u8(10).u8(0).u8(chipset::Pm::kSciIrq).u32(chipset::Pm::kSciIrq).u16(kActiveHighLevel);
  madt.u8(4).u8(6).u8(kAllProcessors).u16(kConforming).u8(kLint1);
  return madt.finish();
}

std::vector<uint8_t> build_xsdt(std::span<const uint64_t> tables) {
  Table xsdt("XSDT", 1);
  for (const uint64_t table : tables) xsdt.u64(table);
  return xsdt.finish();
}

std::vector<uint8_t> build_rsdp(uint64_t xsdt) {
  Table rsdp;
  rsdp.text("RSD PTR ", 8).u8(0).text("PARTIT", 6).u8(2).u32(0).u32(36).u64(xsdt).zero(4);
  rsdp.checksum(8, 0, 20);
  rsdp.checksum(32, 0, 36);
  return rsdp.bytes();
}

// [SMBIOS 3.0]: entry point and structures in one block at `gpa`. Without a BIOS date after 2000
// Linux does not trust PCI configuration mechanism #1 on a machine without PCI devices.
std::vector<uint8_t> build_smbios(uint64_t gpa, const std::string& vm_name) {
  constexpr size_t kEntrySize = 24;
  constexpr uint64_t kIsVirtualMachine = 0x10;  // of BIOS characteristics extension byte 2
  Table structures;
  structures.u8(0).u8(24).u16(0).u8(1).u8(2).u16(0xF000).u8(3).u8(0).u64(1 << 3);
  structures.u8(1).u8(static_cast<uint8_t>(kIsVirtualMachine)).u8(0).u8(0).u8(0xFF).u8(0xFF);
  structures.string("Partita").string(PARTITA_VERSION).string("11/22/2026").u8(0);
  structures.u8(1).u8(27).u16(0x100).u8(1).u8(2).u8(3).u8(0).zero(16).u8(6).u8(0).u8(0);
  structures.string("Partita").string("Virtual Machine").string(vm_name).u8(0);
  structures.u8(127).u8(4).u16(0x7F00).u8(0).u8(0);

  Table block;
  block.text("_SM3_", 5).u8(0).u8(kEntrySize).u8(3).u8(0).u8(0).u8(1).u8(0);
  block.u32(static_cast<uint32_t>(structures.size())).u64(gpa + kEntrySize);
  block.checksum(5, 0, kEntrySize);
  for (const uint8_t byte : structures.bytes()) block.u8(byte);
  return block.bytes();
}

}  // namespace

FirmwareTables build_firmware_tables(uint32_t vps, const std::string& vm_name) {
  FirmwareTables result;
  uint64_t next = kFirmwareBase;
  const auto place = [&](const char* name, std::vector<uint8_t> bytes) {
    const uint64_t gpa = next;
    next = base::align_up(gpa + bytes.size(), 64);  // the FACS wants 64, the RSDP 16
    result.tables.push_back({name, gpa, std::move(bytes)});
    return gpa;
  };
  constexpr uint64_t kRsdpRoom = 64;
  next += kRsdpRoom;
  const uint64_t facs = place("FACS", build_facs());
  const uint64_t dsdt = place("DSDT", {std::begin(dsdt_aml_code), std::end(dsdt_aml_code)});
  const uint64_t listed[] = {place("FACP", build_fadt(facs, dsdt)), place("APIC", build_madt(vps))};
  const uint64_t xsdt = place("XSDT", build_xsdt(listed));
  assert(next <= kSmbiosBase);
  result.rsdp = kFirmwareBase;
  result.tables.push_back({"RSDP", result.rsdp, build_rsdp(xsdt)});
  result.tables.push_back({"SMBIOS", kSmbiosBase, build_smbios(kSmbiosBase, vm_name)});
  return result;
}

void write_firmware_tables(const FirmwareTables& tables, GuestMemory& memory) {
  for (const FirmwareTable& table : tables.tables) {
    [[maybe_unused]] const bool written =
        memory.write(table.gpa, std::as_bytes(std::span(table.bytes)));
    assert(written);
  }
}

Result<> dump_firmware_tables(const FirmwareTables& tables, const std::string& directory) {
  for (const FirmwareTable& table : tables.tables) {
    const std::string path = fmt::format("{}/{}.dat", directory, table.name);
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(table.bytes.data()),
               static_cast<std::streamsize>(table.bytes.size()));
    if (!file.flush()) {
      return bad_input(fmt::format("--dump-acpi {}: {}; accepted: a writable directory", directory,
                                   std::strerror(errno)));
    }
  }
  return {};
}

}  // namespace vmwp
