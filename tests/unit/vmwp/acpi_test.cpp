// SPDX-License-Identifier: MIT
// The firmware tables: checksums and pointers by hand, contents by a round trip through iasl, which
// must neither complain nor change them.
#include "vmwp/acpi.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>

namespace vmwp {
namespace {

std::map<std::string, FirmwareTable> by_name(uint32_t vps) {
  std::map<std::string, FirmwareTable> result;
  for (const auto& table : build_firmware_tables(vps, "test").tables) result[table.name] = table;
  return result;
}

unsigned sum(const std::vector<uint8_t>& bytes, size_t count) {
  return std::accumulate(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count), 0u) & 0xFF;
}

template <class T>
T get(const std::vector<uint8_t>& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::array<char, 256> buffer;
  while (pipe != nullptr && std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    text += buffer.data();
  }
  if (pipe == nullptr || ::pclose(pipe) != 0) text += "\n(failed)";
  return text;
}

std::vector<uint8_t> file_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(AcpiTest, ChecksumsLengthsAndPointers) {
  auto tables = by_name(4);
  ASSERT_EQ(tables.size(), 7u);
  for (const char* name : {"FACP", "APIC", "XSDT", "DSDT"}) {
    const auto& bytes = tables[name].bytes;
    EXPECT_EQ(sum(bytes, bytes.size()), 0u) << name;
    EXPECT_EQ(get<uint32_t>(bytes, 4), bytes.size()) << name;
    EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 4), name);
  }
  const auto& rsdp = tables["RSDP"];
  EXPECT_EQ(rsdp.gpa % 16, 0u);
  EXPECT_EQ(sum(rsdp.bytes, 20), 0u);
  EXPECT_EQ(sum(rsdp.bytes, 36), 0u);
  EXPECT_EQ(get<uint64_t>(rsdp.bytes, 24), tables["XSDT"].gpa);
  EXPECT_EQ(get<uint64_t>(tables["XSDT"].bytes, 36), tables["FACP"].gpa);
  EXPECT_EQ(get<uint64_t>(tables["XSDT"].bytes, 44), tables["APIC"].gpa);
  EXPECT_EQ(get<uint64_t>(tables["FACP"].bytes, 140), tables["DSDT"].gpa);
  EXPECT_EQ(tables["FACS"].gpa % 64, 0u);
  EXPECT_EQ(tables["FACS"].bytes.size(), 64u);
}

TEST(AcpiTest, TablesDoNotOverlapAndFitEvenForMostVps) {
  uint64_t last = 0;
  std::map<uint64_t, uint64_t> ranges;
  for (const auto& [name, table] : by_name(255)) ranges[table.gpa] = table.bytes.size();
  for (const auto& [gpa, size] : ranges) {
    EXPECT_GE(gpa, last);
    last = gpa + size;
  }
  EXPECT_GE(ranges.begin()->first, kFirmwareBase);
  EXPECT_LE(last, kFirmwareEnd);
}

TEST(AcpiTest, SmbiosEntryPoint) {
  auto tables = by_name(1);
  const auto& bytes = tables["SMBIOS"].bytes;
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 5), "_SM3_");
  EXPECT_EQ(sum(bytes, bytes[6]), 0u);
  EXPECT_EQ(get<uint64_t>(bytes, 16), tables["SMBIOS"].gpa + 24);
  EXPECT_EQ(get<uint32_t>(bytes, 12), bytes.size() - 24);
  EXPECT_EQ(bytes[bytes.size() - 6], 127);  // the end-of-table structure
}

TEST(AcpiTest, IaslRoundTrip) {
  const auto directory = std::filesystem::path(::testing::TempDir()) / "vmwp_acpi_test";
  std::filesystem::create_directories(directory);
  const auto tables = build_firmware_tables(3, "test");
  ASSERT_TRUE(dump_firmware_tables(tables, directory.string()).has_value());
  for (const char* name : {"FACP", "APIC", "XSDT", "DSDT", "FACS"}) {
    const std::string base = (directory / name).string();
    const std::string decoded = output_of("iasl -d " + base + ".dat");
    EXPECT_EQ(decoded.find("rror"), std::string::npos) << decoded;
    EXPECT_EQ(decoded.find("arning"), std::string::npos) << decoded;
    EXPECT_EQ(decoded.find("nvalid"), std::string::npos) << decoded;
    std::string compile = "iasl -vw 6033 -p ";
    compile.append(base).append("_again ").append(base).append(".dsl");
    const std::string encoded = output_of(compile);
    EXPECT_NE(encoded.find("0 Errors, 0 Warnings"), std::string::npos) << encoded;
    auto before = file_bytes(base + ".dat");
    auto after = file_bytes(base + "_again.aml");
    ASSERT_EQ(before.size(), after.size());
    if (std::string_view(name) != "FACS") {
      // The compiler signs its work: checksum, creator, creator revision.
      for (auto* bytes : {&before, &after}) {
        (*bytes)[9] = 0;
        std::fill_n(bytes->begin() + 28, 8, uint8_t{0});
      }
    }
    EXPECT_EQ(before, after) << name;
  }
  std::filesystem::remove_all(directory);
}

TEST(AcpiTest, DumpComplaint) {
  const auto result = dump_firmware_tables(build_firmware_tables(1, "x"), "/nonexistent");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().text,
            "--dump-acpi /nonexistent: No such file or directory; accepted: a writable directory");
}

}  // namespace
}  // namespace vmwp
