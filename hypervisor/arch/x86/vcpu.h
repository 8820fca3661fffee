// SPDX-License-Identifier: MIT
// A virtual x86 processor: what both vendors keep for it outside the vendor's control block. While
// a VP is loaded on an LP, its FPU and debug registers live in the processor; load/unload in
// vcpu.cpp move them. It lives in pages of its partition's pool.
#pragma once

#include <array>
#include <cstdint>

#include "hypervisor/arch/x86/guest_walk.h"
#include "hypervisor/arch/x86/local_apic.h"
#include "hypervisor/arch/x86/registers.h"
#include "hypervisor/core/partition.h"
#include "hypervisor/core/vp.h"

namespace hv::svm {
struct Vmcb;
}

namespace hv::x86 {

// An event on its way into the guest, in the EVENTINJ/VM-entry layout both vendors share.
struct PendingEvent {
  using Vector = Field<7, 0>;
  using Type = Field<10, 8>;
  using HasErrorCode = Field<11>;
  using Valid = Field<31>;
  using ErrorCode = Field<63, 32>;
  static constexpr uint64_t kInterrupt = 0, kNmi = 2, kException = 3, kSoftInterrupt = 4;
  uint64_t raw = 0;

  static PendingEvent exception(uint8_t vector) {
    return {Valid::set(Type::set(vector, kException), 1)};
  }
  static PendingEvent exception(uint8_t vector, uint32_t error_code) {
    return {ErrorCode::set(HasErrorCode::set(exception(vector).raw, 1), error_code)};
  }
  bool valid() const { return Valid::test(raw); }
};

struct Vcpu final : Vp {
  Vcpu(Partition& owner, VpIndex vp_index, uint32_t apic_id)
      : Vp(owner, vp_index), apic(*this, apic_id) {}

  // Encoding order. RAX and RSP live in the control block; their slots are stale outside exits.
  std::array<uint64_t, 16> gpr{};
  LocalApic apic;

  Spa vmcb_page;
  svm::Vmcb* vmcb = nullptr;
  Spa xsave_page;

  uint64_t xcr0 = 1;
  std::array<uint64_t, 4> dr{};
  uint64_t tsc_offset = 0;  // guest TSC minus host TSC
  uint64_t tsc_aux = 0;
  uint64_t tsc_adjust = 0;
  uint64_t misc_enable = 1;
  uint64_t hwcr = 0;
  uint64_t vp_assist_msr = 0;
  uint64_t tsc_invariant_control = 0;
  std::array<uint64_t, 16> mtrr_variable{};
  std::array<uint64_t, 11> mtrr_fixed{};
  uint64_t mtrr_def_type = 0;
  uint64_t mcg_status = 0;

  FetchCache fetch_cache;

  // TLB tag on the LP that ran it last.
  Lp* asid_lp = nullptr;
  uint64_t asid_generation = 0;

  // Injected at the next entry; what an intercept interrupted goes first.
  PendingEvent event;
  // The virtual interrupt that the last entry offered; -1: none. See svm/inject.cpp.
  int offered_vector = -1;
  bool offer_acknowledged = false;
  bool offered_extint = false;
  std::atomic<bool> extint_pending{false};
  bool nmi_pending = false;
  bool nmi_blocked = false;  // between NMI delivery and IRET
  bool iret_under_way = false;
  uint64_t iret_rip = 0;
  bool idle_wait = false;  // halted by the guest-idle MSR: wakes for interrupts even with IF=0
};

inline Vcpu& as_vcpu(Vp& vp) {
  return static_cast<Vcpu&>(vp);
}
inline const Vcpu& as_vcpu(const Vp& vp) {
  return static_cast<const Vcpu&>(vp);
}

// Moves the FPU, XCR0 and debug registers between memory and the processor.
void load_state(Vcpu& vcpu);
void save_state(Vcpu& vcpu);

// INIT: the state after reset or INIT [APM2 14.1.3]; `wait` leaves it waiting for a SIPI.
void reset(Vcpu& vcpu);
void start_at(Vcpu& vcpu, uint8_t startup_vector);

// Shutdown: the root's machine resets, a child's parent gets an unrecoverable-exception message.
void triple_fault(Vcpu& vcpu);

// Queues an exception for the next entry, promoting to #DF and triple fault as [APM2 8.2.9].
void inject_exception(Vcpu& vcpu, PendingEvent event);

}  // namespace hv::x86
