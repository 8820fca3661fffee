// SPDX-License-Identifier: MIT
#include "vmwp/loader_linux.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/bits.h"

namespace vmwp {
namespace {

using hv::abi::HvRegisterAssoc;
using hv::abi::HvRegisterName;
using hv::abi::HvX64SegmentRegister;

// Low memory: all of it is free to the kernel once it has read its parameters.
constexpr uint64_t kGdt = 0x1000;
constexpr uint64_t kBootParams = 0x7000;
constexpr uint64_t kStackTop = 0x10000;
constexpr uint64_t kPageTables = 0x10000;  // PML4, PDPT, four page directories
constexpr uint64_t kCommandLine = 0x20000;
constexpr uint64_t kCommandLineArea = 0x10000;
constexpr uint64_t kExtendedBiosData = 0x9FC00;
constexpr uint64_t kLowestKernel = 0x100000;

// Setup header fields, as offsets in the file and in boot_params alike.
constexpr size_t kSetupHeader = 0x1F1;
constexpr size_t kSetupSects = 0x1F1;
constexpr size_t kSystemSize = 0x1F4;  // of the protected-mode code, in 16 bytes
constexpr size_t kBootFlag = 0x1FE;
constexpr size_t kJump = 0x201;  // low byte of the jump: the header ends that many bytes later
constexpr size_t kMagic = 0x202;
constexpr size_t kVersion = 0x206;
constexpr size_t kLoaderType = 0x210;
constexpr size_t kLoadFlags = 0x211;
constexpr size_t kRamdiskImage = 0x218;
constexpr size_t kRamdiskSize = 0x21C;
constexpr size_t kCommandLinePointer = 0x228;
constexpr size_t kInitrdAddressMax = 0x22C;
constexpr size_t kKernelAlignment = 0x230;
constexpr size_t kRelocatable = 0x234;
constexpr size_t kXloadFlags = 0x236;
constexpr size_t kCommandLineSize = 0x238;
constexpr size_t kPreferredAddress = 0x258;
constexpr size_t kInitSize = 0x260;
constexpr size_t kLastNeeded = 0x268;
// boot_params only.
constexpr size_t kRsdpAddress = 0x070;
constexpr size_t kE820Count = 0x1E8;
constexpr size_t kE820Table = 0x2D0;

constexpr size_t kHeadBytes = 4096;
constexpr uint64_t kSectorSize = 512;
constexpr uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
constexpr uint16_t kOldestVersion = 0x020C;
constexpr uint16_t kXlf64BitEntry = 1;
constexpr uint8_t kLoadedHigh = 1;
constexpr uint8_t kUndefinedLoader = 0xFF;
constexpr uint64_t kEntry64 = 0x200;  // of the 64-bit entry point from the load address

constexpr uint32_t kE820Ram = 1;
constexpr uint32_t kE820Reserved = 2;
struct __attribute__((packed)) E820Entry {
  uint64_t start;
  uint64_t size;
  uint32_t type;
};
static_assert(sizeof(E820Entry) == 20);

constexpr uint16_t kCodeSelector = 0x10;  // __BOOT_CS and __BOOT_DS of the protocol
constexpr uint16_t kDataSelector = 0x18;
constexpr uint16_t kTaskSelector = 0x20;
constexpr uint64_t kGdtCode = 0x00AF9B000000FFFF;
constexpr uint64_t kGdtData = 0x00CF93000000FFFF;
constexpr uint64_t kGdtTask = 0x00008B0000000067;
constexpr uint16_t kCodeAttributes = 0xA09B;  // present, code, long, granular
constexpr uint16_t kDataAttributes = 0xC093;
constexpr uint16_t kTaskAttributes = 0x008B;
constexpr uint16_t kLdtAttributes = 0x0082;

template <class T>
T load(std::span<const uint8_t> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}
template <class T>
void store(std::span<std::byte> bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

class File {
 public:
  static Result<File> open(const std::string& what, const std::string& path,
                           const std::string& accepted) {
    // O_NONBLOCK: opening a FIFO must not wait for its other end.
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info{};
    if (fd >= 0 && ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
      return File(fd, static_cast<uint64_t>(info.st_size));
    }
    const std::string reason = fd < 0 ? std::strerror(errno) : "not a file";
    if (fd >= 0) ::close(fd);
    return bad_input(fmt::format("{} {}: {}; accepted: {}", what, path, reason, accepted));
  }
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}
  File& operator=(File&&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }

  uint64_t size() const { return size_; }
  /// False where the file ends first or cannot be read.
  bool read(uint64_t offset, std::span<std::byte> to) const {
    while (!to.empty()) {
      const ssize_t n = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      offset += static_cast<uint64_t>(n);
      to = to.subspan(static_cast<size_t>(n));
    }
    return true;
  }

 private:
  File(int fd, uint64_t size) : fd_(fd), size_(size) {}
  int fd_;
  uint64_t size_;
};

constexpr const char* kAcceptedKernel =
    "a Linux x86-64 bzImage (boot protocol 2.12 or later, with a 64-bit entry)";
constexpr const char* kAcceptedInitrd =
    "an initramfs: cpio (newc), plain or by gzip, bzip2, lzma, xz, lzo, lz4 or zstd";

// What initramfs archives start with [Linux lib/decompress.c, init/initramfs.c].
constexpr std::string_view kInitrdMagics[] = {
    "070701",           "070702",  "\x1f\x8b",
    "\x1f\x9e",         "BZh",     std::string_view("\x5d\0\0", 3),
    "\xfd\x37zXZ",      "\x89LZO", "\x02\x21\x4c\x18",
    "\x28\xb5\x2f\xfd",
};
constexpr size_t kLongestInitrdMagic = 6;

uint64_t in_mib(uint64_t bytes) {
  return base::align_up(bytes, kMiB) / kMiB;
}

void write_page_tables(GuestMemory& memory) {
  constexpr uint64_t kTable = 0x3;  // present, writable
  constexpr uint64_t kLargeLeaf = 0x83;
  constexpr unsigned kDirectories = 4;  // 4 GiB in 2 MiB pages
  const auto tables = *memory.at(kPageTables, (2 + kDirectories) * kPageSize);
  std::ranges::fill(tables, std::byte{0});
  store<uint64_t>(tables, 0, (kPageTables + kPageSize) | kTable);
  for (uint64_t i = 0; i < kDirectories; ++i) {
    store<uint64_t>(tables, kPageSize + 8 * i, (kPageTables + (2 + i) * kPageSize) | kTable);
  }
  for (uint64_t i = 0; i < kDirectories * 512; ++i) {
    store<uint64_t>(tables, 2 * kPageSize + 8 * i, i * 2 * kMiB | kLargeLeaf);
  }
}

void write_gdt(GuestMemory& memory) {
  const auto gdt = *memory.at(kGdt, 48);
  std::ranges::fill(gdt, std::byte{0});
  store(gdt, kCodeSelector, kGdtCode);
  store(gdt, kDataSelector, kGdtData);
  store(gdt, kTaskSelector, kGdtTask);
}

std::vector<E820Entry> memory_map(const GuestMemory& memory) {
  std::vector<E820Entry> map{
      {0, kExtendedBiosData, kE820Ram},
      {kExtendedBiosData, kVideoHole - kExtendedBiosData, kE820Reserved},
      {kFirmwareBase, kFirmwareEnd - kFirmwareBase, kE820Reserved},
      {kFirmwareEnd, memory.low_end() - kFirmwareEnd, kE820Ram},
  };
  for (const auto& region : memory.regions()) {
    if (region.gpa == kHighMemory) map.push_back({region.gpa, region.size, kE820Ram});
  }
  return map;
}

void write_boot_params(const LinuxBoot& boot, const LinuxLayout& layout, GuestMemory& memory) {
  const auto params = *memory.at(kBootParams, kPageSize);
  std::ranges::fill(params, std::byte{0});
  const auto header = std::as_bytes(std::span(boot.kernel.setup_header));
  std::ranges::copy(header, params.begin() + kSetupHeader);
  store<uint64_t>(params, kRsdpAddress, boot.rsdp);
  store<uint8_t>(params, kLoaderType, kUndefinedLoader);
  store<uint8_t>(params, kLoadFlags,
                 load<uint8_t>(boot.kernel.setup_header, kLoadFlags - kSetupHeader) | kLoadedHigh);
  store<uint32_t>(params, kRamdiskImage, static_cast<uint32_t>(layout.initrd));
  store<uint32_t>(params, kRamdiskSize, static_cast<uint32_t>(layout.initrd_size));
  store<uint32_t>(params, kCommandLinePointer, kCommandLine);
  const auto map = memory_map(memory);
  store<uint8_t>(params, kE820Count, static_cast<uint8_t>(map.size()));
  std::memcpy(params.data() + kE820Table, map.data(), map.size() * sizeof(E820Entry));
}

HvRegisterAssoc assoc(HvRegisterName name, uint64_t value) {
  HvRegisterAssoc result{};
  result.name = name;
  result.value.reg64 = value;
  return result;
}

HvRegisterAssoc segment(HvRegisterName name, uint16_t selector, uint16_t attributes,
                        uint32_t limit) {
  HvRegisterAssoc result{};
  result.name = name;
  result.value.segment = HvX64SegmentRegister{0, limit, selector, attributes};
  return result;
}

}  // namespace

Result<LinuxImage> parse_linux_headers(std::span<const uint8_t> head, uint64_t file_size,
                                       const std::string& path) {
  const auto refuse = [&](std::string_view why) {
    return bad_input(fmt::format("kernel {}: {}; accepted: {}", path, why, kAcceptedKernel));
  };
  if (head.size() < kLastNeeded || load<uint16_t>(head, kBootFlag) != 0xAA55 ||
      load<uint32_t>(head, kMagic) != kHeaderMagic) {
    return refuse("not a Linux bzImage");
  }
  const auto version = load<uint16_t>(head, kVersion);
  if (version < kOldestVersion) {
    return refuse(fmt::format("boot protocol {}.{:02}", version >> 8, version & 0xFF));
  }
  if ((load<uint16_t>(head, kXloadFlags) & kXlf64BitEntry) == 0) return refuse("a 32-bit kernel");
  if ((load<uint8_t>(head, kLoadFlags) & kLoadedHigh) == 0) return refuse("a zImage");

  LinuxImage image;
  image.path = path;
  const size_t header_end = kMagic + load<uint8_t>(head, kJump);
  if (header_end < kLastNeeded || header_end > head.size() || header_end > kE820Table) {
    return refuse("a damaged setup header");
  }
  image.setup_header.assign(head.begin() + kSetupHeader,
                            head.begin() + static_cast<ptrdiff_t>(header_end));
  const uint8_t sectors = head[kSetupSects] == 0 ? 4 : head[kSetupSects];
  image.payload_offset = (uint64_t{sectors} + 1) * kSectorSize;
  const uint64_t system_size = uint64_t{load<uint32_t>(head, kSystemSize)} * 16;
  if (file_size < image.payload_offset + std::max<uint64_t>(system_size, 1)) {
    return refuse("the file is cut short");
  }
  image.payload_size = file_size - image.payload_offset;
  image.preferred_address = load<uint64_t>(head, kPreferredAddress);
  image.init_size = std::max<uint64_t>(load<uint32_t>(head, kInitSize), image.payload_size);
  image.alignment = load<uint32_t>(head, kKernelAlignment);
  image.relocatable = load<uint8_t>(head, kRelocatable) != 0;
  image.initrd_limit = load<uint32_t>(head, kInitrdAddressMax);
  image.command_line_limit =
      std::min<uint64_t>(load<uint32_t>(head, kCommandLineSize), kCommandLineArea - 1);
  const bool power_of_two = image.alignment != 0 && (image.alignment & (image.alignment - 1)) == 0;
  if (!power_of_two || image.alignment > kGiB || image.preferred_address < kLowestKernel ||
      image.preferred_address > kMmioHole) {
    return refuse("a damaged setup header");
  }
  return image;
}

Result<LinuxImage> inspect_linux(const std::string& path) {
  auto file = File::open("kernel", path, kAcceptedKernel);
  HV_PROPAGATE(file);
  std::vector<uint8_t> head(std::min<uint64_t>(file->size(), kHeadBytes));
  if (!file->read(0, std::as_writable_bytes(std::span(head)))) {
    return bad_input(fmt::format("kernel {}: cannot be read; accepted: {}", path, kAcceptedKernel));
  }
  return parse_linux_headers(head, file->size(), path);
}

namespace {

// Its size. A kernel that finds something else there says so after its VM is built, and panics.
Result<uint64_t> inspect_initrd(const std::string& path) {
  const auto refuse = [&](std::string_view why) {
    return bad_input(fmt::format("initrd {}: {}; accepted: {}", path, why, kAcceptedInitrd));
  };
  auto file = File::open("initrd", path, kAcceptedInitrd);
  HV_PROPAGATE(file);
  if (file->size() == 0) return refuse("empty");
  std::string head(std::min<uint64_t>(file->size(), kLongestInitrdMagic), '\0');
  if (!file->read(0, std::as_writable_bytes(std::span(head)))) return refuse("cannot be read");
  const bool known =
      std::ranges::any_of(kInitrdMagics, [&](auto magic) { return head.starts_with(magic); });
  if (!known) return refuse("not an initramfs");
  return file->size();
}

}  // namespace

Result<LinuxLayout> plan_linux(const LinuxBoot& boot, uint64_t memory_size) {
  const LinuxImage& kernel = boot.kernel;
  if (boot.command_line.size() > kernel.command_line_limit) {
    return bad_input(fmt::format("cmdline: {} characters; accepted: at most {} by this kernel",
                                 boot.command_line.size(), kernel.command_line_limit));
  }
  LinuxLayout layout;
  if (!boot.initrd.empty()) {
    const auto size = inspect_initrd(boot.initrd);
    HV_PROPAGATE(size);
    layout.initrd_size = *size;
  }
  const uint64_t low_end = std::min(memory_size, kMmioHole);
  const uint64_t initrd_room = base::align_up(layout.initrd_size, kPageSize);
  layout.kernel = kernel.preferred_address;
  if (kernel.relocatable && layout.kernel + kernel.init_size + initrd_room > low_end) {
    layout.kernel = base::align_up(kLowestKernel, kernel.alignment);
  }
  const uint64_t kernel_end = base::align_up(layout.kernel + kernel.init_size, kPageSize);
  const uint64_t needed = kernel_end + initrd_room;
  if (needed > kMmioHole) {
    return bad_input(
        fmt::format("initrd {}: {} MiB; accepted: what fits below {} MiB with the kernel",
                    boot.initrd, in_mib(layout.initrd_size), kMmioHole / kMiB));
  }
  if (needed > low_end) {
    return bad_input(
        fmt::format("memory {}MiB; accepted: at least {}MiB for this kernel and initrd",
                    memory_size / kMiB, in_mib(needed)));
  }
  if (layout.initrd_size != 0) {
    const uint64_t limit = std::min(low_end, kernel.initrd_limit + 1);
    if (limit < needed) {
      return bad_input(
          fmt::format("initrd {}: {} MiB; accepted: what ends below {:#x} by this kernel",
                      boot.initrd, in_mib(layout.initrd_size), limit));
    }
    layout.initrd = base::align_down(limit - layout.initrd_size, kPageSize);
  }
  return layout;
}

Result<> load_linux(const LinuxBoot& boot, const LinuxLayout& layout, GuestMemory& memory) {
  auto kernel = File::open("kernel", boot.kernel.path, kAcceptedKernel);
  HV_PROPAGATE(kernel);
  const auto code = memory.at(layout.kernel, boot.kernel.payload_size);
  if (!code || !kernel->read(boot.kernel.payload_offset, *code)) {
    return bad_input(fmt::format("kernel {}: changed while it was loaded", boot.kernel.path));
  }
  if (layout.initrd_size != 0) {
    auto initrd = File::open("initrd", boot.initrd, kAcceptedInitrd);
    HV_PROPAGATE(initrd);
    const auto to = memory.at(layout.initrd, layout.initrd_size);
    if (!to || !initrd->read(0, *to)) {
      return bad_input(fmt::format("initrd {}: changed while it was loaded", boot.initrd));
    }
  }
  const auto text = *memory.at(kCommandLine, boot.command_line.size() + 1);
  std::memcpy(text.data(), boot.command_line.c_str(), text.size());
  write_boot_params(boot, layout, memory);
  write_page_tables(memory);
  write_gdt(memory);
  return {};
}

std::vector<HvRegisterAssoc> linux_entry_registers(const LinuxLayout& layout) {
  using enum HvRegisterName;
  constexpr uint64_t kCr0 = 0x80050033;  // PG, AM, WP, NE, ET, MP, PE
  constexpr uint64_t kCr4 = 0x20;        // PAE
  constexpr uint64_t kEfer = 0x500;      // LMA, LME
  constexpr uint32_t kFlat = 0xFFFFFFFF;
  HvRegisterAssoc gdtr{};
  gdtr.name = HvX64RegisterGdtr;
  gdtr.value.table = {{}, 47, kGdt};
  HvRegisterAssoc idtr{};
  idtr.name = HvX64RegisterIdtr;
  return {
      assoc(HvX64RegisterCr3, kPageTables),
      assoc(HvX64RegisterCr4, kCr4),
      assoc(HvX64RegisterEfer, kEfer),
      assoc(HvX64RegisterCr0, kCr0),
      gdtr,
      idtr,
      segment(HvX64RegisterCs, kCodeSelector, kCodeAttributes, kFlat),
      segment(HvX64RegisterSs, kDataSelector, kDataAttributes, kFlat),
      segment(HvX64RegisterDs, kDataSelector, kDataAttributes, kFlat),
      segment(HvX64RegisterEs, kDataSelector, kDataAttributes, kFlat),
      segment(HvX64RegisterFs, kDataSelector, kDataAttributes, kFlat),
      segment(HvX64RegisterGs, kDataSelector, kDataAttributes, kFlat),
      segment(HvX64RegisterLdtr, 0, kLdtAttributes, 0xFFFF),
      segment(HvX64RegisterTr, kTaskSelector, kTaskAttributes, 0x67),
      assoc(HvX64RegisterRflags, 0x2),
      assoc(HvX64RegisterRsp, kStackTop),
      assoc(HvX64RegisterRbp, 0),
      assoc(HvX64RegisterRdi, 0),
      assoc(HvX64RegisterRbx, 0),
      assoc(HvX64RegisterRsi, kBootParams),
      assoc(HvX64RegisterRip, layout.kernel + kEntry64),
  };
}

}  // namespace vmwp
