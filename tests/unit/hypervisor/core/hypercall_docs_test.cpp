// SPDX-License-Identifier: MIT
// docs/hypercalls.md is generated from the table. With PARTITA_UPDATE_DOCS set this test writes it,
// otherwise it compares.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "abi/tlfs/partition.h"
#include "hypervisor/core/hypercall_table.h"

namespace hv {
namespace {

std::string privileges_of(const HypercallRow& row) {
  static const std::pair<unsigned, const char*> kNames[] = {
      {abi::kHvPrivilegeCreatePartitionsBit, "CreatePartitions"},
      {abi::kHvPrivilegeAccessPartitionIdBit, "AccessPartitionId"},
      {abi::kHvPrivilegeAccessMemoryPoolBit, "AccessMemoryPool"},
      {abi::kHvPrivilegePostMessagesBit, "PostMessages"},
      {abi::kHvPrivilegeSignalEventsBit, "SignalEvents"},
      {abi::kHvPrivilegeCreatePortBit, "CreatePort"},
      {abi::kHvPrivilegeConnectPortBit, "ConnectPort"},
      {abi::kHvPrivilegeAccessStatsBit, "AccessStats"},
      {abi::kHvPrivilegeCpuManagementBit, "CpuManagement"},
      {abi::kHvPrivilegeStartVirtualProcessorBit, "StartVirtualProcessor"},
  };
  std::string text;
  uint64_t left = row.privileges;
  for (const auto& [bit, name] : kNames) {
    if ((left >> bit & 1) == 0) continue;
    left &= ~privilege(bit);
    text += (text.empty() ? "" : ", ") + std::string(name);
  }
  EXPECT_EQ(left, 0u) << row.name << " needs a privilege without a name here";
  return text.empty() ? "–" : text;
}

const char* target_of(const HypercallRow& row) {
  switch (row.target) {
    case HypercallTarget::none:
      return "–";
    case HypercallTarget::self:
      return "itself";
    case HypercallTarget::child:
      return "a child";
    case HypercallTarget::child_or_self:
      return "a child or itself";
  }
  return "";
}

std::string size_of(unsigned fixed, unsigned rep) {
  if (fixed + rep == 0) return "–";
  if (rep == 0) return std::to_string(fixed);
  return (fixed ? std::to_string(fixed) + " + " : "") + std::to_string(rep) + " × rep";
}

std::string document() {
  std::ostringstream out;
  out << "# Hypercalls\n\n"
         "Generated from `hypervisor/core/hypercall_table.cpp` by `hypercall_docs_test` (set\n"
         "`PARTITA_UPDATE_DOCS=1` to write this file anew). Parameter blocks are in\n"
         "`abi/tlfs/hypercall*.h`; codes from 4000 on are Partita's own, in `abi/partita/`.\n\n"
         "Sizes are bytes; *rep* marks what one repetition adds, *header* a call with a variable\n"
         "header, *fast* one that may pass its input in registers. *Target* is what the partition "
         "id\nin the input may name. A code that is not listed answers `INVALID_HYPERCALL_CODE`, a "
         "caller\nwithout the privileges `ACCESS_DENIED`. A rep call handles "
      << kRepsPerEntry
      << " repetitions at most before\nthe caller can take an interrupt, then continues.\n\n"
         "| code | name | kind | input | output | target | privileges |\n"
         "|---|---|---|---|---|---|---|\n";
  for (const HypercallRow& row : hypercall_table) {
    char code[8];
    std::snprintf(code, sizeof(code), "%04x", static_cast<unsigned>(row.code));
    out << "| " << code << " | " << row.name << " | "
        << (row.kind == HypercallKind::rep ? "rep" : "simple")
        << (row.variable == VariableHeader::yes ? ", header" : "") << (row.fast() ? ", fast" : "")
        << " | " << size_of(row.input, row.rep_input) << " | "
        << size_of(row.output, row.rep_output) << " | " << target_of(row) << " | "
        << privileges_of(row) << " |\n";
  }
  return out.str();
}

TEST(HypercallDocs, FileIsWhatTheTableSays) {
  const std::filesystem::path root =
      std::filesystem::path(__FILE__).parent_path() / ".." / ".." / ".." / "..";
  const std::filesystem::path path = root / "docs" / "hypercalls.md";
  if (std::getenv("PARTITA_UPDATE_DOCS")) {
    std::ofstream(path) << document();
    GTEST_SKIP() << "written";
  }
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(text, document()) << "run with PARTITA_UPDATE_DOCS=1";
}

}  // namespace
}  // namespace hv
