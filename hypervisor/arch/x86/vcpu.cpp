// SPDX-License-Identifier: MIT
// Life of a virtual processor and the state that lives in the processor while it is loaded.

#include "hypervisor/arch/x86/vcpu.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/core/arch.h"
#include "hypervisor/core/log.h"
#include "hypervisor/core/scheduler.h"

namespace hv::x86 {
namespace {

static_assert(sizeof(Vcpu) <= kPageSize, "a Vcpu is one page of its partition's pool");

// The x87 control word and MXCSR after reset, in the legacy region of the save area.
void init_save_area(Spa page) {
  constexpr uint16_t kControlWord = 0x037f;
  constexpr uint32_t kMxcsr = 0x1f80;
  auto* area = direct_map<uint8_t>(page);
  memset(area, 0, kPageSize);
  memcpy(area, &kControlWord, sizeof(kControlWord));
  memcpy(area + 24, &kMxcsr, sizeof(kMxcsr));
}

}  // namespace

void load_state(Vcpu& vcpu) {
  const uint64_t all = supported_xcr0();
  cpu::xsetbv0(all);
  cpu::xrstor(direct_map(vcpu.xsave_page), all);
  cpu::xsetbv0(vcpu.xcr0);
  for (unsigned i = 0; i < 4; ++i) cpu::write_debug_register(i, vcpu.dr[i]);
  cpu::wrmsr(msr::kTscAux, vcpu.tsc_aux);
}

void save_state(Vcpu& vcpu) {
  const uint64_t all = supported_xcr0();
  vcpu.xcr0 = cpu::xgetbv0();
  cpu::xsetbv0(all);
  cpu::xsave(direct_map(vcpu.xsave_page), all);
  for (unsigned i = 0; i < 4; ++i) vcpu.dr[i] = cpu::read_debug_register(i);
  vcpu.tsc_aux = cpu::rdmsr(msr::kTscAux);
}

void reset(Vcpu& vcpu) {
  svm::reset_vmcb(vcpu);
  vcpu.gpr = {};
  vcpu.gpr[kRdx] = cpu::cpuid(1, 0).eax;
  vcpu.event.raw = 0;
  vcpu.asid_lp = nullptr;
  vcpu.iret_under_way = vcpu.extint_pending = vcpu.nmi_pending = vcpu.nmi_blocked = vcpu.idle_wait =
      false;
  vcpu.apic.reset();
}

void start_at(Vcpu& vcpu, uint8_t startup_vector) {
  svm::Vmcb& v = *vcpu.vmcb;
  v.cs.selector = static_cast<uint16_t>(startup_vector << 8);
  v.cs.base = uint64_t{startup_vector} << 12;
  v.rip = 0;
}

}  // namespace hv::x86

namespace hv::arch {

Result<Vp*> create_vp(Partition& partition, VpIndex index) {
  HV_TRY_ASSIGN(PooledPage self, PooledPage::allocate(partition.pool));
  HV_TRY_ASSIGN(PooledPage vmcb, PooledPage::allocate(partition.pool));
  HV_TRY_ASSIGN(PooledPage xsave, PooledPage::allocate(partition.pool));
  const uint32_t apic_id =
      partition.is_root() ? lps[index.value()]->apic_id.value() : index.value();
  auto* vcpu = new (direct_map(self.spa())) x86::Vcpu(partition, index, apic_id);
  self.release();
  vcpu->vmcb_page = vmcb.release();
  vcpu->vmcb = direct_map<svm::Vmcb>(vcpu->vmcb_page);
  vcpu->xsave_page = xsave.release();
  x86::init_save_area(vcpu->xsave_page);
  svm::init_vmcb(*vcpu);
  // Linux as the root starts in x2APIC mode and never touches an APIC page; children choose.
  vcpu->apic.power_on(
      partition.is_root() ? x86::LocalApic::Mode::x2apic : x86::LocalApic::Mode::xapic,
      index.value() == 0);
  x86::reset(*vcpu);
  // Only the bootstrap processor starts without a SIPI.
  if (index.value() != 0) vcpu->add(VpSuspend::wait_for_startup);
  return static_cast<Vp*>(vcpu);
}

void destroy_vp(Vp& vp) {
  x86::Vcpu& vcpu = x86::as_vcpu(vp);
  PagePool& pool = vp.partition.pool;
  const Spa self(reinterpret_cast<uint64_t>(&vcpu) - direct_map_base);
  pool.free(vcpu.vmcb_page);
  pool.free(vcpu.xsave_page);
  vcpu.~Vcpu();
  pool.free(self);
}

uint64_t next_deadline(Vp& vp) {
  // Longer than an IRET takes.
  constexpr uint64_t kIret100ns = 50;
  const x86::Vcpu& vcpu = x86::as_vcpu(vp);
  const uint64_t iret = vcpu.iret_under_way && vcpu.nmi_pending
                            ? read_tsc() + time_scale.ticks_from_100ns(kIret100ns)
                            : kNever;
  return std::min({vcpu.apic.timer_deadline(), vp.timers.next_deadline(vp), iret});
}

}  // namespace hv::arch
