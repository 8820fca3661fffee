// SPDX-License-Identifier: MIT
#include "vmwp/partition.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "abi/root/mshv.h"
#include "abi/tlfs/msr.h"

namespace vmwp {
namespace {

using namespace hv::abi;

constexpr unsigned kMaxDepositRetries = 64;

// What a child of ours is offered. AccessPartitionId is not here: a stock 6.1 guest dies of it.
constexpr uint64_t kSyntheticFeatures =
    uint64_t{1} << kHvSyntheticHypervisorPresentBit | uint64_t{1} << kHvSyntheticHv1Bit |
    uint64_t{1} << kHvSyntheticAccessVpRunTimeRegBit |
    uint64_t{1} << kHvSyntheticAccessPartitionReferenceCounterBit |
    uint64_t{1} << kHvSyntheticAccessSynicRegsBit |
    uint64_t{1} << kHvSyntheticAccessSyntheticTimerRegsBit |
    uint64_t{1} << kHvSyntheticAccessIntrCtrlRegsBit |
    uint64_t{1} << kHvSyntheticAccessHypercallRegsBit |
    uint64_t{1} << kHvSyntheticAccessVpIndexBit |
    uint64_t{1} << kHvSyntheticAccessPartitionReferenceTscBit |
    uint64_t{1} << kHvSyntheticAccessGuestIdleRegBit |
    uint64_t{1} << kHvSyntheticAccessFrequencyRegsBit |
    uint64_t{1} << kHvSyntheticDirectSyntheticTimersBit |
    uint64_t{1} << kHvSyntheticExtendedProcessorMasksBit |
    uint64_t{1} << kHvSyntheticTbFlushHypercallsBit |
    uint64_t{1} << kHvSyntheticSyntheticClusterIpiBit |
    uint64_t{1} << kHvSyntheticNotifyLongSpinWaitBit | uint64_t{1} << kHvSyntheticSignalEventsBit;

std::unexpected<Failure> device_failure(const std::string& path, int error) {
  if (error == ENOENT || error == ENXIO || error == ENODEV) {
    return fail(fmt::format(
        "{}: not there: this machine did not boot under the Partita hypervisor, or the driver is "
        "not loaded; boot the hypervisor (hvloader, launch=auto), then modprobe mshv",
        path));
  }
  if (error == EACCES || error == EPERM) {
    return fail(
        fmt::format("{}: no permission; run vmwp as root or give this user the device", path));
  }
  return fail(fmt::format("{}: {}", path, std::strerror(error)));
}

std::unexpected<Failure> call_failure(std::string_view call) {
  return fail(fmt::format("{}: {}: {}", kMshvDevice, call, std::strerror(errno)));
}

// One hypercall on behalf of the partition; the driver puts the partition's id into the input.
// Repeats while the driver had to give the partition more memory.
Result<> root_hypercall(int fd, HvCall call, uint16_t reps, std::span<const std::byte> input,
                        std::span<std::byte> output) {
  for (unsigned attempt = 0; attempt < kMaxDepositRetries; ++attempt) {
    mshv_root_hvcall request{};
    request.code = static_cast<uint16_t>(call);
    request.reps = reps;
    request.in_sz = static_cast<uint16_t>(input.size());
    request.out_sz = static_cast<uint16_t>(output.size());
    request.in_ptr = reinterpret_cast<uint64_t>(input.data());
    request.out_ptr = reinterpret_cast<uint64_t>(output.data());
    const int result = ::ioctl(fd, MSHV_ROOT_HVCALL, &request);
    if (result == 0 && request.status == 0) return {};
    if (result < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    return fail(fmt::format("hypercall {:#x}: status {:#x} ({})", request.code, request.status,
                            result < 0 ? std::strerror(errno) : "refused"));
  }
  return fail(fmt::format("hypercall {:#x}: still not enough memory after {} deposits",
                          static_cast<unsigned>(call), kMaxDepositRetries));
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <class T>
std::span<std::byte> writable_bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

HvInterruptType to_interrupt_type(chipset::DeliveryMode mode) {
  return static_cast<HvInterruptType>(mode);  // the numbers are the local APIC's in both
}

}  // namespace

Result<runtime::UniqueFd> open_mshv(const std::string& path) {
  runtime::UniqueFd device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!device) return device_failure(path, errno);
  return device;
}

Result<std::unique_ptr<MshvPartition>> MshvPartition::create(const runtime::UniqueFd& device,
                                                             uint32_t vps,
                                                             const GuestMemory& memory) {
  mshv_create_partition create{};
  create.pt_flags =
      1u << MSHV_PT_BIT_LAPIC | 1u << MSHV_PT_BIT_X2APIC | 1u << MSHV_PT_BIT_GPA_SUPER_PAGES;
  create.pt_isolation = MSHV_PT_ISOLATION_NONE;
  runtime::UniqueFd fd(::ioctl(device.get(), MSHV_CREATE_PARTITION, &create));
  if (!fd) return call_failure("create a partition");
  std::unique_ptr<MshvPartition> self(new MshvPartition(std::move(fd)));
  HV_PROPAGATE(self->set_property(HvPartitionPropertyCode::HvPartitionPropertySyntheticProcFeatures,
                                  kSyntheticFeatures));
  if (::ioctl(self->partition_.get(), MSHV_INITIALIZE_PARTITION) < 0) {
    return call_failure("initialize the partition");
  }
  self->report_crashes();
  HV_PROPAGATE(self->map(memory));
  for (uint32_t i = 0; i < vps; ++i) {
    mshv_create_vp vp{};
    vp.vp_index = i;
    self->vps_.emplace_back(::ioctl(self->partition_.get(), MSHV_CREATE_VP, &vp));
    if (!self->vps_.back()) return call_failure(fmt::format("create virtual processor {}", i));
  }
  return self;
}

MshvPartition::MshvPartition(runtime::UniqueFd partition)
    : partition_(std::move(partition)),
      level_irqs_([fd = partition_.get()](unsigned long request, void* argument) {
        return ::ioctl(fd, request, argument);
      }) {}

// Asks for the guest's write to the crash control MSR. A hypervisor that cannot tell keeps the
// crash registers all the same, and they are read when the VM stops.
void MshvPartition::report_crashes() {
  HvInputInstallIntercept input{};
  input.access_type_mask = kHvInterceptAccessWriteMask;
  input.intercept_type = HvInterceptType::HvInterceptTypeX64MsrIndex;
  input.intercept_parameter.msr_index = kHvX64MsrCrashCtl;
  [[maybe_unused]] const auto asked =
      root_hypercall(partition_.get(), HvCall::HvCallInstallIntercept, 0, bytes_of(input), {});
}

Result<> MshvPartition::set_property(HvPartitionPropertyCode code, uint64_t value) {
  HvInputSetPartitionProperty input{};
  input.property_code = code;
  input.property_value = value;
  return root_hypercall(partition_.get(), HvCall::HvCallSetPartitionProperty, 0, bytes_of(input),
                        {});
}

Result<> MshvPartition::map(const GuestMemory& memory) {
  for (const auto& region : memory.regions()) {
    mshv_user_mem_region request{};
    request.size = region.size;
    request.guest_pfn = region.gpa / MSHV_HV_PAGE_SIZE;
    request.userspace_addr = reinterpret_cast<uint64_t>(region.host);
    request.flags = 1u << MSHV_SET_MEM_BIT_WRITABLE | 1u << MSHV_SET_MEM_BIT_EXECUTABLE;
    if (::ioctl(partition_.get(), MSHV_SET_GUEST_MEMORY, &request) < 0) {
      return call_failure(
          fmt::format("give the VM {} KiB at {:#x}", region.size / 1024, region.gpa));
    }
  }
  return {};
}

Result<RunOutcome> MshvPartition::run(uint32_t vp, HvMessage& message) {
  static_assert(sizeof(mshv_run_vp) == sizeof(HvMessage));
  if (::ioctl(vps_[vp].get(), MSHV_RUN_VP, &message) == 0) return RunOutcome::kMessage;
  if (errno == EINTR || errno == EAGAIN) return RunOutcome::kInterrupted;
  return call_failure(fmt::format("run virtual processor {}", vp));
}

Result<> MshvPartition::set_registers(uint32_t vp, std::span<const HvRegisterAssoc> registers) {
  struct {
    HvInputSetVpRegisters header;
    HvRegisterAssoc list[kMaxRegisters];
  } input;
  if (registers.size() > kMaxRegisters) return fail("too many registers at once");
  input.header = {};
  input.header.vp_index = vp;
  std::ranges::copy(registers, input.list);
  const size_t size = sizeof(input.header) + registers.size_bytes();
  return root_hypercall(vps_[vp].get(), HvCall::HvCallSetVpRegisters,
                        static_cast<uint16_t>(registers.size()), bytes_of(input).first(size), {});
}

Result<> MshvPartition::get_registers(uint32_t vp, std::span<const HvRegisterName> names,
                                      std::span<HvRegisterValue> values) {
  struct {
    HvInputGetVpRegisters header;
    HvRegisterName list[kMaxRegisters];
  } input;
  if (names.size() > kMaxRegisters || names.size() != values.size()) {
    return fail("too many registers at once");
  }
  input.header = {};
  input.header.vp_index = vp;
  std::ranges::copy(names, input.list);
  const size_t size = sizeof(input.header) + names.size_bytes();
  return root_hypercall(vps_[vp].get(), HvCall::HvCallGetVpRegisters,
                        static_cast<uint16_t>(names.size()), bytes_of(input).first(size),
                        std::as_writable_bytes(values));
}

Result<Translation> MshvPartition::translate(uint32_t vp, uint64_t gva, GuestAccess access,
                                             Privilege privilege) {
  const unsigned validate = access == GuestAccess::kRead    ? kHvTranslateGvaValidateReadBit
                            : access == GuestAccess::kWrite ? kHvTranslateGvaValidateWriteBit
                                                            : kHvTranslateGvaValidateExecuteBit;
  const unsigned as = privilege == Privilege::kUser ? kHvTranslateGvaUserAccessBit
                                                    : kHvTranslateGvaSupervisorAccessBit;
  HvInputTranslateVirtualAddress input{};
  input.vp_index = vp;
  input.control_flags = uint64_t{1} << validate | uint64_t{1} << as |
                        uint64_t{1} << kHvTranslateGvaSetPageTableBitsBit;
  input.gva_page = gva >> kHvPageShift;
  HvOutputTranslateVirtualAddress output{};
  HV_PROPAGATE(root_hypercall(vps_[vp].get(), HvCall::HvCallTranslateVirtualAddress, 0,
                              bytes_of(input), writable_bytes_of(output)));
  return Translation{output.result_code,
                     output.gpa_page << kHvPageShift | (gva & (kHvPageSize - 1))};
}

Result<> MshvPartition::assert_interrupt(const chipset::InterruptMessage& message) {
  if (message.trigger == chipset::Trigger::kLevel) return level_irqs_.send(message);
  HvInputAssertVirtualInterrupt input{};
  input.interrupt_control = static_cast<uint64_t>(to_interrupt_type(message.mode));
  if (message.destination_mode == chipset::DestinationMode::kLogical) {
    input.interrupt_control |= uint64_t{1} << kHvInterruptControlLogicalDestModeBit;
  }
  input.destination_address = message.destination;
  input.requested_vector = message.vector;
  return root_hypercall(partition_.get(), HvCall::HvCallAssertVirtualInterrupt, 0, bytes_of(input),
                        {});
}

}  // namespace vmwp
