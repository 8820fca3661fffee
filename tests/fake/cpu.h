// SPDX-License-Identifier: MIT
// A processor for hosted tests: what hypervisor/arch/x86/cpu.h asks of the machine, as a stateful
// model with a history of writes. What would raise #GP on a processor is recorded as a fault and
// has no effect; a test that expects none checks faults() at its end. One processor, one thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "hypervisor/arch/x86/cpu.h"

namespace hv::fake {

struct Write {
  enum class To : uint8_t { msr, port, debug_register, xcr0 };
  To to;
  uint32_t index;
  uint64_t value;
  friend bool operator==(const Write&, const Write&) = default;
};

// The extended state in its registers, as XSAVE in the standard format shows it.
struct ExtendedState {
  static constexpr size_t kBytes = 4096;
  alignas(64) std::array<uint8_t, kBytes> image{};
  uint64_t in_use = 0;  // components that are not in their initial configuration
};

class Cpu {
 public:
  Cpu() { reset(); }
  // An AMD processor with SVM, nested paging, AVX-512, and the MSRs that the hypervisor uses.
  void reset();

  // Leaves by (leaf, subleaf). A leaf without subleaves stands at subleaf 0.
  std::map<std::pair<uint32_t, uint32_t>, cpu::CpuidResult> leaves;
  // The MSRs that exist.
  std::map<uint32_t, uint64_t> msrs;
  // What ports read; others read as ones.
  std::map<uint16_t, uint32_t> ports;
  std::array<uint64_t, 4> debug_registers{};
  uint64_t cr2 = 0;
  uint64_t xcr0 = 1;
  ExtendedState extended;

  std::vector<Write> writes;
  unsigned waits = 0;
  unsigned interrupts_taken = 0;

  const std::vector<std::string>& faults() const { return faults_; }
  void fault(std::string what) { faults_.push_back(std::move(what)); }
  void forget_faults() { faults_.clear(); }

  cpu::CpuidResult cpuid(uint32_t leaf, uint32_t subleaf) const;
  uint32_t mxcsr_mask() const;

 private:
  std::vector<std::string> faults_;
};

Cpu& cpu();

}  // namespace hv::fake
