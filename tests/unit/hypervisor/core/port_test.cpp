// SPDX-License-Identifier: MIT
#include "hypervisor/core/port.h"

#include <gtest/gtest.h>

#include "tests/fake/environment.h"

namespace hv {
namespace {

constexpr Gpa kSim = Gpa(0x3000), kSief = Gpa(0x4000);
constexpr Gpa kDoorbell = Gpa(0xfe001000);

abi::HvPortInfo message_port(uint32_t sint, uint32_t vp) {
  abi::HvPortInfo info{};
  info.port_type = abi::HvPortType::HvPortTypeMessage;
  info.message = {sint, vp, 0};
  return info;
}
abi::HvPortInfo event_port(uint32_t sint, uint32_t vp, uint16_t base, uint16_t count) {
  abi::HvPortInfo info{};
  info.port_type = abi::HvPortType::HvPortTypeEvent;
  info.event = {sint, vp, base, count, 0};
  return info;
}
abi::HvPortInfo doorbell_port(uint32_t sint, uint32_t vp = abi::kHvAnyVp) {
  abi::HvPortInfo info{};
  info.port_type = abi::HvPortType::HvPortTypeDoorbell;
  info.doorbell = {sint, vp, 0};
  return info;
}
abi::HvConnectionInfo connection(abi::HvPortType type) {
  abi::HvConnectionInfo info{};
  info.port_type = type;
  return info;
}
abi::HvConnectionInfo doorbell(Gpa gpa, uint64_t flags, uint64_t value = 0) {
  abi::HvConnectionInfo info = connection(abi::HvPortType::HvPortTypeDoorbell);
  info.doorbell = {gpa.value(), value, flags};
  return info;
}

// The root receives through VPs with fixed pages, the child sends; or the other way round.
class PortTest : public testing::Test {
 protected:
  PortTest() {
    for (x86::Vcpu* vp : {&root0, &root1}) {
      auto& at = pages[vp->index.value()];
      vp->synic.set_fixed_pages(at[0].page(), at[1].page(), at[2].page());
      power_on(*vp);
      write(*vp, abi::kHvX64MsrSimp, 1);
      write(*vp, abi::kHvX64MsrSiefp, 1);
      write(*vp, abi::kHvX64MsrSirbp, 1);
      write(*vp, abi::kHvX64MsrScontrol, 1);
      for (unsigned sint : {0u, 2u, 5u}) write(*vp, abi::kHvX64MsrSint0 + sint, 0xf3);
    }
    power_on(guest);
    write(guest, abi::kHvX64MsrSimp, kSim.value() | 1);
    write(guest, abi::kHvX64MsrSiefp, kSief.value() | 1);
    write(guest, abi::kHvX64MsrScontrol, 1);
    write(guest, abi::kHvX64MsrSint0 + 2, 0xf3);
    root_pages = root.pool.free_pages();
    child_pages = child.pool.free_pages();
  }
  ~PortTest() override {
    root.ports.destroy(root);
    child.ports.destroy(child);
    EXPECT_EQ(root.pool.free_pages(), root_pages);
    EXPECT_EQ(child.pool.free_pages(), child_pages);
  }
  static void power_on(x86::Vcpu& vp) {
    vp.apic.power_on(x86::LocalApic::Mode::x2apic, true);
    EXPECT_TRUE(vp.apic.write_msr(0x80f, 0x1ff));
  }
  static void write(Vp& vp, uint32_t msr, uint64_t value) {
    EXPECT_TRUE(vp.synic.write(vp, msr, value));
  }
  abi::HvMessage& slot(x86::Vcpu& vp, unsigned sint) {
    const Gpa page = vp.partition.is_root() ? pages[vp.index.value()][0] : kSim;
    return environment.at<abi::HvMessagePage>(vp.partition, page).sint_message[sint];
  }
  // Takes the message from a slot: its first byte, or -1.
  int consume(x86::Vcpu& vp, unsigned sint) {
    abi::HvMessage& at = slot(vp, sint);
    const bool full = at.header.message_type != abi::HvMessageType::HvMessageTypeNone;
    at.header.message_type = abi::HvMessageType::HvMessageTypeNone;
    return full ? at.payload[0] : -1;
  }
  abi::HvSynicEventRing& ring(x86::Vcpu& vp) {
    return environment.at<abi::HvSynicEventRingPage>(root, pages[vp.index.value()][2])
        .sint_event_ring[5];
  }
  Result<> send(uint32_t id, uint8_t first_byte, uint32_t type = 1) {
    const uint8_t payload[4] = {first_byte, 0, 0, 0};
    return post_message(child, ConnectionId(id), type, payload);
  }
  void connect(uint32_t id, PortId port, abi::HvPortType type) {
    ASSERT_TRUE(connect_port(child, ConnectionId(id), root, port, connection(type)));
  }

  static constexpr auto kMessage = abi::HvPortType::HvPortTypeMessage;
  static constexpr auto kEvent = abi::HvPortType::HvPortTypeEvent;
  fake::Environment environment;
  Partition& root = environment.root();
  Partition& child = environment.make_child();
  x86::Vcpu& root0 = environment.make_running_vp(root, 0, 0);
  x86::Vcpu& root1 = environment.make_running_vp(root, 1, 1);
  x86::Vcpu& guest = environment.make_running_vp(child, 0);
  Gpa pages[2][3] = {{environment.free_page(), environment.free_page(), environment.free_page()},
                     {environment.free_page(), environment.free_page(), environment.free_page()}};
  uint64_t root_pages = 0, child_pages = 0;
};

TEST_F(PortTest, CreationChecksItsArguments) {
  const auto error = [&](uint32_t id, const abi::HvPortInfo& info, Partition& owner) {
    return create_port(owner, PortId(id), child.id, info).error();
  };
  EXPECT_EQ(error(1 << 24, message_port(2, 0), root), Error::invalid_port_id);
  EXPECT_EQ(error(1, message_port(16, 0), root), Error::invalid_parameter);
  EXPECT_EQ(error(1, message_port(2, kMaxVpsPerPartition), root), Error::invalid_vp_index);
  EXPECT_EQ(error(1, event_port(2, 0, 2000, 49), root), Error::invalid_parameter);
  EXPECT_EQ(error(1, event_port(2, 0, 0xffff, 0xffff), root), Error::invalid_parameter);
  EXPECT_EQ(error(1, doorbell_port(5), child), Error::invalid_parameter);
  EXPECT_EQ(error(0, doorbell_port(5), root), Error::invalid_parameter);
  abi::HvPortInfo monitor{};
  monitor.port_type = abi::HvPortType::HvPortTypeMonitor;
  EXPECT_EQ(error(1, monitor, root), Error::invalid_parameter);
  ASSERT_TRUE(create_port(root, PortId(1), child.id, event_port(2, 0, 2000, 48)));
  EXPECT_EQ(error(1, message_port(2, 0), root), Error::invalid_port_id);
  ASSERT_TRUE(create_port(root, PortId(65), child.id, message_port(2, 0)));  // the same bucket
  ASSERT_TRUE(delete_port(root, PortId(1)));
  EXPECT_EQ(delete_port(root, PortId(1)).error(), Error::invalid_port_id);
  EXPECT_TRUE(delete_port(root, PortId(65)));
}

TEST_F(PortTest, ConnectionChecksItsArguments) {
  ASSERT_TRUE(create_port(root, PortId(1), child.id, message_port(2, 0)));
  const auto error = [&](Partition& from, uint32_t id, uint32_t port, abi::HvPortType type) {
    const auto result = connect_port(from, ConnectionId(id), root, PortId(port), connection(type));
    EXPECT_FALSE(result);
    return result.error();
  };
  EXPECT_EQ(error(child, 1 << 24, 1, kMessage), Error::invalid_connection_id);
  EXPECT_EQ(error(child, 1, 2, kMessage), Error::invalid_port_id);
  EXPECT_EQ(error(child, 1, 1, kEvent), Error::invalid_parameter);
  EXPECT_EQ(error(root, 1, 1, kMessage), Error::access_denied);
  connect(1, PortId(1), kMessage);
  EXPECT_EQ(error(child, 1, 1, kMessage), Error::invalid_connection_id);
  ASSERT_TRUE(disconnect_port(child, ConnectionId(1)));
  EXPECT_EQ(disconnect_port(child, ConnectionId(1)).error(), Error::invalid_connection_id);
}

TEST_F(PortTest, AMessageTravels) {
  ASSERT_TRUE(create_port(root, PortId(0x123456), child.id, message_port(2, 1)));
  connect(7, PortId(0x123456), kMessage);
  ASSERT_TRUE(send(7, 0xa5, 42));
  EXPECT_EQ(slot(root1, 2).header.message_type, static_cast<abi::HvMessageType>(42));
  EXPECT_EQ(slot(root1, 2).header.sender, 0x123456u);
  EXPECT_EQ(slot(root1, 2).header.payload_size, 4);
  EXPECT_EQ(root1.apic.highest_pending(), 0xf3);
  EXPECT_EQ(consume(root1, 2), 0xa5);
}

TEST_F(PortTest, BadMessagesAreRefused) {
  EXPECT_EQ(send(7, 0).error(), Error::invalid_connection_id);
  ASSERT_TRUE(create_port(root, PortId(1), child.id, message_port(2, 1)));
  connect(7, PortId(1), kMessage);
  EXPECT_EQ(send(7, 0, 0).error(), Error::invalid_parameter);
  EXPECT_EQ(send(7, 0, 0x80000010).error(), Error::invalid_parameter);
  const std::array<uint8_t, 241> big{};
  EXPECT_EQ(post_message(child, ConnectionId(7), 1, big).error(), Error::invalid_parameter);
  EXPECT_TRUE(post_message(child, ConnectionId(7), 1, std::span(big).first(240)));
  EXPECT_EQ(signal_event(child, ConnectionId(7), 0).error(), Error::invalid_connection_id);
  write(root1, abi::kHvX64MsrScontrol, 0);
  EXPECT_EQ(send(7, 0).error(), Error::invalid_synic_state);
  ASSERT_TRUE(delete_port(root, PortId(1)));
  EXPECT_EQ(send(7, 0).error(), Error::invalid_port_id);
}

TEST_F(PortTest, SixteenMessagesWaitInOrder) {
  ASSERT_TRUE(create_port(root, PortId(1), child.id, message_port(2, 0)));
  connect(7, PortId(1), kMessage);
  for (uint8_t i = 0; i <= kMessagesPerPort; ++i) ASSERT_TRUE(send(7, i)) << unsigned{i};
  EXPECT_EQ(send(7, 99).error(), Error::insufficient_buffers);
  for (int i = 0; i <= static_cast<int>(kMessagesPerPort); ++i) {
    EXPECT_EQ(slot(root0, 2).header.message_flags & 1, 1);
    EXPECT_EQ(consume(root0, 2), i);
    if (i == 3) {
      ASSERT_TRUE(send(7, 17));  // joins the end of the queue
    }
    write(root0, abi::kHvX64MsrEom, 0);
  }
  EXPECT_EQ(consume(root0, 2), 17);
  write(root0, abi::kHvX64MsrEom, 0);
  EXPECT_EQ(consume(root0, 2), -1);
}

TEST_F(PortTest, MessagesThatWaitGoWithTheirPort) {
  ASSERT_TRUE(create_port(root, PortId(3), child.id, event_port(2, 0, 0, 1)));  // keeps the page
  ASSERT_TRUE(create_port(root, PortId(1), child.id, message_port(2, 0)));
  connect(7, PortId(1), kMessage);
  ASSERT_TRUE(send(7, 1));
  ASSERT_TRUE(send(7, 2));
  ASSERT_TRUE(delete_port(root, PortId(1)));
  // The next port is in the same memory.
  ASSERT_TRUE(create_port(root, PortId(2), child.id, message_port(2, 0)));
  connect(8, PortId(2), kMessage);
  ASSERT_TRUE(send(8, 3));
  EXPECT_EQ(consume(root0, 2), 1);
  write(root0, abi::kHvX64MsrEom, 0);
  EXPECT_EQ(consume(root0, 2), 3);
  write(root0, abi::kHvX64MsrEom, 0);
  EXPECT_EQ(consume(root0, 2), -1);
}

TEST_F(PortTest, AnyVpMeansTheNearestThatListens) {
  ASSERT_TRUE(create_port(root, PortId(1), child.id, message_port(2, abi::kHvAnyVp)));
  connect(7, PortId(1), kMessage);
  environment.run_on(1);
  ASSERT_TRUE(send(7, 1));
  EXPECT_EQ(consume(root1, 2), 1);
  write(root1, abi::kHvX64MsrScontrol, 0);
  ASSERT_TRUE(send(7, 2));
  EXPECT_EQ(consume(root0, 2), 2);
  environment.run_on(0);
}

TEST_F(PortTest, EventsSetFlagsWithinTheirPort) {
  ASSERT_TRUE(create_port(root, PortId(1), child.id, event_port(2, 0, 100, 10)));
  connect(8, PortId(1), kEvent);
  ASSERT_TRUE(signal_event(child, ConnectionId(8), 9));
  auto& flags = environment.at<abi::HvSynicEventFlagsPage>(root, pages[0][1]).event_flags[2].flags;
  EXPECT_EQ(flags[1], uint64_t{1} << (109 - 64));
  EXPECT_EQ(root0.apic.highest_pending(), 0xf3);
  EXPECT_EQ(signal_event(child, ConnectionId(8), 10).error(), Error::invalid_parameter);
  EXPECT_EQ(signal_event(child, ConnectionId(9), 0).error(), Error::invalid_connection_id);
  EXPECT_EQ(send(8, 0).error(), Error::invalid_connection_id);
  write(root0, abi::kHvX64MsrSint0 + 2, 0x100f3);
  EXPECT_EQ(signal_event(child, ConnectionId(8), 1).error(), Error::invalid_synic_state);
}

TEST_F(PortTest, DirectMessagesAndEvents) {
  abi::HvMessage message{};
  message.header.message_type = static_cast<abi::HvMessageType>(1);
  message.header.payload_size = 1;
  message.payload[0] = 0x77;
  ASSERT_TRUE(post_message_direct(child, VpIndex(0), 2, message));
  EXPECT_EQ(post_message_direct(child, VpIndex(0), 2, message).error(),
            Error::insufficient_buffers);
  EXPECT_TRUE(slot(guest, 2).header.message_flags & 1);
  EXPECT_EQ(consume(guest, 2), 0x77);
  EXPECT_EQ(post_message_direct(child, VpIndex(1), 2, message).error(), Error::invalid_vp_index);
  EXPECT_EQ(post_message_direct(child, VpIndex(0), 16, message).error(), Error::invalid_parameter);
  message.header.payload_size = 241;
  EXPECT_EQ(post_message_direct(child, VpIndex(0), 2, message).error(), Error::invalid_parameter);

  EXPECT_TRUE(*signal_event_direct(child, VpIndex(0), 2, 3));
  EXPECT_FALSE(*signal_event_direct(child, VpIndex(0), 2, 3));
  EXPECT_EQ(signal_event_direct(child, VpIndex(0), 2, 2048).error(), Error::invalid_parameter);
  EXPECT_EQ(signal_event_direct(child, VpIndex(0), 16, 0).error(), Error::invalid_parameter);
  EXPECT_EQ(signal_event_direct(child, VpIndex(9), 2, 0).error(), Error::invalid_vp_index);
  EXPECT_EQ(signal_event_direct(child, VpIndex(0), 3, 0).error(), Error::invalid_synic_state);
}

TEST_F(PortTest, DoorbellsMatchAddressSizeAndValue) {
  struct Case {
    uint64_t flags, trigger;
    unsigned size;
    uint64_t value;
    bool rings;
  };
  constexpr uint64_t kAny = abi::kHvDoorbellTriggerAnyValueMask;
  const Case cases[] = {
      {kAny | 0, 0, 1, 5, true},     {kAny | 1, 0, 1, 5, true},       {kAny | 1, 0, 2, 5, false},
      {kAny | 4, 0, 8, 5, true},     {kAny | 7, 0, 8, 5, false},      {3, 5, 4, 5, true},
      {3, 5, 4, 6, false},           {2, 0x10005, 2, 0xff0005, true}, {0, 5, 8, 5, true},
      {4, 5, 8, 0x100000005, false},
  };
  EXPECT_FALSE(ring_doorbell(child, kDoorbell, 4, 5));
  ASSERT_TRUE(create_port(root, PortId(9), child.id, doorbell_port(5)));
  for (const Case& c : cases) {
    ASSERT_TRUE(connect_port(child, ConnectionId(3), root, PortId(9),
                             doorbell(kDoorbell, c.flags, c.trigger)));
    EXPECT_EQ(ring_doorbell(child, kDoorbell, c.size, c.value), c.rings) << c.flags;
    EXPECT_FALSE(ring_doorbell(child, kDoorbell + 4, c.size, c.value));
    ASSERT_TRUE(disconnect_port(child, ConnectionId(3)));
    EXPECT_FALSE(ring_doorbell(child, kDoorbell, c.size, c.value));
  }
  EXPECT_EQ(ring(root0).data[0], 9u);
}

TEST_F(PortTest, DoorbellsThatFindTheRingFullAreNotLost) {
  constexpr uint64_t kAny = abi::kHvDoorbellTriggerAnyValueMask;
  constexpr unsigned kPorts = abi::kHvSynicEventRingMessageCount + 3;
  for (uint32_t i = 1; i <= kPorts; ++i) {
    ASSERT_TRUE(create_port(root, PortId(i), child.id, doorbell_port(5)));
    ASSERT_TRUE(
        connect_port(child, ConnectionId(i), root, PortId(i), doorbell(kDoorbell + 8 * i, kAny)));
    ASSERT_TRUE(ring_doorbell(child, kDoorbell + 8 * i, 4, 0));
  }
  ASSERT_TRUE(ring_doorbell(child, kDoorbell + 8 * kPorts, 4, 0));  // already waits
  EXPECT_EQ(ring(root0).ring_full, 1);
  ring(root0).ring_full = 0;
  for (uint32_t& entry : ring(root0).data) entry = 0;
  EXPECT_EQ(notify_port_ring_empty(root0, 16).error(), Error::invalid_parameter);
  ASSERT_TRUE(notify_port_ring_empty(root0, 5));
  for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(ring(root0).data[i], kPorts - 2 + i);
  EXPECT_EQ(ring(root0).data[3], 0u);
  ASSERT_TRUE(notify_port_ring_empty(root0, 5));  // once only
  EXPECT_EQ(ring(root0).data[3], 0u);
}

TEST_F(PortTest, APoolWithoutPagesIsAnAnswer) {
  std::vector<Spa> taken;
  while (auto page = root.pool.allocate()) taken.push_back(*page);
  EXPECT_EQ(create_port(root, PortId(1), child.id, message_port(2, 0)).error(),
            Error::insufficient_memory);
  root.pool.free(taken.back());
  taken.pop_back();
  // Enough for the buffers, not for the node.
  EXPECT_EQ(create_port(root, PortId(1), child.id, message_port(2, 0)).error(),
            Error::insufficient_memory);
  EXPECT_EQ(root.pool.free_pages(), 1u);
  for (Spa page : taken) root.pool.free(page);
}

}  // namespace
}  // namespace hv
