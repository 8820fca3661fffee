// SPDX-License-Identifier: MIT
// What vmwp says before there is a partition; boot tests run whole VMs.
#include "vmwp/machine.h"

#include <gtest/gtest.h>

#include "hypervisor/core/ids.h"

namespace vmwp {
namespace {

static_assert(kMaxVps == hv::kMaxVpsPerPartition);

TEST(MachineTest, NeededAndFreeMemory) {
  const auto shortage = [](uint64_t free_kib) {
    return memory_shortage(kGiB, "MemTotal:  9 kB\nMemAvailable:    " + std::to_string(free_kib) +
                                     " kB\nBuffers: 1 kB\n");
  };
  // 4 MiB of tables and 48 MiB beside the VM's own.
  EXPECT_EQ(shortage(1076 * 1024), std::nullopt);
  EXPECT_EQ(shortage(1076 * 1024 - 1),
            "memory: not enough: the VM needs 1076 MiB, 1075 MiB are free");
  EXPECT_EQ(shortage(0), "memory: not enough: the VM needs 1076 MiB, 0 MiB are free");
  EXPECT_EQ(memory_shortage(kGiB, "MemFree: 0 kB\n"), std::nullopt);  // the kernel does not say
}

TEST(MachineTest, LockedMemory) {
  EXPECT_EQ(lock_shortage(128 * kMiB, UINT64_MAX), std::nullopt);
  EXPECT_EQ(lock_shortage(128 * kMiB, 128 * kMiB), std::nullopt);
  EXPECT_EQ(lock_shortage(128 * kMiB, 8 * kMiB),
            "memory: the VM's 128 MiB are locked, and this user may lock 8192 KiB; raise the limit "
            "(ulimit -l) or run vmwp as root");
}

TEST(MachineTest, MissingDeviceSaysWhatToBoot) {
  const auto device = open_mshv("/nonexistent/mshv");
  ASSERT_FALSE(device.has_value());
  EXPECT_EQ(device.error().status, ExitStatus::kError);
  EXPECT_EQ(device.error().text,
            "/nonexistent/mshv: not there: this machine did not boot under the Partita hypervisor, "
            "or the driver is not loaded; boot the hypervisor (hvloader, launch=auto), then "
            "modprobe mshv");
}

}  // namespace
}  // namespace vmwp
