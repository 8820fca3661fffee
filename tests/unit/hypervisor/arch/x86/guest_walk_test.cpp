// SPDX-License-Identifier: MIT
// The walk against cases by hand, against an independent model over random tables, and against a
// guest that rewrites them meanwhile.
#include "hypervisor/arch/x86/guest_walk.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "hypervisor/arch/x86/registers.h"
#include "tests/fake/environment.h"

namespace hv::x86 {
namespace {

constexpr uint64_t kP = 1, kW = 2, kU = 4, kA = 0x20, kD = 0x40, kPs = 0x80;
constexpr uint64_t kNx = uint64_t{1} << 63;
constexpr uint64_t kPages = 64;  // of the guest, from 0

constexpr uint32_t kErrorP = 1, kErrorW = 2, kErrorU = 4, kErrorReserved = 8, kErrorFetch = 16;

class GuestWalk : public testing::Test {
 protected:
  fake::Environment environment;
  Partition& guest = environment.make_child(kPages);
  PagingState paging = {.cr0 = cr0::kPg | cr0::kPe | cr0::kWp,
                        .cr3 = 0x1000,
                        .cr4 = cr4::kPae,
                        .efer = efer::kLme | efer::kLma | efer::kNxe,
                        .cpl = 0,
                        .alignment_check = false};

  void write64(uint64_t gpa, uint64_t value) { environment.at<uint64_t>(guest, Gpa(gpa)) = value; }
  void write32(uint64_t gpa, uint32_t value) { environment.at<uint32_t>(guest, Gpa(gpa)) = value; }
  uint64_t read64(uint64_t gpa) { return environment.at<uint64_t>(guest, Gpa(gpa)); }

  // 0x1000 -> 0x2000 -> 0x3000 -> 0x4000 -> page 0x5000, for the addresses below 4 KB.
  void map_4k(uint64_t rights = kP | kW | kU) {
    write64(0x1000, 0x2000 | kP | kW | kU);
    write64(0x2000, 0x3000 | kP | kW | kU);
    write64(0x3000, 0x4000 | kP | kW | kU);
    write64(0x4000, 0x5000 | rights);
  }
  WalkResult walk(uint64_t address, WalkAccess access = {}) {
    return walk_guest(guest, paging, Gva(address), access);
  }
  void expect_gpa(uint64_t address, uint64_t gpa, WalkAccess access = {}) {
    const WalkResult result = walk(address, access);
    EXPECT_TRUE(result.ok) << "error code " << result.fault.error_code;
    EXPECT_EQ(result.gpa.value(), gpa);
  }
  void expect_fault(uint64_t address, uint32_t error_code, WalkAccess access = {}) {
    const WalkResult result = walk(address, access);
    EXPECT_FALSE(result.ok);
    EXPECT_FALSE(result.fault.gpa_unmapped);
    EXPECT_EQ(result.fault.error_code, error_code);
    EXPECT_EQ(result.fault.reserved_bit, (error_code & kErrorReserved) != 0);
  }
};

TEST_F(GuestWalk, IsTheIdentityWithoutPaging) {
  paging.cr0 = cr0::kPe;
  expect_gpa(0x123456, 0x123456);
}

TEST_F(GuestWalk, TranslatesEveryPageSizeOfLongMode) {
  map_4k();
  expect_gpa(0x123, 0x5123);
  write64(0x3000, 0x200000 | kP | kPs);
  expect_gpa(0x1abcde, 0x3abcde);
  write64(0x2000, 0x40000000 | kP | kPs);
  expect_gpa(0x3abcdef, 0x43abcdef);
}

TEST_F(GuestWalk, WalksFiveLevels) {
  paging.cr4 |= cr4::kLa57;
  paging.cr3 = 0x6000;
  map_4k();
  write64(0x6000 + 8 * 3, 0x1000 | kP | kW | kU);
  expect_gpa((uint64_t{3} << 48) | 0x123, 0x5123);
  expect_fault(uint64_t{1} << 56, 0);  // not canonical even so
}

TEST_F(GuestWalk, RefusesAddressesThatAreNotCanonical) {
  map_4k();
  expect_fault(uint64_t{1} << 47, 0);
  expect_fault(uint64_t{1} << 63, 0);
  write64(0x1000 + 8 * 511, 0x2000 | kP);
  write64(0x2000 + 8 * 511, 0x3000 | kP);
  write64(0x3000 + 8 * 511, 0x4000 | kP);
  write64(0x4000 + 8 * 511, 0x7000 | kP);
  expect_gpa(~uint64_t{0}, 0x7fff);
}

TEST_F(GuestWalk, ReportsWhatIsNotPresent) {
  map_4k(0);
  expect_fault(0, 0);
  expect_fault(0, kErrorW, {.write = true});
  expect_fault(0, kErrorU, {.user = true});
  expect_fault(0, kErrorFetch, {.execute = true});
  paging.efer &= ~efer::kNxe;
  expect_fault(0, 0, {.execute = true});
}

TEST_F(GuestWalk, ChecksUserAndWriteRightsAtEveryLevel) {
  for (uint64_t table : {0x1000, 0x2000, 0x3000, 0x4000}) {
    map_4k();
    expect_gpa(0, 0x5000, {.write = true, .user = true});
    write64(table, read64(table) & ~kU);
    expect_fault(0, kErrorP | kErrorU, {.user = true});
    expect_gpa(0, 0x5000, {.write = true});
    map_4k();
    write64(table, read64(table) & ~kW);
    expect_fault(0, kErrorP | kErrorU | kErrorW, {.write = true, .user = true});
    expect_fault(0, kErrorP | kErrorW, {.write = true});
    paging.cr0 &= ~cr0::kWp;
    expect_gpa(0, 0x5000, {.write = true});
    expect_fault(0, kErrorP | kErrorU | kErrorW, {.write = true, .user = true});
    paging.cr0 |= cr0::kWp;
  }
}

TEST_F(GuestWalk, ChecksNoExecuteAtEveryLevelAndItsReservation) {
  for (uint64_t table : {0x1000, 0x2000, 0x3000, 0x4000}) {
    map_4k();
    write64(table, read64(table) | kNx);
    expect_fault(0, kErrorP | kErrorFetch, {.execute = true});
    expect_gpa(0, 0x5000);
    paging.efer &= ~efer::kNxe;
    expect_fault(0, kErrorP | kErrorReserved);
    paging.efer |= efer::kNxe;
  }
}

TEST_F(GuestWalk, ObeysSmepAndSmap) {
  map_4k();
  paging.cr4 |= cr4::kSmep | cr4::kSmap;
  expect_fault(0, kErrorP | kErrorFetch, {.execute = true});
  expect_gpa(0, 0x5000, {.execute = true, .user = true});
  expect_fault(0, kErrorP);
  expect_gpa(0, 0x5000, {.user = true});
  paging.alignment_check = true;
  expect_gpa(0, 0x5000);
  paging.cpl = 3;  // an implicit supervisor access
  expect_fault(0, kErrorP);
  map_4k(kP | kW);
  expect_gpa(0, 0x5000);
  expect_gpa(0, 0x5000, {.execute = true});
}

TEST_F(GuestWalk, TranslatesWithoutRightsWhenAskedTo) {
  map_4k(kP | kNx);
  expect_gpa(0x10, 0x5010, {.write = true, .execute = true, .user = true, .check_rights = false});
}

TEST_F(GuestWalk, FaultsOnReservedBits) {
  map_4k();
  write64(0x1000, read64(0x1000) | kPs);
  expect_fault(0, kErrorP | kErrorReserved);
  map_4k();
  for (unsigned bit = 13; bit < 30; ++bit) {
    write64(0x2000, kP | kPs | uint64_t{1} << bit);
    expect_fault(0, kErrorP | kErrorReserved);
  }
  write64(0x2000, kP | kPs | 1 << 12);  // PAT
  expect_gpa(0, 0);
  map_4k();
  write64(0x3000, kP | kPs | 1 << 20);
  expect_fault(0, kErrorP | kErrorReserved);
}

TEST_F(GuestWalk, SaysWhenTablesAreNotBacked) {
  map_4k();
  for (uint64_t table : {0x1000, 0x2000, 0x3000}) {
    map_4k();
    write64(table, kP | kW | kU | (kPages << kPageShift));
    EXPECT_TRUE(walk(0).fault.gpa_unmapped);
    write64(table, kP | Field<51, 12>::kMask);
    EXPECT_TRUE(walk(0).fault.gpa_unmapped);
  }
  paging.cr3 = kMaxPhysicalAddress;
  EXPECT_TRUE(walk(0).fault.gpa_unmapped);
}

TEST_F(GuestWalk, ReadsNoDeviceMemory) {
  constexpr uint64_t kDevice = 0xf0000000;
  ASSERT_TRUE(environment.root().space.map(Gpa(kDevice), Spa(kDevice), kPageSize, kAllAccess));
  paging.cr3 = kDevice;
  for (bool check_rights : {false, true})
    EXPECT_TRUE(walk_guest(environment.root(), paging, Gva(0), {.check_rights = check_rights})
                    .fault.gpa_unmapped);
}

TEST_F(GuestWalk, TranslatesToPagesThatAreNotBacked) {
  map_4k(0);
  write64(0x4000, 0xfee00000 | kP);
  expect_gpa(0x30, 0xfee00030);
}

TEST_F(GuestWalk, SetsAccessedAndDirtyLikeTheProcessor) {
  map_4k();
  expect_gpa(0, 0x5000, {.set_accessed = true});
  for (uint64_t table : {0x1000, 0x2000, 0x3000, 0x4000})
    EXPECT_EQ(read64(table) & (kA | kD), kA) << table;
  expect_gpa(0, 0x5000, {.write = true, .set_accessed = true});
  EXPECT_EQ(read64(0x3000) & (kA | kD), kA);
  EXPECT_EQ(read64(0x4000) & (kA | kD), kA | kD);
  map_4k(kP);
  expect_fault(0, kErrorP | kErrorW, {.write = true, .set_accessed = true});
  EXPECT_EQ(read64(0x3000) & kA, kA);
  EXPECT_EQ(read64(0x4000) & (kA | kD), 0u);
  map_4k();
  expect_gpa(0, 0x5000, {.write = true});
  EXPECT_EQ(read64(0x4000) & (kA | kD), 0u);
}

TEST_F(GuestWalk, WalksPae) {
  paging.efer = efer::kNxe;
  paging.cr3 = 0x1020 | 0x18;  // 32-byte aligned; PCD and PWT
  write64(0x1020 + 8 * 3, 0x2000 | kP);
  write64(0x2000, 0x3000 | kP | kW | kU);
  write64(0x3000, 0x5000 | kP | kW | kU);
  expect_gpa(0xc0000123, 0x5123, {.write = true, .user = true});
  expect_gpa(0xdeadbeefc0000123, 0x5123);
  write64(0x2000, 0x200000 | kP | kPs);
  expect_gpa(0xc01fffff, 0x3fffff);
  for (uint64_t bit : {1, 2, 5, 6, 7, 8, 52, 62, 63}) {
    write64(0x1020 + 8 * 3, 0x2000 | kP | uint64_t{1} << bit);
    expect_fault(0xc0000000, kErrorP | kErrorReserved);
  }
  write64(0x1020 + 8 * 3, 0x2000 | kP);
  write64(0x2000, 0x3000 | kP | uint64_t{1} << 52);
  expect_fault(0xc0000000, kErrorP | kErrorReserved);
}

TEST_F(GuestWalk, WalksTwoLevelsAndFourMegabytePages) {
  paging.efer = 0;
  paging.cr4 = 0;
  write32(0x1000 + 4 * 1, 0x2000 | kP | kW | kU);
  write32(0x2000 + 4 * 2, 0x5000 | kP | kU);
  expect_gpa(0x402345, 0x5345, {.user = true});
  expect_fault(0x402345, kErrorP | kErrorW, {.write = true});
  expect_fault(0x403000, 0, {.execute = true});
  write32(0x1000 + 4 * 1, 0x2000 | kP | kW | kU | kPs);
  expect_gpa(0x402345, 0x5345);  // without CR4.PSE the bit means nothing
  paging.cr4 = cr4::kPse;
  write32(0x1000 + 4 * 1, 0x00c00000 | kP | kPs | 0x5 << 13);
  expect_gpa(0x412345, 0x500c12345);
  write32(0x1000 + 4 * 1, 0x00c00000 | kP | kPs | 1 << 21);
  expect_fault(0x412345, kErrorP | kErrorReserved);
}

// --- Instruction fetches ---
class Fetch : public GuestWalk {
 protected:
  FetchCache cache;
  uint64_t generation = 1;

  const uint8_t* find(uint64_t address) {
    return cache.find(guest, paging, Gva(address), generation);
  }
  const uint8_t* byte(uint64_t gpa) { return &environment.at<uint8_t>(guest, Gpa(gpa)); }
};

TEST_F(Fetch, FindsThePageAgain) {
  map_4k();
  EXPECT_EQ(find(0x123), byte(0x5123));
  EXPECT_EQ(find(0xfff), byte(0x5fff));
  EXPECT_EQ(find(0x123), byte(0x5123));
  write64(0x3000, 0 | kP | kPs);
  EXPECT_EQ(find(0x6789), byte(0x6789));
  EXPECT_EQ(find(0x6788), byte(0x6788));
}

TEST_F(Fetch, SeesEveryEntryThatTheGuestRewrites) {
  map_4k();
  for (uint64_t page : {0x11000, 0x12000, 0x13000, 0x14000, 0x15000})
    std::memcpy(&environment.at<uint8_t>(guest, Gpa(page)),
                &environment.at<uint8_t>(guest, Gpa(page - 0x10000)), kPageSize);
  for (uint64_t table : {0x1000, 0x2000, 0x3000}) {
    map_4k();
    ASSERT_EQ(find(0), byte(0x5000));
    write64(table, 0);
    EXPECT_EQ(find(0), nullptr);
    map_4k();
    ASSERT_EQ(find(0), byte(0x5000));
    write64(table, read64(table) + 0x10000);
    write64(0x14000, 0x6000 | kP);
    for (uint64_t copy : {0x12000, 0x13000}) write64(copy, copy + 0x1000 + kP);
    EXPECT_EQ(find(0), byte(0x6000));
  }
  map_4k();
  ASSERT_EQ(find(0), byte(0x5000));
  write64(0x4000, 0x7000 | kP);
  EXPECT_EQ(find(0), byte(0x7000));
}

TEST_F(Fetch, KeepsAddressSpacesAndModesApart) {
  map_4k();
  write64(0x1000 + 8 * 511, 0x2000 | kP | kNx);
  ASSERT_EQ(find(0x10), byte(0x5010));
  std::memcpy(&environment.at<uint8_t>(guest, Gpa(0x8000)),
              &environment.at<uint8_t>(guest, Gpa(0x1000)), kPageSize);
  write64(0x8000, 0x9000 | kP);
  write64(0x9000, 0xa000 | kP);
  write64(0xa000, 0xb000 | kP);
  write64(0xb000, 0xc000 | kP);
  paging.cr3 = 0x8000;
  EXPECT_EQ(find(0x10), byte(0xc010));
  paging.cr3 = 0x1000;
  EXPECT_EQ(find(0x10), byte(0x5010));
  write64(0x1000, read64(0x1000) | kNx);
  EXPECT_EQ(find(0x10), byte(0x5010));
  paging.efer &= ~efer::kNxe;
  EXPECT_EQ(find(0x10), nullptr);
  paging.efer |= efer::kNxe;
  EXPECT_EQ(find(0x10), byte(0x5010));
  write64(0x5000, 0xe000 | kP);
  paging.cr4 |= cr4::kLa57;  // the same tables with one level more
  EXPECT_EQ(find(0x10), byte(0xe010));
  paging.cr4 &= ~cr4::kLa57;
  write64(0x4000 + 8 * 4, 0xd000 | kP);  // shares the line
  EXPECT_EQ(find(0x4010), byte(0xd010));
  EXPECT_EQ(find(0x10), byte(0x5010));
  paging.cr0 &= ~cr0::kPg;
  EXPECT_EQ(find(0x10), byte(0x10));
}

TEST_F(Fetch, ForgetsWhatWasUnmapped) {
  map_4k();
  ASSERT_EQ(find(0), byte(0x5000));
  ASSERT_TRUE(guest.space.unmap(Gpa(0x5000)));
  ++generation;
  EXPECT_EQ(find(0), nullptr);
  EXPECT_EQ(find(uint64_t{1} << 47), nullptr);
}

TEST_F(Fetch, WalksModesThatItDoesNotKeep) {
  paging.cr4 |= cr4::kLa57;
  paging.cr3 = 0x6000;
  map_4k();
  write64(0x6000, 0x1000 | kP);
  EXPECT_EQ(find(0x44), byte(0x5044));
  paging = {.cr0 = cr0::kPg | cr0::kPe,
            .cr3 = 0x1000,
            .cr4 = 0,
            .efer = 0,
            .cpl = 0,
            .alignment_check = false};
  write32(0x1000, 0x2000 | kP);
  write32(0x2000, 0x7000 | kP);
  EXPECT_EQ(find(0x45), byte(0x7045));
  paging.cr0 = 0;
  EXPECT_EQ(find(0x46), byte(0x46));
  EXPECT_EQ(find(kPages * kPageSize), nullptr);
}

// --- The model: each mode as a list of levels, after the figures of [APM2 5] ---
struct Level {
  unsigned shift;
  bool may_be_large;
  uint64_t reserved_table, reserved_leaf;
  bool has_rights;
};

constexpr uint64_t bits(unsigned hi, unsigned lo) {
  uint64_t out = 0;
  for (unsigned i = lo; i <= hi; ++i) out |= uint64_t{1} << i;
  return out;
}

class Model {
 public:
  Model(std::vector<uint8_t>& memory, const PagingState& paging)
      : memory_(memory), paging_(paging) {}

  WalkResult walk(uint64_t address, WalkAccess access) {
    if (!(paging_.cr0 & cr0::kPg)) return success(address);
    const bool lma = paging_.efer & efer::kLma, pae = paging_.cr4 & cr4::kPae;
    const bool wide = lma || pae;
    if (lma) {
      const unsigned width = paging_.cr4 & cr4::kLa57 ? 57 : 48;
      const bool negative = address >> (width - 1) & 1;
      if ((address | bits(width - 1, 0)) != (negative ? ~uint64_t{0} : bits(width - 1, 0)))
        return fault(access, 0);
    } else {
      address &= 0xffffffff;
    }
    uint64_t table =
        lma ? paging_.cr3 & bits(51, 12) : paging_.cr3 & (pae ? bits(31, 5) : bits(31, 12));
    bool user = true, writable = true, executable = true;
    for (const Level& level : levels(lma, pae)) {
      const unsigned index_width = wide ? 9 : 10;
      const uint64_t at =
          table + (address >> level.shift & bits(index_width - 1, 0)) * (wide ? 8 : 4);
      if (at + 8 > memory_.size() && at / 4096 >= memory_.size() / 4096) return unmapped();
      uint64_t entry = 0;
      std::memcpy(&entry, &memory_[at], wide ? 8 : 4);
      if (!(entry & kP)) return fault(access, 0);
      const bool leaf = level.shift == 12 || (level.may_be_large && (entry & kPs));
      if (entry & (leaf ? level.reserved_leaf : level.reserved_table))
        return fault(access, kErrorP | kErrorReserved);
      if (level.has_rights) {
        user = user && (entry & kU);
        writable = writable && (entry & kW);
        executable = executable && !(entry & kNx);
      }
      if (leaf && access.check_rights && !permitted(access, user, writable, executable))
        return fault(access, kErrorP);
      if (access.set_accessed && level.has_rights) {
        entry |= kA | (leaf && access.write ? kD : 0);
        std::memcpy(&memory_[at], &entry, wide ? 8 : 4);
      }
      if (leaf) {
        uint64_t base = entry & bits(51, level.shift);
        if (!wide && level.shift == 22) base |= (entry >> 13 & 0xff) << 32;
        return success(base | (address & bits(level.shift - 1, 0)));
      }
      table = entry & bits(51, 12);
    }
    ADD_FAILURE() << "the last level is a leaf";
    return {};
  }

 private:
  std::vector<Level> levels(bool lma, bool pae) const {
    const uint64_t nx = paging_.efer & efer::kNxe ? 0 : kNx;
    if (!lma && !pae) {
      const bool pse = paging_.cr4 & cr4::kPse;
      return {{22, pse, 0, bits(21, 21), true}, {12, false, 0, 0, true}};
    }
    if (!lma) {
      const uint64_t high = nx | bits(62, 52);
      // PDPEs have no NX: bit 63 is reserved as well.
      return {{30, false, kNx | high | bits(8, 5) | bits(2, 1), 0, false},
              {21, true, high, high | bits(20, 13), true},
              {12, false, high, high, true}};
    }
    std::vector<Level> all = {{39, false, nx | kPs, 0, true},
                              {30, true, nx, nx | bits(29, 13), true},
                              {21, true, nx, nx | bits(20, 13), true},
                              {12, false, nx, nx, true}};
    if (paging_.cr4 & cr4::kLa57) all.insert(all.begin(), {48, false, nx | kPs, 0, true});
    return all;
  }
  bool permitted(WalkAccess access, bool user, bool writable, bool executable) const {
    if (access.user) {
      if (!user || (access.write && !writable)) return false;
    } else {
      if (access.write && !writable && (paging_.cr0 & cr0::kWp)) return false;
      if (user && access.execute && (paging_.cr4 & cr4::kSmep)) return false;
      if (user && !access.execute && (paging_.cr4 & cr4::kSmap) &&
          (!paging_.alignment_check || paging_.cpl == 3))
        return false;
    }
    return executable || !access.execute;
  }
  WalkResult fault(WalkAccess access, uint32_t code) const {
    const bool lma_or_pae = paging_.efer & efer::kLma || paging_.cr4 & cr4::kPae;
    if (access.write) code |= kErrorW;
    if (access.user) code |= kErrorU;
    if (access.execute &&
        ((lma_or_pae && (paging_.efer & efer::kNxe)) || (paging_.cr4 & cr4::kSmep)))
      code |= kErrorFetch;
    WalkResult result;
    result.fault = {code, false, (code & kErrorReserved) != 0};
    return result;
  }
  static WalkResult unmapped() {
    WalkResult result;
    result.fault.gpa_unmapped = true;
    return result;
  }
  static WalkResult success(uint64_t gpa) {
    WalkResult result;
    result.ok = true;
    result.gpa = Gpa(gpa);
    return result;
  }

  std::vector<uint8_t>& memory_;
  const PagingState& paging_;
};

// Entries that mostly lead on: tables are picked among few pages, odd bits are rare.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  bool one_in(unsigned n) { return engine_() % n == 0; }
  uint64_t below(uint64_t n) { return engine_() % n; }
  uint64_t any() { return engine_(); }

  uint64_t entry() {
    uint64_t out = below(kPages) << 12;
    if (one_in(20)) out |= any() & bits(51, 12);
    for (uint64_t bit : {kW, kU, kA, kD})
      if (!one_in(6)) out |= bit;
    if (!one_in(12)) out |= kP;
    if (one_in(5)) out |= kPs;
    if (one_in(8)) out |= kNx;
    if (one_in(25)) out |= uint64_t{1} << below(64);
    if (one_in(3)) out &= ~bits(30, 13);  // aligned large pages
    return out;
  }
  PagingState paging() {
    PagingState out = {};
    out.cr0 = cr0::kPe | (one_in(20) ? 0 : cr0::kPg) | (one_in(2) ? cr0::kWp : 0);
    out.cr3 = below(kPages) << 12 | (one_in(3) ? below(4096) : 0);
    for (uint64_t bit : {cr4::kPse, cr4::kSmep, cr4::kSmap})
      if (one_in(2)) out.cr4 |= bit;
    if (!one_in(3)) out.cr4 |= cr4::kPae;
    if (!one_in(3)) out.efer |= efer::kNxe;
    if ((out.cr4 & cr4::kPae) && !one_in(3)) out.efer |= efer::kLma | efer::kLme;
    if (one_in(4)) out.cr4 |= cr4::kLa57;
    out.cpl = one_in(2) ? 3 : 0;
    out.alignment_check = one_in(2);
    return out;
  }
  WalkAccess access() {
    return {.write = one_in(2),
            .execute = one_in(4),
            .user = one_in(2),
            .check_rights = !one_in(4),
            .set_accessed = one_in(2)};
  }

 private:
  std::mt19937_64 engine_;
};

TEST_F(GuestWalk, AgreesWithTheModelOnRandomTables) {
  Random random(20260101);
  std::vector<uint8_t> memory(kPages * kPageSize);
  unsigned successes = 0;
  for (unsigned round = 0; round < 400; ++round) {
    const bool narrow = random.one_in(4);
    for (size_t at = 0; at < memory.size(); at += narrow ? 4 : 8) {
      const uint64_t entry = random.entry();
      std::memcpy(&memory[at], &entry, narrow ? 4 : 8);
    }
    for (uint64_t page = 0; page < kPages; ++page)
      std::memcpy(&environment.at<uint8_t>(guest, Gpa::from_page(page)), &memory[page * kPageSize],
                  kPageSize);
    for (unsigned i = 0; i < 50; ++i) {
      paging = random.paging();
      const WalkAccess access = random.access();
      uint64_t address = random.any();
      if (!random.one_in(8))
        address = static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16);
      const WalkResult expected = Model(memory, paging).walk(address, access);
      const WalkResult actual = walk(address, access);
      ASSERT_EQ(actual.ok, expected.ok) << round << "/" << i;
      ASSERT_EQ(actual.gpa, expected.gpa) << round << "/" << i;
      ASSERT_EQ(actual.fault.gpa_unmapped, expected.fault.gpa_unmapped) << round << "/" << i;
      ASSERT_EQ(actual.fault.reserved_bit, expected.fault.reserved_bit) << round << "/" << i;
      ASSERT_EQ(actual.fault.error_code, expected.fault.error_code) << round << "/" << i;
      successes += actual.ok;
    }
    for (uint64_t page = 0; page < kPages; ++page)
      ASSERT_EQ(std::memcmp(&environment.at<uint8_t>(guest, Gpa::from_page(page)),
                            &memory[page * kPageSize], kPageSize),
                0)
          << "accessed or dirty bits differ in page " << page << ", round " << round;
  }
  EXPECT_GT(successes, 2000u);  // of 20,000: the tables are worth walking
}

TEST_F(GuestWalk, AnswersWhatTheGuestCouldHaveGotWhileItRewritesTables) {
  map_4k();
  constexpr uint64_t kChoices[] = {0, 0x6000 | kP | kW, 0x7000 | kP | kW};
  uint64_t* const entry = &environment.at<uint64_t>(guest, Gpa(0x4000));
  *entry = kChoices[1];
  std::atomic<bool> stop{false};
  uint64_t lost = 0;  // writes of the guest that a late accessed bit undid
  std::thread other([&] {
    for (uint64_t i = 0; !stop; ++i) {
      __atomic_store_n(entry, kChoices[i % 3], __ATOMIC_RELAXED);
      for (unsigned pause = 0; pause < 10; ++pause) __builtin_ia32_pause();
      const uint64_t now = __atomic_load_n(entry, __ATOMIC_RELAXED);
      lost += (now & ~(kA | kD)) != kChoices[i % 3] || (now != 0 && (now & kP) == 0);
    }
  });
  for (unsigned i = 0; i < 50'000; ++i) {
    const WalkResult result = walk(0, {.write = true, .set_accessed = true});
    if (result.ok)
      EXPECT_TRUE(result.gpa == Gpa(0x6000) || result.gpa == Gpa(0x7000)) << result.gpa.value();
    else
      EXPECT_EQ(result.fault.error_code, kErrorW);
  }
  stop = true;
  other.join();
  EXPECT_EQ(lost, 0u);
}

}  // namespace
}  // namespace hv::x86
