// SPDX-License-Identifier: MIT
// Intercept messages with arbitrary contents, instructions and page tables against Vp::handle(): it
// answers each one, never reads outside the VM's memory, asks for a bounded number of hypercalls,
// and moves RIP only past an instruction.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "tests/unit/chipset/fake_clock.h"
#include "tests/unit/vmwp/fake_partition.h"
#include "vmwp/vp.h"

namespace {

using namespace vmwp;
using namespace hv::abi;

void require(bool condition) {
  if (!condition) std::abort();
}

class Nobody final : public chipset::SerialPeer {
 public:
  bool put(uint8_t) override { return true; }
  std::optional<uint8_t> get() override { return std::nullopt; }
};

class Input {
 public:
  Input(const uint8_t* data, size_t size) : bytes_(data, size) {}
  uint64_t take(unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size && !bytes_.empty(); ++i) {
      value = value << 8 | bytes_[0];
      bytes_ = bytes_.subspan(1);
    }
    return value;
  }
  bool empty() const { return bytes_.empty(); }
  void fill(void* to, size_t size) {
    std::memset(to, 0, size);
    const size_t count = std::min(size, bytes_.size());
    std::memcpy(to, bytes_.data(), count);
    bytes_ = bytes_.subspan(count);
  }

 private:
  std::span<const uint8_t> bytes_;
};

constexpr HvMessageType kTypes[] = {
    HvMessageType::HvMessageTypeX64IoPortIntercept,
    HvMessageType::HvMessageTypeUnmappedGpa,
    HvMessageType::HvMessageTypeX64IoPortIntercept,
    HvMessageType::HvMessageTypeGpaIntercept,
    HvMessageType::HvMessageTypeX64MsrIntercept,
    HvMessageType::HvMessageTypeUnrecoverableException,
    static_cast<HvMessageType>(0x80001234),  // nothing that is sent
};

// Most inputs should reach the emulator: a plausible mode, and addresses that are often somewhere.
HvMessage make_message(Input& input) {
  HvMessage message{};
  const auto choice = static_cast<uint8_t>(input.take(1));
  message.header.message_type = kTypes[choice % std::size(kTypes)];
  input.fill(message.payload, sizeof(HvX64IoPortInterceptMessage));
  HvX64InterceptMessageHeader header;
  std::memcpy(&header, message.payload, sizeof(header));
  if ((choice & 0x80) != 0) {
    header.execution_state |= 1 << kHvExecutionEferLmaBit;
    header.cs_segment.attributes = 0xA09B;
  }
  if ((choice & 0x40) != 0) header.rip &= 0x1FFFFFF;
  std::memcpy(message.payload, &header, sizeof(header));
  return message;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const GuestMemory memory = *GuestMemory::create(kMinMemory);
  static chipset::FakeClock clock;
  Nobody nobody;
  FakePartition partition;
  chipset::Rtc::Battery battery;
  chipset::Chipset chipset(clock, battery, nobody,
                           chipset::Hooks{.deliver = [](const chipset::InterruptMessage&) {},
                                          .power_off = [] {},
                                          .reset = [] {},
                                          .reschedule = [] {},
                                          .log = {}});
  Vp vp(
      EmulationContext{0, partition, chipset, memory}, [](const Ending&) {},
      [](const Ending&) { return true; });

  Input input(data, size);
  while (!input.empty()) {
    const HvMessage message = make_message(input);
    for (uint32_t i = 0; i < 16; ++i) {
      const auto name =
          static_cast<HvRegisterName>(static_cast<uint32_t>(HvRegisterName::HvX64RegisterRax) + i);
      const uint64_t value = input.take(4);
      partition.set(name, (value & 1) != 0 ? 0xFEC00000 + (value >> 8 & 0xFF) : value);
    }
    if (input.take(1) % 4 == 0) {
      const uint64_t page = input.take(4) & ~uint64_t{0xFFF};
      partition.faults[page] = static_cast<HvTranslateGvaResultCode>(input.take(1) % 10);
      partition.pages[page + 0x1000] = input.take(8) & ~uint64_t{0xFFF};
    }
    partition.sets = partition.gets = partition.translations = 0;
    const auto ending = vp.handle(message);
    require(partition.sets <= 1 && partition.gets <= 4 && partition.translations <= 4096);
    require(!ending || ending->text.size() < 4096);
  }
  return 0;
}
