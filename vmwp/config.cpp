// SPDX-License-Identifier: MIT
#include "vmwp/config.h"

#include <fmt/format.h>
#include <sys/un.h>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

namespace vmwp {
namespace {

constexpr size_t kMaxName = 64;
constexpr uintmax_t kMaxConfigFile = 64 * 1024;

bool set_name(Config& config, std::string_view value) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  config.name = value;
  return !value.empty() && value.size() <= kMaxName && std::ranges::all_of(value, allowed);
}

bool set_memory(Config& config, std::string_view value) {
  const auto size = parse_size(value);
  if (!size || *size < kMinMemory || *size > kMaxMemory) return false;
  config.memory = *size;
  return true;
}

bool set_vps(Config& config, std::string_view value) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), config.vps);
  return error == std::errc() && end == value.data() + value.size() && config.vps >= 1 &&
         config.vps <= kMaxVps;
}

bool set_console(Config& config, std::string_view value) {
  using Kind = ConsoleConfig::Kind;
  const auto path_after = [&](std::string_view prefix) {
    config.console.path = value.substr(prefix.size());
    return !config.console.path.empty();
  };
  if (value == "terminal" || value == "none") {
    config.console = {value == "none" ? Kind::kNone : Kind::kTerminal, {}};
    return true;
  }
  if (value.starts_with("unix:")) {
    config.console.kind = Kind::kSocket;
    return path_after("unix:") && config.console.path.size() < sizeof(sockaddr_un::sun_path);
  }
  config.console.kind = Kind::kFile;
  return value.starts_with("file:") && path_after("file:");
}

bool set_on_reset(Config& config, std::string_view value) {
  config.on_reset = value == "stop" ? OnReset::kStop : OnReset::kReboot;
  return value == "stop" || value == "reboot";
}

bool set_on_crash(Config& config, std::string_view value) {
  config.on_crash = value == "continue" ? OnCrash::kContinue : OnCrash::kStop;
  return value == "stop" || value == "continue";
}

bool set_path(std::string& path, std::string_view value) {
  path = value;
  return !value.empty();
}

struct Field {
  const char* key;
  const char* metavar;
  const char* help;
  const char* accepted;
  bool (*set)(Config&, std::string_view);
};

constexpr Field kFields[] = {
    {"name", "NAME", "what messages call the VM", "1 to 64 letters, digits, '-', '_', '.'",
     set_name},
    {"memory", "SIZE", "memory of the VM (512MiB)",
     "32MiB to 384GiB, whole MiB, written like 512MiB or 4GiB", set_memory},
    {"vps", "N", "virtual processors (1)", "a number from 1 to 64", set_vps},
    {"kernel", "FILE", "Linux kernel to boot (required)", "a Linux x86-64 bzImage",
     [](Config& config, std::string_view value) { return set_path(config.kernel, value); }},
    {"initrd", "FILE", "initial RAM disk", "a file",
     [](Config& config, std::string_view value) { return set_path(config.initrd, value); }},
    {"cmdline", "TEXT", "kernel command line (console=ttyS0)", "text",
     [](Config& config, std::string_view value) {
       config.command_line = value;
       return value.find('\0') == std::string_view::npos;
     }},
    {"console", "WHERE", "serial port: terminal (default), unix:PATH, file:PATH or none",
     "terminal, unix:PATH, file:PATH or none", set_console},
    {"log", "FILE", "append the VM's log to FILE (standard error)", "a file to append to",
     [](Config& config, std::string_view value) { return set_path(config.log, value); }},
    {"on-reset", "WHAT", "when the guest resets: reboot (default) or stop", "reboot or stop",
     set_on_reset},
    {"on-crash", "WHAT", "when the guest reports a panic: stop (default) or continue",
     "stop or continue", set_on_crash},
};

constexpr const char* kFooter =
    "The configuration FILE is TOML with the same names: memory = \"1GiB\", vps = 2, ...\n"
    "Flags win over the file.\n\n"
    "The last line on standard error says how the VM ended; the exit status is\n"
    "  0  powered off (or the checks passed)\n"
    "  1  something else went wrong: no /dev/mshv, not enough memory, ...\n"
    "  2  bad input: a flag, the configuration file, the kernel or the initrd\n"
    "  3  crashed: a triple fault, or a panic that the guest reported\n"
    "  4  killed: SIGTERM, SIGINT, or Ctrl-] on the console\n"
    "A reset that is not to boot again (--no-reboot) ends with status 0 and the word 'reset'.\n"
    "A guest that dumps its memory or restarts by itself after a panic wants --on-crash continue:\n"
    "the report is logged, and what the guest does next decides.\n"
    "SIGPWR presses the VM's power button.";

std::string known_keys() {
  std::string keys;
  for (const Field& field : kFields) keys += (keys.empty() ? "" : ", ") + std::string(field.key);
  return keys;
}

// The value as the setters read it, or nothing for tables, arrays and dates.
std::optional<std::string> scalar_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return std::string(flag->get() ? "true" : "false");
  return std::nullopt;
}

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

Result<Config> load_config_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxConfigFile + 1, '\0');
  if (!file || !(file.read(text.data(), static_cast<std::streamsize>(text.size())) || file.eof())) {
    return bad_input(fmt::format("config {}: {}; accepted: a readable TOML file", path,
                                 std::strerror(errno != 0 ? errno : EIO)));
  }
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxConfigFile) {
    return bad_input(fmt::format("config {}: too large; accepted: at most 64 KiB", path));
  }
  return parse_config(text, path);
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const uint64_t factor = unit == "MiB" ? kMiB : unit == "GiB" ? kGiB : 0;
  if (factor == 0 || number > UINT64_MAX / factor) return std::nullopt;
  return number * factor;
}

Result<Config> parse_config(std::string_view text, const std::string& path) {
  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& error) {
    return bad_input(fmt::format("config {}, line {}: {}; accepted: TOML", path,
                                 error.source().begin.line, first_line(error.description())));
  }
  Config config;
  for (const auto& [key, node] : table) {
    const auto* field = std::ranges::find_if(
        kFields, [&](const Field& candidate) { return key.str() == candidate.key; });
    const auto line = node.source().begin.line;
    if (field == std::end(kFields)) {
      return bad_input(fmt::format("config {}, line {}: unknown name {}; accepted: {}", path, line,
                                   key.str(), known_keys()));
    }
    const auto value = scalar_text(node);
    if (!value || !field->set(config, *value)) {
      return bad_input(fmt::format("config {}, line {}: {} = {}; accepted: {}", path, line,
                                   field->key, value.value_or("(not a single value)"),
                                   field->accepted));
    }
  }
  return config;
}

Result<Request> parse_command_line(int argc, const char* const* argv) {
  Request request;
  std::string file;
  std::map<std::string, std::string> given;
  bool check = false;
  bool no_reboot = false;

  CLI::App app{"vmwp: runs one virtual machine under the Partita hypervisor", "vmwp"};
  app.footer(kFooter);
  app.set_version_flag("--version", "vmwp (Partita) " PARTITA_VERSION);
  app.add_option("config", file, "configuration file")->type_name("FILE");
  for (const Field& field : kFields) {
    app.add_option(std::string("--") + field.key, given[field.key], field.help)
        ->type_name(field.metavar);
  }
  app.add_flag("--no-reboot", no_reboot, "short for --on-reset stop");
  app.add_flag("--check", check, "check the configuration and the files it names, then exit");
  app.add_flag("--json", request.json, "also print how the VM ended as JSON on standard output");
  app.add_option("--dump-acpi", request.dump_directory)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    std::ostringstream out, err;
    app.exit(success, out, err);
    request.action = Request::Action::kPrint;
    request.text = out.str();
    return request;
  } catch (const CLI::ParseError& error) {
    return bad_input(fmt::format("{}; see vmwp --help", first_line(error.what())));
  }

  if (!file.empty()) {
    auto loaded = load_config_file(file);
    HV_PROPAGATE(loaded);
    request.config = *std::move(loaded);
  }
  for (const Field& field : kFields) {
    if (app.count(std::string("--") + field.key) == 0) continue;
    const std::string& value = given[field.key];
    if (!field.set(request.config, value)) {
      return bad_input(fmt::format("--{} {}; accepted: {}", field.key, value, field.accepted));
    }
  }
  if (no_reboot) request.config.on_reset = OnReset::kStop;
  if (!request.dump_directory.empty()) {
    request.action = Request::Action::kDumpAcpi;
    return request;
  }
  if (request.config.kernel.empty()) {
    return bad_input(
        "kernel: not given; accepted: a Linux x86-64 bzImage, by --kernel FILE or "
        "kernel = \"FILE\" in the configuration");
  }
  if (check) request.action = Request::Action::kCheck;
  return request;
}

}  // namespace vmwp
