// SPDX-License-Identifier: MIT
// What a parent asked to see of a child's execution [TLFS 9], results it registered in advance, and
// the way an intercept message gets to it: the message in the VP's message page, and an opaque note
// in SINT0 of a parent's VP. Notes that find every slot busy wait in the child's VP; none is lost.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "abi/tlfs/hypercall.h"
#include "abi/tlfs/message.h"
#include "abi/tlfs/partition.h"
#include "base/list.h"
#include "base/lock.h"
#include "hypervisor/core/error.h"
#include "hypervisor/core/hash_table.h"
#include "hypervisor/core/ids.h"
#include "hypervisor/core/slab.h"
#include "hypervisor/core/synic.h"

namespace hv {

struct Partition;
struct Vp;

class InterceptTable {
 public:
  static constexpr uint32_t kMaxEntries = 8192;

  // --- Of the child this table belongs to ---
  // An access mask of 0 removes. Errors: invalid_parameter (type, mask, parameter),
  // insufficient_memory, no_resources.
  Result<> install(Partition& child, abi::HvInterceptType type,
                   abi::HvInterceptParameters parameter, uint32_t access_mask);
  // The access mask installed, 0 if none. An I/O port is found in ranges too.
  uint32_t installed(abi::HvInterceptType type, uint64_t parameter = 0) const;

  // Registers the answer to CPUID for one VP (or abi::kHvAnyVp). Errors: as install.
  Result<> register_cpuid(Partition& child, uint32_t vp,
                          const abi::HvRegisterX64CpuidResultParameters& result);
  // Overrides bits of {eax, ebx, ecx, edx} as registered.
  void override_cpuid(VpIndex vp, uint32_t leaf, uint32_t subleaf,
                      std::array<uint32_t, 4>& registers) const;
  // Registers what becomes of MSRs that nobody implements, by MSR. Errors: as install.
  Result<> register_msr(Partition& child, const abi::HvRegisterX64MsrResultParameters& result);
  // True if accesses of this kind (kHvInterceptAccess*Mask) read zero and ignore writes.
  bool ignores_msr(uint32_t msr, uint32_t access) const;
  // Whether any result is registered, or any leaf intercepted.
  bool knows_cpuid() const { return cpuid_count_.load(std::memory_order_relaxed) != 0; }
  // A bit for each vector that is intercepted.
  uint32_t exceptions() const { return exceptions_.load(std::memory_order_relaxed); }
  // Frees everything, when the partition is torn down.
  void destroy(Partition& child);

  // --- Of the parent this table belongs to: notes on their way to its SINT0 ---
  void notify_intercept(Partition& parent, Vp& child_vp);
  // An APIC EOI message; it does not suspend the VP.
  void notify_eoi(Partition& parent, Vp& child_vp, uint8_t vector);
  void retry(Vp& parent_vp);
  // The child's VP is going away.
  void cancel(Vp& child_vp);

 private:
  struct Entry {
    base::ListLink<Entry> link;
    abi::HvInterceptType type;
    uint32_t access;
    uint64_t parameter;
  };
  struct CpuidEntry {
    CpuidEntry* next;
    uint32_t leaf;
    uint32_t vp;
    abi::HvRegisterX64CpuidResultParameters result;
    uint32_t key() const { return leaf; }
  };
  static constexpr unsigned kTypes = 0x13;

  Entry* find(abi::HvInterceptType type, uint64_t parameter) const HV_REQUIRES(lock_);
  Result<> set_entry(Partition& child, abi::HvInterceptType type, uint64_t parameter,
                     uint32_t access) HV_REQUIRES(lock_);
  void enqueue(Vp& child_vp) HV_REQUIRES(lock_);
  void drain(Partition& parent, Vp* preferred) HV_REQUIRES(lock_);

  mutable base::SpinLock lock_{45};
  std::array<std::atomic<uint8_t>, kTypes> simple_{};  // access masks of types without parameter
  std::array<std::atomic<uint16_t>, kTypes> with_parameter_{};  // entries of each type
  base::List<Entry, &Entry::link> entries_ HV_GUARDED_BY(lock_);
  HashTable<CpuidEntry, 32> cpuid_ HV_GUARDED_BY(lock_);
  std::atomic<uint32_t> cpuid_count_{0};
  std::atomic<uint32_t> exceptions_{0};
  uint32_t entry_count_ HV_GUARDED_BY(lock_) = 0;
  Slab<Entry> entry_slab_ HV_GUARDED_BY(lock_);
  Slab<CpuidEntry> cpuid_slab_ HV_GUARDED_BY(lock_);
  base::List<WaitingIntercept, &WaitingIntercept::link> waiting_ HV_GUARDED_BY(lock_);
  std::atomic<uint32_t> waiting_count_{0};
};

// Suspends the VP of a child, which is loaded on this LP and has exited, with a message for its
// parent. The header's sender is filled in here; type, size and payload are the
// caller's.
void deliver_intercept(Vp& vp, abi::HvMessage& message);

// A message of one payload structure.
template <class Payload>
abi::HvMessage make_message(abi::HvMessageType type, const Payload& payload) {
  static_assert(sizeof(Payload) <= abi::kHvMessagePayloadSize);
  abi::HvMessage message{};
  message.header.message_type = type;
  message.header.payload_size = sizeof(Payload);
  __builtin_memcpy(message.payload, &payload, sizeof(Payload));
  return message;
}

}  // namespace hv
