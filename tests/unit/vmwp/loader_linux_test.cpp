// SPDX-License-Identifier: MIT
// The loader against a synthetic kernel; boot tests load real ones.
#include "vmwp/loader_linux.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>

#include "vmwp/acpi.h"

namespace vmwp {
namespace {

using hv::abi::HvRegisterName;

template <class T>
void put(std::vector<uint8_t>& bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

// A gzip header and what follows.
std::vector<uint8_t> synthetic_initrd() {
  std::vector<uint8_t> bytes(5000, 0xAB);
  bytes[0] = 0x1F;
  bytes[1] = 0x8B;
  return bytes;
}

// One setup sector, 8 KiB of code.
std::vector<uint8_t> synthetic_kernel() {
  std::vector<uint8_t> bytes(2 * 512 + 8192, 0x90);
  std::fill_n(bytes.begin(), 1024, uint8_t{0});
  bytes[0x1F1] = 1;
  put<uint32_t>(bytes, 0x1F4, 8192 / 16);
  put<uint16_t>(bytes, 0x1FE, 0xAA55);
  bytes[0x200] = 0xEB;
  bytes[0x201] = 0x6A;
  put<uint32_t>(bytes, 0x202, 0x53726448);
  put<uint16_t>(bytes, 0x206, 0x020F);
  bytes[0x211] = 1;
  put<uint32_t>(bytes, 0x22C, 0x7FFFFFFF);
  put<uint32_t>(bytes, 0x230, 0x200000);
  bytes[0x234] = 1;
  put<uint16_t>(bytes, 0x236, 1);
  put<uint32_t>(bytes, 0x238, 2047);
  put<uint64_t>(bytes, 0x258, 0x1000000);
  put<uint32_t>(bytes, 0x260, 0x800000);
  return bytes;
}

class TempFile {
 public:
  TempFile(const std::string& name, const std::vector<uint8_t>& bytes)
      : path_(::testing::TempDir() + name) {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  }
  ~TempFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string refusal(std::vector<uint8_t> bytes) {
  const auto image = parse_linux_headers(bytes, bytes.size(), "/k");
  if (image) return "accepted";
  EXPECT_EQ(image.error().status, ExitStatus::kBadInput);
  const std::string& text = image.error().text;
  return text.substr(0, text.find(';'));
}

template <class T>
T peek(const GuestMemory& memory, uint64_t gpa) {
  T value{};
  EXPECT_TRUE(memory.read(gpa, std::as_writable_bytes(std::span(&value, 1))));
  return value;
}

TEST(LoaderLinuxTest, RefusesWhatIsNoKernel) {
  EXPECT_EQ(refusal({}), "kernel /k: not a Linux bzImage");
  EXPECT_EQ(refusal(std::vector<uint8_t>(4096, 0xFF)), "kernel /k: not a Linux bzImage");
  auto bytes = synthetic_kernel();
  put<uint16_t>(bytes, 0x206, 0x020B);
  EXPECT_EQ(refusal(bytes), "kernel /k: boot protocol 2.11");
  bytes = synthetic_kernel();
  put<uint16_t>(bytes, 0x236, 0);
  EXPECT_EQ(refusal(bytes), "kernel /k: a 32-bit kernel");
  bytes = synthetic_kernel();
  bytes.resize(bytes.size() - 1);
  EXPECT_EQ(refusal(bytes), "kernel /k: the file is cut short");
  put<uint32_t>(bytes, 0x1F4, 0);  // it does not say its size
  EXPECT_EQ(refusal(bytes), "accepted");
  bytes.resize(1024);
  EXPECT_EQ(refusal(bytes), "kernel /k: the file is cut short");
  bytes = synthetic_kernel();
  put<uint32_t>(bytes, 0x230, 0x200001);
  EXPECT_EQ(refusal(bytes), "kernel /k: a damaged setup header");
  EXPECT_EQ(refusal(synthetic_kernel()), "accepted");
}

TEST(LoaderLinuxTest, ExactLineForAMissingKernel) {
  const auto image = inspect_linux("/nonexistent");
  ASSERT_FALSE(image.has_value());
  EXPECT_EQ(image.error().text,
            "kernel /nonexistent: No such file or directory; accepted: a Linux x86-64 bzImage "
            "(boot protocol 2.12 or later, with a 64-bit entry)");
  EXPECT_EQ(inspect_linux("/").error().text.substr(0, 20), "kernel /: not a file");
}

class PlanTest : public ::testing::Test {
 protected:
  static LinuxBoot make_boot() {
    const auto bytes = synthetic_kernel();
    return {*parse_linux_headers(bytes, bytes.size(), "/k"), {}, "console=ttyS0", kFirmwareBase};
  }
  LinuxBoot boot_ = make_boot();
};

TEST_F(PlanTest, PutsTheInitrdOnTop) {
  const TempFile initrd("vmwp_initrd", synthetic_initrd());
  boot_.initrd = initrd.path();
  const auto layout = plan_linux(boot_, 64 * kMiB);
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->kernel, 0x1000000u);
  EXPECT_EQ(layout->initrd, 64 * kMiB - 8192);
  EXPECT_EQ(layout->initrd_size, 5000u);
}

TEST_F(PlanTest, MovesTheKernelDownInSmallMemory) {
  boot_.kernel.init_size = 24 * kMiB;
  const auto layout = plan_linux(boot_, 32 * kMiB);
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->kernel, 2 * kMiB);
}

TEST_F(PlanTest, SaysHowMuchMemoryItTakes) {
  boot_.kernel.init_size = 40 * kMiB;
  const auto layout = plan_linux(boot_, 32 * kMiB);
  ASSERT_FALSE(layout.has_value());
  EXPECT_EQ(layout.error().text,
            "memory 32MiB; accepted: at least 42MiB for this kernel and initrd");
  EXPECT_EQ(layout.error().status, ExitStatus::kBadInput);
}

TEST_F(PlanTest, ComplaintsAboutInitrdAndCommandLine) {
  boot_.initrd = "/nonexistent";
  EXPECT_EQ(plan_linux(boot_, kGiB).error().text,
            "initrd /nonexistent: No such file or directory; accepted: an initramfs: cpio (newc), "
            "plain or by gzip, bzip2, lzma, xz, lzo, lz4 or zstd");
  boot_.initrd.clear();
  boot_.command_line.assign(2048, 'x');
  EXPECT_EQ(plan_linux(boot_, kGiB).error().text,
            "cmdline: 2048 characters; accepted: at most 2047 by this kernel");
}

// What the start of an initrd makes of it.
std::string initrd_refusal(LinuxBoot boot, std::string_view start) {
  const TempFile initrd("vmwp_initrd", std::vector<uint8_t>(start.begin(), start.end()));
  boot.initrd = initrd.path();
  const auto layout = plan_linux(boot, kGiB);
  if (layout) return "accepted";
  EXPECT_EQ(layout.error().status, ExitStatus::kBadInput);
  const std::string text =
      layout.error().text.substr(sizeof("initrd ") - 1 + boot.initrd.size() + 2);
  return text.substr(0, text.find(';'));
}

TEST_F(PlanTest, JudgesAnInitrdByItsStart) {
  for (const std::string_view start : {"070701...", "070702", "\x1f\x8b\x08", "BZh9", "\x89LZO",
                                       "\x02\x21\x4c\x18", "\x28\xb5\x2f\xfd",
                                       "\xfd"
                                       "7zXZ"}) {
    EXPECT_EQ(initrd_refusal(boot_, start), "accepted") << start;
  }
  EXPECT_EQ(initrd_refusal(boot_, std::string_view("\x5d\0\0\x80", 4)), "accepted");
  EXPECT_EQ(initrd_refusal(boot_, "partita\n"), "not an initramfs");
  EXPECT_EQ(initrd_refusal(boot_, "\x1f"), "not an initramfs");
  EXPECT_EQ(initrd_refusal(boot_, ""), "empty");
}

TEST_F(PlanTest, DoesNotWaitForTheOtherEndOfAPipe) {
  const std::string path = ::testing::TempDir() + "vmwp_fifo" + std::to_string(::getpid());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(inspect_linux(path).error().text.substr(0, 7 + path.size() + 12),
            "kernel " + path + ": not a file");
  std::remove(path.c_str());
}

void check_loaded(const LinuxBoot& boot, const LinuxLayout& layout, GuestMemory& memory) {
  constexpr uint64_t kParams = 0x7000;
  EXPECT_EQ(peek<uint32_t>(memory, kParams + 0x202), 0x53726448u);
  EXPECT_EQ(peek<uint64_t>(memory, kParams + 0x070), boot.rsdp);
  EXPECT_EQ(peek<uint8_t>(memory, kParams + 0x210), 0xFF);
  EXPECT_EQ(peek<uint32_t>(memory, kParams + 0x218), layout.initrd);
  EXPECT_EQ(peek<uint32_t>(memory, kParams + 0x21C), layout.initrd_size);
  const auto line = peek<uint32_t>(memory, kParams + 0x228);
  std::string text(boot.command_line.size() + 1, 'x');
  EXPECT_TRUE(memory.read(line, std::as_writable_bytes(std::span(text))));
  EXPECT_STREQ(text.c_str(), boot.command_line.c_str());

  // The memory map is sorted, does not overlap, and its RAM is memory.
  const auto entries = peek<uint8_t>(memory, kParams + 0x1E8);
  uint64_t end = 0, ram = 0;
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t at = kParams + 0x2D0 + 20 * i;
    const auto start = peek<uint64_t>(memory, at);
    const auto size = peek<uint64_t>(memory, at + 8);
    EXPECT_GE(start, end);
    end = start + size;
    if (peek<uint32_t>(memory, at + 16) != 1) continue;
    EXPECT_TRUE(memory.at(start, size).has_value());
    ram += size;
  }
  EXPECT_GT(ram, memory.size() - kMiB);

  // The page tables map the entry one to one.
  std::map<HvRegisterName, hv::abi::HvRegisterValue> registers;
  for (const auto& assoc : linux_entry_registers(layout)) registers[assoc.name] = assoc.value;
  const uint64_t rip = registers[HvRegisterName::HvX64RegisterRip].reg64;
  EXPECT_EQ(rip, layout.kernel + 0x200);
  uint64_t table = registers[HvRegisterName::HvX64RegisterCr3].reg64;
  for (const unsigned shift : {39u, 30u}) {
    const auto entry = peek<uint64_t>(memory, table + 8 * (rip >> shift & 511));
    EXPECT_EQ(entry & 1, 1u);
    table = entry & ~uint64_t{0xFFF};
  }
  const auto leaf = peek<uint64_t>(memory, table + 8 * (rip >> 21 & 511));
  EXPECT_EQ(leaf & 0x83, 0x83u);
  EXPECT_EQ((leaf & ~uint64_t{0x1FFFFF}) | (rip & 0x1FFFFF), rip);
  EXPECT_EQ(registers[HvRegisterName::HvX64RegisterRsi].reg64, kParams);
  const auto gdt = registers[HvRegisterName::HvX64RegisterGdtr].table.base;
  EXPECT_EQ(peek<uint64_t>(memory, gdt + 0x10) >> 53 & 1, 1u);  // CS.L
}

TEST_F(PlanTest, LoadsASyntheticKernel) {
  const TempFile kernel("vmwp_kernel", synthetic_kernel());
  const TempFile initrd("vmwp_initrd", synthetic_initrd());
  boot_.kernel = *inspect_linux(kernel.path());
  boot_.initrd = initrd.path();
  auto memory = GuestMemory::create(64 * kMiB);
  ASSERT_TRUE(memory.has_value());
  const auto layout = plan_linux(boot_, memory->size());
  ASSERT_TRUE(layout.has_value());
  ASSERT_TRUE(load_linux(boot_, *layout, *memory).has_value());
  EXPECT_EQ(peek<uint8_t>(*memory, layout->kernel), 0x90);
  EXPECT_EQ(peek<uint8_t>(*memory, layout->initrd + 4999), 0xAB);
  check_loaded(boot_, *layout, *memory);
}

TEST(GuestMemoryTest, HoleBelow4GiB) {
  auto memory = GuestMemory::create(5 * kGiB);
  ASSERT_TRUE(memory.has_value());
  ASSERT_EQ(memory->regions().size(), 3u);
  EXPECT_EQ(memory->low_end(), kMmioHole);
  EXPECT_TRUE(memory->at(kHighMemory, kGiB).has_value());
  EXPECT_FALSE(memory->at(kMmioHole, 1).has_value());
  EXPECT_FALSE(memory->at(kMmioHole - 1, 2).has_value());
  EXPECT_FALSE(memory->at(kVideoHole, 1).has_value());
  EXPECT_FALSE(memory->at(kHighMemory, 8 * kGiB).has_value());
  EXPECT_FALSE(memory->at(~uint64_t{0}, 16).has_value());
  for (const auto& region : memory->regions()) {
    EXPECT_EQ(reinterpret_cast<uint64_t>(region.host) % (2 * kMiB), region.gpa % (2 * kMiB));
  }
}

}  // namespace
}  // namespace vmwp
