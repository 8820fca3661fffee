// SPDX-License-Identifier: MIT
// Intercepts that are installed, and intercept messages to parents.
#include "hypervisor/core/intercept.h"

#include <bit>
#include <cstring>

#include "hypervisor/core/arch.h"
#include "hypervisor/core/log.h"
#include "hypervisor/core/partition.h"

namespace hv {

namespace {

using abi::HvInterceptType;

constexpr uint32_t kAllAccesses = abi::kHvInterceptAccessReadMask |
                                  abi::kHvInterceptAccessWriteMask |
                                  abi::kHvInterceptAccessExecuteMask;
constexpr unsigned index_of(HvInterceptType type) {
  return static_cast<unsigned>(type);
}

enum class Kind : uint8_t { unsupported, simple, with_parameter };

Kind kind_of(HvInterceptType type) {
  switch (type) {
    case HvInterceptType::HvInterceptTypeX64IoPort:
    case HvInterceptType::HvInterceptTypeX64IoPortRange:
    case HvInterceptType::HvInterceptTypeX64Cpuid:
    case HvInterceptType::HvInterceptTypeException:
    case HvInterceptType::HvInterceptTypeX64MsrIndex:
      return Kind::with_parameter;
    case HvInterceptType::HvInterceptTypeX64Msr:
    case HvInterceptType::HvInterceptTypeHypercall:
    case HvInterceptType::HvInterceptTypeUnknownSynicConnection:
    case HvInterceptType::HvInterceptTypeX64ApicEoi:
    case HvInterceptType::HvInterceptTypeRetargetInterruptWithUnknownDeviceId:
      return Kind::simple;
    default:
      return Kind::unsupported;
  }
}

bool is_parameter(HvInterceptType type, abi::HvInterceptParameters parameter) {
  constexpr unsigned kExceptions = 32;
  switch (type) {
    case HvInterceptType::HvInterceptTypeX64IoPort:
      return parameter.as_uint64 <= 0xffff;
    case HvInterceptType::HvInterceptTypeX64IoPortRange:
      return parameter.as_uint64 <= 0xffffffff &&
             parameter.io_port_range.base <= parameter.io_port_range.end;
    case HvInterceptType::HvInterceptTypeException:
      return parameter.as_uint64 < kExceptions;
    default:
      return parameter.as_uint64 <= 0xffffffff;
  }
}

}  // namespace

InterceptTable::Entry* InterceptTable::find(HvInterceptType type, uint64_t parameter) const {
  Entry* entry = entries_.front();
  while (entry && !(entry->type == type && entry->parameter == parameter))
    entry = entries_.next(entry);
  return entry;
}

Result<> InterceptTable::set_entry(Partition& child, HvInterceptType type, uint64_t parameter,
                                   uint32_t access) {
  Entry* entry = find(type, parameter);
  const bool is_cpuid = type == HvInterceptType::HvInterceptTypeX64Cpuid;
  if (access == 0) {
    if (!entry) return {};
    entries_.remove(entry);
    entry_slab_.destroy(child.pool, entry);
    --entry_count_;
    --with_parameter_[index_of(type)];
    cpuid_count_ -= is_cpuid;
    return {};
  }
  if (!entry) {
    if (entry_count_ == kMaxEntries) return fail(Error::no_resources);
    HV_TRY_ASSIGN(entry, entry_slab_.create(child.pool));
    entry->type = type;
    entry->parameter = parameter;
    entries_.push_back(entry);
    ++entry_count_;
    ++with_parameter_[index_of(type)];
    cpuid_count_ += is_cpuid;
  }
  entry->access = access;
  return {};
}

Result<> InterceptTable::install(Partition& child, HvInterceptType type,
                                 abi::HvInterceptParameters parameter, uint32_t access_mask) {
  const Kind kind = kind_of(type);
  if (kind == Kind::unsupported || (access_mask & ~kAllAccesses) != 0)
    return fail(Error::invalid_parameter);
  if (kind == Kind::simple) {
    simple_[index_of(type)] = static_cast<uint8_t>(access_mask);
    return {};
  }
  if (!is_parameter(type, parameter)) return fail(Error::invalid_parameter);
  base::Guard guard(lock_);
  HV_TRY(set_entry(child, type, parameter.as_uint64, access_mask));
  if (type != HvInterceptType::HvInterceptTypeException) return {};
  const uint32_t bit = 1u << parameter.as_uint64;
  exceptions_ = access_mask != 0 ? exceptions_ | bit : exceptions_ & ~bit;
  return {};
}

uint32_t InterceptTable::installed(HvInterceptType type, uint64_t parameter) const {
  constexpr auto kRange = HvInterceptType::HvInterceptTypeX64IoPortRange;
  const bool port = type == HvInterceptType::HvInterceptTypeX64IoPort;
  if (kind_of(type) != Kind::with_parameter)
    return index_of(type) < kTypes ? simple_[index_of(type)].load() : 0;
  if (with_parameter_[index_of(type)] == 0 && !(port && with_parameter_[index_of(kRange)] != 0))
    return 0;
  base::Guard guard(lock_);
  const Entry* const exact = find(type, parameter);
  uint32_t access = exact ? exact->access : 0;
  for (const Entry* entry = port ? entries_.front() : nullptr; entry;
       entry = entries_.next(entry)) {
    const abi::HvInterceptParameters range{.as_uint64 = entry->parameter};
    if (entry->type == kRange && parameter >= range.io_port_range.base &&
        parameter <= range.io_port_range.end)
      access |= entry->access;
  }
  return access;
}

// --- Results registered in advance ---

Result<> InterceptTable::register_cpuid(Partition& child, uint32_t vp,
                                        const abi::HvRegisterX64CpuidResultParameters& result) {
  if (vp != abi::kHvAnyVp && vp >= kMaxVpsPerPartition) return fail(Error::invalid_vp_index);
  base::Guard guard(lock_);
  CpuidEntry* entry = cpuid_.find(result.input_eax);
  while (entry && !(entry->vp == vp && entry->result.input_ecx == result.input_ecx &&
                    entry->result.subleaf_specific == result.subleaf_specific))
    entry = cpuid_.find(result.input_eax, entry);
  if (!entry) {
    if (entry_count_ == kMaxEntries) return fail(Error::no_resources);
    HV_TRY_ASSIGN(entry, cpuid_slab_.create(child.pool));
    entry->leaf = result.input_eax;
    entry->vp = vp;
    cpuid_.insert(entry);
    ++entry_count_;
    ++cpuid_count_;
  }
  entry->result = result;
  return {};
}

void InterceptTable::override_cpuid(VpIndex vp, uint32_t leaf, uint32_t subleaf,
                                    std::array<uint32_t, 4>& registers) const {
  if (cpuid_count_ == 0) return;
  base::Guard guard(lock_);
  // What was registered for this VP goes before what was for all.
  const CpuidEntry* best = nullptr;
  for (const CpuidEntry* entry = cpuid_.find(leaf); entry; entry = cpuid_.find(leaf, entry)) {
    const bool mine = entry->vp == vp.value();
    if (!mine && entry->vp != abi::kHvAnyVp) continue;
    if (entry->result.subleaf_specific != 0 && entry->result.input_ecx != subleaf) continue;
    if (!best || mine) best = entry;
  }
  if (!best) return;
  const auto& r = best->result;
  const uint32_t values[] = {r.result_eax, r.result_ebx, r.result_ecx, r.result_edx};
  const uint32_t masks[] = {r.result_eax_mask, r.result_ebx_mask, r.result_ecx_mask,
                            r.result_edx_mask};
  for (unsigned i = 0; i < 4; ++i)
    registers[i] = (registers[i] & ~masks[i]) | (values[i] & masks[i]);
}

Result<> InterceptTable::register_msr(Partition& child,
                                      const abi::HvRegisterX64MsrResultParameters& result) {
  using Action = abi::HvUnimplementedMsrAction;
  const bool ignore = result.action == Action::HvUnimplementedMsrActionIgnoreWriteReadZero;
  if ((!ignore && result.action != Action::HvUnimplementedMsrActionFault) ||
      (result.access_type & ~kAllAccesses) != 0)
    return fail(Error::invalid_parameter);
  base::Guard guard(lock_);
  const Entry* const entry = find(HvInterceptType::HvInterceptTypeX64Msr, result.msr_index);
  const uint32_t before = entry ? entry->access : 0;
  return set_entry(child, HvInterceptType::HvInterceptTypeX64Msr, result.msr_index,
                   ignore ? before | result.access_type : before & ~result.access_type);
}

bool InterceptTable::ignores_msr(uint32_t msr, uint32_t access) const {
  constexpr auto kMsr = HvInterceptType::HvInterceptTypeX64Msr;
  if (with_parameter_[index_of(kMsr)] == 0) return false;
  base::Guard guard(lock_);
  const Entry* const entry = find(kMsr, msr);
  return entry && (entry->access & access) == access;
}

void InterceptTable::destroy(Partition& child) {
  base::Guard guard(lock_);
  while (Entry* const entry = entries_.pop_front()) entry_slab_.destroy(child.pool, entry);
  while (CpuidEntry* const entry = cpuid_.pop()) cpuid_slab_.destroy(child.pool, entry);
  for (auto& access : simple_) access = 0;
  for (auto& count : with_parameter_) count = 0;
  cpuid_count_ = 0;
  exceptions_ = 0;
  entry_count_ = 0;
}

// --- Notes on their way to the parent ---

void InterceptTable::notify_intercept(Partition& parent, Vp& child_vp) {
  base::Guard guard(lock_);
  child_vp.synic.waiting_intercept.opaque = true;
  enqueue(child_vp);
  drain(parent, nullptr);
}

void InterceptTable::notify_eoi(Partition& parent, Vp& child_vp, uint8_t vector) {
  base::Guard guard(lock_);
  child_vp.synic.waiting_intercept.ended[vector / 64] |= uint64_t{1} << (vector % 64);
  enqueue(child_vp);
  drain(parent, nullptr);
}

void InterceptTable::enqueue(Vp& child_vp) {
  WaitingIntercept& waiting = child_vp.synic.waiting_intercept;
  waiting.vp = &child_vp;
  if (waiting_.contains(&waiting)) return;
  waiting_.push_back(&waiting);
  ++waiting_count_;
}

void InterceptTable::retry(Vp& parent_vp) {
  if (waiting_count_ == 0) return;
  base::Guard guard(lock_);
  drain(parent_vp.partition, &parent_vp);
}

void InterceptTable::cancel(Vp& child_vp) {
  base::Guard guard(lock_);
  WaitingIntercept& waiting = child_vp.synic.waiting_intercept;
  if (!waiting_.contains(&waiting)) return;
  waiting_.remove(&waiting);
  --waiting_count_;
}

namespace {

constexpr unsigned kSint = abi::kHvSynicInterceptionSintIndex;

bool post_note(Vp& vp, const abi::HvMessage& note) {
  return vp.synic.accepts_messages(kSint) && vp.synic.post(vp, kSint, note) == Synic::Post::posted;
}

// Any of the parent's VPs may take a note: the preferred one, the one on this LP, another.
bool post_to_any(const Partition& parent, Vp* preferred, const abi::HvMessage& note) {
  if (preferred && post_note(*preferred, note)) return true;
  Vp* const near = parent.vp(VpIndex(this_lp().index.value()));
  if (near && near != preferred && post_note(*near, note)) return true;
  for (const auto& slot : parent.vps) {
    Vp* const vp = slot.load(std::memory_order_acquire);
    if (vp && vp != preferred && vp != near && post_note(*vp, note)) return true;
  }
  return false;
}

// The next note of the VP, and forgets it; a message of type none at the end.
abi::HvMessage take_note(WaitingIntercept& waiting) {
  const uint32_t vp = waiting.vp->index.value();
  abi::HvMessage note{};
  for (unsigned i = 0; i < waiting.ended.size(); ++i) {
    if (waiting.ended[i] == 0) continue;
    const auto bit = static_cast<uint32_t>(std::countr_zero(waiting.ended[i]));
    waiting.ended[i] &= waiting.ended[i] - 1;
    note = make_message(abi::HvMessageType::HvMessageTypeX64ApicEoi,
                        abi::HvX64ApicEoiMessage{vp, i * 64 + bit});
    break;
  }
  if (note.header.payload_size == 0 && waiting.opaque) {
    waiting.opaque = false;
    note = make_message(abi::HvMessageType::HvMessageTypeOpaqueIntercept,
                        abi::HvOpaqueInterceptMessage{vp});
  }
  note.header.sender = waiting.vp->partition.id.value();
  return note;
}

}  // namespace

void InterceptTable::drain(Partition& parent, Vp* preferred) {
  while (WaitingIntercept* const waiting = waiting_.front()) {
    const WaitingIntercept before = *waiting;
    const abi::HvMessage note = take_note(*waiting);
    if (note.header.message_type == abi::HvMessageType::HvMessageTypeNone) {
      waiting_.remove(waiting);
      --waiting_count_;
    } else if (!post_to_any(parent, preferred, note)) {
      waiting->opaque = before.opaque;
      waiting->ended = before.ended;
      return;
    }
  }
}

void deliver_intercept(Vp& vp, abi::HvMessage& message) {
  Partition* const parent = vp.partition.parent;
  HV_ASSERT(parent != nullptr);
  message.header.sender = vp.partition.id.value();
  if (vp.intercept_page != Spa()) *direct_map<abi::HvMessage>(vp.intercept_page) = message;
  if (vp.register_page != Spa()) arch::publish_registers(vp);
  ++vp.counters.intercepts;
  vp.add(VpSuspend::intercept_suspend);
  parent->intercepts.notify_intercept(*parent, vp);
}

}  // namespace hv
