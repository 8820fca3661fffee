// SPDX-License-Identifier: MIT
// For every row of the table a call that works, as Linux makes it, and one that its handler
// refuses. A row without both is a failure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>

#include "abi/partita/hypercall.h"
#include "abi/tlfs/partition.h"
#include "abi/tlfs/synic.h"
#include "hypervisor/core/hypercall_table.h"
#include "hypervisor/core/log.h"
#include "tests/fake/environment.h"
#include "tests/fake/hypercall.h"

namespace hv {
namespace {

using enum abi::HvCall;
using abi::HvCallReadHypervisorLog;
using abi::HvStatus;
using fake::call;
using fake::counted;
using fake::rep;
using fake::Reply;
using fake::Request;
using fake::simple;

constexpr uint64_t kNobody = 0x7777;
constexpr uint64_t kSelf = abi::kHvPartitionIdSelf;

// A root with two VPs, a child with two that its parent holds, and an uninitialized child.
struct World {
  World() {
    env.root().privileges = fake::kRootPrivileges;
    root_vp = &env.make_vp(env.root(), 0);
    env.make_vp(env.root(), 1, 1);
    child = &env.make_child();
    child->privileges = kChildPrivileges;
    vp = &env.make_vp(*child, 0);
    env.make_vp(*child, 1, 1);
    id = child->id.value();
    created = (*create_partition(env.root()))->id.value();
  }
  Reply root(const Request& request) { return call(*root_vp, request); }
  Reply guest(const Request& request) { return call(*vp, request); }
  Reply with_status(const Request& request, Vp& caller) { return call(caller, request); }
  uint64_t page() { return env.free_page().page(); }

  fake::Environment env;
  Vp* root_vp;
  Partition* child;
  Vp* vp;
  uint64_t id;
  uint64_t created;
};

struct RowCase {
  abi::HvCall code;
  std::function<Reply(World&)> good;
  std::function<Reply(World&)> bad;
  HvStatus bad_status;
};

Request fast(Request request) {
  request.fast = true;
  return request;
}
Request with_banks(Request request, std::vector<uint64_t> banks) {
  request.variable = std::move(banks);
  return request;
}

abi::HvInputFlushVirtualAddressSpace flush(uint64_t mask, uint64_t flags = 0) {
  return {0, flags, mask};
}
abi::HvInputFlushVirtualAddressSpaceEx flush_ex(uint64_t banks) {
  return {0, 0, {abi::HvGenericSetFormat::HvGenericSetSparse4k, banks}};
}
abi::HvInputMapDeviceInterrupt map_interrupt(uint32_t vector) {
  abi::HvInputMapDeviceInterrupt in{};
  in.partition_id = 1;
  in.device_id = uint64_t{1} << abi::kHvDeviceIdTypeShift;
  in.interrupt_descriptor.vector_count = 1;
  in.interrupt_descriptor.target = {vector, abi::kHvDeviceInterruptTargetProcessorSetMask, 0};
  return in;
}
abi::HvInputCreatePort event_port(uint64_t owner, uint64_t peer, uint32_t sint) {
  abi::HvInputCreatePort in{};
  in.port_partition_id = owner;
  in.port_id = 5;
  in.connection_partition_id = peer;
  in.port_info.port_type = abi::HvPortType::HvPortTypeEvent;
  in.port_info.event = {sint, 0, 0, 16, 0};
  return in;
}
abi::HvInputConnectPort connect(uint64_t from, uint64_t to) {
  abi::HvInputConnectPort in{};
  in.connection_partition_id = from;
  in.connection_id = 9;
  in.port_partition_id = to;
  in.port_id = 5;
  in.connection_info.port_type = abi::HvPortType::HvPortTypeEvent;
  return in;
}
abi::HvInputMapStatsPage stats_of_vp(uint64_t id, uint32_t vp) {
  abi::HvInputMapStatsPage in{};
  in.type = abi::HvStatsObjectType::HvStatsObjectVp;
  in.identity.vp.partition_id = id;
  in.identity.vp.vp_index = vp;
  return in;
}
abi::HvInputVpState state_of(uint64_t id, abi::HvVpStateType type, uint32_t vp = 0) {
  abi::HvInputVpState in{};
  in.partition_id = id;
  in.vp_index = vp;
  in.state_data.type = type;
  return in;
}
abi::HvInputInstallIntercept intercept(uint64_t id, uint32_t access) {
  abi::HvInputInstallIntercept in{};
  in.partition_id = id;
  in.access_type_mask = access;
  in.intercept_type = abi::HvInterceptType::HvInterceptTypeX64IoPort;
  in.intercept_parameter.as_uint64 = 0x60;
  return in;
}
abi::HvRegisterAssoc assoc(abi::HvRegisterName name, uint64_t value) {
  return {name, 0, 0, {.reg128 = {value, 0}}};
}

// The child's VP 0 takes events on SINT 2 in its first page.
void enable_synic(World& world) {
  Vp& vp = *world.vp;
  ASSERT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSimp, 0x2001));
  ASSERT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSiefp, 0x3001));
  ASSERT_TRUE(vp.synic.write(vp, abi::kHvX64MsrSint0 + 2, 0xf3));
  ASSERT_TRUE(vp.synic.write(vp, abi::kHvX64MsrScontrol, 1));
}
Reply connected(World& world) {
  enable_synic(world);
  world.root(simple(HvCallCreatePort, event_port(world.id, 1, 2)));
  return world.root(simple(HvCallConnectPort, connect(1, world.id)));
}

const std::vector<RowCase>& cases() {
  using R = abi::HvRegisterName;
  using T = abi::HvVpStateType;
  static const std::vector<RowCase> all = {
      {HvCallFlushVirtualAddressSpace,
       [](World& w) { return w.guest(simple(HvCallFlushVirtualAddressSpace, flush(3))); },
       [](World& w) { return w.guest(simple(HvCallFlushVirtualAddressSpace, flush(3, 16))); },
       HvStatus::kInvalidParameter},
      {HvCallFlushVirtualAddressList,
       [](World& w) {
         return w.guest(rep(HvCallFlushVirtualAddressList, flush(1), std::vector<uint64_t>(200)));
       },
       [](World& w) {
         return w.guest(rep(HvCallFlushVirtualAddressList, flush(8), std::vector<uint64_t>(2)));
       },
       HvStatus::kInvalidVpIndex},
      {HvCallNotifyLongSpinWait,
       [](World& w) { return w.guest(fast(simple(HvCallNotifyLongSpinWait, uint64_t{1}))); },
       [](World& w) {
         return w.guest(with_banks(simple(HvCallNotifyLongSpinWait, uint64_t{1}), {0}));
       },
       HvStatus::kInvalidHypercallInput},
      {HvCallSendSyntheticClusterIpi,
       [](World& w) {
         const abi::HvInputSendSyntheticClusterIpi in{0x31, 0, 0, 0, 3};
         return w.guest(fast(simple(HvCallSendSyntheticClusterIpi, in)));
       },
       [](World& w) {
         const abi::HvInputSendSyntheticClusterIpi in{0x0f, 0, 0, 0, 3};
         return w.guest(fast(simple(HvCallSendSyntheticClusterIpi, in)));
       },
       HvStatus::kInvalidParameter},
      {HvCallFlushVirtualAddressSpaceEx,
       [](World& w) {
         return w.guest(with_banks(simple(HvCallFlushVirtualAddressSpaceEx, flush_ex(1)), {3}));
       },
       [](World& w) {
         return w.guest(with_banks(simple(HvCallFlushVirtualAddressSpaceEx, flush_ex(3)), {3}));
       },
       HvStatus::kInvalidHypercallInput},
      {HvCallFlushVirtualAddressListEx,
       [](World& w) {
         return w.guest(with_banks(
             rep(HvCallFlushVirtualAddressListEx, flush_ex(1), std::vector<uint64_t>(100)), {1}));
       },
       [](World& w) {
         return w.guest(with_banks(
             rep(HvCallFlushVirtualAddressListEx, flush_ex(2), std::vector<uint64_t>(1)), {1}));
       },
       HvStatus::kInvalidVpIndex},
      {HvCallSendSyntheticClusterIpiEx,
       [](World& w) {
         const abi::HvInputSendSyntheticClusterIpiEx in{
             0xfb, 0, 0, 0, {abi::HvGenericSetFormat::HvGenericSetAll, 0}};
         return w.guest(simple(HvCallSendSyntheticClusterIpiEx, in));
       },
       [](World& w) {
         const abi::HvInputSendSyntheticClusterIpiEx in{
             0xfb, 0, 0, 0, {static_cast<abi::HvGenericSetFormat>(2), 0}};
         return w.guest(simple(HvCallSendSyntheticClusterIpiEx, in));
       },
       HvStatus::kInvalidParameter},
      {HvCallCreatePartition,
       [](World& w) {
         abi::HvInputCreatePartition in{};
         in.flags = 1 << abi::kHvCreationExoPartitionBit | 1 << abi::kHvCreationLapicEnabledBit |
                    1 << abi::kHvCreationInterceptMessagePageEnabledBit;
         return w.root(simple(HvCallCreatePartition, in, 8));
       },
       [](World& w) {
         abi::HvInputCreatePartition in{};
         in.flags = 1 << abi::kHvCreationNestedVirtualizationCapableBit;
         return w.root(simple(HvCallCreatePartition, in, 8));
       },
       HvStatus::kInvalidParameter},
      {HvCallInitializePartition,
       [](World& w) {
         w.root(rep(HvCallDepositMemory, w.created, std::vector<uint64_t>{w.page()}));
         return w.root(fast(simple(HvCallInitializePartition, w.created)));
       },
       [](World& w) { return w.root(fast(simple(HvCallInitializePartition, w.created))); },
       HvStatus::kInsufficientMemory},
      {HvCallFinalizePartition,
       [](World& w) { return w.root(fast(simple(HvCallFinalizePartition, w.id))); },
       [](World& w) { return w.root(fast(simple(HvCallFinalizePartition, w.created))); },
       HvStatus::kInvalidPartitionState},
      {HvCallDeletePartition,
       [](World& w) { return w.root(fast(simple(HvCallDeletePartition, w.created))); },
       [](World& w) { return w.root(fast(simple(HvCallDeletePartition, w.id))); },
       HvStatus::kInvalidPartitionState},
      {HvCallGetPartitionProperty,
       [](World& w) {
         const abi::HvInputGetPartitionProperty in{
             w.id, abi::HvPartitionPropertyCode::HvPartitionPropertyPhysicalAddressWidth, 0};
         return w.root(simple(HvCallGetPartitionProperty, in, 8));
       },
       [](World& w) {
         const abi::HvInputGetPartitionProperty in{
             w.id, static_cast<abi::HvPartitionPropertyCode>(0xffff), 0};
         return w.root(simple(HvCallGetPartitionProperty, in, 8));
       },
       HvStatus::kUnknownProperty},
      {HvCallSetPartitionProperty,
       [](World& w) {
         const abi::HvInputSetPartitionProperty in{
             w.created, abi::HvPartitionPropertyCode::HvPartitionPropertySyntheticProcFeatures, 0,
             ~uint64_t{0}};
         return w.root(simple(HvCallSetPartitionProperty, in));
       },
       [](World& w) {
         const abi::HvInputSetPartitionProperty in{
             w.id, abi::HvPartitionPropertyCode::HvPartitionPropertyPrivilegeFlags, 0,
             fake::kRootPrivileges};
         return w.root(simple(HvCallSetPartitionProperty, in));
       },
       HvStatus::kPropertyValueOutOfRange},
      {HvCallGetPartitionId,
       [](World& w) {
         Reply reply = w.guest(simple(HvCallGetPartitionId, Nothing{}, 8));
         EXPECT_EQ(reply.as<uint64_t>(), w.id);
         return reply;
       },
       [](World& w) {
         w.child->privileges = 0;
         return w.guest(simple(HvCallGetPartitionId, Nothing{}, 8));
       },
       HvStatus::kAccessDenied},
      {HvCallGetNextChildPartition,
       [](World& w) {
         const abi::HvInputGetNextChildPartition first{1, 0}, second{1, w.id}, last{1, w.created};
         EXPECT_EQ(w.root(simple(HvCallGetNextChildPartition, first, 8)).as<uint64_t>(), w.id);
         EXPECT_EQ(w.root(simple(HvCallGetNextChildPartition, last, 8)).as<uint64_t>(), 0u);
         Reply reply = w.root(simple(HvCallGetNextChildPartition, second, 8));
         EXPECT_EQ(reply.as<uint64_t>(), w.created);
         return reply;
       },
       [](World& w) {
         const abi::HvInputGetNextChildPartition in{w.id, 0};
         return w.root(simple(HvCallGetNextChildPartition, in, 8));
       },
       HvStatus::kAccessDenied},
      {HvCallDepositMemory,
       [](World& w) {
         return w.root(rep(HvCallDepositMemory, w.id, std::vector<uint64_t>{w.page(), w.page()}));
       },
       [](World& w) { return w.root(rep(HvCallDepositMemory, kNobody, std::vector<uint64_t>{1})); },
       HvStatus::kInvalidPartitionId},
      {HvCallWithdrawMemory,
       [](World& w) {
         const abi::HvInputWithdrawMemory in{w.id, {}};
         return w.root(counted(HvCallWithdrawMemory, in, 5, 40));
       },
       [](World& w) {
         const abi::HvInputWithdrawMemory in{w.created, {}};
         return w.root(counted(HvCallWithdrawMemory, in, 5, 40));
       },
       HvStatus::kNoResources},
      {HvCallMapGpaPages,
       [](World& w) {
         const abi::HvInputMapGpaPages in{w.id, 0x80, 7, 0};
         return w.root(rep(HvCallMapGpaPages, in, std::vector<uint64_t>{w.page()}));
       },
       [](World& w) {
         const abi::HvInputMapGpaPages in{w.created, 0x80, 7, 0};
         return w.root(rep(HvCallMapGpaPages, in, std::vector<uint64_t>{w.page()}));
       },
       HvStatus::kInvalidPartitionState},
      {HvCallUnmapGpaPages,
       [](World& w) {
         return w.root(counted(HvCallUnmapGpaPages, abi::HvInputUnmapGpaPages{w.id, 0, 0, 0}, 64));
       },
       [](World& w) {
         return w.root(counted(HvCallUnmapGpaPages, abi::HvInputUnmapGpaPages{w.id, 0, 8, 0}, 64));
       },
       HvStatus::kInvalidParameter},
      {HvCallInstallIntercept,
       [](World& w) {
         Reply reply = w.root(simple(HvCallInstallIntercept, intercept(w.id, 3)));
         EXPECT_EQ(
             w.child->intercepts.installed(abi::HvInterceptType::HvInterceptTypeX64IoPort, 0x60),
             3u);
         return reply;
       },
       [](World& w) { return w.root(simple(HvCallInstallIntercept, intercept(w.id, 0x88))); },
       HvStatus::kInvalidParameter},
      {HvCallCreateVp,
       [](World& w) {
         abi::HvInputCreateVp own{}, in{};
         own.partition_id = 1;
         own.vp_index = 1;
         EXPECT_TRUE(w.root(simple(HvCallCreateVp, own)).ok()) << "the root's own, again";
         in.partition_id = w.id;
         in.vp_index = 2;
         Reply reply = w.root(simple(HvCallCreateVp, in));
         EXPECT_TRUE(w.child->vp(VpIndex{2})->is(VpSuspend::explicit_suspend));
         return reply;
       },
       [](World& w) {
         abi::HvInputCreateVp in{};
         in.partition_id = w.id;
         in.vp_index = 64;
         return w.root(simple(HvCallCreateVp, in));
       },
       HvStatus::kInvalidVpIndex},
      {HvCallDeleteVp,
       [](World& w) {
         return w.root(fast(simple(HvCallDeleteVp, abi::HvInputDeleteVp{w.id, 1, 0})));
       },
       [](World& w) {
         return w.root(fast(simple(HvCallDeleteVp, abi::HvInputDeleteVp{w.id, 7, 0})));
       },
       HvStatus::kInvalidVpIndex},
      {HvCallGetVpRegisters,
       [](World& w) {
         const abi::HvInputVpRegisters in{w.id, 0, 0, {}};
         const std::vector<R> names{R::HvRegisterExplicitSuspend, R::HvX64RegisterRip};
         Reply reply = w.root(rep(HvCallGetVpRegisters, in, names, 32));
         EXPECT_EQ(reply.as<abi::HvUint128>(0).low, 1u);
         EXPECT_EQ(reply.as<abi::HvUint128>(1).low, 0xfff0u) << "the reset vector";
         return reply;
       },
       [](World& w) {
         const abi::HvInputVpRegisters in{w.id, 0, 1, {}};
         return w.root(rep(HvCallGetVpRegisters, in, std::vector<R>{R::HvX64RegisterRip}, 16));
       },
       HvStatus::kInvalidParameter},
      {HvCallSetVpRegisters,
       [](World& w) {
         const abi::HvInputVpRegisters in{w.id, 0, 0, {}};
         const std::vector<abi::HvRegisterAssoc> values{assoc(R::HvX64RegisterRax, 5),
                                                        assoc(R::HvRegisterInterceptSuspend, 0),
                                                        assoc(R::HvRegisterExplicitSuspend, 0)};
         Reply reply = w.root(rep(HvCallSetVpRegisters, in, values));
         EXPECT_EQ(w.vp->suspend.load(), 0u);
         return reply;
       },
       [](World& w) {
         const abi::HvInputVpRegisters in{w.id, 0, 0, {}};
         const std::vector<abi::HvRegisterAssoc> values{assoc(R::HvRegisterExplicitSuspend, 0),
                                                        assoc(R::HvX64RegisterRax, 5)};
         Reply reply = w.root(rep(HvCallSetVpRegisters, in, values));
         EXPECT_EQ(reply.reps, 1u);
         return reply;
       },
       HvStatus::kInvalidVpState},
      {HvCallTranslateVirtualAddress,
       [](World& w) {
         const abi::HvInputTranslateVirtualAddress in{w.id, 0, 0, 1, 0x12};
         Reply reply = w.root(simple(HvCallTranslateVirtualAddress, in, 16));
         EXPECT_EQ(reply.as<abi::HvOutputTranslateVirtualAddress>().gpa_page, 0x12u)
             << "paging is off";
         return reply;
       },
       [](World& w) {
         const abi::HvInputTranslateVirtualAddress in{w.id, 9, 0, 1, 0x12};
         return w.root(simple(HvCallTranslateVirtualAddress, in, 16));
       },
       HvStatus::kInvalidVpIndex},
      {HvCallClearVirtualInterrupt,
       [](World& w) { return w.root(fast(simple(HvCallClearVirtualInterrupt, w.id))); },
       [](World& w) { return w.root(fast(simple(HvCallClearVirtualInterrupt, w.created))); },
       HvStatus::kInvalidPartitionState},
      {HvCallDeletePort,
       [](World& w) {
         w.root(simple(HvCallCreatePort, event_port(w.id, 1, 2)));
         return w.root(fast(simple(HvCallDeletePort, abi::HvInputDeletePort{w.id, 5, 0})));
       },
       [](World& w) {
         return w.root(fast(simple(HvCallDeletePort, abi::HvInputDeletePort{w.id, 5, 0})));
       },
       HvStatus::kInvalidPortId},
      {HvCallDisconnectPort,
       [](World& w) {
         connected(w);
         return w.root(fast(simple(HvCallDisconnectPort, abi::HvInputDisconnectPort{1, 9, 0})));
       },
       [](World& w) {
         return w.root(fast(simple(HvCallDisconnectPort, abi::HvInputDisconnectPort{1, 9, 0})));
       },
       HvStatus::kInvalidConnectionId},
      {HvCallPostMessage,
       [](World& w) {
         enable_synic(w);
         abi::HvInputCreatePort port = event_port(w.id, 1, 2);
         port.port_info = {
             .port_type = abi::HvPortType::HvPortTypeMessage, .padding = 0, .message = {2, 0, 0}};
         w.root(simple(HvCallCreatePort, port));
         abi::HvInputConnectPort link = connect(1, w.id);
         link.connection_info.port_type = abi::HvPortType::HvPortTypeMessage;
         w.root(simple(HvCallConnectPort, link));
         abi::HvInputPostMessage in{};
         in.connection_id = 9;
         in.message_type = static_cast<abi::HvMessageType>(1);
         in.payload_size = 240;
         Reply reply = w.root(simple(HvCallPostMessage, in));
         EXPECT_EQ(w.env.at<uint32_t>(*w.child, Gpa(0x2200)), 1u);
         return reply;
       },
       [](World& w) {
         abi::HvInputPostMessage in{};
         in.connection_id = 4;
         in.message_type = static_cast<abi::HvMessageType>(1);
         return w.guest(simple(HvCallPostMessage, in));
       },
       HvStatus::kInvalidConnectionId},
      {HvCallSignalEvent,
       [](World& w) {
         connected(w);
         Reply reply = w.root(fast(simple(HvCallSignalEvent, abi::HvInputSignalEvent{9, 3, 0})));
         EXPECT_EQ(w.env.at<uint32_t>(*w.child, Gpa(0x3200)), 8u);
         return reply;
       },
       [](World& w) {
         return w.guest(fast(simple(HvCallSignalEvent, abi::HvInputSignalEvent{9, 3, 0})));
       },
       HvStatus::kInvalidConnectionId},
      {HvCallMapStatsPage,
       [](World& w) {
         w.vp->counters.cpuid = 77;
         Reply reply = w.root(simple(HvCallMapStatsPage, stats_of_vp(w.id, 0), 8));
         const Gpa page = Gpa::from_page(reply.as<uint64_t>());
         EXPECT_EQ(w.env.at<uint64_t>(w.env.root(), page + 19 * 8), 77u);
         return reply;
       },
       [](World& w) { return w.root(simple(HvCallMapStatsPage, stats_of_vp(w.id, 5), 8)); },
       HvStatus::kInvalidVpIndex},
      {HvCallUnmapStatsPage,
       [](World& w) {
         const uint64_t page =
             w.root(simple(HvCallMapStatsPage, stats_of_vp(w.id, 0), 8)).as<uint64_t>();
         Reply reply = w.root(simple(HvCallUnmapStatsPage, stats_of_vp(w.id, 0)));
         EXPECT_FALSE(w.env.root().space.lookup(Gpa::from_page(page)));
         return reply;
       },
       [](World& w) { return w.root(simple(HvCallUnmapStatsPage, stats_of_vp(w.id, 0))); },
       HvStatus::kInvalidParameter},
      {HvCallAddLogicalProcessor,
       [](World& w) {
         // Without SRAT Linux sends an unknown domain that is marked valid.
         const abi::HvInputAddLogicalProcessor in{
             7, 1, {0xffffffff, 1u << abi::kHvProximityInfoValidBit}};
         return w.root(simple(HvCallAddLogicalProcessor, in, 0x38));
       },
       [](World& w) {
         return w.root(
             simple(HvCallAddLogicalProcessor, abi::HvInputAddLogicalProcessor{1, 9, {}}));
       },
       HvStatus::kInvalidLpIndex},
      {HvCallGetSystemProperty,
       [](World& w) {
         const abi::HvInputGetSystemProperty in{
             abi::HvSystemProperty::HvSystemPropertySchedulerType, 0, 0};
         Reply reply = w.root(simple(HvCallGetSystemProperty, in, 8));
         EXPECT_EQ(reply.as<uint64_t>(), 1u);
         return reply;
       },
       [](World& w) {
         const abi::HvInputGetSystemProperty in{static_cast<abi::HvSystemProperty>(999), 0, 0};
         return w.root(simple(HvCallGetSystemProperty, in, 8));
       },
       HvStatus::kUnknownProperty},
      {HvCallMapDeviceInterrupt,
       [](World& w) {
         abi::HvInputMapDeviceInterrupt in = map_interrupt(0x31);
         Reply reply =
             w.root(with_banks(simple(HvCallMapDeviceInterrupt, in, 16), {1, 2}));  // VP 1
         const auto msi = reply.as<abi::HvInterruptEntry>();
         EXPECT_EQ(msi.source, abi::HvInterruptSource::HvInterruptSourceMsi);
         EXPECT_EQ(msi.data, 0x31'fee01000u);
         in.device_id = uint64_t{2} << abi::kHvDeviceIdTypeShift;
         in.interrupt_descriptor.trigger_mode =
             abi::HvInterruptTriggerMode::HvInterruptTriggerModeLevel;
         reply = w.root(with_banks(simple(HvCallMapDeviceInterrupt, in, 16), {1, 2}));
         const auto rte = reply.as<abi::HvInterruptEntry>();
         EXPECT_EQ(rte.source, abi::HvInterruptSource::HvInterruptSourceIoApic);
         EXPECT_EQ(rte.data, uint64_t{1} << 56 | 0x8031);
         return reply;
       },
       [](World& w) {
         return w.root(
             with_banks(simple(HvCallMapDeviceInterrupt, map_interrupt(0xf1), 16), {1, 2}));
       },
       HvStatus::kInvalidParameter},
      {HvCallUnmapDeviceInterrupt,
       [](World& w) {
         return w.root(
             simple(HvCallUnmapDeviceInterrupt, abi::HvInputUnmapDeviceInterrupt{1, 0, {}}));
       },
       [](World& w) {
         return w.root(
             simple(HvCallUnmapDeviceInterrupt, abi::HvInputUnmapDeviceInterrupt{w.id, 0, {}}));
       },
       HvStatus::kAccessDenied},
      {HvCallRetargetDeviceInterrupt,
       // No device belongs to a child, so what is right about the call is that nothing is wrong.
       [](World& w) {
         abi::HvInputRetargetDeviceInterrupt in{};
         in.partition_id = kSelf;
         in.interrupt_target = {0x31, abi::kHvDeviceInterruptTargetProcessorSetMask, 0};
         Reply reply = w.guest(with_banks(simple(HvCallRetargetDeviceInterrupt, in), {1, 1}));
         EXPECT_EQ(reply.status, HvStatus::kNotFound);
         reply.status = HvStatus::kSuccess;
         return reply;
       },
       [](World& w) {
         abi::HvInputRetargetDeviceInterrupt in{};
         in.partition_id = kSelf;
         in.interrupt_target = {0x31, abi::kHvDeviceInterruptTargetProcessorSetMask, 0};
         return w.guest(simple(HvCallRetargetDeviceInterrupt, in));
       },
       HvStatus::kInvalidHypercallInput},
      {HvCallNotifyPartitionEvent,
       [](World& w) {
         const abi::HvInputNotifyPartitionEvent in{
             abi::HvPartitionEvent::HvPartitionAllLogicalProcessorsStarted, 0};
         return w.root(simple(HvCallNotifyPartitionEvent, in));
       },
       [](World& w) {
         const abi::HvInputNotifyPartitionEvent in{static_cast<abi::HvPartitionEvent>(77), 0};
         return w.root(simple(HvCallNotifyPartitionEvent, in));
       },
       HvStatus::kInvalidParameter},
      {HvCallNotifyPortRingEmpty,
       [](World& w) {
         return w.root(
             fast(simple(HvCallNotifyPortRingEmpty, abi::HvInputNotifyPortRingEmpty{5, 0})));
       },
       [](World& w) {
         return w.root(
             fast(simple(HvCallNotifyPortRingEmpty, abi::HvInputNotifyPortRingEmpty{16, 0})));
       },
       HvStatus::kInvalidParameter},
      {HvCallRegisterInterceptResult,
       [](World& w) {
         abi::HvInputRegisterInterceptResult in{};
         in.partition_id = w.id;
         in.vp_index = abi::kHvAnyVp;
         in.intercept_type = abi::HvInterceptType::HvInterceptTypeX64Cpuid;
         in.cpuid.input_eax = 1;
         in.cpuid.result_ecx_mask = 1;
         return w.root(simple(HvCallRegisterInterceptResult, in));
       },
       [](World& w) {
         abi::HvInputRegisterInterceptResult in{};
         in.partition_id = w.id;
         in.intercept_type = abi::HvInterceptType::HvInterceptTypeException;
         return w.root(simple(HvCallRegisterInterceptResult, in));
       },
       HvStatus::kInvalidParameter},
      {HvCallAssertVirtualInterrupt,
       [](World& w) {
         const abi::HvInputAssertVirtualInterrupt in{w.id, 0, 1, 0x41, 0, {}};
         Reply reply = w.root(simple(HvCallAssertVirtualInterrupt, in));
         return reply;
       },
       [](World& w) {
         const abi::HvInputAssertVirtualInterrupt in{w.id, 0, 1, 0x141, 0, {}};
         return w.root(simple(HvCallAssertVirtualInterrupt, in));
       },
       HvStatus::kInvalidParameter},
      {HvCallCreatePort,
       [](World& w) { return w.root(simple(HvCallCreatePort, event_port(w.id, 1, 2))); },
       [](World& w) { return w.root(simple(HvCallCreatePort, event_port(w.id, kNobody, 2))); },
       HvStatus::kInvalidPartitionId},
      {HvCallConnectPort, [](World& w) { return connected(w); },
       [](World& w) { return w.root(simple(HvCallConnectPort, connect(1, w.id))); },
       HvStatus::kInvalidPortId},
      {HvCallStartVirtualProcessor,
       [](World& w) {
         abi::HvInputStartVirtualProcessor in{};
         in.partition_id = kSelf;
         in.vp_index = 1;
         const abi::HvX64SegmentRegister data{0, 0xfffff, 0x10, 0xc093};
         in.vp_context.ds = in.vp_context.es = in.vp_context.ss = data;
         in.vp_context.fs = in.vp_context.gs = data;
         in.vp_context.cs = {0, 0xfffff, 0x8, 0xc09b};
         in.vp_context.tr = {0, 0x67, 0x18, 0x8b};
         in.vp_context.ldtr = {0, 0, 0, 0x82};
         in.vp_context.rip = 0x1234;
         in.vp_context.rflags = 2;
         in.vp_context.cr0 = 0x11;
         in.vp_context.msr_cr_pat = 0x0007040600070406;
         Reply reply = w.guest(simple(HvCallStartVirtualProcessor, in));
         EXPECT_FALSE(w.child->vp(VpIndex{1})->is(VpSuspend::wait_for_startup));
         EXPECT_TRUE(w.child->vp(VpIndex{1})->is(VpSuspend::explicit_suspend))
             << "its parent holds";
         return reply;
       },
       [](World& w) {
         abi::HvInputStartVirtualProcessor in{};
         in.partition_id = kSelf;
         return w.guest(simple(HvCallStartVirtualProcessor, in));
       },
       HvStatus::kInvalidVpState},
      {HvCallGetVpIndexFromApicId,
       [](World& w) {
         const abi::HvInputGetVpIndexFromApicId in{kSelf, 0, {}};
         Reply reply = w.guest(rep(HvCallGetVpIndexFromApicId, in, std::vector<uint32_t>{1, 0}, 8));
         EXPECT_EQ(reply.as<uint32_t>(0), 1u);
         EXPECT_EQ(reply.as<uint32_t>(1), 0u);
         return reply;
       },
       [](World& w) {
         const abi::HvInputGetVpIndexFromApicId in{kSelf, 0, {}};
         return w.guest(rep(HvCallGetVpIndexFromApicId, in, std::vector<uint32_t>{9}, 8));
       },
       HvStatus::kInvalidParameter},
      {HvCallSignalEventDirect,
       [](World& w) {
         enable_synic(w);
         const abi::HvInputSignalEventDirect in{w.id, 0, 0, 2, 64};
         Reply reply = w.root(simple(HvCallSignalEventDirect, in, 8));
         EXPECT_EQ(reply.as<uint64_t>(), 1u);
         EXPECT_EQ(w.env.at<uint64_t>(*w.child, Gpa(0x3208)), 1u);
         return reply;
       },
       [](World& w) {
         const abi::HvInputSignalEventDirect in{w.id, 0, 0, 2, 64};
         return w.root(simple(HvCallSignalEventDirect, in, 8));
       },
       HvStatus::kInvalidSynicState},
      {HvCallPostMessageDirect,
       [](World& w) {
         enable_synic(w);
         abi::HvInputPostMessageDirect in{};
         in.partition_id = w.id;
         in.sint_index = 2;
         in.message[0] = 1;
         Reply reply = w.root(simple(HvCallPostMessageDirect, in));
         EXPECT_EQ(w.env.at<uint32_t>(*w.child, Gpa(0x2200)), 1u);
         return reply;
       },
       [](World& w) {
         abi::HvInputPostMessageDirect in{};
         in.partition_id = w.id;
         in.vp_index = 9;
         in.message[0] = 1;
         return w.root(simple(HvCallPostMessageDirect, in));
       },
       HvStatus::kInvalidVpIndex},
      {HvCallGetGpaPagesAccessStates,
       [](World& w) {
         const abi::HvInputGetGpaPagesAccessStates in{w.id, 0, 0};
         return w.root(counted(HvCallGetGpaPagesAccessStates, in, 100, 100));
       },
       [](World& w) {
         const abi::HvInputGetGpaPagesAccessStates in{w.id, 0x100, 0};
         return w.root(counted(HvCallGetGpaPagesAccessStates, in, 100, 100));
       },
       HvStatus::kInvalidParameter},
      {HvCallMapVpStatePage,
       [](World& w) {
         const abi::HvInputMapVpStatePage in{w.id, 0,
                                             abi::HvVpStatePageType::HvVpStatePageInterceptMessage};
         Reply reply = w.root(simple(HvCallMapVpStatePage, in, 8));
         EXPECT_EQ(reply.as<uint64_t>(), w.vp->intercept_page.page());
         EXPECT_TRUE(w.env.root().space.lookup(Gpa::from_page(reply.as<uint64_t>())));
         return reply;
       },
       [](World& w) {
         const abi::HvInputMapVpStatePage in{w.id, 0, abi::HvVpStatePageType::HvVpStatePageGhcb};
         return w.root(simple(HvCallMapVpStatePage, in, 8));
       },
       HvStatus::kInvalidParameter},
      {HvCallUnmapVpStatePage,
       [](World& w) {
         const abi::HvInputMapVpStatePage in{w.id, 0,
                                             abi::HvVpStatePageType::HvVpStatePageRegisters};
         w.root(simple(HvCallMapVpStatePage, in, 8));
         Reply reply = w.root(simple(HvCallUnmapVpStatePage, in));
         EXPECT_FALSE(w.env.root().space.lookup(Gpa(w.vp->register_page.value())));
         return reply;
       },
       [](World& w) {
         const abi::HvInputMapVpStatePage in{w.id, 0,
                                             abi::HvVpStatePageType::HvVpStatePageRegisters};
         return w.root(simple(HvCallUnmapVpStatePage, in));
       },
       HvStatus::kInvalidParameter},
      {HvCallGetVpState,
       [](World& w) {
         const uint64_t page = w.page();
         Reply reply = w.root(with_banks(
             simple(HvCallGetVpState, state_of(w.id, T::HvGetSetVpStateLapicState, 1), 0xc8),
             {page}));
         EXPECT_NE(
             w.env.at<abi::HvLocalInterruptControllerState>(w.env.root(), Gpa::from_page(page))
                 .apic_version,
             0u);
         return reply;
       },
       [](World& w) {
         return w.root(
             simple(HvCallGetVpState, state_of(w.id, T::HvGetSetVpStateLapicState), 0xc8));
       },
       HvStatus::kInvalidParameter},
      {HvCallSetVpState,
       [](World& w) {
         return w.root(
             with_banks(simple(HvCallSetVpState, state_of(w.id, T::HvGetSetVpStateSyntheticTimers)),
                        std::vector<uint64_t>(0xc8 / 8)));
       },
       [](World& w) {
         return w.root(
             with_banks(simple(HvCallSetVpState, state_of(w.id, T::HvGetSetVpStateSyntheticTimers)),
                        std::vector<uint64_t>(3)));
       },
       HvStatus::kInvalidParameter},
      {HvCallGetVpCpuidValues,
       [](World& w) {
         abi::HvInputGetVpCpuidValues in{};
         in.partition_id = w.id;
         const std::vector<abi::HvCpuidLeafInfo> leaves{{0x40000000, 0, 0, 0}};
         Reply reply = w.root(rep(HvCallGetVpCpuidValues, in, leaves, 16));
         EXPECT_EQ(reply.as<abi::HvOutputGetVpCpuidValues>().ebx, 0x7263694du) << "Micr";
         return reply;
       },
       [](World& w) {
         abi::HvInputGetVpCpuidValues in{};
         in.partition_id = w.id;
         in.vp_index = 70;
         const std::vector<abi::HvCpuidLeafInfo> leaves{{0x40000000, 0, 0, 0}};
         return w.root(rep(HvCallGetVpCpuidValues, in, leaves, 16));
       },
       HvStatus::kInvalidVpIndex},
      {HvCallReadHypervisorLog,
       [](World& w) {
         // The ring outlives a test: find its end, add to it.
         uint64_t end = 0;
         Reply reply;
         for (;;) {
           reply = w.root(simple(HvCallReadHypervisorLog, end, 0x400));
           if (!reply.ok() || reply.as<abi::HvOutputReadHypervisorLog>().bytes == 0) break;
           end = reply.as<abi::HvOutputReadHypervisorLog>().next_position;
         }
         log(LogLevel::info, "one line");
         reply = w.root(simple(HvCallReadHypervisorLog, end, 0x400));
         const auto out = reply.as<abi::HvOutputReadHypervisorLog>();
         EXPECT_THAT(std::string(out.text, out.bytes), testing::EndsWith("] hv: one line\n"));
         EXPECT_EQ(out.next_position, end + out.bytes);
         return reply;
       },
       [](World& w) { return w.guest(simple(HvCallReadHypervisorLog, uint64_t{0}, 0x400)); },
       HvStatus::kAccessDenied},
  };
  return all;
}

class HypercallRowTest : public testing::TestWithParam<const HypercallRow*> {};

TEST_P(HypercallRowTest, WorksAndRefuses) {
  const HypercallRow& row = *GetParam();
  const RowCase* found = nullptr;
  for (const RowCase& row_case : cases())
    if (row_case.code == row.code) found = &row_case;
  ASSERT_TRUE(found) << row.name << " has no cases";
  {
    World world;
    const Reply reply = found->good(world);
    EXPECT_EQ(reply.status, HvStatus::kSuccess);
    EXPECT_FALSE(reply.stuck);
  }
  World world;
  EXPECT_EQ(found->bad(world).status, found->bad_status);
}

std::vector<const HypercallRow*> rows() {
  std::vector<const HypercallRow*> all;
  for (const HypercallRow& row : hypercall_table) all.push_back(&row);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Table, HypercallRowTest, testing::ValuesIn(rows()),
                         [](const auto& param) { return std::string(param.param->name); });

}  // namespace
}  // namespace hv
