// SPDX-License-Identifier: MIT
// The headers' static_asserts are the layout test; here: every header stands alone in one unit, and
// the facts that span two declarations.
#include "abi/tlfs/cpuid.h"
#include "abi/tlfs/hypercall.h"
#include "abi/tlfs/message.h"
#include "abi/tlfs/msr.h"
#include "abi/tlfs/partition.h"
#include "abi/tlfs/registers.h"
#include "abi/tlfs/status.h"
#include "abi/tlfs/synic.h"

#include <gtest/gtest.h>

#include <cstring>

namespace hv::abi {
namespace {

constexpr uint64_t field(unsigned shift, unsigned width) {
  return ((uint64_t{1} << width) - 1) << shift;
}

TEST(Tlfs, HypercallControlWordIsCoveredExactlyOnce) {
  const uint64_t parts[] = {
      field(kHvHypercallCodeShift, kHvHypercallCodeWidth),
      field(kHvHypercallFastBit, 1),
      field(kHvHypercallVariableHeaderSizeShift, kHvHypercallVariableHeaderSizeWidth),
      field(kHvHypercallNestedBit, 1),
      field(kHvHypercallRepCountShift, kHvHypercallRepCountWidth),
      field(kHvHypercallRepStartShift, kHvHypercallRepStartWidth),
      kHvHypercallReservedMask,
  };
  uint64_t seen = 0;
  for (uint64_t part : parts) {
    EXPECT_EQ(seen & part, 0u);
    seen |= part;
  }
  EXPECT_EQ(seen, ~uint64_t{0});
}

TEST(Tlfs, SignaturesSpellTheirNames) {
  const uint32_t vendor[] = {kHvVendorEbx, kHvVendorEcx, kHvVendorEdx};
  EXPECT_EQ(std::memcmp(vendor, "Microsoft Hv", sizeof vendor), 0);
  EXPECT_EQ(std::memcmp(&kHvInterfaceHv1, "Hv#1", 4), 0);
}

TEST(Tlfs, EveryPayloadFitsAMessage) {
  EXPECT_LE(sizeof(HvX64ExceptionInterceptMessage), kHvMessagePayloadSize);
  EXPECT_LE(sizeof(HvX64HypercallInterceptMessage), kHvMessagePayloadSize);
  EXPECT_LE(sizeof(HvVpSignalPairSchedulerMessage), kHvMessagePayloadSize);
  EXPECT_EQ(sizeof(HvMessageHeader) + kHvMessagePayloadSize, kHvMessageSize);
}

TEST(Tlfs, FastCallsFitTheirRegisters) {
  EXPECT_LE(sizeof(HvInputDeleteVp), kHvHypercallFastBytes);
  EXPECT_LE(sizeof(HvInputDeletePort), kHvHypercallFastBytes);
  EXPECT_LE(sizeof(HvInputDisconnectPort), kHvHypercallFastBytes);
  EXPECT_LE(sizeof(HvInputSendSyntheticClusterIpi), kHvHypercallFastBytes);
  EXPECT_EQ(kHvHypercallFastBytes + kHvHypercallMaxXmmRegisters * 16, kHvHypercallXmmFastBytes);
}

TEST(Tlfs, EnumsAreOpen) {
  EXPECT_EQ(static_cast<uint16_t>(static_cast<HvCall>(0x7fff)), 0x7fff);
  EXPECT_EQ(static_cast<uint16_t>(static_cast<HvStatus>(0xfffe)), 0xfffe);
}

}  // namespace
}  // namespace hv::abi
