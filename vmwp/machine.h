// SPDX-License-Identifier: MIT
// One VM from its files to its end: builds partition, memory, chipset and VPs, serves them on the
// I/O runtime, takes everything down; a reset builds it anew in place. Owned by the main thread,
// which alone has a seat at the port.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "chipset/chipset.h"
#include "runtime/port.h"
#include "runtime/task.h"
#include "vmwp/acpi.h"
#include "vmwp/config.h"
#include "vmwp/console.h"
#include "vmwp/failure.h"
#include "vmwp/guest_memory.h"
#include "vmwp/loader_linux.h"
#include "vmwp/log.h"
#include "vmwp/partition.h"
#include "vmwp/vp.h"

namespace vmwp {

/// The operating system's clocks; now() is CLOCK_MONOTONIC, as runtime::Instant.
class SystemClock final : public chipset::Clock {
 public:
  uint64_t now() const override;
  int64_t wall() const override;
};

/// What was read of the VM's files before anything is created.
struct BootPlan {
  LinuxBoot boot;
  LinuxLayout layout;
  FirmwareTables firmware;
};

/// The VM's port; what it has to say goes to the log.
Result<std::unique_ptr<runtime::Port>> open_port(const std::string& name, Log& log);

/// Checks kernel, initrd and command line against the configuration. Errors are bad input.
Result<BootPlan> plan_boot(const Config& config);

/// How much the root must have free to run the VM, and has; nothing if it is enough.
std::optional<std::string> memory_shortage(uint64_t vm_memory, std::string_view meminfo);
/// The same of memory that this process may lock, where `limit` (bytes) holds for it.
std::optional<std::string> lock_shortage(uint64_t vm_memory, uint64_t limit);

class Machine {
 public:
  static Result<std::unique_ptr<Machine>> create(const Config& config, BootPlan plan);
  ~Machine();

  /// Runs until the VM ends for good. Call once.
  Ending run();
  uint32_t boots() const { return boots_; }

 private:
  /// What a reset replaces. Destroyed in reverse order: VPs stop before what they use goes.
  struct Board {
    GuestMemory memory;
    std::unique_ptr<MshvPartition> partition;
    std::unique_ptr<chipset::Chipset> chipset;
    std::vector<std::unique_ptr<Vp>> vps;
  };

  /// What a machine is made of before anything is built.
  struct Parts {
    runtime::UniqueFd device;
    std::unique_ptr<Log> log;
    std::unique_ptr<runtime::Port> port;
    std::unique_ptr<runtime::Seat> seat;
    std::unique_ptr<Console> console;
    runtime::Descriptor signals;
  };

  Machine(const Config& config, BootPlan plan, Parts parts);

  Result<> build();
  chipset::LogSink guest_log();
  runtime::Task<Ending> supervise();
  runtime::Task<Ending> run_boots();
  runtime::Task<Ending> run_once();
  runtime::Task<> keep_time();
  runtime::Task<> serve_signals();
  void act_on(uint32_t signal);
  void end(Ending ending);
  bool goes_on(const Ending& crash);
  void deliver(const chipset::InterruptMessage& message);
  Ending with_guest_report(Ending ending);
  void log_detail(const Ending& ending);

  Config config_;
  BootPlan plan_;
  SystemClock clock_;
  Parts parts_;
  runtime::Signal rescheduled_;  // the chipset's next event is another one
  chipset::RateLimit delivery_log_;
  chipset::Rtc::Battery battery_;
  std::unique_ptr<Board> board_;
  uint32_t boots_ = 0;

  runtime::Signal ended_;
  std::mutex ending_lock_;
  std::optional<Ending> ending_;
  std::atomic<bool> crash_logged_ = false;  // of this boot
};

}  // namespace vmwp
