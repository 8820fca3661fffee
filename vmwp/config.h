// SPDX-License-Identifier: MIT
// What a VM is to be: read from a TOML file and flags (flags win), checked field by field. Every
// complaint is one line that names the field, the value and what is accepted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "vmwp/failure.h"
#include "vmwp/guest_memory.h"

namespace vmwp {

struct ConsoleConfig {
  enum class Kind { kTerminal, kSocket, kFile, kNone };
  Kind kind = Kind::kTerminal;
  std::string path;  // of the socket or file
};

enum class OnReset { kReboot, kStop };
enum class OnCrash { kStop, kContinue };

struct Config {
  std::string name = "vm";
  uint64_t memory = 512 * kMiB;
  uint32_t vps = 1;
  std::string kernel;
  std::string initrd;  // empty: none
  std::string command_line = "console=ttyS0";
  ConsoleConfig console;
  std::string log;  // empty: standard error
  OnReset on_reset = OnReset::kReboot;
  OnCrash on_crash = OnCrash::kStop;
};

inline constexpr uint32_t kMaxVps = 64;  // what the hypervisor gives a partition

/// What the command line asks for.
struct Request {
  enum class Action { kRun, kCheck, kDumpAcpi, kPrint };
  Action action = Action::kRun;
  Config config;
  bool json = false;
  std::string dump_directory;  // kDumpAcpi
  std::string text;            // kPrint: help or version, for standard output
};

/// Flags and the file they name. Does not open the kernel or the initrd.
Result<Request> parse_command_line(int argc, const char* const* argv);
/// The contents of a configuration file; `path` is for messages.
Result<Config> parse_config(std::string_view toml, const std::string& path);
/// "512MiB", "4GiB", "4096" is refused: a unit is required.
std::optional<uint64_t> parse_size(std::string_view text);

}  // namespace vmwp
