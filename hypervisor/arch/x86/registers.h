// SPDX-License-Identifier: MIT
// Architectural register layouts: portable declarations, used by both vendors and by tests.
#pragma once

#include <cstdint>

#include "base/bits.h"

namespace hv::x86 {

using base::Field;
using base::kBit;

// Order of the general registers in memory: the instruction encoding's.
enum Gpr : unsigned {
  kRax,
  kRcx,
  kRdx,
  kRbx,
  kRsp,
  kRbp,
  kRsi,
  kRdi,
  kR8,
  kR9,
  kR10,
  kR11,
  kR12,
  kR13,
  kR14,
  kR15,
};

namespace cr0 {
inline constexpr uint64_t kPe = kBit<0>, kTs = kBit<3>, kEt = kBit<4>, kNe = kBit<5>,
                          kWp = kBit<16>, kAm = kBit<18>, kNw = kBit<29>, kCd = kBit<30>,
                          kPg = kBit<31>;
}
namespace cr4 {
inline constexpr uint64_t kPse = kBit<4>, kPae = kBit<5>, kMce = kBit<6>, kPge = kBit<7>,
                          kOsfxsr = kBit<9>, kLa57 = kBit<12>, kPcide = kBit<17>,
                          kOsxsave = kBit<18>, kSmep = kBit<20>, kSmap = kBit<21>;
}
namespace rflags {
inline constexpr uint64_t kReserved1 = kBit<1>, kTf = kBit<8>, kIf = kBit<9>, kRf = kBit<16>,
                          kVm = kBit<17>, kAc = kBit<18>;
}
namespace efer {
inline constexpr uint64_t kSce = kBit<0>, kLme = kBit<8>, kLma = kBit<10>, kNxe = kBit<11>,
                          kSvme = kBit<12>, kLmsle = kBit<13>, kFfxsr = kBit<14>;
}
namespace dr6 {
inline constexpr uint64_t kInit = 0xffff0ff0, kBs = kBit<14>;
}

// MSR numbers.
namespace msr {
inline constexpr uint32_t kTsc = 0x10, kApicBase = 0x1b, kMicrocode = 0x8b, kMtrrCap = 0xfe,
                          kSysenterCs = 0x174, kSysenterEsp = 0x175, kSysenterEip = 0x176,
                          kMcgCap = 0x179, kMcgStatus = 0x17a, kMcgCtl = 0x17b, kMiscEnable = 0x1a0,
                          kDebugCtl = 0x1d9, kPat = 0x277, kMtrrDefType = 0x2ff, kMc0Ctl = 0x400,
                          kTscDeadline = 0x6e0, kX2apicFirst = 0x800, kX2apicLast = 0x8ff,
                          kXss = 0xda0, kEfer = 0xc0000080, kStar = 0xc0000081, kLstar = 0xc0000082,
                          kCstar = 0xc0000083, kSfmask = 0xc0000084, kFsBase = 0xc0000100,
                          kGsBase = 0xc0000101, kKernelGsBase = 0xc0000102, kTscAux = 0xc0000103,
                          kSyscfg = 0xc0010010, kHwcr = 0xc0010015, kVmCr = 0xc0010114,
                          kDeCfg = 0xc0011029, kVmHsavePa = 0xc0010117;
}

// Exception vectors.
namespace vector {
inline constexpr uint8_t kDb = 1, kNmi = 2, kUd = 6, kDf = 8, kGp = 13, kPf = 14, kAc = 17,
                         kMc = 18;
}

// Physical interrupt vectors of the hypervisor itself: the highest class, above every vector that a
// root may give to a device (Linux stops at 0xeb).
namespace host_vector {
inline constexpr uint8_t kFirst = 0xf0, kKick = 0xf1, kTimer = 0xf2, kSpurious = 0xff;
}

}  // namespace hv::x86
