// SPDX-License-Identifier: MIT
// A machine for hosted tests of hypervisor/: physical memory in an arena, LPs that the calling
// thread takes turns to be (or one thread each), a clock that stands still, and a record of what
// reached the machine. One exists at a time; it starts the hypervisor's tables and cpu() over.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "hypervisor/arch/x86/vcpu.h"
#include "hypervisor/core/partition.h"

namespace hv::fake {

// What hv::panic() throws.
struct Panic : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr uint64_t kMegabyte = 1024 * 1024;

struct Options {
  unsigned lps = 2;
  uint64_t memory = 32 * kMegabyte;
  uint64_t reserve = 4 * kMegabyte;  // at the top of memory
  uint64_t tsc_hz = 1'000'000'000;
};

struct Seams;

class Environment {
 public:
  explicit Environment(const Options& options = {});
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  // --- Clock ---
  uint64_t tsc() const { return tsc_; }
  void set_tsc(uint64_t value) { tsc_ = value; }
  void advance(uint64_t ticks) { tsc_ += ticks; }
  void advance_100ns(uint64_t units) { tsc_ += units * (options_.tsc_hz / 10'000'000); }

  // --- Processors ---
  Lp& lp(unsigned index) { return lps_.at(index); }
  // The calling thread is this LP from now on; a new thread starts as LP 0.
  void run_on(unsigned index);
  // Loads the VP on the LP, as the main loop does, or unloads what is there.
  void load(unsigned lp_index, Vp* vp);
  unsigned kicks(unsigned lp_index) const { return kicks_.at(lp_index); }

  // --- Partitions. Failures are test failures that throw. ---
  Partition& root() { return *root_partition; }
  // A child that is initialized, with `pages` of memory at guest-physical 0, read-write-execute.
  // Its pool gets `pool_pages` from the root.
  Partition& make_child(uint64_t pages = 64, uint64_t pool_pages = 256);
  x86::Vcpu& make_vp(Partition& partition, unsigned index, unsigned home = 0);
  // A VP that is not suspended.
  x86::Vcpu& make_running_vp(Partition& partition, unsigned index, unsigned home = 0);

  // --- Memory, seen from a partition ---
  template <class T>
  T& at(const Partition& partition, Gpa address) {
    return *static_cast<T*>(locate(partition, address));
  }
  // A page of the root that nobody uses.
  Gpa free_page();

  // What the guest does between VMRUN and its exit; by default nothing, so that it exits as before.
  std::function<void(svm::Vmcb&)> guest = [](svm::Vmcb&) {};

  // --- What reached the machine ---
  std::string console;                // log lines and panics
  std::vector<uint8_t> ended_levels;  // physical EOIs
  unsigned machine_resets = 0;

  static Environment* current;

 private:
  friend struct Seams;
  void* locate(const Partition& partition, Gpa address);

  Options options_;
  void* arena_;
  std::unique_ptr<std::atomic<uint16_t>[]> words_;
  std::array<Lp, 8> lps_;
  std::array<std::atomic<unsigned>, 8> kicks_{};
  std::atomic<uint64_t> tsc_{0};
  uint64_t next_free_page_ = 0x100;
};

}  // namespace hv::fake
