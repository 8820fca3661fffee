// SPDX-License-Identifier: MIT
// Sequences of hypercalls from the root and from children, mostly well formed and about things that
// exist or did. After each: every frame has exactly one owner, mapping counts are exact, and the
// root sees its own memory and what was shown to it, nothing else. At the end the root restarts and
// all is as it began.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <vector>

#include "abi/tlfs/partition.h"
#include "hypervisor/core/hypercall_table.h"
#include "hypervisor/sched/run_queue.h"
#include "tests/fake/environment.h"
#include "tests/fake/hypercall.h"

namespace hv {
namespace {

using enum abi::HvCall;
using fake::Reply;
using fake::Request;
using fake::simple;
using Name = abi::HvRegisterName;

#define REQUIRE(condition)                                                               \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)

constexpr uint64_t kRootPages = 512, kReservePages = 512;  // 2 MB each
constexpr unsigned kMaxChildren = 4;

class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const uint8_t value = bytes_[0];
    bytes_ = bytes_.subspan(1);
    return value;
  }
  unsigned below(unsigned limit) { return byte() % limit; }
  bool one_in(unsigned n) { return byte() % n == n - 1; }
  uint64_t wide() {
    static constexpr uint64_t kEdges[] = {0,
                                          1,
                                          0xff,
                                          0xfff,
                                          0x1000,
                                          0xffff,
                                          1 << 20,
                                          uint64_t{1} << 36,
                                          uint64_t{1} << 47,
                                          uint64_t{1} << 52,
                                          ~uint64_t{0},
                                          ~uint64_t{0} - 1,
                                          uint64_t{1} << 63,
                                          0xffffffff};
    return kEdges[below(std::size(kEdges))] + (one_in(4) ? byte() : 0);
  }

 private:
  std::span<const uint8_t> bytes_;
};

struct Totals {
  uint64_t root_free, root_total, hypervisor_frames;
  bool operator==(const Totals&) const = default;
};

class World {
 public:
  World()
      : env_({.lps = 2,
              .memory = (kRootPages + kReservePages) * kPageSize,
              .reserve = kReservePages * kPageSize}) {
    env_.root().privileges = fake::kRootPrivileges;
    for (unsigned i = 0; i < 2; ++i) {
      Vp& vp = env_.make_vp(env_.root(), i, i);
      vp.synic.set_fixed_pages(*chosen_page(), *chosen_page(), *chosen_page());
      REQUIRE(vp.synic.write(vp, abi::kHvX64MsrSimp,
                             vp.synic.read(abi::kHvX64MsrSimp).value_or(0) | 1));
      REQUIRE(vp.synic.write(vp, abi::kHvX64MsrSiefp,
                             vp.synic.read(abi::kHvX64MsrSiefp).value_or(0) | 1));
      REQUIRE(vp.synic.write(vp, abi::kHvX64MsrSirbp,
                             vp.synic.read(abi::kHvX64MsrSirbp).value_or(0) | 1));
      for (const uint32_t sint : {0u, 2u})
        REQUIRE(vp.synic.write(vp, abi::kHvX64MsrSint0 + sint, 0xf3));
      REQUIRE(vp.synic.write(vp, abi::kHvX64MsrScontrol, 1));
    }
    begin_ = totals();
    initial_total_ = begin_.root_total;
  }

  void run(Input input) {
    in_ = &input;
    as_it_should_be_ = true;
    prelude();
    as_it_should_be_ = false;
    while (!input.empty()) {
      act();
      check();
    }
    stop_running();
    while (!partition_reset_root()) {
    }
    machine_pages_.clear();
    check();
    const Totals end = totals();
    if (end != begin_)
      std::fprintf(stderr, "%lu of %lu pages of the root free, was %lu of %lu\n",
                   static_cast<unsigned long>(end.root_free),
                   static_cast<unsigned long>(end.root_total),
                   static_cast<unsigned long>(begin_.root_free),
                   static_cast<unsigned long>(begin_.root_total));
    REQUIRE(end == begin_);
    REQUIRE(env_.console.find("lost") == std::string::npos);
    ids_.clear();
  }

 private:
  Vp& root_vp(unsigned index) { return *root_partition->vp(VpIndex{index}); }

  // A page of the hypervisor that the root sees for good.
  Result<uint64_t> chosen_page() {
    HV_TRY_ASSIGN(const Spa page, root_partition->pool.allocate());
    HV_TRY(export_to_root(page));
    chosen_pages_.insert(page.page());
    return page.page();
  }

  // --- Picks: mostly what exists ---
  uint64_t child_id() {
    if (in_->one_in(16)) return in_->one_in(2) ? 1 : in_->wide();
    if (ids_.empty()) return 0;
    // Above all the first, which is complete.
    return ids_[in_->one_in(2) ? in_->below(static_cast<unsigned>(ids_.size())) : 0];
  }
  Partition* child() { return find_partition(PartitionId{child_id()}); }
  uint32_t vp_index() {
    return in_->one_in(16) ? static_cast<uint32_t>(in_->wide()) : in_->below(4) / 2;
  }
  uint64_t root_page() {
    if (in_->one_in(16)) return in_->wide();
    // Sometimes one that belongs to the hypervisor.
    return in_->one_in(16) ? kRootPages + in_->byte() : 0x40 + in_->byte() + in_->below(2) * 0xc0;
  }
  uint64_t child_page() {
    return in_->one_in(16) ? in_->wide() : in_->byte() * (in_->one_in(4) ? 8u : 1u);
  }
  uint32_t map_flags() {
    static constexpr uint32_t kCommon[] = {0xf,        0x7,     0x3,      0x1,
                                           0x80000007, 0x10000, 0x20000f, 0x800f};
    return in_->one_in(16) ? static_cast<uint32_t>(in_->wide())
                           : kCommon[in_->below(std::size(kCommon))];
  }
  unsigned count() { return in_->one_in(8) ? 60 + in_->below(80) : 1 + in_->below(8); }
  template <class Make>
  auto list(Make make) {
    std::vector<decltype(make())> values(count());
    for (auto& value : values) value = make();
    return values;
  }

  // --- Sequences ---
  void prelude() {
    for (const auto type : {abi::HvStatsObjectType::HvStatsObjectHypervisor,
                            abi::HvStatsObjectType::HvStatsObjectLogicalProcessor}) {
      abi::HvInputMapStatsPage in{};
      in.type = type;
      machine_pages_.insert(call(root_vp(0), simple(HvCallMapStatsPage, in, 8)).as<uint64_t>());
    }
    build_child(0x20, 0x180);
    build_child(0x60, 0x1a0);
  }

  // With 40 pages of its own and 32 of the root's, and a VP that takes messages and events.
  void build_child(uint64_t own, uint64_t shared) {
    const auto set = [](Name name, uint64_t value) {
      return abi::HvRegisterAssoc{name, 0, 0, {.reg128 = {value, 0}}};
    };
    create();
    const uint64_t id = ids_.back();
    std::vector<uint64_t> pages(40), memory(0x20);
    std::iota(pages.begin(), pages.end(), own);
    std::iota(memory.begin(), memory.end(), shared);
    call(root_vp(0), fake::rep(HvCallDepositMemory, id, pages));
    call(root_vp(0), simple(HvCallInitializePartition, id));
    abi::HvInputCreateVp vp{};
    vp.partition_id = id;
    call(root_vp(0), simple(HvCallCreateVp, vp));
    const abi::HvInputMapGpaPages map{id, 0, 0xf, 0};
    call(root_vp(0), fake::rep(HvCallMapGpaPages, map, memory));
    call(root_vp(0),
         fake::rep(HvCallSetVpRegisters, abi::HvInputVpRegisters{id, 0, 0, {}},
                   std::vector{set(Name::HvRegisterSipp, 0x2001), set(Name::HvRegisterSifp, 0x3001),
                               set(Name{static_cast<uint32_t>(Name::HvRegisterSint0) + 2}, 0xf3),
                               set(Name::HvRegisterScontrol, 1)}));
  }

  void create() {
    const Reply reply =
        call(root_vp(0), simple(HvCallCreatePartition, abi::HvInputCreatePartition{}, 8));
    if (!reply.ok()) return;
    if (ids_.size() == kMaxChildren) ids_.erase(ids_.begin());  // forgotten, not deleted
    ids_.push_back(reply.as<uint64_t>());
  }

  void act() {
    switch (in_->below(8)) {
      case 0:
        return life();
      case 1:
      case 2:
        return memory();
      case 3:
        return processors();
      case 4:
        return synic();
      case 5:
        return guest();
      case 6:
        return any_call();
      default:
        return run_or_stop();
    }
  }

  void life() {
    static constexpr abi::HvCall kCalls[] = {HvCallInitializePartition, HvCallFinalizePartition,
                                             HvCallDeletePartition, HvCallClearVirtualInterrupt};
    if (ids_.size() < kMaxChildren && in_->one_in(3)) return create();
    Request request = simple(kCalls[in_->below(std::size(kCalls))], child_id());
    request.fast = in_->one_in(2);
    root(request);
  }

  void memory() {
    const uint64_t id = child_id();
    switch (in_->below(6)) {
      case 0:
        return root(fake::rep(HvCallDepositMemory, in_->one_in(8) ? abi::kHvPartitionIdSelf : id,
                              list([&] { return root_page(); })));
      case 1:
        return root(
            fake::counted(HvCallWithdrawMemory, abi::HvInputWithdrawMemory{id, {}}, count()));
      case 2:
      case 3:
        return root(fake::rep(HvCallMapGpaPages,
                              abi::HvInputMapGpaPages{id, child_page(), map_flags(), 0},
                              list([&] { return in_->one_in(8) ? uint64_t{0} : root_page(); })));
      case 4:
        return root(fake::counted(
            HvCallUnmapGpaPages,
            abi::HvInputUnmapGpaPages{id, child_page(), in_->one_in(3) ? 2u : 0u, 0}, count()));
      default:
        return root(fake::counted(
            HvCallGetGpaPagesAccessStates,
            abi::HvInputGetGpaPagesAccessStates{id, in_->below(17), child_page()}, count()));
    }
  }

  void processors() {
    static constexpr Name kNames[] = {Name::HvRegisterExplicitSuspend,
                                      Name::HvRegisterInterceptSuspend,
                                      Name::HvX64RegisterRip,
                                      Name::HvX64RegisterCr0,
                                      Name::HvX64RegisterCr4,
                                      Name::HvX64RegisterEfer,
                                      Name::HvX64RegisterApicBase,
                                      Name::HvRegisterSint0,
                                      Name::HvRegisterScontrol,
                                      Name::HvRegisterSipp,
                                      Name::HvRegisterSifp,
                                      Name::HvRegisterStimer0Config,
                                      Name::HvRegisterStimer0Count,
                                      Name::HvRegisterInternalActivityState,
                                      Name::HvX64RegisterDeliverabilityNotifications,
                                      Name::HvRegisterPendingInterruption};
    const uint64_t id = child_id();
    const uint32_t vp = vp_index();
    const auto name = [&] {
      return in_->one_in(16) ? static_cast<Name>(in_->wide())
                             : kNames[in_->below(std::size(kNames))];
    };
    switch (in_->below(8)) {
      case 0: {
        abi::HvInputCreateVp in{};
        in.partition_id = id;
        in.vp_index = vp;
        return root(simple(HvCallCreateVp, in));
      }
      case 1:
        return root(simple(HvCallDeleteVp, abi::HvInputDeleteVp{id, vp, 0}));
      case 2:
        return root(
            fake::rep(HvCallGetVpRegisters, abi::HvInputVpRegisters{id, vp, 0, {}}, list(name)));
      case 3:
        return root(
            fake::rep(HvCallSetVpRegisters, abi::HvInputVpRegisters{id, vp, 0, {}}, list([&] {
                        return abi::HvRegisterAssoc{name(), 0, 0, {.reg128 = {in_->wide(), 0}}};
                      })));
      case 4: {
        const auto type = static_cast<abi::HvVpStatePageType>(in_->below(3));
        return root(simple(in_->one_in(3) ? HvCallUnmapVpStatePage : HvCallMapVpStatePage,
                           abi::HvInputMapVpStatePage{id, vp, type}, 8));
      }
      case 5: {
        static constexpr uint32_t kTypes[] = {0x80000000, 0x80000001, 0x80000002, 0x80000003, 4, 0};
        abi::HvInputVpState in{};
        in.partition_id = id;
        in.vp_index = vp;
        in.state_data.type = static_cast<abi::HvVpStateType>(kTypes[in_->below(std::size(kTypes))]);
        Request request = simple(in_->one_in(2) ? HvCallSetVpState : HvCallGetVpState, in);
        request.variable.resize(in_->one_in(2) ? 1 : 25, in_->one_in(4) ? in_->wide() : 0x30u);
        return root(request);
      }
      case 6: {
        abi::HvInputMapStatsPage in{};
        in.type = in_->one_in(2) ? abi::HvStatsObjectType::HvStatsObjectVp
                                 : abi::HvStatsObjectType::HvStatsObjectPartition;
        in.identity.vp.partition_id = id;
        in.identity.vp.vp_index = vp;
        return root(simple(in_->one_in(3) ? HvCallUnmapStatsPage : HvCallMapStatsPage, in));
      }
      default: {
        const abi::HvInputTranslateVirtualAddress in{id, vp, 0, in_->byte(), child_page()};
        return root(simple(HvCallTranslateVirtualAddress, in));
      }
    }
  }

  uint64_t any_partition() { return in_->one_in(3) ? abi::kHvPartitionIdSelf : child_id(); }
  abi::HvPortType port_type() {
    static constexpr uint32_t kTypes[] = {1, 2, 4, 3};
    return static_cast<abi::HvPortType>(kTypes[in_->below(in_->one_in(8) ? 4 : 3)]);
  }
  uint32_t sint() { return in_->one_in(4) ? in_->below(17) : 2; }

  // A port, its connection, or both.
  void port_and_connection() {
    uint64_t owner = child_id(), peer = abi::kHvPartitionIdSelf;
    if (in_->one_in(2)) std::swap(owner, peer);
    if (in_->one_in(8)) peer = child_id();
    const uint32_t id = 1 + in_->below(3);
    const abi::HvPortType type = port_type();
    const unsigned which = in_->below(4);
    if (which != 0) {
      abi::HvInputCreatePort in{};
      in.port_partition_id = owner;
      in.port_id = id;
      in.connection_partition_id = peer;
      in.port_info.port_type = type;
      if (type == abi::HvPortType::HvPortTypeEvent)
        in.port_info.event = {sint(), in_->below(2), in_->byte(),
                              static_cast<uint16_t>(1 + in_->byte()), 0};
      else
        in.port_info.message = {sint(), in_->one_in(4) ? abi::kHvAnyVp : in_->below(2),
                                in_->one_in(8) ? in_->wide() : 0};
      root(simple(HvCallCreatePort, in));
    }
    if (which == 1) return;
    abi::HvInputConnectPort in{};
    in.connection_partition_id = peer;
    in.connection_id = id;
    in.port_partition_id = owner;
    in.port_id = id;
    in.connection_info.port_type = type;
    if (type == abi::HvPortType::HvPortTypeDoorbell)
      in.connection_info.doorbell = {in_->one_in(4) ? in_->wide() : 0x200000, in_->byte(),
                                     in_->below(5)};
    root(simple(HvCallConnectPort, in));
    const Partition* const sender =
        peer == abi::kHvPartitionIdSelf ? root_partition : find_partition(PartitionId{peer});
    Vp* const vp = sender ? sender->vp(VpIndex{0}) : nullptr;
    if (vp) send(*vp, id, type == abi::HvPortType::HvPortTypeMessage);
  }

  void send(Vp& sender, uint32_t connection, bool message) {
    if (!message) {
      Request request =
          simple(HvCallSignalEvent, abi::HvInputSignalEvent{connection, in_->byte(), 0});
      request.fast = true;
      call(sender, request);
      return;
    }
    abi::HvInputPostMessage in{};
    in.connection_id = connection;
    in.message_type = static_cast<abi::HvMessageType>(in_->one_in(8) ? in_->wide() : 1);
    in.payload_size = in_->one_in(8) ? static_cast<uint32_t>(in_->wide()) : in_->below(241);
    // More of them than a slot and a port hold.
    for (unsigned n = in_->one_in(4) ? 20 : 1; n != 0; --n)
      call(sender, simple(HvCallPostMessage, in));
  }

  void synic() {
    switch (in_->below(10)) {
      case 0:
      case 9:
      case 1:
        return port_and_connection();
      case 2:
        return root(simple(HvCallDeletePort,
                           abi::HvInputDeletePort{any_partition(), 1 + in_->below(3), 0}));
      case 3:
        return root(simple(HvCallDisconnectPort,
                           abi::HvInputDisconnectPort{any_partition(), 1 + in_->below(3), 0}));
      case 4:
      case 5: {
        const Partition* const partition = in_->one_in(3) ? root_partition : child();
        Vp* const vp = partition ? partition->vp(VpIndex{0}) : nullptr;
        if (vp) send(*vp, 1 + in_->below(3), in_->one_in(2));
        return;
      }
      case 6: {
        abi::HvInputPostMessageDirect in{};
        in.partition_id = child_id();
        in.vp_index = vp_index();
        in.sint_index = sint();
        in.message[0] = in_->byte();
        in.message[4] = in_->byte();
        return root(simple(HvCallPostMessageDirect, in));
      }
      case 7: {
        const abi::HvInputSignalEventDirect in{child_id(), vp_index(), 0,
                                               static_cast<uint8_t>(sint()), in_->byte()};
        return root(simple(HvCallSignalEventDirect, in));
      }
      default: {
        abi::HvInputInstallIntercept in{};
        in.partition_id = child_id();
        in.access_type_mask = in_->below(9);
        in.intercept_type = static_cast<abi::HvInterceptType>(in_->below(0x14));
        in.intercept_parameter.as_uint64 = in_->wide();
        if (in_->one_in(2)) return root(simple(HvCallInstallIntercept, in));
        abi::HvInputRegisterInterceptResult result{};
        result.partition_id = in.partition_id;
        result.vp_index = in_->one_in(2) ? abi::kHvAnyVp : vp_index();
        result.intercept_type = abi::HvInterceptType::HvInterceptTypeX64Cpuid;
        result.cpuid.input_eax = in_->byte();
        return root(simple(HvCallRegisterInterceptResult, result));
      }
    }
  }

  void guest() {
    const uint64_t set = in_->one_in(4) ? in_->wide() : in_->below(8);
    const uint64_t flags = in_->one_in(8) ? in_->wide() : in_->below(16);
    switch (in_->below(5)) {
      case 0:
        return somebody(simple(HvCallFlushVirtualAddressSpace,
                               abi::HvInputFlushVirtualAddressSpace{0, flags, set}));
      case 1: {
        Request request = fake::rep(
            HvCallFlushVirtualAddressListEx,
            abi::HvInputFlushVirtualAddressSpaceEx{
                0, flags, {static_cast<abi::HvGenericSetFormat>(in_->below(3)), in_->below(4)}},
            list([&] { return in_->wide(); }));
        request.variable.resize(in_->below(3), set);
        return somebody(request);
      }
      case 2: {
        Request request = simple(HvCallSendSyntheticClusterIpi,
                                 abi::HvInputSendSyntheticClusterIpi{in_->byte(), 0, 0, 0, set});
        request.fast = true;
        return somebody(request);
      }
      case 3: {
        abi::HvInputAssertVirtualInterrupt in{};
        in.partition_id = child_id();
        in.interrupt_control = in_->below(10) | uint64_t{in_->below(4)} << 32;
        in.destination_address = in_->one_in(4) ? in_->wide() : in_->below(4);
        in.requested_vector = in_->byte();
        return root(simple(HvCallAssertVirtualInterrupt, in));
      }
      default: {
        abi::HvInputStartVirtualProcessor in{};
        in.partition_id = abi::kHvPartitionIdSelf;
        in.vp_index = vp_index();
        in.vp_context.rip = in_->wide();
        in.vp_context.cr0 = in_->wide();
        return somebody(simple(HvCallStartVirtualProcessor, in));
      }
    }
  }

  // Any row with arbitrary bytes behind a plausible first field.
  void any_call() {
    const HypercallRow& row = hypercall_table[in_->byte() % hypercall_table.size()];
    Request request;
    request.code = row.code;
    request.input.resize(row.input);
    for (auto& byte : request.input) byte = in_->one_in(4) ? in_->byte() : 0;
    const uint64_t id = any_partition();
    if (row.target != HypercallTarget::none) std::memcpy(request.input.data(), &id, sizeof(id));
    if (row.kind == HypercallKind::rep) request.rep_count = count();
    request.reps.resize(size_t{row.rep_input} * request.rep_count);
    if (row.variable == VariableHeader::yes) request.variable.resize(in_->below(4), in_->wide());
    request.fast = row.fast() && in_->one_in(2);
    somebody(request);
  }

  // A VP "executes" on an LP, so that whoever wants it stopped has to come back.
  void run_or_stop() {
    if (running_) return stop_running();
    const uint64_t id = child_id();
    const uint32_t index = vp_index();
    const auto release = [](Name name) { return abi::HvRegisterAssoc{name, 0, 0, {}}; };
    root(fake::rep(HvCallSetVpRegisters, abi::HvInputVpRegisters{id, index, 0, {}},
                   std::vector{release(Name::HvRegisterInterceptSuspend),
                               release(Name::HvRegisterExplicitSuspend)}));
    running_on_ = &env_.lp(in_->below(2));
    running_ = sched::pick(*running_on_);
  }
  void stop_running() {
    if (running_) sched::put_back(*running_on_, *running_);
    running_ = nullptr;
  }

  // --- Calls ---
  void root(const Request& request) { call(root_vp(in_->below(2)), request); }
  void somebody(const Request& request) {
    Partition* const partition = in_->one_in(3) ? nullptr : child();
    Vp* const vp = partition ? partition->vp(VpIndex{in_->below(2)}) : nullptr;
    call(vp ? *vp : root_vp(0), request);
  }
  Reply call(Vp& caller, Request request) {
    const auto spoil = [&] { return !as_it_should_be_ && in_->one_in(32); };
    if (spoil()) request.input_gpa = Gpa(in_->wide());
    if (spoil()) request.output_gpa = Gpa(in_->wide());
    if (spoil()) request.rep_start = in_->byte();
    if (spoil()) request.variable.push_back(in_->wide());
    // Only a VP that does not leave its guest may keep a caller waiting.
    const Reply reply = fake::call(caller, request, running_ ? 50 : 5000);
    REQUIRE(!reply.stuck || running_);
    return reply;
  }

  // --- Invariants ---
  Totals totals() const {
    Totals t{root_partition->pool.free_pages(), root_partition->pool.total_pages(), 0};
    for (uint64_t i = 0; i < page_db.frames(); ++i)
      t.hypervisor_frames += page_db.owned_by_hypervisor(Spa::from_page(i));
    return t;
  }

  void check() {
    std::vector<uint16_t> mappings(page_db.frames());
    std::set<uint64_t> shown = machine_pages_;
    shown.insert(chosen_pages_.begin(), chosen_pages_.end());
    uint64_t deposited = root_partition->pool.total_pages() - initial_total_;
    for (unsigned slot = 0; slot < kMaxPartitions; ++slot) {
      const Partition* const partition = partition_in_slot(slot);
      if (!partition) continue;
      REQUIRE(partition->pool.free_pages() <= partition->pool.total_pages());
      if (partition->stats_page != Spa()) shown.insert(partition->stats_page.page());
      for (const auto& vp_slot : partition->vps) {
        const Vp* const vp = vp_slot.load();
        if (!vp) continue;
        for (const Spa page : {vp->intercept_page, vp->register_page, vp->stats_page})
          shown.insert(page.page());
      }
      if (partition->is_root()) continue;
      deposited += partition->pool.total_pages();
      if (partition->space.root() != Spa()) count_mappings(partition->space, mappings);
    }
    uint64_t hypervisor_frames = 0;
    for (uint64_t i = 0; i < page_db.frames(); ++i) {
      const Spa page = Spa::from_page(i);
      const Result<Mapping> seen = root_partition->space.lookup(Gpa::from_page(i));
      REQUIRE(!seen || seen->spa.value() + (i * kPageSize & (seen->size - 1)) == page.value());
      REQUIRE(page_db.mappings(page) == mappings[i]);
      if (page_db.owned_by_hypervisor(page)) {
        ++hypervisor_frames;
        REQUIRE(!seen || shown.contains(i));
        REQUIRE(mappings[i] == 0);
      } else {
        REQUIRE(seen && seen->access == kAllAccess);
      }
    }
    REQUIRE(hypervisor_frames == kReservePages + deposited);
  }

  static void count_mappings(const GpaSpace& space, std::vector<uint16_t>& mappings) {
    Gpa at(0);
    for (;;) {
      const Result<Mapping> leaf = space.next_leaf(at);
      if (!leaf && leaf.error() == Error::retry) continue;
      if (!leaf) return;
      for (uint64_t offset = 0; offset < leaf->size; offset += kPageSize)
        ++mappings.at((leaf->spa + offset).page());
      at = at + leaf->size;
    }
  }

  fake::Environment env_;
  Input* in_ = nullptr;
  std::vector<uint64_t> ids_;
  std::set<uint64_t> machine_pages_, chosen_pages_;
  bool as_it_should_be_ = false;
  Vp* running_ = nullptr;
  Lp* running_on_ = nullptr;
  Totals begin_{};
  uint64_t initial_total_ = 0;
};

}  // namespace
}  // namespace hv

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const world = new hv::World;
  world->run(hv::Input({data, size}));
  return 0;
}
