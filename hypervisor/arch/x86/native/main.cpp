// SPDX-License-Identifier: MIT
// Start of the image on every LP. The first LP builds the root partition; the others wait for it.
// Each then runs its scheduler for good.

#include <new>

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/machine.h"
#include "hypervisor/arch/x86/native/root.h"
#include "hypervisor/arch/x86/native/run.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/core/log.h"

namespace hv {

uint64_t direct_map_base = boot::kDirectMapBase;

namespace x86 {

boot::BootInfo* boot_info;

namespace {

std::atomic<bool> root_ready{false};
std::atomic<uint32_t> started{0};
X86Lp* lp_states[kMaxLps];

extern "C" {
using Initializer = void (*)();
extern const Initializer __init_array_begin[], __init_array_end[];
}

// Takes pages off the front of the reserve, before it becomes the root's pool.
Spa take_reserve(uint64_t bytes) {
  const Spa page(boot_info->reserve_base);
  const uint64_t taken = base::align_up(bytes, kPageSize);
  boot_info->reserve_base += taken;
  boot_info->reserve_size -= taken;
  return page;
}

void create_lps() {
  lp_count = boot_info->lp_count;
  for (unsigned i = 0; i < lp_count; ++i) {
    auto* lp = new (direct_map(take_reserve(sizeof(X86Lp)))) X86Lp();
    lp->index = LpIndex{i};
    lp->apic_id = ApicId{boot_info->lp_apic_ids[i]};
    lp->host_vmcb = take_reserve(kPageSize);
    lp->host_save_area = take_reserve(kPageSize);
    lp_states[i] = lp;
    lps[i] = lp;
  }
}

// SVM on; the host's FS, GS, TR and system-call MSRs as VMLOAD will bring them back at every exit.
void start_svm(X86Lp& lp) {
  cpu::wrmsr(msr::kEfer, cpu::rdmsr(msr::kEfer) | efer::kSvme);
  cpu::wrmsr(msr::kVmHsavePa, lp.host_save_area.value());
  // An INIT becomes an exception, which is reported, instead of a silent reset [APM2 15.21.8].
  constexpr uint64_t kRedirectInit = base::kBit<1>;
  cpu::wrmsr(msr::kVmCr, cpu::rdmsr(msr::kVmCr) | kRedirectInit);
  // Guests are told that LFENCE serializes.
  uint64_t de_cfg;
  if (cpu::rdmsr_checked(msr::kDeCfg, de_cfg))
    cpu::wrmsr_checked(msr::kDeCfg, de_cfg | base::kBit<1>);
  asm volatile("vmsave %%rax" : : "a"(lp.host_vmcb.value()) : "memory");
  uint64_t value;
  asm volatile("movq %%cr4, %0" : "=r"(value));
  value |= cr4::kOsfxsr | cr4::kPge | cr4::kMce | cr4::kOsxsave;
  asm volatile("movq %0, %%cr4" : : "r"(value));
  asm volatile("movq %%cr0, %0" : "=r"(value));
  value = (value | cr0::kWp | cr0::kNe | base::kBit<1>)&~(base::kBit<2> | cr0::kTs);
  asm volatile("movq %0, %%cr0" : : "r"(value));
}

void start_lp(X86Lp& lp) {
  init_descriptors(lp);
  init_local_apic(*boot_info);
  start_svm(lp);
}

// The loader's identity map has served once every LP runs in the image.
void drop_identity_map() {
  while (started.load() != lp_count) __builtin_ia32_pause();
  direct_map<uint64_t>(Spa(boot_info->page_tables))[0] = 0;
  uint64_t tables;
  asm volatile("movq %%cr3, %0; movq %0, %%cr3" : "=r"(tables) : : "memory");
}

[[noreturn]] void first_lp() {
  for (const Initializer* init = __init_array_begin; init != __init_array_end; ++init) (*init)();
  init_console(static_cast<boot::Console>(boot_info->console));
  create_lps();
  start_lp(*lp_states[0]);
  log(LogLevel::info, "Partita hypervisor, AMD-V, {} LP(s)", lp_count);
  calibrate_clocks(*boot_info);
  init_cpuid();
  svm::init_maps();
  if (console_port()) svm::hide_port_from_root(console_port(), 8);
  lp_states[0]->online.store(true);
  build_root(*boot_info);
  root_ready.store(true);
  started.fetch_add(1);
  drop_identity_map();
  log(LogLevel::info, "root partition: {} VP(s), {} free pages in the reserve", lp_count,
      root_partition->pool.free_pages());
  run_lp();
}

[[noreturn]] void other_lp(uint32_t index) {
  while (!root_ready.load()) __builtin_ia32_pause();
  start_lp(*lp_states[index]);
  lp_states[index]->online.store(true);
  started.fetch_add(1);
  run_lp();
}

}  // namespace

extern "C" [[noreturn]] void hv_main(boot::BootInfo* info, uint32_t index) {
  if (index != 0) other_lp(index);
  boot_info = direct_map<boot::BootInfo>(Spa(reinterpret_cast<uint64_t>(info)));
  if (boot_info->magic != boot::kBootInfoMagic)
    for (;;) asm volatile("cli; hlt");
  first_lp();
}

}  // namespace x86
}  // namespace hv

// Pure virtual calls cannot happen; the vtable's slot wants a name all the same.
extern "C" void __cxa_pure_virtual() {
  hv::panic("pure virtual call");
}
