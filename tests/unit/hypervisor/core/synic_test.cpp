// SPDX-License-Identifier: MIT
#include "hypervisor/core/synic.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "hypervisor/core/intercept.h"
#include "tests/fake/environment.h"

namespace hv {
namespace {

using abi::HvMessageType;
using Post = Synic::Post;

constexpr Gpa kSim = Gpa(0x3000), kSief = Gpa(0x4000);
constexpr uint64_t kMasked = 1 << 16, kAutoEoi = 1 << 17, kPolling = 1 << 18,
                   kAsIntercept = 1 << 19;

abi::HvMessage message_of(uint32_t type, uint64_t payload = 0) {
  return make_message(static_cast<HvMessageType>(type), payload);
}

class SynicTest : public testing::Test {
 protected:
  SynicTest() {
    vp.apic.power_on(x86::LocalApic::Mode::x2apic, true);
    EXPECT_TRUE(vp.apic.write_msr(0x80f, 0x1ff));
  }
  Result<> try_write(uint32_t msr, uint64_t value) { return vp.synic.write(vp, msr, value); }
  void write(uint32_t msr, uint64_t value) {
    ASSERT_TRUE(try_write(msr, value)) << std::hex << msr << " = " << value;
  }
  uint64_t read(uint32_t msr) { return vp.synic.read(msr).value_or(~uint64_t{0}); }
  void enable() {
    write(abi::kHvX64MsrSimp, kSim.value() | 1);
    write(abi::kHvX64MsrSiefp, kSief.value() | 1);
    write(abi::kHvX64MsrScontrol, 1);
  }
  void set_sint(unsigned sint, uint64_t value) { write(abi::kHvX64MsrSint0 + sint, value); }
  abi::HvMessage& slot(unsigned sint) {
    return environment.at<abi::HvMessagePage>(child, kSim).sint_message[sint];
  }
  // The guest takes the message: whether it has to write EOM.
  bool consume(unsigned sint) {
    slot(sint).header.message_type = HvMessageType::HvMessageTypeNone;
    return slot(sint).header.message_flags & 1;
  }
  // Takes the interrupt that is pending; -1 if none.
  int interrupt() {
    const int vector = vp.apic.highest_pending();
    if (vector >= 0) vp.apic.acknowledge(static_cast<uint8_t>(vector));
    return vector;
  }

  fake::Environment environment;
  Partition& child = environment.make_child();
  x86::Vcpu& vp = environment.make_running_vp(child, 0);
};

TEST_F(SynicTest, RegistersAfterReset) {
  EXPECT_EQ(read(abi::kHvX64MsrScontrol), 0u);
  EXPECT_EQ(read(abi::kHvX64MsrSversion), 1u);
  EXPECT_EQ(read(abi::kHvX64MsrSiefp), 0u);
  EXPECT_EQ(read(abi::kHvX64MsrSimp), 0u);
  EXPECT_EQ(read(abi::kHvX64MsrEom), 0u);
  for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(read(abi::kHvX64MsrSint0 + i), kMasked);
}

TEST_F(SynicTest, BadAccessesRaiseGp) {
  EXPECT_EQ(try_write(abi::kHvX64MsrSversion, 1).error(), Error::inject_gp);
  EXPECT_EQ(try_write(abi::kHvX64MsrSint0 + 2, 15).error(), Error::inject_gp);
  EXPECT_TRUE(try_write(abi::kHvX64MsrSint0 + 2, kMasked | 15));
  EXPECT_TRUE(try_write(abi::kHvX64MsrSint0 + 2, 16));
  // Only a VP with fixed pages, of the root, has event rings.
  EXPECT_EQ(vp.synic.read(abi::kHvX64MsrSirbp).error(), Error::inject_gp);
  EXPECT_EQ(try_write(abi::kHvX64MsrSirbp, 1).error(), Error::inject_gp);
  EXPECT_EQ(vp.synic.read(0x40000086).error(), Error::inject_gp);
  EXPECT_EQ(try_write(0x400000a0, 0).error(), Error::inject_gp);
}

TEST_F(SynicTest, PageRegistersKeepReservedBitsAndStartEmpty) {
  memset(&slot(0), 0xff, kPageSize);
  write(abi::kHvX64MsrSimp, kSim.value() | 0x801);
  EXPECT_EQ(read(abi::kHvX64MsrSimp), kSim.value() | 0x801);
  EXPECT_EQ(slot(15).payload[239], 0);
  EXPECT_EQ(slot(0).header.message_type, HvMessageType::HvMessageTypeNone);
  // Writing what is there already destroys nothing.
  slot(3) = message_of(7);
  write(abi::kHvX64MsrSimp, kSim.value() | 1);
  EXPECT_EQ(slot(3).header.message_type, static_cast<HvMessageType>(7));
}

TEST_F(SynicTest, FixedPagesCannotBeMoved) {
  vp.synic.set_fixed_pages(0x10, 0x11, 0x12);
  EXPECT_EQ(read(abi::kHvX64MsrSimp), 0x10000u);
  write(abi::kHvX64MsrSimp, 0x77001);
  EXPECT_EQ(read(abi::kHvX64MsrSimp), 0x10001u);
  write(abi::kHvX64MsrSiefp, 1);
  write(abi::kHvX64MsrSirbp, 1);
  EXPECT_EQ(read(abi::kHvX64MsrSiefp), 0x11001u);
  EXPECT_EQ(read(abi::kHvX64MsrSirbp), 0x12001u);
  vp.synic.reset();
  EXPECT_EQ(read(abi::kHvX64MsrSirbp), 0x12000u);
}

TEST_F(SynicTest, AMessageFillsItsSlotAndInterrupts) {
  enable();
  set_sint(2, 0xf3);
  abi::HvMessage message = message_of(1, 0x1122334455667788);
  message.header.sender = 0xabcdef;
  memset(&slot(2).payload, 0xee, 240);
  ASSERT_EQ(vp.synic.post(vp, 2, message), Post::posted);
  EXPECT_EQ(slot(2).header.message_type, static_cast<HvMessageType>(1));
  EXPECT_EQ(slot(2).header.payload_size, 8);
  EXPECT_EQ(slot(2).header.message_flags, 0);
  EXPECT_EQ(slot(2).header.sender, 0xabcdefu);
  EXPECT_EQ(slot(2).payload[0], 0x88);
  EXPECT_EQ(slot(2).payload[8], 0xee);  // only the payload's bytes are written
  EXPECT_TRUE(vp.has(VpRequest::interrupt));
  EXPECT_EQ(interrupt(), 0xf3);
}

TEST_F(SynicTest, ABusySlotAsksForEom) {
  enable();
  set_sint(2, 0xf3);
  ASSERT_EQ(vp.synic.post(vp, 2, message_of(1)), Post::posted);
  EXPECT_EQ(vp.synic.post(vp, 2, message_of(2)), Post::busy);
  EXPECT_EQ(slot(2).header.message_type, static_cast<HvMessageType>(1));
  EXPECT_TRUE(consume(2));
  EXPECT_EQ(vp.synic.post(vp, 2, message_of(2)), Post::posted);
  EXPECT_FALSE(slot(2).header.message_flags & 1);
  EXPECT_EQ(vp.synic.post(vp, 3, message_of(2)), Post::posted);  // its own slot
}

TEST_F(SynicTest, WhatIsOffTakesNoMessages) {
  EXPECT_EQ(vp.synic.post(vp, 2, message_of(1)), Post::disabled);
  write(abi::kHvX64MsrScontrol, 1);
  EXPECT_EQ(vp.synic.post(vp, 2, message_of(1)), Post::disabled);
  write(abi::kHvX64MsrSimp, (uint64_t{1} << 40) | 1);  // nothing is mapped there
  EXPECT_EQ(vp.synic.post(vp, 2, message_of(1)), Post::disabled);
  enable();
  EXPECT_EQ(vp.synic.post(vp, 2, message_of(1)), Post::posted);
  ASSERT_TRUE(child.space.unmap(kSim));  // a hostile parent
  EXPECT_EQ(vp.synic.post(vp, 3, message_of(1)), Post::disabled);
}

TEST_F(SynicTest, SintBitsDecideAboutTheInterrupt) {
  enable();
  set_sint(1, kMasked | 0x51);
  set_sint(2, kPolling | 0x52);
  set_sint(3, kAutoEoi | 0x53);
  for (unsigned sint : {1u, 2u, 3u})
    ASSERT_EQ(vp.synic.post(vp, sint, message_of(9)), Post::posted);
  EXPECT_EQ(interrupt(), 0x53);
  EXPECT_EQ(vp.apic.peek(0x10 + 2), 0u);  // AutoEOI: not in service
  EXPECT_EQ(interrupt(), -1);
  // What came while the SINT was masked is announced when it is not any more.
  set_sint(1, 0x51);
  EXPECT_EQ(interrupt(), 0x51);
}

TEST_F(SynicTest, EventFlagsInterruptOnceUntilCleared) {
  EXPECT_EQ(vp.synic.signal(vp, 2, 5).error(), Error::invalid_synic_state);
  enable();
  EXPECT_EQ(vp.synic.signal(vp, 2, 5).error(), Error::invalid_synic_state);  // masked
  set_sint(2, 0xf3);
  auto& flags = environment.at<abi::HvSynicEventFlagsPage>(child, kSief).event_flags[2].flags;
  ASSERT_TRUE(*vp.synic.signal(vp, 2, 2047));
  EXPECT_EQ(flags[31], uint64_t{1} << 63);
  EXPECT_EQ(interrupt(), 0xf3);
  vp.apic.write_eoi();
  ASSERT_FALSE(*vp.synic.signal(vp, 2, 2047));
  EXPECT_EQ(interrupt(), -1);
  ASSERT_TRUE(*vp.synic.signal(vp, 2, 64));
  EXPECT_EQ(flags[1], 1u);
}

TEST_F(SynicTest, DeliverableSintsAreReportedWhenTheyAre) {
  enable();
  set_sint(2, 0xf3);
  ASSERT_EQ(vp.synic.post(vp, 2, message_of(1)), Post::posted);
  vp.synic.set_notify_deliverable(vp, 1 << 2);
  EXPECT_EQ(vp.synic.notify_deliverable(), 1 << 2);
  EXPECT_FALSE(report_deliverable_sints(vp));  // busy: the guest is asked for an EOM
  EXPECT_TRUE(vp.take(VpRequest::evaluate));
  ASSERT_TRUE(consume(2));
  vp.intercept_page = Spa(environment.free_page().value());
  write(abi::kHvX64MsrEom, 0);
  EXPECT_TRUE(vp.take(VpRequest::evaluate));
  ASSERT_TRUE(report_deliverable_sints(vp));
  EXPECT_TRUE(vp.is(VpSuspend::intercept_suspend));
  const auto& message = *direct_map<abi::HvMessage>(vp.intercept_page);
  EXPECT_EQ(message.header.message_type, HvMessageType::HvMessageTypeSynicSintDeliverable);
  abi::HvX64SynicSintDeliverableMessage payload;
  memcpy(&payload, message.payload, sizeof(payload));
  EXPECT_EQ(payload.deliverable_sints, 1 << 2);
  EXPECT_EQ(vp.synic.notify_deliverable(), 0);
  EXPECT_FALSE(report_deliverable_sints(vp));
  vp.intercept_page = Spa();
  environment.root().intercepts.cancel(vp);
}

// A guest that frees its slot while the sender finds it busy: one of the two sees the other.
TEST_F(SynicTest, NoEomIsMissedBetweenLps) {
  enable();
  set_sint(2, 0xf3);
  constexpr uint32_t kMessages = 20'000;
  std::atomic<bool> asked{true};
  std::thread guest([&] {
    std::atomic_ref type(slot(2).header.message_type);
    std::atomic_ref flags(slot(2).header.message_flags);
    for (uint32_t got = 0, idle = 0; got < kMessages;) {
      if (type.load() == HvMessageType::HvMessageTypeNone) {
        if (++idle % 1000 == 0) std::this_thread::yield();
        continue;
      }
      ++got;
      type.store(HvMessageType::HvMessageTypeNone);
      if (flags.load() & 1) asked = true;
    }
  });
  for (uint32_t sent = 0; sent < kMessages;) {
    for (uint32_t idle = 1; !asked.exchange(false); ++idle)
      if (idle % 1000 == 0) std::this_thread::yield();
    // Busy means that the guest will ask; a message that fits may be followed by another.
    while (sent < kMessages && vp.synic.post(vp, 2, message_of(sent + 1)) == Post::posted) ++sent;
  }
  guest.join();
}

class RootSynicTest : public testing::Test {
 protected:
  RootSynicTest() {
    vp.apic.power_on(x86::LocalApic::Mode::x2apic, true);
    EXPECT_TRUE(vp.apic.write_msr(0x80f, 0x1ff));
    vp.synic.set_fixed_pages(pages[0].page(), pages[1].page(), pages[2].page());
    for (const uint32_t msr : {abi::kHvX64MsrSimp, abi::kHvX64MsrSirbp, abi::kHvX64MsrScontrol})
      EXPECT_TRUE(vp.synic.write(vp, msr, 1));
    EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSint0, 0xf3));
    EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSint0 + 5, 0xf3 | kAsIntercept));
    consume();
  }
  abi::HvMessage& slot() {
    return environment.at<abi::HvMessagePage>(root, pages[0]).sint_message[0];
  }
  uint32_t consume() {
    uint32_t sint = ~0u;
    if (slot().header.message_type == HvMessageType::HvMessageTypeSynicSintIntercept)
      memcpy(&sint, slot().payload, 4);
    slot().header.message_type = HvMessageType::HvMessageTypeNone;
    return sint;
  }
  abi::HvSynicEventRing& ring() {
    return environment.at<abi::HvSynicEventRingPage>(root, pages[2]).sint_event_ring[5];
  }

  fake::Environment environment;
  Partition& root = environment.root();
  x86::Vcpu& vp = environment.make_running_vp(root, 0);
  Gpa pages[3] = {environment.free_page(), environment.free_page(), environment.free_page()};
};

TEST_F(RootSynicTest, AnInterceptSintIsAMessageInSlot0) {
  vp.synic.raise(vp, 5);
  EXPECT_EQ(slot().header.payload_size, 4);
  EXPECT_EQ(consume(), 5u);
  // With slot 0 busy it waits for the EOM; several are one.
  ASSERT_EQ(vp.synic.post(vp, 0, message_of(1)), Post::posted);
  vp.synic.raise(vp, 5);
  vp.synic.raise(vp, 5);
  EXPECT_TRUE(slot().header.message_flags & 1);
  EXPECT_EQ(consume(), ~0u);
  EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrEom, 0));
  EXPECT_EQ(consume(), 5u);
  retry_messages(vp);
  EXPECT_EQ(consume(), ~0u);
}

TEST_F(RootSynicTest, TheRingWrapsAndFills) {
  constexpr unsigned kEntries = abi::kHvSynicEventRingMessageCount;
  for (uint32_t i = 1; i <= kEntries; ++i) ASSERT_TRUE(vp.synic.push_ring(vp, 5, PortId(i)));
  EXPECT_EQ(consume(), 5u);
  EXPECT_FALSE(vp.synic.push_ring(vp, 5, PortId(99)));
  EXPECT_EQ(ring().ring_full, 1);
  EXPECT_EQ(ring().data[0], 1u);
  ring().data[0] = ring().data[1] = 0;
  ASSERT_TRUE(vp.synic.push_ring(vp, 5, PortId(100)));
  EXPECT_EQ(ring().data[0], 100u);
  EXPECT_EQ(ring().data[kEntries - 1], kEntries);
}

TEST_F(RootSynicTest, AMaskedRingIsSilent) {
  ring().signal_masked = 1;
  ASSERT_TRUE(vp.synic.push_ring(vp, 5, PortId(1)));
  EXPECT_EQ(consume(), ~0u);
  ring().signal_masked = 0;
  ASSERT_TRUE(vp.synic.push_ring(vp, 5, PortId(1)));
  EXPECT_EQ(consume(), 5u);
  EXPECT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSirbp, 0));
  EXPECT_FALSE(vp.synic.push_ring(vp, 5, PortId(1)));
}

}  // namespace
}  // namespace hv
