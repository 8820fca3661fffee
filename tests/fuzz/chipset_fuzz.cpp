// SPDX-License-Identifier: MIT
// A hostile guest against the whole chipset: sequences of port and memory accesses, biased towards
// devices that are there, with time passing and console traffic in between. No access may
// misbehave, no interrupt may have an illegal vector, and no programming may make timers flood the
// host.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>

#include "chipset/chipset.h"
#include "tests/unit/chipset/fake_clock.h"

namespace {

using namespace chipset;

void require(bool condition) {
  if (!condition) std::abort();
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : bytes_(data, size) {}
  bool empty() const { return bytes_.empty(); }
  uint64_t take(unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size && !bytes_.empty(); ++i) {
      value = value << 8 | bytes_[0];
      bytes_ = bytes_.subspan(1);
    }
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
};

class Peer final : public SerialPeer {
 public:
  bool put(uint8_t) override { return room_ != 0 && room_-- != 0; }
  std::optional<uint8_t> get() override {
    if (pending_ == 0) return std::nullopt;
    return static_cast<uint8_t>(pending_--);
  }
  void feed(uint8_t amount) {
    room_ += amount % 16;
    pending_ += amount / 16;
  }

 private:
  unsigned room_ = 3, pending_ = 0;
};

uint16_t pick_port(Input& input) {
  constexpr std::array<uint16_t, 12> kBases{0x20, 0x40,  0x60,  0x70,  0x80,  0x90,
                                            0xA0, 0x3F8, 0x4D0, 0x600, 0x604, 0xCF8};
  const auto choice = static_cast<uint8_t>(input.take(1));
  if (choice >= 0xF0) return static_cast<uint16_t>(input.take(2));
  return static_cast<uint16_t>(kBases[choice % kBases.size()] + choice / kBases.size() % 12);
}

uint64_t pick_address(Input& input) {
  constexpr std::array<uint64_t, 4> kOffsets{0x00, 0x10, 0x40, 0xFFC};
  const auto choice = static_cast<uint8_t>(input.take(1));
  if (choice >= 0xF0) return input.take(8);
  return IoApic::kBase + kOffsets[choice % kOffsets.size()] + choice / 64;
}

// What vmwp does, for `ns` of guest time.
void pass(Chipset& chipset, FakeClock& clock, uint64_t ns) {
  constexpr unsigned kMostEventsPerSecond = 25'000;
  const uint64_t end = clock.now() + ns;
  const uint64_t most = 16 + kMostEventsPerSecond * ns / kNsPerSecond;
  uint64_t events = 0;
  for (uint64_t next = chipset.next_event(); next <= end; next = chipset.next_event()) {
    if (next > clock.now()) clock.pass(next - clock.now());
    chipset.advance();
    require(++events <= most);
  }
  if (end > clock.now()) clock.pass(end - clock.now());
}

void step(Chipset& chipset, FakeClock& clock, Peer& peer, Input& input) {
  const auto action = static_cast<uint8_t>(input.take(1));
  const unsigned port_size = 1u << action / 16 % 3;
  const unsigned memory_size = 1u << action / 16 % 4;
  switch (action % 8) {
    case 0:
    case 1:
      chipset.write_port(pick_port(input), port_size, static_cast<uint32_t>(input.take(port_size)));
      break;
    case 2: {
      const uint32_t value = chipset.read_port(pick_port(input), port_size);
      require(port_size == 4 || value >> (8 * port_size) == 0);
      break;
    }
    case 3:
      chipset.write_mmio(pick_address(input), memory_size, input.take(memory_size));
      break;
    case 4: {
      const uint64_t value = chipset.read_mmio(pick_address(input), memory_size);
      require(memory_size == 8 || value >> (8 * memory_size) == 0);
      break;
    }
    case 5:
      if (action < 0xE0) {
        pass(chipset, clock, input.take(1 + action / 128) * 997);
      } else {
        clock.pass(input.take(6));  // the host was suspended
        chipset.advance();
        require(chipset.next_event() > clock.now());
      }
      break;
    case 6:
      peer.feed(static_cast<uint8_t>(input.take(1)));
      chipset.console_ready();
      break;
    default:
      action & 0x80 ? chipset.press_power_button()
                    : chipset.end_of_interrupt(static_cast<unsigned>(input.take(1)));
      break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FakeClock clock;
  Peer peer;
  unsigned lines = 0;
  Rtc::Battery battery;
  Chipset chipset(clock, battery, peer,
                  Hooks{.deliver =
                            [](const InterruptMessage& message) {
                              const bool fixed = message.mode == DeliveryMode::kFixed ||
                                                 message.mode == DeliveryMode::kLowestPriority;
                              require(!fixed || message.vector >= 16);
                            },
                        .power_off = [] {},
                        .reset = [] {},
                        .reschedule = [] {},
                        .log = [&](std::string_view) { ++lines; }});
  const uint64_t started = clock.now();
  Input input(data, size);
  while (!input.empty()) step(chipset, clock, peer, input);
  require(lines <= 4 * (2 + (clock.now() - started) / kNsPerSecond));
  return 0;
}
