// SPDX-License-Identifier: MIT
// The seams of hypervisor/ to the machine, answered by the current Environment.
#include "tests/fake/environment.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "hypervisor/arch/x86/machine.h"
#include "hypervisor/arch/x86/msr.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/core/console.h"
#include "hypervisor/core/hypercall.h"
#include "hypervisor/core/log.h"
#include "hypervisor/core/scheduler.h"
#include "tests/fake/cpu.h"

namespace hv {

uint64_t direct_map_base = 0;

namespace fake {

Environment* Environment::current = nullptr;

namespace {

thread_local unsigned this_lp_index = 0;
std::mutex console_mutex;

// Ranks of the locks that this thread holds, in the order they were taken.
thread_local std::vector<uint8_t> held_ranks;

struct alignas(kPageSize) HypercallBuffer {
  uint8_t bytes[2 * kPageSize];
};
thread_local HypercallBuffer hypercall_pages;

template <class T>
T must(Result<T> result, const char* what) {
  if (!result)
    throw std::logic_error(std::string(what) + " failed with error " +
                           std::to_string(static_cast<int>(result.error())));
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace

Environment::Environment(const Options& options) : options_(options) {
  if (current) throw std::logic_error("another Environment exists");
  current = this;
  cpu().reset();
  arena_ = mmap(nullptr, options.memory, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena_ == MAP_FAILED) throw std::bad_alloc();
  direct_map_base = reinterpret_cast<uint64_t>(arena_);
  time_scale.init(options.tsc_hz);
  tsc_ = options.tsc_hz;

  lp_count = options.lps;
  for (unsigned i = 0; i < options.lps; ++i) {
    lps_[i].index = LpIndex(i);
    lps_[i].apic_id = ApicId(i);
    lps_[i].online = true;
    lps_[i].idle = true;
    lps[i] = &lps_[i];
  }
  run_on(0);

  const uint64_t frames = options.memory / kPageSize;
  words_ = std::make_unique<std::atomic<uint16_t>[]>(frames);
  page_db.init(words_.get(), frames);
  const uint64_t reserve_base = options.memory - options.reserve;
  create_root_partition(reserve_base, options.reserve);
  for (uint64_t at = 0; at < reserve_base; at += kLargePageSize)
    must(root().space.map(Gpa(at), Spa(at), kLargePageSize, kAllAccess), "mapping the root");
}

Environment::~Environment() {
  // The run queues outlive the arena that the VPs are in.
  for (unsigned i = 0; i < lp_count; ++i) lps_[i].current = nullptr;
  for (unsigned i = 0; i < kMaxPartitions; ++i)
    if (Partition* const partition = partition_in_slot(i))
      for (auto& slot : partition->vps)
        if (Vp* const vp = slot.load()) unschedule(*vp);
  munmap(arena_, options_.memory);
  for (unsigned i = 0; i < lp_count; ++i) lps[i] = nullptr;
  lp_count = 0;
  direct_map_base = 0;
  root_partition = nullptr;
  current = nullptr;
}

void Environment::run_on(unsigned index) {
  lps_.at(this_lp_index).idle = true;
  this_lp_index = index;
  lps_.at(index).idle = false;
}

void Environment::load(unsigned lp_index, Vp* vp) {
  lp(lp_index).current = vp;
}

Partition& Environment::make_child(uint64_t pages, uint64_t pool_pages) {
  Partition& child = *must(create_partition(root()), "create_partition");
  for (uint64_t i = 0; i < pool_pages; ++i)
    child.pool.deposit(must(take_from_root(free_page()), "take_from_root"));
  must(initialize_partition(child), "initialize_partition");
  for (uint64_t i = 0; i < pages; ++i) {
    const Spa page(free_page().value());
    must(page_db.add_mapping(page), "add_mapping");
    must(child.space.map(Gpa::from_page(i), page, kPageSize, kAllAccess), "mapping the child");
  }
  return child;
}

x86::Vcpu& Environment::make_vp(Partition& partition, unsigned index, unsigned home) {
  return x86::as_vcpu(
      *must(create_vp(partition, VpIndex(index), lp(home), partition.is_root()), "create_vp"));
}

x86::Vcpu& Environment::make_running_vp(Partition& partition, unsigned index, unsigned home) {
  x86::Vcpu& vp = make_vp(partition, index, home);
  resume(vp, VpSuspend::explicit_suspend);
  return vp;
}

void* Environment::locate(const Partition& partition, Gpa address) {
  const Spa spa = partition.space.translate(address, Access::none);
  if (spa == GpaSpace::kNowhere) throw std::logic_error("nothing is mapped there");
  return direct_map(spa);
}

Gpa Environment::free_page() {
  if (next_free_page_ >= (options_.memory - options_.reserve) / kPageSize)
    throw std::logic_error("the fake root ran out of pages");
  return Gpa::from_page(next_free_page_++);
}

}  // namespace fake

using fake::Environment;

struct fake::Seams {
  static void count_kick(const Lp& lp) { ++Environment::current->kicks_[lp.index.value()]; }
};

// --- core ---

uint64_t read_tsc() {
  return Environment::current->tsc();
}
Lp& this_lp() {
  return Environment::current->lp(fake::this_lp_index);
}
void kick_lp(Lp& lp) {
  fake::Seams::count_kick(lp);
}
uint8_t* hypercall_buffer() {
  return fake::hypercall_pages.bytes;
}

void console_write(std::string_view text) {
  if (!Environment::current) return;
  std::scoped_lock lock(fake::console_mutex);
  Environment::current->console += text;
}

void panic(std::string_view format, const LogArg* args, size_t count) {
  char text[512];
  throw fake::Panic(std::string(text, format_to(text, sizeof(text), format, args, count)));
}

// --- machine ---

namespace x86 {

void end_level_interrupt(uint8_t vector) {
  Environment::current->ended_levels.push_back(vector);
}
bool map_root_device_memory(Gpa) {
  return false;
}
void reset_machine(std::string_view) {
  ++Environment::current->machine_resets;
}

}  // namespace x86

namespace svm {

extern "C" void svm_enter(uint64_t*, uint64_t guest_vmcb, uint64_t) {
  Environment::current->guest(*direct_map<Vmcb>(Spa(guest_vmcb)));
}

// Statics of the image have no system-physical address here, and nothing dereferences it.
Spa image_address(const void*) {
  return {};
}

}  // namespace svm

}  // namespace hv

namespace base {

void lock_rank_enter(uint8_t rank) {
  auto& held = hv::fake::held_ranks;
  if (!held.empty() && rank <= held.back()) {
    std::fprintf(stderr, "lock of rank %d taken while one of rank %d is held\n", rank, held.back());
    std::abort();
  }
  held.push_back(rank);
}

void lock_rank_leave(uint8_t rank) {
  auto& held = hv::fake::held_ranks;
  for (auto at = held.rbegin(); at != held.rend(); ++at) {
    if (*at != rank) continue;
    held.erase(std::next(at).base());
    return;
  }
}

}  // namespace base
