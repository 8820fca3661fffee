// SPDX-License-Identifier: MIT
// vmwp: the worker process of one VM. Reads what the VM is to be, runs it, and says how it ended:
// in its exit status, on the last line of standard error and, if asked, as JSON on standard output.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>

#include "vmwp/acpi.h"
#include "vmwp/config.h"
#include "vmwp/machine.h"

namespace vmwp {
namespace {

struct Report {
  ExitStatus status;
  std::string word;  // how it ended, for people and for JSON
  std::string text;
  uint32_t boots = 0;
};

Report report_of(const Ending& ending, uint32_t boots) {
  switch (ending.kind) {
    case EndKind::kReset:
      return {ExitStatus::kPoweredOff, "reset", ending.text, boots};
    case EndKind::kPoweredOff:
      return {ExitStatus::kPoweredOff, "powered off", ending.text, boots};
    case EndKind::kCrashed:
      return {ExitStatus::kCrashed, "crashed", ending.text, boots};
    case EndKind::kKilled:
      return {ExitStatus::kKilled, "killed", ending.text, boots};
    case EndKind::kError:
      break;
  }
  return {ExitStatus::kError, "error", ending.text, boots};
}

Report report_of(const Failure& failure) {
  const bool input = failure.status == ExitStatus::kBadInput;
  return {failure.status, input ? "bad input" : "error", failure.text};
}

int finish(const Report& report, const std::string& name, bool json) {
  std::string line = "vmwp: ";
  if (report.boots != 0) {
    line +=
        fmt::format("{}: {}{}{}", name, report.word, report.text.empty() ? "" : ": ", report.text);
  } else {
    line += report.text;
  }
  fmt::print(stderr, "{}\n", line);
  if (json) {
    const nlohmann::json object = {{"name", name},
                                   {"ended", report.word},
                                   {"text", report.text},
                                   {"boots", report.boots},
                                   {"exit_status", static_cast<int>(report.status)}};
    constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
    fmt::print("{}\n", object.dump(-1, ' ', false, kReplace));
  }
  return static_cast<int>(report.status);
}

Result<Report> run(const Config& config) {
  auto plan = plan_boot(config);
  HV_PROPAGATE(plan);
  auto machine = Machine::create(config, *std::move(plan));
  HV_PROPAGATE(machine);
  if (config.console.kind == ConsoleConfig::Kind::kTerminal && ::isatty(STDIN_FILENO) != 0) {
    fmt::print(stderr, "vmwp: {}: this is its console; Ctrl-] stops the VM and leaves\n",
               config.name);
  }
  const Ending ending = (*machine)->run();
  return report_of(ending, (*machine)->boots());
}

Result<> check(const Config& config) {
  HV_PROPAGATE(plan_boot(config));
  auto log = Log::open(config.log, config.name);
  HV_PROPAGATE(log);
  auto port = open_port(config.name, **log);
  HV_PROPAGATE(port);
  HV_PROPAGATE(Console::open(config.console, **port));
  return {};
}

Result<Report> act(const Request& request) {
  switch (request.action) {
    case Request::Action::kPrint:
      fmt::print("{}", request.text);
      return Report{ExitStatus::kPoweredOff, {}, {}};
    case Request::Action::kDumpAcpi:
      HV_PROPAGATE(dump_firmware_tables(
          build_firmware_tables(request.config.vps, request.config.name), request.dump_directory));
      return Report{ExitStatus::kPoweredOff, "dumped",
                    "tables written to " + request.dump_directory};
    case Request::Action::kCheck:
      HV_PROPAGATE(check(request.config));
      return Report{ExitStatus::kPoweredOff, "checked", "the configuration is good"};
    case Request::Action::kRun:
      break;
  }
  return run(request.config);
}

int main_function(int argc, char** argv) {
  const auto request = parse_command_line(argc, argv);
  if (!request) return finish(report_of(request.error()), {}, false);
  const auto report = act(*request);
  if (request->action == Request::Action::kPrint) return 0;
  return finish(report ? *report : report_of(report.error()), request->config.name, request->json);
}

}  // namespace
}  // namespace vmwp

int main(int argc, char** argv) {
  try {
    return vmwp::main_function(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vmwp: %s\n", error.what());
    return static_cast<int>(vmwp::ExitStatus::kError);
  }
}
