// SPDX-License-Identifier: MIT
// A partition without a hypervisor: registers in a map, translations in a map (identity where there
// is none), messages replayed from a queue, and a history of every call.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "vmwp/partition.h"

namespace vmwp {

class FakePartition final : public VpControl {
 public:
  using Name = hv::abi::HvRegisterName;

  Result<RunOutcome> run(uint32_t, hv::abi::HvMessage& message) override {
    ++runs;
    if (messages.empty()) return fail("no more messages");
    message = messages.front();
    messages.pop_front();
    return RunOutcome::kMessage;
  }
  Result<> set_registers(uint32_t, std::span<const hv::abi::HvRegisterAssoc> list) override {
    ++sets;
    last_set.clear();
    for (const auto& assoc : list) {
      registers[assoc.name] = assoc.value;
      last_set.insert(assoc.name);
    }
    return {};
  }
  Result<> get_registers(uint32_t, std::span<const Name> names,
                         std::span<hv::abi::HvRegisterValue> values) override {
    ++gets;
    for (size_t i = 0; i < names.size(); ++i) values[i] = registers[names[i]];
    return {};
  }
  Result<Translation> translate(uint32_t, uint64_t gva, GuestAccess, Privilege) override {
    ++translations;
    using enum hv::abi::HvTranslateGvaResultCode;
    const uint64_t page = gva & ~uint64_t{0xFFF};
    if (faults.contains(page)) return Translation{faults[page], 0};
    const auto mapped = pages.find(page);
    return Translation{HvTranslateGvaSuccess,
                       mapped == pages.end() ? gva : mapped->second | (gva & 0xFFF)};
  }
  Result<> assert_interrupt(const chipset::InterruptMessage& message) override {
    interrupts.push_back(message);
    return {};
  }

  uint64_t reg(Name name) { return registers[name].reg64; }
  void set(Name name, uint64_t value) {
    registers[name] = {};
    registers[name].reg64 = value;
  }

  std::map<Name, hv::abi::HvRegisterValue> registers;
  std::set<Name> last_set;
  std::map<uint64_t, uint64_t> pages;
  std::map<uint64_t, hv::abi::HvTranslateGvaResultCode> faults;
  std::deque<hv::abi::HvMessage> messages;
  std::vector<chipset::InterruptMessage> interrupts;
  std::atomic<unsigned> runs = 0;  // the others are for the thread that runs the VP
  unsigned sets = 0, gets = 0, translations = 0;
};

}  // namespace vmwp
