// SPDX-License-Identifier: MIT
// The exact lines that bad input gets.
#include "vmwp/config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace vmwp {
namespace {

Result<Request> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "vmwp");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

std::string complaint(std::vector<const char*> arguments) {
  const auto request = parse(std::move(arguments));
  if (request) return "accepted";
  EXPECT_EQ(request.error().status, ExitStatus::kBadInput);
  EXPECT_EQ(request.error().text.find('\n'), std::string::npos);
  return request.error().text;
}

std::string complaint_of_file(std::string_view text) {
  const auto config = parse_config(text, "vm.toml");
  if (config) return "accepted";
  EXPECT_EQ(config.error().status, ExitStatus::kBadInput);
  return config.error().text;
}

TEST(ConfigTest, Sizes) {
  EXPECT_EQ(parse_size("512MiB"), 512 * kMiB);
  EXPECT_EQ(parse_size("4GiB"), 4 * kGiB);
  for (const char* bad : {"", "512", "MiB", "512M", "512 MiB", "-1MiB", "1.5GiB", "0x10MiB",
                          "99999999999999999999GiB", "18446744073709551615GiB"}) {
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
  }
}

TEST(ConfigTest, FileSetsEveryField) {
  const auto config = parse_config(
      "name = \"web\"\nmemory = \"2GiB\"\nvps = 4\nkernel = \"/k\"\ninitrd = \"/i\"\n"
      "cmdline = \"quiet\"\nconsole = \"unix:/run/web\"\nlog = \"/l\"\non-reset = \"stop\"\n"
      "on-crash = \"continue\"\n",
      "vm.toml");
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ(config->name, "web");
  EXPECT_EQ(config->memory, 2 * kGiB);
  EXPECT_EQ(config->vps, 4u);
  EXPECT_EQ(config->kernel, "/k");
  EXPECT_EQ(config->initrd, "/i");
  EXPECT_EQ(config->command_line, "quiet");
  EXPECT_EQ(config->console.kind, ConsoleConfig::Kind::kSocket);
  EXPECT_EQ(config->console.path, "/run/web");
  EXPECT_EQ(config->log, "/l");
  EXPECT_EQ(config->on_reset, OnReset::kStop);
  EXPECT_EQ(config->on_crash, OnCrash::kContinue);
}

TEST(ConfigTest, FileComplaintsNameLineFieldValueAndWhatIsAccepted) {
  EXPECT_EQ(complaint_of_file("memory = \"12x\""),
            "config vm.toml, line 1: memory = 12x; accepted: 32MiB to 384GiB, whole MiB, written "
            "like 512MiB or 4GiB");
  EXPECT_EQ(complaint_of_file("vps = 1\nvsp = 2"),
            "config vm.toml, line 2: unknown name vsp; accepted: name, memory, vps, kernel, "
            "initrd, cmdline, console, log, on-reset, on-crash");
  EXPECT_EQ(complaint_of_file("vps = 0"),
            "config vm.toml, line 1: vps = 0; accepted: a number from 1 to 64");
  EXPECT_EQ(complaint_of_file("vps = [1]"),
            "config vm.toml, line 1: vps = (not a single value); accepted: a number from 1 to 64");
  EXPECT_EQ(complaint_of_file("console = \"serial\""),
            "config vm.toml, line 1: console = serial; accepted: terminal, unix:PATH, file:PATH or "
            "none");
  EXPECT_EQ(complaint_of_file("name = "),
            "config vm.toml, line 1: Error while parsing key-value pair: encountered end-of-file; "
            "accepted: TOML");
}

TEST(ConfigTest, FlagComplaints) {
  EXPECT_EQ(complaint({"--memory", "31MiB"}),
            "--memory 31MiB; accepted: 32MiB to 384GiB, whole MiB, written like 512MiB or 4GiB");
  EXPECT_EQ(complaint({"--vps", "65"}), "--vps 65; accepted: a number from 1 to 64");
  EXPECT_EQ(complaint({"--vps", "2x"}), "--vps 2x; accepted: a number from 1 to 64");
  EXPECT_EQ(complaint({"--name", "a b"}),
            "--name a b; accepted: 1 to 64 letters, digits, '-', '_', '.'");
  EXPECT_EQ(complaint({"--on-reset", "x"}), "--on-reset x; accepted: reboot or stop");
  EXPECT_EQ(complaint({"--on-crash", "x"}), "--on-crash x; accepted: stop or continue");
  EXPECT_EQ(complaint({}),
            "kernel: not given; accepted: a Linux x86-64 bzImage, by --kernel FILE or kernel = "
            "\"FILE\" in the configuration");
  EXPECT_EQ(complaint({"/nonexistent.toml"}),
            "config /nonexistent.toml: No such file or directory; accepted: a readable TOML file");
  EXPECT_NE(complaint({"--bogus"}).find("--bogus"), std::string::npos);
}

TEST(ConfigTest, FlagsWinOverTheFile) {
  const std::string path = ::testing::TempDir() + "vmwp_config_test.toml";
  std::ofstream(path) << "kernel = \"/k\"\nvps = 4\nmemory = \"1GiB\"\n";
  const auto request = parse({path.c_str(), "--vps", "2", "--no-reboot", "--json"});
  std::remove(path.c_str());
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->config.vps, 2u);
  EXPECT_EQ(request->config.memory, kGiB);
  EXPECT_EQ(request->config.on_reset, OnReset::kStop);
  EXPECT_TRUE(request->json);
  EXPECT_EQ(request->action, Request::Action::kRun);
}

TEST(ConfigTest, HelpListsExitStatuses) {
  const auto request = parse({"--help"});
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->action, Request::Action::kPrint);
  EXPECT_NE(request->text.find("3  crashed"), std::string::npos);
}

}  // namespace
}  // namespace vmwp
