// SPDX-License-Identifier: MIT
// The virtual local APIC of a VP [SDM3 11, APM2 16], seen as xAPIC registers, x2APIC MSRs or the
// synthetic MSRs. IRR, TMR, TPR and LVTs are atomic: any LP may accept() an interrupt or look at
// them. Everything else belongs to the LP that runs the VP, or to whoever holds it stopped.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "abi/tlfs/partition.h"
#include "hypervisor/arch/x86/registers.h"
#include "hypervisor/core/arch.h"
#include "hypervisor/core/error.h"
#include "hypervisor/core/time.h"

namespace hv {
struct Vp;
}

namespace hv::x86 {

// Input clock of the timer, before the divide register; what MSR 0x40000023 reports.
inline constexpr uint64_t kApicHz = 200'000'000;
inline constexpr uint64_t kApicDefaultBase = 0xfee00000;

// Register numbers: the MMIO offset / 16 and the x2APIC MSR - 0x800.
namespace apic_register {
inline constexpr unsigned kId = 0x02, kVersion = 0x03, kTpr = 0x08, kApr = 0x09, kPpr = 0x0a,
                          kEoi = 0x0b, kRemoteRead = 0x0c, kLdr = 0x0d, kDfr = 0x0e,
                          kSpurious = 0x0f, kIsr = 0x10, kTmr = 0x18, kIrr = 0x20, kEsr = 0x28,
                          kIcr = 0x30, kIcrHigh = 0x31, kLvtTimer = 0x32, kLvtThermal = 0x33,
                          kLvtPerf = 0x34, kLvtLint0 = 0x35, kLvtLint1 = 0x36, kLvtError = 0x37,
                          kInitialCount = 0x38, kCurrentCount = 0x39, kDivide = 0x3e,
                          kSelfIpi = 0x3f;
}

namespace apic_base {
using Bsp = Field<8>;
using Extended = Field<10>;
using Enable = Field<11>;
}  // namespace apic_base

namespace lvt {
using Vector = Field<7, 0>;
using Delivery = Field<10, 8>;
using Mask = Field<16>;
using TimerMode = Field<18, 17>;  // 0 one-shot, 1 periodic, 2 TSC deadline
}  // namespace lvt

enum class DeliveryMode : uint8_t {
  fixed,
  lowest_priority,
  smi,
  remote_read,
  nmi,
  init,
  startup,
  extint,
};

// An interrupt message, from an ICR, an I/O APIC or an MSI.
struct Ipi {
  enum class Shorthand : uint8_t { none, self, all, others };
  DeliveryMode mode = DeliveryMode::fixed;
  Shorthand shorthand = Shorthand::none;
  uint8_t vector = 0;
  arch::Trigger trigger = arch::Trigger::edge;
  bool logical = false;
  bool wide = false;  // 32-bit x2APIC destination: 0xff is then no broadcast
  uint32_t destination = 0;
};

// What a register write asks the caller to do; carry_out() in apic_routing.h does it.
struct ApicEffect {
  enum class Kind : uint8_t { none, ipi, eoi, timer };
  Kind kind = Kind::none;
  bool level = false;  // eoi: the vector was level-triggered
  uint8_t vector = 0;  // eoi
  Ipi ipi;             // ipi
};

class LocalApic {
 public:
  enum class Mode : uint8_t { disabled, xapic, x2apic };

  LocalApic(Vp& vp, uint32_t id);

  // Power-on: the mode it starts in, and whether it is the bootstrap processor.
  void power_on(Mode mode, bool bootstrap);
  // INIT: everything but the id and APIC_BASE [SDM3 11.4.7.3].
  void reset();

  uint32_t apic_id() const { return id_; }
  Mode mode() const;
  bool is_x2apic() const { return mode() == Mode::x2apic; }

  // MSR 0x1b. Error: inject_gp (reserved bits, another base than the default, a transition that
  // does not exist [SDM3 11.12.5]). The timer stops with the APIC: the caller reports
  // deadline_changed().
  uint64_t base() const { return base_.load(std::memory_order_relaxed); }
  Result<> write_base(uint64_t value);

  // x2APIC MSRs 0x800-0x83f; 0x6e0 in every mode. Error: inject_gp (other mode, no such register,
  // reserved bits).
  Result<uint64_t> read_msr(uint32_t msr);
  Result<ApicEffect> write_msr(uint32_t msr, uint64_t value);

  // xAPIC page: `offset` is aligned to 16, accesses are 32 bits. What does not exist reads 0 and is
  // noted in ESR.
  uint32_t read_mmio(uint32_t offset);
  ApicEffect write_mmio(uint32_t offset, uint32_t value);

  // Any register by number, whatever the mode, without side effects: for the parent.
  uint64_t peek(unsigned reg) const;

  // Synthetic MSRs 0x40000070, 71 (destination in 63:56) [TLFS 10.2]; CR8 is tpr() >> 4.
  ApicEffect write_eoi();
  ApicEffect write_icr(uint64_t value);
  uint8_t tpr() const { return tpr_.load(std::memory_order_relaxed); }
  void set_tpr(uint8_t value) { tpr_.store(value, std::memory_order_relaxed); }
  uint8_t ppr() const;

  // --- Interrupts ---
  // Puts a fixed interrupt into IRR; callable from any LP, which then posts VpRequest::interrupt.
  // False if the APIC is off and dropped it. An `auto_eoi` vector never becomes in-service.
  bool accept(uint8_t vector, arch::Trigger trigger, bool auto_eoi);
  // The pin LINT0 or LINT1 is asserted; `vector` is the 8259's, for ExtINT.
  void assert_lint(unsigned pin, uint8_t vector);
  // The vector in IRR that the processor priority lets through now; -1 if there is none.
  int highest_pending() const;
  bool has_pending() const { return highest_pending() >= 0; }
  // The highest vector in IRR, whether the processor priority lets it through or not; -1: none.
  int highest_requested() const;
  // Whether IRR holds anything at all: what every entry asks first.
  bool any_requested() const {
    return (irr_[0].load(std::memory_order_relaxed) | irr_[1].load(std::memory_order_relaxed) |
            irr_[2].load(std::memory_order_relaxed) | irr_[3].load(std::memory_order_relaxed)) != 0;
  }
  // Whether nothing of its priority class or above is in service.
  bool outranks_service(uint8_t vector) const {
    return vector >> 4 > (in_service() < 0 ? 0 : in_service() >> 4);
  }
  // The vector was injected: IRR to ISR.
  void acknowledge(uint8_t vector);
  // Undoes acknowledge() for an injection that did not happen.
  void unacknowledge(uint8_t vector);

  // --- Lazy EOI (see lazy_eoi.h) ---
  // True if the EOI of what is in service now would have no effect but to end it.
  bool can_skip_eoi() const;
  bool skip_offered = false;

  // --- Timer ---
  uint64_t timer_deadline() const { return deadline_; }
  // Raises the timer interrupt if its deadline has passed, and arms the next period.
  void expire(uint64_t now);

  // --- Destinations; callable from any LP ---
  bool matches(const Ipi& ipi) const;

  // --- Hypercalls 0xe3/0xe4 ---
  void save(abi::HvLocalInterruptControllerState& out) const;
  // Error: invalid_parameter.
  Result<> restore(const abi::HvLocalInterruptControllerState& in);

 private:
  using Bits = std::array<uint64_t, 4>;
  using AtomicBits = std::array<std::atomic<uint64_t>, 4>;
  static constexpr unsigned kOneShot = 0, kPeriodic = 1, kTscDeadline = 2;

  bool software_enabled() const { return (spurious_.load(std::memory_order_relaxed) & 0x100) != 0; }
  int in_service() const;
  uint32_t logical_id() const;
  std::atomic<uint32_t>& lvt_of(unsigned reg) { return lvt_[reg - apic_register::kLvtTimer]; }
  ApicEffect write_register(unsigned reg, uint32_t value);
  ApicEffect write_lvt(unsigned reg, uint32_t value);
  ApicEffect send(uint32_t low, uint32_t destination, bool wide);
  void write_spurious(uint32_t value);
  void note_error(uint32_t bit);

  unsigned timer_mode() const;
  uint64_t count_ticks(uint64_t count) const;
  uint32_t current_count(uint64_t now) const;
  uint64_t tsc_deadline() const;
  ApicEffect write_tsc_deadline(uint64_t value);

  Vp& vp_;
  const uint32_t id_;
  std::atomic<uint64_t> base_{0};
  std::atomic<uint8_t> tpr_{0};
  std::atomic<uint32_t> ldr_{0};
  std::atomic<uint32_t> dfr_{0};
  std::atomic<uint32_t> spurious_{0};
  std::atomic<uint32_t> error_{0};  // errors since the last write of ESR
  uint32_t esr_ = 0;
  uint64_t icr_ = 0;
  AtomicBits irr_{};
  AtomicBits tmr_{};
  AtomicBits auto_eoi_{};
  Bits isr_{};
  std::array<std::atomic<uint32_t>, 6> lvt_{};

  uint32_t initial_count_ = 0;
  uint32_t divide_ = 0;
  uint64_t deadline_ = kNever;  // host TSC
};

}  // namespace hv::x86
