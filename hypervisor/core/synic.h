// SPDX-License-Identifier: MIT
// The synthetic interrupt controller of a VP [TLFS 11]: 16 SINTs, a message page, an event flags
// page, and for the root an event ring page. Registers are atomic, since messages and events come
// from any LP; the lock serializes writers of the message slots and rings. Pages are looked up at
// every use: a hostile parent may unmap them at any time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "abi/tlfs/msr.h"
#include "abi/tlfs/synic.h"
#include "base/list.h"
#include "base/lock.h"
#include "hypervisor/core/address.h"
#include "hypervisor/core/error.h"
#include "hypervisor/core/ids.h"

namespace hv {

struct Vp;
struct Partition;

// What a child's VP has to say in the parent's SINT0 slots, as long as they are full (intercept.h).
struct WaitingIntercept {
  base::ListLink<WaitingIntercept> link;
  Vp* vp = nullptr;
  bool opaque = false;              // an intercept message lies in the VP's message page
  std::array<uint64_t, 4> ended{};  // level-triggered vectors that it ended
};

class Synic {
 public:
  enum class Post : uint8_t { posted, busy, disabled };

  // VP reset: SynIC off, SINTs masked, rings empty. Fixed pages stay where they are.
  void reset();
  // The root's pages are the hypervisor's choice: reads report them, writes cannot move them.
  void set_fixed_pages(uint64_t simp_page, uint64_t siefp_page, uint64_t sirbp_page);

  // Registers by MSR number 0x40000080-0x4000009f. Error: inject_gp (no such register, read-only,
  // SINT vector below 16). Run on the VP's LP or with the VP stopped. A write may post queued
  // messages.
  Result<uint64_t> read(uint32_t msr) const;
  Result<> write(Vp& vp, uint32_t msr, uint64_t value);

  // Whether it takes messages; at once also an interrupt for them; events; doorbells.
  bool accepts_messages() const;
  bool accepts_messages(unsigned sint) const;
  bool accepts_events(unsigned sint) const;
  bool has_ring() const;
  uint64_t sint(unsigned index) const { return sint_[index].load(std::memory_order_acquire); }

  // Copies the message to its slot and raises the SINT. With a busy slot: the guest is told to
  // write EOM, which calls retry_messages(); the caller keeps the message.
  Post post(Vp& vp, unsigned sint, const abi::HvMessage& message);
  // Sets an event flag; true if it was clear. Error: invalid_synic_state (off or masked).
  Result<bool> signal(Vp& vp, unsigned sint, unsigned flag);
  // Appends a port to the event ring of `sint` and raises it. False if the ring was full or off.
  bool push_ring(Vp& vp, unsigned sint, PortId port);

  // Raises a SINT's interrupt, unless it is masked or polled. An as_intercept SINT of the root
  // becomes a message in slot 0.
  void raise(Vp& vp, unsigned sint);
  // For retry_messages(): what waits here for a slot.
  void slot_freed(Vp& vp);

  // SINTs (bit mask) whose slot the parent wants to hear about as soon as it is free:
  // HvX64RegisterDeliverabilityNotifications 63:48.
  uint16_t notify_deliverable() const { return notify_.load(std::memory_order_relaxed); }
  void set_notify_deliverable(Vp& vp, uint16_t sints);
  // Takes the bits of those that are free now.
  uint16_t take_deliverable(Vp& vp);

  WaitingIntercept waiting_intercept;  // under the lock of the parent's InterceptTable

 private:
  bool enabled() const { return (control_.load(std::memory_order_acquire) & 1) != 0; }
  // The page behind a page register as T, or nullptr while it is off or not mapped.
  template <class T>
  T* page(const Vp& vp, const std::atomic<uint64_t>& reg) const;
  void write_page(Vp& vp, std::atomic<uint64_t>& reg, uint64_t value);
  Result<> write_sint(Vp& vp, unsigned index, uint64_t value);
  Post post_locked(Vp& vp, unsigned index, const abi::HvMessage& message) HV_REQUIRES(lock_);
  void interrupt(Vp& vp, uint64_t value);
  void post_notifications(Vp& vp) HV_REQUIRES(lock_);

  base::SpinLock lock_{55};
  std::atomic<uint64_t> control_{0};
  std::atomic<uint64_t> siefp_{0};
  std::atomic<uint64_t> simp_{0};
  std::atomic<uint64_t> sirbp_{0};
  std::array<std::atomic<uint64_t>, abi::kHvSynicSintCount> sint_{};
  bool fixed_pages_ = false;
  std::atomic<uint16_t> notify_{0};
  std::atomic<uint16_t> intercept_pending_{0};  // as_intercept SINTs that wait for slot 0
  std::array<uint8_t, abi::kHvSynicSintCount> ring_head_ HV_GUARDED_BY(lock_){};

 public:
  Synic() { reset(); }
};

// Tries again to deliver what waits for a message slot of this VP: timers, ports, intercepts.
// Called for an EOM or EOI of the VP (the vector does not matter) and when its SynIC was enabled.
void retry_messages(Vp& vp);

// If a slot that the parent waits for is free: suspends the VP with a SINT deliverable message for
// the parent and answers true. For VpRequest::evaluate, on the VP's LP.
bool report_deliverable_sints(Vp& vp);

}  // namespace hv
