// SPDX-License-Identifier: MIT
// What a parent asks of a VP as a whole: saved state as hypercalls 0xe3 and 0xe4 carry it, and the
// guest's address translation. Input may be memory that the parent still writes to: it is copied
// before it is looked at.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "abi/tlfs/hypercall_vp.h"
#include "abi/tlfs/msr.h"
#include "abi/tlfs/synic.h"
#include "hypervisor/arch/x86/lazy_eoi.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/arch/x86/xsave.h"
#include "hypervisor/core/arch.h"
#include "hypervisor/core/guest_memory.h"
#include "hypervisor/core/scheduler.h"

namespace hv::arch {

namespace {

using x86::Vcpu;
using Type = abi::HvVpStateType;
using Code = abi::HvTranslateGvaResultCode;

template <class T>
Result<size_t> put(std::span<uint8_t> out, const T& state) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (out.size() < sizeof(T)) return fail(Error::invalid_parameter);
  std::memcpy(out.data(), &state, sizeof(T));
  std::fill(out.begin() + sizeof(T), out.end(), uint8_t{0});
  return sizeof(T);
}

template <class T>
Result<T> take(std::span<const uint8_t> in) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (in.size() < sizeof(T)) return fail(Error::invalid_parameter);
  T state;
  std::memcpy(&state, in.data(), sizeof(T));
  return state;
}

// The guest page that a SynIC page register names. Error: invalid_synic_state (it is off).
Result<Gpa> synic_page(const Vcpu& vcpu, uint32_t msr) {
  using Enabled = base::Field<abi::kHvMsrPageEnableBit>;
  using Page = base::Field<63, abi::kHvMsrPageNumberShift>;
  HV_TRY_ASSIGN(const uint64_t value, vcpu.synic.read(msr));
  if (!Enabled::test(value)) return fail(Error::invalid_synic_state);
  return Gpa::from_page(Page::get(value));
}

// A page that is off is empty.
Result<size_t> get_page(const Vcpu& vcpu, uint32_t msr, std::span<uint8_t> out) {
  if (out.size() < kPageSize) return fail(Error::invalid_parameter);
  std::fill(out.begin(), out.end(), uint8_t{0});
  const auto page = synic_page(vcpu, msr);
  if (page) HV_TRY(copy_in_bytes(vcpu.partition, *page, out.data(), kPageSize));
  return kPageSize;
}

Result<> set_page(Vcpu& vcpu, uint32_t msr, std::span<const uint8_t> in) {
  if (in.size() < kPageSize) return fail(Error::invalid_parameter);
  HV_TRY_ASSIGN(const Gpa page, synic_page(vcpu, msr));
  return copy_out_bytes(vcpu.partition, page, in.data(), kPageSize);
}

Result<> set_apic(Vcpu& vcpu, std::span<const uint8_t> in) {
  HV_TRY_ASSIGN(const auto state, take<abi::HvLocalInterruptControllerState>(in));
  withdraw_lazy_eoi(vcpu);
  HV_TRY(vcpu.apic.restore(state));
  deadline_changed(vcpu);
  post_request(vcpu, VpRequest::interrupt);
  return {};
}

}  // namespace

Result<size_t> get_state(Vp& vp, abi::HvVpStateType type, std::span<uint8_t> out) {
  Vcpu& vcpu = x86::as_vcpu(vp);
  switch (type) {
    case Type::HvGetSetVpStateLapicState: {
      withdraw_lazy_eoi(vcpu);
      abi::HvLocalInterruptControllerState state{};
      vcpu.apic.save(state);
      return put(out, state);
    }
    case Type::HvGetSetVpStateXsave:
      return save_xsave(vcpu, out);
    case Type::HvGetSetVpStateSimPage:
      return get_page(vcpu, abi::kHvX64MsrSimp, out);
    case Type::HvGetSetVpStateSiefPage:
      return get_page(vcpu, abi::kHvX64MsrSiefp, out);
    case Type::HvGetSetVpStateSyntheticTimers: {
      abi::HvSyntheticTimersState state{};
      vcpu.timers.save(state);
      return put(out, state);
    }
    default:
      return fail(Error::invalid_parameter);
  }
}

Result<> set_state(Vp& vp, abi::HvVpStateType type, std::span<const uint8_t> in) {
  Vcpu& vcpu = x86::as_vcpu(vp);
  switch (type) {
    case Type::HvGetSetVpStateLapicState:
      return set_apic(vcpu, in);
    case Type::HvGetSetVpStateXsave:
      return restore_xsave(vcpu, in);
    case Type::HvGetSetVpStateSimPage:
      return set_page(vcpu, abi::kHvX64MsrSimp, in);
    case Type::HvGetSetVpStateSiefPage:
      return set_page(vcpu, abi::kHvX64MsrSiefp, in);
    case Type::HvGetSetVpStateSyntheticTimers: {
      HV_TRY_ASSIGN(const auto state, take<abi::HvSyntheticTimersState>(in));
      return vcpu.timers.restore(vcpu, state);
    }
    default:
      return fail(Error::invalid_parameter);
  }
}

// The walk alone: whether the page itself is backed is the caller's to find out, since a device's
// registers are translated like memory.
Translation translate_gva(Vp& vp, Gva gva, uint64_t control_flags) {
  const auto asked = [&](unsigned bit) { return (control_flags >> bit & 1) != 0; };
  const Vcpu& vcpu = x86::as_vcpu(vp);
  const bool read = asked(abi::kHvTranslateGvaValidateReadBit);
  const bool write = asked(abi::kHvTranslateGvaValidateWriteBit);
  const bool execute = asked(abi::kHvTranslateGvaValidateExecuteBit);
  const bool exempt = asked(abi::kHvTranslateGvaPrivilegeExemptBit);

  x86::PagingState paging = svm::paging_state(vcpu);
  bool user = paging.cpl == 3;
  if (asked(abi::kHvTranslateGvaSupervisorAccessBit)) user = false;
  if (asked(abi::kHvTranslateGvaUserAccessBit)) user = true;
  if (exempt) {
    user = false;
    paging.cr4 &= ~(x86::cr4::kSmep | x86::cr4::kSmap);
  }
  if (asked(abi::kHvTranslateGvaEnforceSmapBit)) paging.alignment_check = false;
  if (asked(abi::kHvTranslateGvaOverrideSmapBit)) paging.cr4 &= ~x86::cr4::kSmap;

  x86::WalkAccess access{.write = write,
                         .user = user,
                         .check_rights = read || write,
                         .set_accessed = asked(abi::kHvTranslateGvaSetPageTableBitsBit)};
  x86::WalkResult walk = walk_guest(vcpu.partition, paging, gva, access);
  if (walk.ok && execute) {
    access.write = false;
    access.execute = access.check_rights = true;
    walk = walk_guest(vcpu.partition, paging, gva, access);
  }
  constexpr uint32_t kPresent = 1;
  const Code code = walk.ok                   ? Code::HvTranslateGvaSuccess
                    : walk.fault.gpa_unmapped ? Code::HvTranslateGvaGpaUnmapped
                    : walk.fault.reserved_bit ? Code::HvTranslateGvaInvalidPageTableFlags
                    : (walk.fault.error_code & kPresent) != 0
                        ? Code::HvTranslateGvaPrivilegeViolation
                        : Code::HvTranslateGvaPageNotPresent;
  return {static_cast<uint32_t>(code), walk.gpa};
}

void flush_guest_tlb(Vp& vp) {
  post_request(vp, VpRequest::flush_guest_tlb);
}

uint32_t apic_id_of(const Vp& vp) {
  return x86::as_vcpu(vp).apic.apic_id();
}

}  // namespace hv::arch
