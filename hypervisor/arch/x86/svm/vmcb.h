// SPDX-License-Identifier: MIT
// The virtual machine control block [APM2 appendix B], exit codes [APM2 appendix C] and SVM's MSRs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hypervisor/arch/x86/registers.h"

namespace hv::svm {

using x86::Field;
using x86::kBit;

struct Segment {
  uint16_t selector;
  uint16_t attributes;  // descriptor bits 55:52 and 47:40
  uint32_t limit;
  uint64_t base;
};

struct VirtualInterrupt {  // control offset 0x60
  using Tpr = Field<7, 0>;
  using Irq = Field<8>;
  using Priority = Field<19, 16>;
  using IgnoreTpr = Field<20>;
  using Masking = Field<24>;
  using Vector = Field<39, 32>;
};

// Intercept words 3 and 4 (offsets 0x0c and 0x10).
namespace intercept3 {
inline constexpr uint32_t kIntr = 1u << 0, kNmi = 1u << 1, kSmi = 1u << 2, kInit = 1u << 3,
                          kVintr = 1u << 4, kRdpmc = 1u << 15, kCpuid = 1u << 18, kRsm = 1u << 19,
                          kIret = 1u << 20, kInvd = 1u << 22, kPause = 1u << 23, kHlt = 1u << 24,
                          kInvlpga = 1u << 26, kIoio = 1u << 27, kMsr = 1u << 28,
                          kTaskSwitch = 1u << 29, kFerrFreeze = 1u << 30, kShutdown = 1u << 31;
}
namespace intercept4 {
inline constexpr uint32_t kVmrun = 1u << 0, kVmmcall = 1u << 1, kVmload = 1u << 2,
                          kVmsave = 1u << 3, kStgi = 1u << 4, kClgi = 1u << 5, kSkinit = 1u << 6,
                          kIcebp = 1u << 8, kWbinvd = 1u << 9, kMonitor = 1u << 10,
                          kMwait = 1u << 11, kXsetbv = 1u << 13, kRdpru = 1u << 14;
}

enum class TlbControl : uint8_t { none = 0, flush_all = 1 };

struct Vmcb {
  uint16_t intercept_cr_read, intercept_cr_write;  // 000
  uint16_t intercept_dr_read, intercept_dr_write;  // 004
  uint32_t intercept_exceptions;                   // 008
  uint32_t intercept3, intercept4, intercept5;     // 00c
  uint8_t reserved0[0x3c - 0x18];
  uint16_t pause_threshold, pause_count;       // 03c
  uint64_t iopm_base, msrpm_base, tsc_offset;  // 040
  uint32_t asid;                               // 058
  TlbControl tlb_control;                      // 05c
  uint8_t reserved1[3];
  uint64_t virtual_interrupt;                  // 060
  uint64_t interrupt_shadow;                   // 068, bit 0
  uint64_t exit_code, exit_info1, exit_info2;  // 070
  uint64_t exit_interrupt_info;                // 088
  uint64_t nested_paging;                      // 090, bit 0
  uint8_t reserved2[0xa8 - 0x98];
  uint64_t event_injection;        // 0a8
  uint64_t nested_cr3;             // 0b0
  uint64_t lbr_control;            // 0b8
  uint32_t clean_bits, reserved3;  // 0c0
  uint64_t next_rip;               // 0c8
  uint8_t fetched_count;           // 0d0
  uint8_t fetched_bytes[15];
  uint8_t reserved4[0x400 - 0xe0];

  Segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;  // 400
  uint8_t reserved5[0x4cb - 0x4a0];
  uint8_t cpl;  // 4cb
  uint32_t reserved6;
  uint64_t efer;  // 4d0
  uint8_t reserved7[0x548 - 0x4d8];
  uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;  // 548
  uint8_t reserved8[0x5d8 - 0x580];
  uint64_t rsp, s_cet, ssp, isst_addr;                       // 5d8
  uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base;  // 5f8
  uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2;     // 628
  uint8_t reserved9[0x668 - 0x648];
  uint64_t pat, debug_ctl;  // 668
  uint8_t reserved10[0x1000 - 0x678];
};
static_assert(sizeof(Vmcb) == 4096);
static_assert(offsetof(Vmcb, pause_threshold) == 0x3c && offsetof(Vmcb, asid) == 0x58 &&
              offsetof(Vmcb, exit_code) == 0x70 && offsetof(Vmcb, nested_paging) == 0x90 &&
              offsetof(Vmcb, event_injection) == 0xa8 && offsetof(Vmcb, clean_bits) == 0xc0 &&
              offsetof(Vmcb, next_rip) == 0xc8 && offsetof(Vmcb, fetched_bytes) == 0xd1);
static_assert(offsetof(Vmcb, es) == 0x400 && offsetof(Vmcb, cpl) == 0x4cb &&
              offsetof(Vmcb, efer) == 0x4d0 && offsetof(Vmcb, cr4) == 0x548 &&
              offsetof(Vmcb, rip) == 0x578 && offsetof(Vmcb, rsp) == 0x5d8 &&
              offsetof(Vmcb, rax) == 0x5f8 && offsetof(Vmcb, cr2) == 0x640 &&
              offsetof(Vmcb, pat) == 0x668);

enum class Exit : uint64_t {
  exception_first = 0x40,
  debug_exception = 0x41,
  alignment_check = 0x51,
  machine_check = 0x52,
  interrupt = 0x60,
  nmi = 0x61,
  smi = 0x62,
  init = 0x63,
  virtual_interrupt = 0x64,
  rdpmc = 0x6f,
  cpuid = 0x72,
  rsm = 0x73,
  iret = 0x74,
  invd = 0x76,
  pause = 0x77,
  hlt = 0x78,
  invlpga = 0x7a,
  io = 0x7b,
  msr = 0x7c,
  task_switch = 0x7d,
  ferr_freeze = 0x7e,
  shutdown = 0x7f,
  vmrun = 0x80,
  vmmcall = 0x81,
  vmload = 0x82,
  vmsave = 0x83,
  stgi = 0x84,
  clgi = 0x85,
  skinit = 0x86,
  icebp = 0x88,
  wbinvd = 0x89,
  monitor = 0x8a,
  mwait = 0x8b,
  mwait_conditional = 0x8c,
  xsetbv = 0x8d,
  rdpru = 0x8e,
  nested_page_fault = 0x400,
  invalid = ~uint64_t{0},
};

struct IoExit {  // EXITINFO1 of Exit::io
  using In = Field<0>;
  using String = Field<2>;
  using Rep = Field<3>;
  using Size = Field<6, 4>;  // one bit for 1, 2, 4 bytes
  using AddressSize = Field<9, 7>;
  using SegmentNumber = Field<12, 10>;
  using Port = Field<31, 16>;
};

struct NestedFault {  // EXITINFO1 of Exit::nested_page_fault
  using Present = Field<0>;
  using Write = Field<1>;
  using User = Field<2>;
  using Execute = Field<4>;
  using FinalTranslation = Field<32>;
  using TableWalk = Field<33>;
};

// Permission maps: two bits an MSR (read, write) in three ranges; one bit an I/O port.
inline constexpr size_t kMsrpmBytes = 2 * 4096;
inline constexpr size_t kIopmBytes = 3 * 4096;

}  // namespace hv::svm
