// SPDX-License-Identifier: MIT
// Loads a Linux bzImage by the 64-bit boot protocol [Linux Documentation/arch/x86/boot.rst]:
// kernel, initrd, command line, boot_params with the memory map, identity page tables and GDT;
// answers the registers the first VP starts with. Files are checked before anything is created.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "abi/tlfs/registers.h"
#include "vmwp/failure.h"
#include "vmwp/guest_memory.h"

namespace vmwp {

/// What the loader needs to know of a kernel: fields of its setup header.
struct LinuxImage {
  std::string path;
  std::vector<uint8_t> setup_header;  // bytes 1F1h.. of the file, as boot_params wants them
  uint64_t payload_offset = 0;        // of the protected-mode code in the file, bytes
  uint64_t payload_size = 0;
  uint64_t preferred_address = 0;
  uint64_t init_size = 0;  // memory the kernel needs from its load address on
  uint64_t alignment = 0;
  bool relocatable = false;
  uint64_t initrd_limit = 0;        // the initrd's last byte is at most here
  uint64_t command_line_limit = 0;  // characters, without the terminator
};

/// Reads and judges the kernel's headers. Errors are bad input.
Result<LinuxImage> inspect_linux(const std::string& path);
/// The same for bytes in hand: `head` is the start of the file, `file_size` its whole length.
Result<LinuxImage> parse_linux_headers(std::span<const uint8_t> head, uint64_t file_size,
                                       const std::string& path);

struct LinuxBoot {
  LinuxImage kernel;
  std::string initrd;  // path, or empty
  std::string command_line;
  uint64_t rsdp = 0;
};

/// Where everything goes, decided before the VM exists.
struct LinuxLayout {
  uint64_t kernel = 0;
  uint64_t initrd = 0;
  uint64_t initrd_size = 0;
};

/// Errors: bad input (initrd unreadable, command line too long, memory too small and how much it
/// would take).
Result<LinuxLayout> plan_linux(const LinuxBoot& boot, uint64_t memory_size);

/// Fills guest memory. Errors: the files changed or cannot be read.
Result<> load_linux(const LinuxBoot& boot, const LinuxLayout& layout, GuestMemory& memory);

/// The first VP's registers: long mode, paging on, at the kernel's 64-bit entry.
std::vector<hv::abi::HvRegisterAssoc> linux_entry_registers(const LinuxLayout& layout);

}  // namespace vmwp
