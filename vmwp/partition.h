// SPDX-License-Identifier: MIT
// The child partition behind /dev/mshv. VpControl is the seam: what running and emulating a VP
// needs of the hypervisor; MshvPartition is the real one, tests replay messages through a fake.
// Closing the partition's descriptors destroys it and returns its memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "abi/tlfs/hypercall.h"
#include "abi/tlfs/message.h"
#include "abi/tlfs/partition.h"
#include "abi/tlfs/registers.h"
#include "chipset/ioapic.h"
#include "runtime/unique_fd.h"
#include "vmwp/failure.h"
#include "vmwp/guest_memory.h"
#include "vmwp/level_irq.h"

namespace vmwp {

enum class RunOutcome { kMessage, kInterrupted };

/// What an access must be allowed to do, for translate().
enum class GuestAccess { kRead, kWrite, kExecute };
enum class Privilege { kSupervisor, kUser };

struct Translation {
  hv::abi::HvTranslateGvaResultCode code;
  uint64_t gpa;  // of the byte asked for; valid on success
};

/// Every call names a VP that exists. Calls for one VP come from one thread at a time, and only
/// while the VP does not run, but for assert_interrupt(), which any thread may call any time.
class VpControl {
 public:
  virtual ~VpControl() = default;
  virtual Result<RunOutcome> run(uint32_t vp, hv::abi::HvMessage& message) = 0;
  /// At most kMaxRegisters at once; one hypercall.
  virtual Result<> set_registers(uint32_t vp,
                                 std::span<const hv::abi::HvRegisterAssoc> registers) = 0;
  virtual Result<> get_registers(uint32_t vp, std::span<const hv::abi::HvRegisterName> names,
                                 std::span<hv::abi::HvRegisterValue> values) = 0;
  virtual Result<Translation> translate(uint32_t vp, uint64_t gva, GuestAccess access,
                                        Privilege privilege) = 0;
  virtual Result<> assert_interrupt(const chipset::InterruptMessage& message) = 0;

  static constexpr size_t kMaxRegisters = 64;
};

inline constexpr const char* kMshvDevice = "/dev/mshv";

/// Opens the driver's device. Errors say what to do about them.
Result<runtime::UniqueFd> open_mshv(const std::string& path = kMshvDevice);

class MshvPartition final : public VpControl {
 public:
  /// Creates and initializes a partition with `vps` VPs and maps `memory`, which must outlive it.
  static Result<std::unique_ptr<MshvPartition>> create(const runtime::UniqueFd& device,
                                                       uint32_t vps, const GuestMemory& memory);

  Result<RunOutcome> run(uint32_t vp, hv::abi::HvMessage& message) override;
  Result<> set_registers(uint32_t vp, std::span<const hv::abi::HvRegisterAssoc> registers) override;
  Result<> get_registers(uint32_t vp, std::span<const hv::abi::HvRegisterName> names,
                         std::span<hv::abi::HvRegisterValue> values) override;
  Result<Translation> translate(uint32_t vp, uint64_t gva, GuestAccess access,
                                Privilege privilege) override;
  /// A level-triggered one is reported by level_irqs() when the guest ends it.
  Result<> assert_interrupt(const chipset::InterruptMessage& message) override;
  LevelIrqs& level_irqs() { return level_irqs_; }

 private:
  explicit MshvPartition(runtime::UniqueFd partition);
  Result<> set_property(hv::abi::HvPartitionPropertyCode code, uint64_t value);
  Result<> map(const GuestMemory& memory);
  void report_crashes();

  runtime::UniqueFd partition_;
  LevelIrqs level_irqs_;
  std::vector<runtime::UniqueFd> vps_;
};

}  // namespace vmwp
