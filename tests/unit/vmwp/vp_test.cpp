// SPDX-License-Identifier: MIT
// Intercept messages replayed against a partition without a hypervisor.
#include "vmwp/vp.h"

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "abi/tlfs/msr.h"
#include "tests/unit/chipset/fake_clock.h"
#include "tests/unit/vmwp/fake_partition.h"
#include "vmwp/crash.h"

namespace vmwp {
namespace {

using namespace hv::abi;
using enum HvRegisterName;

class Terminal final : public chipset::SerialPeer {
 public:
  bool put(uint8_t byte) override {
    sent += static_cast<char>(byte);
    return true;
  }
  std::optional<uint8_t> get() override {
    if (input.empty()) return std::nullopt;
    const auto byte = static_cast<uint8_t>(input.front());
    input.erase(0, 1);
    return byte;
  }
  std::string sent, input;
};

constexpr uint16_t kLong64 = 1 << kHvExecutionEferLmaBit | 1 << kHvExecutionCr0PeBit;
constexpr uint16_t kRealModeData = 0x0093;
constexpr uint16_t kCode64 = 0xA09B, kCode32 = 0xC09B, kCode16 = 0x009B;

class VpTest : public ::testing::Test {
 protected:
  template <class T>
  static HvMessage message(HvMessageType type, const T& payload) {
    HvMessage result{};
    result.header.message_type = type;
    result.header.payload_size = sizeof(T);
    std::memcpy(result.payload, &payload, sizeof(T));
    return result;
  }
  static HvX64InterceptMessageHeader header(unsigned length, HvInterceptAccessType access) {
    HvX64InterceptMessageHeader result{};
    result.instruction_length_and_cr8 = static_cast<uint8_t>(length);
    result.intercept_access_type = access;
    result.execution_state = kLong64;
    result.cs_segment.attributes = kCode64;
    result.rip = 0x10000;
    result.rflags = 2;
    return result;
  }
  static constexpr auto kRead = HvInterceptAccessType::HvInterceptAccessRead;
  static constexpr auto kWrite = HvInterceptAccessType::HvInterceptAccessWrite;

  static HvX64IoPortInterceptMessage port(uint16_t number, unsigned size,
                                          HvInterceptAccessType access) {
    HvX64IoPortInterceptMessage result{};
    result.header = header(1, access);
    result.port_number = number;
    result.access_info = static_cast<uint8_t>(size);
    return result;
  }
  std::optional<Ending> handle(const HvX64IoPortInterceptMessage& io) {
    return vp_.handle(message(HvMessageType::HvMessageTypeX64IoPortIntercept, io));
  }
  template <class Message>
  static void give_bytes(Message& target, const std::initializer_list<uint8_t>& bytes) {
    std::copy(bytes.begin(), bytes.end(), target.instruction_bytes);
    target.instruction_byte_count = static_cast<uint8_t>(bytes.size());
  }
  static HvX64MemoryInterceptMessage memory_at(uint64_t gpa, HvInterceptAccessType access,
                                               std::initializer_list<uint8_t> bytes) {
    HvX64MemoryInterceptMessage result{};
    result.header = header(0, access);
    result.memory_access_info =
        1 << kHvMemoryAccessGvaValidBit | 1 << kHvMemoryAccessGvaGpaValidBit;
    result.guest_virtual_address = gpa;
    result.guest_physical_address = gpa;
    give_bytes(result, bytes);
    return result;
  }
  std::optional<Ending> handle(const HvX64MemoryInterceptMessage& access) {
    return vp_.handle(message(HvMessageType::HvMessageTypeUnmappedGpa, access));
  }
  void write_guest(uint64_t gpa, std::string_view text) {
    ASSERT_TRUE(memory_.write(gpa, std::as_bytes(std::span(text))));
  }
  std::string read_guest(uint64_t gpa, size_t size) {
    std::string text(size, '\0');
    EXPECT_TRUE(memory_.read(gpa, std::as_writable_bytes(std::span(text))));
    return text;
  }
  HvX64PendingExceptionEvent pending() {
    return partition_.registers[HvRegisterPendingEvent0].pending_exception_event;
  }

  chipset::FakeClock clock_;
  Terminal terminal_;
  unsigned power_offs_ = 0;
  chipset::Rtc::Battery battery_;
  chipset::Chipset chipset_{
      clock_, battery_, terminal_,
      chipset::Hooks{.deliver =
                         [this](const chipset::InterruptMessage& m) {
                           EXPECT_TRUE(partition_.assert_interrupt(m).has_value());
                         },
                     .power_off = [this] { ++power_offs_; },
                     .reset = [] {},
                     .reschedule = [] {},
                     .log = {}}};
  GuestMemory memory_ = *GuestMemory::create(32 * kMiB);
  FakePartition partition_;
  std::vector<Ending> endings_;
  std::vector<std::string> reports_;
  bool survives_ = false;
  Vp vp_{EmulationContext{0, partition_, chipset_, memory_},
         [this](Ending ending) { endings_.push_back(std::move(ending)); },
         [this](const Ending& crash) {
           reports_.push_back(crash.text);
           return survives_;
         }};
};

TEST_F(VpTest, OutCostsOneHypercall) {
  auto io = port(0x3F8, 1, kWrite);
  io.rax = 'A';
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(terminal_.sent, "A");
  EXPECT_EQ(partition_.sets, 1u);
  EXPECT_EQ(partition_.gets + partition_.translations, 0u);
  EXPECT_EQ(partition_.last_set, std::set{HvX64RegisterRip});
  EXPECT_EQ(partition_.reg(HvX64RegisterRip), 0x10001u);
}

TEST_F(VpTest, InMergesByWidth) {
  auto io = port(0x3FD, 1, kRead);
  io.rax = 0x1122334455667788;
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(partition_.reg(HvX64RegisterRax), 0x1122334455667760u);
  io = port(0x1234, 4, kRead);
  io.rax = ~uint64_t{0};
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(partition_.reg(HvX64RegisterRax), 0xFFFFFFFFu);
  EXPECT_EQ(partition_.sets, 2u);
}

TEST_F(VpTest, RipWrapsIn32BitCode) {
  auto io = port(0x80, 1, kWrite);
  io.header.execution_state = 1 << kHvExecutionCr0PeBit;
  io.header.cs_segment.attributes = kCode32;
  io.header.rip = 0xFFFFFFFF;
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(partition_.reg(HvX64RegisterRip), 0u);
}

TEST_F(VpTest, RipWrapsIn16BitCode) {
  auto io = port(0x80, 1, kWrite);
  io.header.execution_state = 0;
  io.header.cs_segment.attributes = kCode16;
  io.header.rip = 0xFFFE;
  io.header.instruction_length_and_cr8 = 2;
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(partition_.reg(HvX64RegisterRip), 0u);
}

TEST_F(VpTest, UnknownLengthIsDecoded) {
  auto io = port(0x80, 1, kWrite);
  io.header.instruction_length_and_cr8 = 0;
  give_bytes(io, {0xE6, 0x80});
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(partition_.reg(HvX64RegisterRip), 0x10002u);
}

TEST_F(VpTest, SingleStepAndInterruptShadowEnd) {
  auto io = port(0x80, 1, kWrite);
  io.header.rflags |= 0x100;
  io.header.execution_state |= 1 << kHvExecutionInterruptShadowBit;
  partition_.set(HvRegisterInterruptState, 3);
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(partition_.reg(HvRegisterInterruptState), 2u);  // NMIs stay masked
  EXPECT_EQ(pending().vector, 1);
  EXPECT_EQ(pending().header, 1);
}

TEST_F(VpTest, RepOutsbWritesAString) {
  write_guest(0x5FFE, "Hello, world");  // crosses a page
  auto io = port(0x3F8, 1, kWrite);
  io.access_info |= 1 << kHvIoPortStringOpBit | 1 << kHvIoPortRepPrefixBit;
  give_bytes(io, {0xF3, 0x6E});
  io.rcx = 12;
  io.rsi = 0x5FFE;
  io.ds_segment.base = 0x777000;  // ignored in 64-bit mode
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(terminal_.sent, "Hello, world");
  EXPECT_EQ(partition_.reg(HvX64RegisterRcx), 0u);
  EXPECT_EQ(partition_.reg(HvX64RegisterRsi), 0x5FFEu + 12);
  EXPECT_EQ(partition_.reg(HvX64RegisterRip), 0x10002u);
  EXPECT_EQ(partition_.sets, 1u);
}

TEST_F(VpTest, RepInsbBackwardsIn16BitCode) {
  terminal_.input = "xyz";
  chipset_.write_port(0x3FA, 1, 1);
  chipset_.console_ready();
  auto io = port(0x3F8, 1, kRead);
  io.access_info |= 1 << kHvIoPortStringOpBit | 1 << kHvIoPortRepPrefixBit;
  io.header.execution_state = 0;
  io.header.cs_segment.attributes = kCode16;
  io.header.rflags |= 1 << 10;
  give_bytes(io, {0xF3, 0x6C});
  io.es_segment = {0x20000, 0xFFFF, 0x2000, kRealModeData};
  io.rcx = 0xABCD0003;  // only CX counts
  io.rdi = 0x77770001;  // and only DI, which wraps
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(read_guest(0x20000, 2), "yx");
  EXPECT_EQ(read_guest(0x2FFFF, 1), "z");
  EXPECT_EQ(partition_.reg(HvX64RegisterRcx), 0xABCD0000u);
  EXPECT_EQ(partition_.reg(HvX64RegisterRdi), 0x7777FFFEu);
}

TEST_F(VpTest, OutsTakesASegmentOverride) {
  write_guest(0x8010, "Q");
  auto io = port(0x3F8, 1, kWrite);
  io.access_info |= 1 << kHvIoPortStringOpBit;
  give_bytes(io, {0x65, 0x6E});
  io.rsi = 0x10;
  partition_.registers[HvX64RegisterGs].segment.base = 0x8000;
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(terminal_.sent, "Q");
}

// Another processor of the guest wrote to the code after the intercept: user code may not use a
// port because the processor let it touch memory, nor another port instruction than the one it
// checked.
TEST_F(VpTest, PortsAreOnlyForTheInterceptedInstruction) {
  partition_.set(HvX64RegisterRdx, 0x604);
  partition_.set(HvX64RegisterRsi, 0x5000);
  write_guest(0x5000, std::string("\x00\x34", 2));
  auto access = memory_at(0xA0000, kRead, {0x66, 0x6F});  // outsw: the power-off
  access.header.execution_state |= 3;
  EXPECT_FALSE(handle(access));
  EXPECT_EQ(power_offs_, 0u);

  auto io = port(0x604, 2, kWrite);
  io.access_info |= 1 << kHvIoPortStringOpBit;
  io.rsi = 0x5000;
  for (const auto& bytes : {std::initializer_list<uint8_t>{0x41, 0x88, 0x18},  // mov [r8], bl
                            {0x6E},                                            // outsb
                            {0x66, 0x6D},                                      // insw
                            {0x66, 0xEF}}) {                                   // out dx, ax
    give_bytes(io, bytes);
    EXPECT_FALSE(handle(io));
    EXPECT_EQ(power_offs_, 0u);
  }
  EXPECT_EQ(partition_.sets, 0u);
  give_bytes(io, {0x66, 0x6F});
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(power_offs_, 1u);
  EXPECT_EQ(partition_.reg(HvX64RegisterRip), 0x10002u);
}

// The processor intercepts INS and OUTS before it asks segmentation about their memory.
TEST_F(VpTest, StringsObeySegmentation) {
  auto io = port(0x3F8, 2, kRead);
  io.access_info |= 1 << kHvIoPortStringOpBit;
  give_bytes(io, {0x66, 0x6D});
  io.rdi = 0x00007FFF'FFFFFFFF;  // its second byte is not canonical
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(pending().vector, 13);
  EXPECT_EQ(pending().flags, 1);
  EXPECT_EQ(pending().error_code, 0u);
  EXPECT_EQ(partition_.translations, 0u);

  const auto fault_of = [&](uint64_t si, HvX64SegmentRegister segment,
                            std::initializer_list<uint8_t> bytes, uint16_t state) {
    auto out = port(0x80, 2, kWrite);
    out.access_info |= 1 << kHvIoPortStringOpBit;
    out.header.execution_state = state;
    out.header.cs_segment.attributes = kCode16;
    out.rsi = si;
    out.ds_segment = segment;
    partition_.registers[HvX64RegisterSs].segment = segment;
    partition_.registers.erase(HvRegisterPendingEvent0);
    give_bytes(out, bytes);
    EXPECT_FALSE(handle(out));
    return partition_.registers.contains(HvRegisterPendingEvent0) ? int{pending().vector} : -1;
  };
  constexpr uint16_t kProtected = 1 << kHvExecutionCr0PeBit;
  const HvX64SegmentRegister real{0x4000, 0xFFFF, 0x400, kRealModeData};
  EXPECT_EQ(fault_of(0xFFFE, real, {0x6F}, 0), -1);
  EXPECT_EQ(fault_of(0xFFFF, real, {0x6F}, 0), 13);
  EXPECT_EQ(pending().flags, 0);  // real mode has no error codes
  EXPECT_EQ(fault_of(0xFFFF, real, {0x36, 0x6F}, kProtected), 12);
  EXPECT_EQ(pending().flags, 1);
  const HvX64SegmentRegister down{0, 0x1000, 8, 0x0097}, absent{0, 0xFFFF, 8, 0x0013},
      code{0, 0xFFFF, 8, 0x0099};
  EXPECT_EQ(fault_of(0x1001, down, {0x6F}, kProtected), -1);
  EXPECT_EQ(fault_of(0x1000, down, {0x6F}, kProtected), 13);
  EXPECT_EQ(fault_of(0xFFFF, down, {0x6F}, kProtected), 13);
  EXPECT_EQ(fault_of(0, absent, {0x6F}, kProtected), 13);
  EXPECT_EQ(fault_of(0, code, {0x6F}, kProtected), 13);  // execute only
}

TEST_F(VpTest, LongStringsComeBackInSlices) {
  auto io = port(0x80, 1, kWrite);
  io.access_info |= 1 << kHvIoPortStringOpBit | 1 << kHvIoPortRepPrefixBit;
  give_bytes(io, {0xF3, 0x6E});
  io.rcx = 1'000'000;
  io.rsi = 0x5000;
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(partition_.reg(HvX64RegisterRcx), 1'000'000u - 1024);
  EXPECT_FALSE(partition_.last_set.contains(HvX64RegisterRip));
}

TEST_F(VpTest, PageFaultInAStringIsTheGuests) {
  using enum HvTranslateGvaResultCode;
  partition_.faults[0x7000] = HvTranslateGvaPageNotPresent;
  terminal_.input = "abcdef";
  chipset_.write_port(0x3FA, 1, 1);
  chipset_.console_ready();
  auto io = port(0x3F8, 1, kRead);
  io.header.execution_state |= 3;
  io.access_info |= 1 << kHvIoPortStringOpBit | 1 << kHvIoPortRepPrefixBit;
  give_bytes(io, {0xF3, 0x6C});
  io.rcx = 6;
  io.rdi = 0x6FFE;
  EXPECT_FALSE(handle(io));
  EXPECT_EQ(read_guest(0x6FFE, 2), "ab");
  EXPECT_EQ(partition_.reg(HvX64RegisterRcx), 4u);
  EXPECT_FALSE(partition_.last_set.contains(HvX64RegisterRip));
  EXPECT_EQ(pending().vector, 14);
  EXPECT_EQ(pending().error_code, 6u);  // user, write, not present
  EXPECT_EQ(pending().exception_parameter, 0x7000u);
  // The port was not read for the byte that could not be stored.
  EXPECT_EQ(chipset_.read_port(0x3F8, 1), static_cast<uint32_t>('c'));
}

TEST_F(VpTest, MmioMovesBothWays) {
  partition_.set(HvX64RegisterRbx, 0xFEC00000);
  partition_.set(HvX64RegisterRax, 0x01);
  EXPECT_FALSE(handle(memory_at(0xFEC00000, kWrite, {0x89, 0x03})));  // mov [rbx], eax
  EXPECT_EQ(partition_.reg(HvX64RegisterRip), 0x10002u);
  partition_.set(HvX64RegisterRcx, ~uint64_t{0});
  EXPECT_FALSE(handle(memory_at(0xFEC00010, kRead, {0x8B, 0x4B, 0x10})));  // mov ecx, [rbx+16]
  EXPECT_EQ(partition_.reg(HvX64RegisterRcx), 0x00170020u);
  EXPECT_EQ(partition_.reg(HvX64RegisterRip), 0x10003u);
  EXPECT_EQ(partition_.translations, 0u);
  EXPECT_EQ(partition_.gets, 2u);
}

TEST_F(VpTest, MmioWithoutALinearAddressNeedsNoTranslation) {
  partition_.set(HvX64RegisterRbx, 0xFFFF'8880'1234'0010);
  auto access = memory_at(0xFEC00010, kRead, {0x8B, 0x03});
  access.memory_access_info = 0;
  access.guest_virtual_address = 0;
  chipset_.write_mmio(0xFEC00000, 4, 1);
  EXPECT_FALSE(handle(access));
  EXPECT_EQ(partition_.reg(HvX64RegisterRax), 0x00170020u);
  EXPECT_EQ(partition_.translations, 0u);
}

TEST_F(VpTest, MmioInstructionIsFetchedAcrossPages) {
  memory_.write(0x1FFF, std::as_bytes(std::span("\x8B", 1)));
  memory_.write(0x9000, std::as_bytes(std::span("\x03", 1)));
  partition_.pages[0x2000] = 0x9000;
  partition_.set(HvX64RegisterRbx, 0xA0000);
  auto access = memory_at(0xA0000, kRead, {});
  access.header.rip = 0x1FFF;
  EXPECT_FALSE(handle(access));
  EXPECT_EQ(partition_.reg(HvX64RegisterRax), 0xFFFFFFFFu);  // nobody there
  EXPECT_EQ(partition_.reg(HvX64RegisterRip), 0x2001u);
}

TEST_F(VpTest, MovsFromMemoryToADevice) {
  write_guest(0x5000, "\x01");
  partition_.set(HvX64RegisterRsi, 0x5000);
  partition_.set(HvX64RegisterRdi, 0xFEC00000);
  EXPECT_FALSE(handle(memory_at(0xFEC00000, kWrite, {0xA5})));
  EXPECT_EQ(chipset_.read_mmio(0xFEC00010, 4), 0x00170020u);
  EXPECT_EQ(partition_.reg(HvX64RegisterRsi), 0x5004u);
}

TEST_F(VpTest, APageTableOutsideMemoryIsAReservedBitFault) {
  partition_.faults[0x7000] = HvTranslateGvaResultCode::HvTranslateGvaGpaUnmapped;
  partition_.set(HvX64RegisterRsi, 0x7010);
  partition_.set(HvX64RegisterRdi, 0xFEC00000);
  auto access = memory_at(0xFEC00000, kWrite, {0xA5});  // movsd
  EXPECT_FALSE(handle(access));
  EXPECT_EQ(pending().vector, 14);
  EXPECT_EQ(pending().error_code, 9u);  // present, reserved
  EXPECT_EQ(pending().exception_parameter, 0x7010u);
}

TEST_F(VpTest, AnEventWithoutMemoryToDeliverItEndsTheVm) {
  auto access = memory_at(0xB8000, kWrite, {0x89, 0x03});
  access.header.execution_state |= 1 << kHvExecutionInterruptionPendingBit;
  const auto ending = handle(access);
  ASSERT_TRUE(ending);
  EXPECT_EQ(ending->kind, EndKind::kCrashed);
  EXPECT_EQ(ending->text,
            "VP 0: an interrupt or exception cannot be delivered: no memory at 0xb8000");
}

TEST_F(VpTest, UnknownInstructionEndsTheVm) {
  const auto ending = handle(memory_at(0xA0000, kRead, {0x0F, 0x28, 0x03}));  // movaps
  ASSERT_TRUE(ending);
  EXPECT_EQ(ending->kind, EndKind::kCrashed);
  EXPECT_NE(ending->text.find("cannot emulate"), std::string::npos) << ending->text;
}

TEST_F(VpTest, UnknownMsrIsAFault) {
  HvX64MsrInterceptMessage msr{};
  msr.header = header(2, kRead);
  msr.msr_number = 0x1234;
  EXPECT_FALSE(vp_.handle(message(HvMessageType::HvMessageTypeX64MsrIntercept, msr)));
  EXPECT_EQ(pending().vector, 13);
  EXPECT_EQ(pending().flags, 1);
}

TEST_F(VpTest, CrashReportCarriesTheGuestsText) {
  const std::string text =
      "[ 1.0] before\n[ 1.1] Kernel panic - not syncing: \x1b[31mboom\n[ 1.2] after";
  write_guest(0x6000, text);
  partition_.set(HvRegisterGuestCrashP1, 0x8100000000000000);
  partition_.set(HvRegisterGuestCrashP3, 0x6000);
  partition_.set(HvRegisterGuestCrashP4, text.size());
  HvX64MsrInterceptMessage msr{};
  msr.header = header(2, kWrite);
  msr.msr_number = kHvX64MsrCrashCtl;
  msr.rdx = 0xC0000000;
  const auto ending = vp_.handle(message(HvMessageType::HvMessageTypeX64MsrIntercept, msr));
  ASSERT_TRUE(ending);
  EXPECT_EQ(ending->kind, EndKind::kCrashed);
  EXPECT_EQ(ending->text, "Kernel panic - not syncing: .[31mboom");
  EXPECT_EQ(partition_.sets, 0u);

  survives_ = true;
  EXPECT_FALSE(vp_.handle(message(HvMessageType::HvMessageTypeX64MsrIntercept, msr)));
  EXPECT_EQ(reports_, (std::vector<std::string>{ending->text, ending->text}));
  EXPECT_EQ(partition_.last_set, std::set{HvX64RegisterRip});
}

TEST_F(VpTest, CrashControlWithoutNoticeIsIgnored) {
  partition_.set(HvRegisterGuestCrashP0, 1);
  HvX64MsrInterceptMessage msr{};
  msr.header = header(2, kWrite);
  msr.msr_number = kHvX64MsrCrashCtl;
  EXPECT_FALSE(vp_.handle(message(HvMessageType::HvMessageTypeX64MsrIntercept, msr)));
  EXPECT_EQ(partition_.last_set, std::set{HvX64RegisterRip});
}

TEST_F(VpTest, CrashTextOutsideMemoryIsIgnored) {
  partition_.set(HvRegisterGuestCrashP0, 0xE);
  partition_.set(HvRegisterGuestCrashP3, ~uint64_t{0});
  partition_.set(HvRegisterGuestCrashP4, 4096);
  const auto crash = read_guest_crash(partition_, 0, memory_);
  ASSERT_TRUE(crash);
  EXPECT_EQ(crash->summary(), "parameters 0xe 0x0 0x0 0xffffffffffffffff 0x1000");
}

TEST_F(VpTest, TripleFault) {
  auto ending =
      vp_.handle(message(HvMessageType::HvMessageTypeUnrecoverableException, header(0, kRead)));
  ASSERT_TRUE(ending);
  EXPECT_EQ(ending->kind, EndKind::kCrashed);
  EXPECT_EQ(ending->text, "triple fault on VP 0 at 0x10000");
  EXPECT_NE(ending->detail.find("RIP"), std::string::npos);
}

TEST_F(VpTest, UnexpectedMessagesAreAnError) {
  HvMessage strange{};
  strange.header.message_type = static_cast<HvMessageType>(0x80001234);
  const auto ending = vp_.handle(strange);
  ASSERT_TRUE(ending);
  EXPECT_EQ(ending->kind, EndKind::kError);
  EXPECT_EQ(ending->text, "VP 0: unexpected message 0x80001234");
}

TEST_F(VpTest, ThreadRunsMessagesAndEnds) {
  auto io = port(0x3F8, 1, kWrite);
  for (const char c : std::string("ok")) {
    io.rax = static_cast<uint8_t>(c);
    partition_.messages.push_back(message(HvMessageType::HvMessageTypeX64IoPortIntercept, io));
  }
  partition_.messages.push_back(
      message(HvMessageType::HvMessageTypeUnrecoverableException, header(0, kRead)));
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGUSR1, &ignore, nullptr);
  vp_.start();
  while (partition_.runs < 3) std::this_thread::yield();
  vp_.stop();
  EXPECT_EQ(terminal_.sent, "ok");
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].kind, EndKind::kCrashed);
}

}  // namespace
}  // namespace vmwp
