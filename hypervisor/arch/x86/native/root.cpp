// SPDX-License-Identifier: MIT
// The root partition: all memory one-to-one but the hypervisor's and the physical local APIC, a VP
// for every LP, the pages the hypervisor chose for it, and Linux's entry state in VP 0.

#include "hypervisor/arch/x86/native/root.h"

#include "abi/tlfs/partition.h"
#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/machine.h"
#include "hypervisor/arch/x86/native/x86_lp.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/arch/x86/synthetic_msr.h"
#include "hypervisor/core/log.h"
#include "hypervisor/core/scheduler.h"

namespace hv {
namespace svm {

Spa image_address(const void* object) {
  // Walks our own tables: the image's segments need not be contiguous in physical memory.
  const auto address = reinterpret_cast<uint64_t>(object);
  constexpr uint64_t kAddress = 0x000ffffffffff000;
  uint64_t table = x86::boot_info->page_tables;
  for (unsigned level = 3;; --level) {
    const uint64_t entry = direct_map<uint64_t>(Spa(table))[(address >> (12 + 9 * level)) & 511];
    const uint64_t size = uint64_t{4096} << (9 * level);
    if (level == 0 || (entry & 0x80)) return Spa((entry & kAddress & ~(size - 1)) + address % size);
    table = entry & kAddress;
  }
}

}  // namespace svm

namespace x86 {
namespace {

constexpr uint64_t privilege(unsigned bit) {
  return uint64_t{1} << bit;
}

// Reference counter, reference TSC page, synthetic timers and guest idle stay closed to the root:
// its clock is the TSC, its timer the virtual local APIC's, both without an exit or with one.
constexpr uint64_t kRootPrivileges =
    privilege(abi::kHvPrivilegeAccessSynicRegsBit) |
    privilege(abi::kHvPrivilegeAccessIntrCtrlRegsBit) |
    privilege(abi::kHvPrivilegeAccessHypercallMsrsBit) |
    privilege(abi::kHvPrivilegeAccessVpIndexBit) |
    privilege(abi::kHvPrivilegeAccessFrequencyMsrsBit) |
    privilege(abi::kHvPrivilegeAccessTscInvariantControlsBit) |
    privilege(abi::kHvPrivilegeCreatePartitionsBit) |
    privilege(abi::kHvPrivilegeAccessPartitionIdBit) |
    privilege(abi::kHvPrivilegeAccessMemoryPoolBit) | privilege(abi::kHvPrivilegePostMessagesBit) |
    privilege(abi::kHvPrivilegeSignalEventsBit) | privilege(abi::kHvPrivilegeCreatePortBit) |
    privilege(abi::kHvPrivilegeConnectPortBit) | privilege(abi::kHvPrivilegeAccessStatsBit) |
    privilege(abi::kHvPrivilegeCpuManagementBit) | privilege(abi::kHvPrivilegeAccessVpRegistersBit);

bool has_huge_pages() {
  return (cpu::cpuid(0x80000001, 0).edx >> 26) & 1;
}

void map_range(uint64_t from, uint64_t to) {
  static const bool huge = has_huge_pages();
  while (from < to) {
    uint64_t size = kPageSize;
    if (base::is_aligned(from, kLargePageSize) && to - from >= kLargePageSize)
      size = kLargePageSize;
    if (huge && base::is_aligned(from, kHugePageSize) && to - from >= kHugePageSize)
      size = kHugePageSize;
    if (!root_partition->space.map(Gpa(from), Spa(from), size, kAllAccess))
      panic("the reserve is too small for the root's second-level tables");
    from += size;
  }
}

// What the firmware's map does not call RAM, and the gaps in it, can be no guest's memory.
void init_page_db(const boot::BootInfo& info) {
  page_db.init(direct_map<std::atomic<uint16_t>>(Spa(info.page_db_base)), info.frames);
  uint64_t ram_end = 0;
  for (uint32_t i = 0; i < info.memory_range_count; ++i) {  // sorted by the loader
    const boot::MemoryRange& range = info.memory[i];
    if (range.kind != boot::MemoryKind::ram && range.base != info.region_base) continue;
    page_db.exclude(Spa(ram_end), Spa(base::align_up(range.base, kPageSize)));
    ram_end = base::align_down(range.base + range.size, kPageSize);
  }
  page_db.exclude(Spa(ram_end), Spa(info.frames << kPageShift));
  for (uint64_t at = 0; at < info.region_size; at += kPageSize)
    if (!page_db.acquire(Spa(info.region_base + at))) panic("page database is inconsistent");
}

void map_memory(const boot::BootInfo& info) {
  const uint64_t ram = info.frames << kPageShift;
  const uint64_t top = ram > uint64_t{4} << 30 ? ram : uint64_t{4} << 30;
  map_range(0, info.region_base);
  map_range(info.region_base + info.region_size, info.local_apic_base);
  map_range(info.local_apic_base + kPageSize, top);
}

Spa chosen_page() {
  const auto page = root_partition->pool.allocate();
  if (!page || !export_to_root(*page)) panic("the reserve is too small for the root's pages");
  return *page;
}

void create_root_vp(uint32_t index) {
  const auto created = create_vp(*root_partition, VpIndex{index}, *lps[index], true);
  if (!created) panic("the reserve is too small for the root's VPs");
  Vcpu& vcpu = as_vcpu(**created);
  vcpu.vp_assist_msr = chosen_page().value();
  vcpu.synic.set_fixed_pages(chosen_page().page(), chosen_page().page(), chosen_page().page());
}

void set_linux_entry(Vcpu& vcpu, const boot::BootInfo& info) {
  constexpr uint16_t kCode64 = 0xa9b, kData = 0xc93;
  svm::Vmcb& v = *vcpu.vmcb;
  v.cs = {0x10, kCode64, 0xffffffff, 0};
  v.ds = v.es = v.fs = v.gs = v.ss = {0x18, kData, 0xffffffff, 0};
  v.gdtr = {0, 0, static_cast<uint32_t>(info.root_gdt_limit), info.root_gdt};
  v.efer = efer::kSvme | efer::kLme | efer::kLma;
  v.cr4 = cr4::kPae;
  v.cr3 = info.root_page_tables;
  v.cr0 = cr0::kPg | cr0::kPe | cr0::kEt | cr0::kNe | cr0::kWp;
  v.rip = info.root_entry;
  v.rsp = info.root_stack;
  vcpu.gpr[kRsi] = info.root_params;
}

}  // namespace

bool map_root_device_memory(Gpa address) {
  const uint64_t top = boot_info->frames << kPageShift;
  const uint64_t at = base::align_down(address.value(), kLargePageSize);
  if (address.value() < top || address.value() < uint64_t{4} << 30 ||
      address.value() >= kMaxPhysicalAddress)
    return false;
  return root_partition->space.map(Gpa(at), Spa(at), kLargePageSize, kAllAccess).has_value();
}

void reset_machine(std::string_view reason) {
  log(LogLevel::info, "{}: resetting the machine", reason);
  cpu::out8(0xcf9, 0x06);
  for (int i = 0; i < 1000000; ++i) __builtin_ia32_pause();
  cpu::out8(0x64, 0xfe);
  for (;;) asm volatile("cli; hlt");
}

void build_root(boot::BootInfo& info) {
  init_page_db(info);
  Partition& root = create_root_partition(info.reserve_base, info.reserve_size);
  root.privileges.store(kRootPrivileges);
  map_memory(info);
  set_root_hypercall_page(chosen_page());
  for (uint32_t i = 0; i < info.lp_count; ++i) create_root_vp(i);
  Vcpu& first = as_vcpu(*root.vp(VpIndex{0}));
  set_linux_entry(first, info);
  for (uint32_t i = 0; i < info.lp_count; ++i)
    resume(*root.vp(VpIndex{i}), VpSuspend::explicit_suspend);
}

}  // namespace x86
}  // namespace hv
