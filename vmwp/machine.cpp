// SPDX-License-Identifier: MIT
#include "vmwp/machine.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <utility>

#include "runtime/scope.h"
#include "vmwp/crash.h"

namespace vmwp {

using runtime::Task;

namespace {

constexpr uint64_t kFixedOverhead = 48 * kMiB;  // vmwp itself, VP state, the kernel's book-keeping
constexpr uint64_t kOverheadDivisor = 256;      // page tables of ours and of the partition
constexpr unsigned kDeliveryLinesPerSecond = 2;
constexpr auto kShortestBoot =
    std::chrono::seconds(1);  // a guest that resets at once must not spin
constexpr auto kMaxDetailLines = 64;

runtime::UniqueFd watch_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPWR}) ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // SIGUSR1 only gets a thread out of RUN_VP: it must interrupt, not restart the call.
  struct sigaction kick{};
  kick.sa_handler = [](int) {};
  ::sigaction(SIGUSR1, &kick, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return runtime::UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

// What this process may lock, as the kernel will count it.
uint64_t lock_limit() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  const bool known = ::syscall(SYS_capget, &header, data) == 0;
  if (known && (data[0].effective >> CAP_IPC_LOCK & 1) != 0) return UINT64_MAX;
  rlimit limit{};
  return ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 ? limit.rlim_cur : UINT64_MAX;
}

runtime::Instant instant(uint64_t monotonic_ns) {
  constexpr auto kLast = static_cast<uint64_t>(runtime::kNever.time_since_epoch().count());
  return runtime::Instant(
      runtime::Nanoseconds(static_cast<int64_t>(std::min(monotonic_ns, kLast))));
}

const char* name_of_signal(uint32_t signal) {
  switch (signal) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    default:
      return "SIGHUP";
  }
}

}  // namespace

uint64_t SystemClock::now() const {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() /
                               std::chrono::nanoseconds(1));
}

int64_t SystemClock::wall() const {
  return std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

Result<std::unique_ptr<runtime::Port>> open_port(const std::string& name, Log& log) {
  auto port = runtime::Port::create(
      {.name = name, .log = [&log](std::string_view line) { log.line(line); }});
  if (!port) return fail(fmt::format("I/O port: {}", port.error().message()));
  return *std::move(port);
}

Result<BootPlan> plan_boot(const Config& config) {
  BootPlan plan;
  auto kernel = inspect_linux(config.kernel);
  HV_PROPAGATE(kernel);
  plan.firmware = build_firmware_tables(config.vps, config.name);
  plan.boot = {*std::move(kernel), config.initrd, config.command_line, plan.firmware.rsdp};
  auto layout = plan_linux(plan.boot, config.memory);
  HV_PROPAGATE(layout);
  plan.layout = *layout;
  return plan;
}

std::optional<std::string> memory_shortage(uint64_t vm_memory, std::string_view meminfo) {
  constexpr std::string_view kField = "MemAvailable:";
  const size_t at = meminfo.find(kField);
  if (at == std::string_view::npos) return std::nullopt;
  const size_t digits =
      std::min(meminfo.find_first_not_of(' ', at + kField.size()), meminfo.size());
  uint64_t kib = 0;
  std::from_chars(meminfo.data() + digits, meminfo.data() + meminfo.size(), kib);
  const uint64_t needed = vm_memory + vm_memory / kOverheadDivisor + kFixedOverhead;
  const uint64_t free = kib * 1024;
  if (free >= needed) return std::nullopt;
  return fmt::format("memory: not enough: the VM needs {} MiB, {} MiB are free",
                     (needed + kMiB - 1) / kMiB, free / kMiB);
}

std::optional<std::string> lock_shortage(uint64_t vm_memory, uint64_t limit) {
  if (limit >= vm_memory) return std::nullopt;
  return fmt::format(
      "memory: the VM's {} MiB are locked, and this user may lock {} KiB; raise the limit "
      "(ulimit -l) or run vmwp as root",
      vm_memory / kMiB, limit / 1024);
}

Result<std::unique_ptr<Machine>> Machine::create(const Config& config, BootPlan plan) {
  auto device = open_mshv();
  HV_PROPAGATE(device);
  std::ifstream file("/proc/meminfo");
  const std::string meminfo{std::istreambuf_iterator<char>(file), {}};
  if (const auto shortage = memory_shortage(config.memory, meminfo)) return fail(*shortage);
  if (const auto shortage = lock_shortage(config.memory, lock_limit())) return fail(*shortage);
  auto log = Log::open(config.log, config.name);
  HV_PROPAGATE(log);
  // Signals are blocked before there is a thread that could take them.
  runtime::UniqueFd signals = watch_signals();
  if (!signals) return fail(fmt::format("signals: {}", std::strerror(errno)));
  auto port = open_port(config.name, **log);
  HV_PROPAGATE(port);
  auto seat = (*port)->take_seat();
  if (!seat) return fail(fmt::format("I/O port: {}", seat.error().message()));
  auto console = Console::open(config.console, **port);
  HV_PROPAGATE(console);
  auto descriptor = (*port)->associate(std::move(signals));
  if (!descriptor) return fail(fmt::format("signals: {}", descriptor.error().message()));
  std::unique_ptr<Machine> machine(
      new Machine(config, std::move(plan),
                  {*std::move(device), *std::move(log), *std::move(port),
                   std::make_unique<runtime::Seat>(*std::move(seat)), *std::move(console),
                   *std::move(descriptor)}));
  HV_PROPAGATE(machine->build());
  return machine;
}

Machine::Machine(const Config& config, BootPlan plan, Parts parts)
    : config_(config),
      plan_(std::move(plan)),
      parts_(std::move(parts)),
      rescheduled_(*parts_.port),
      delivery_log_(clock_, kDeliveryLinesPerSecond),
      ended_(*parts_.port) {}

Machine::~Machine() = default;

Result<> Machine::build() {
  auto memory = GuestMemory::create(config_.memory);
  HV_PROPAGATE(memory);
  write_firmware_tables(plan_.firmware, *memory);
  HV_PROPAGATE(load_linux(plan_.boot, plan_.layout, *memory));
  auto partition = MshvPartition::create(parts_.device, config_.vps, *memory);
  HV_PROPAGATE(partition);
  HV_PROPAGATE((*partition)->set_registers(0, linux_entry_registers(plan_.layout)));

  auto board =
      std::make_unique<Board>(Board{*std::move(memory), *std::move(partition), nullptr, {}});
  board->chipset = std::make_unique<chipset::Chipset>(
      clock_, battery_, *parts_.console,
      chipset::Hooks{
          .deliver = [this](const chipset::InterruptMessage& message) { deliver(message); },
          .power_off = [this] { end({EndKind::kPoweredOff, {}, {}}); },
          .reset = [this] { end({EndKind::kReset, {}, {}}); },
          .reschedule = [this] { rescheduled_.set(); },
          .log = guest_log(),
      });
  for (uint32_t i = 0; i < config_.vps; ++i) {
    board->vps.push_back(std::make_unique<Vp>(
        EmulationContext{i, *board->partition, *board->chipset, board->memory},
        [this](Ending ending) { end(std::move(ending)); },
        [this](const Ending& crash) { return goes_on(crash); }));
  }
  board_ = std::move(board);
  ++boots_;
  return {};
}

// Lines that the guest causes would disturb its own console, if both are on the terminal.
chipset::LogSink Machine::guest_log() {
  if (config_.log.empty() && config_.console.kind == ConsoleConfig::Kind::kTerminal) return {};
  return [this](std::string_view line) { parts_.log->line(line); };
}

Ending Machine::run() {
  return runtime::block_on(*parts_.port, supervise());
}

Task<Ending> Machine::supervise() {
  runtime::Scope services(co_await runtime::this_source());
  services.spawn(serve_signals());
  services.spawn(parts_.console->serve({
      .ready =
          [this] {
            if (board_) board_->chipset->console_ready();
          },
      .quit = [this] { end({EndKind::kKilled, "by Ctrl-] on the console", {}}); },
  }));
  Ending ending = co_await run_boots();
  services.cancel();
  (void)co_await services.join();
  co_return ending;
}

Task<Ending> Machine::run_boots() {
  for (;;) {
    const runtime::Instant started = parts_.port->kernel().now();
    Ending ending = co_await run_once();
    co_await parts_.console->flush();
    const bool reset = ending.kind == EndKind::kReset;
    ending = with_guest_report(std::move(ending));
    log_detail(ending);
    const bool crashed = ending.kind == EndKind::kCrashed;
    if (!reset || config_.on_reset == OnReset::kStop ||
        (crashed && config_.on_crash == OnCrash::kStop)) {
      co_return ending;
    }
    parts_.log->line(fmt::format("the guest reset: starting again (boot {})", boots_ + 1));
    board_.reset();
    (void)co_await parts_.port->sleep_until(runtime::after(started, kShortestBoot));
    if (auto built = build(); !built) co_return Ending{EndKind::kError, built.error().text, {}};
  }
}

// A VP, or a signal between two boots, may end it before it has begun.
Task<Ending> Machine::run_once() {
  crash_logged_ = false;
  for (const auto& vp : board_->vps) vp->start();
  board_->chipset->console_ready();
  runtime::Scope services(co_await runtime::this_source());
  services.spawn(keep_time());
  services.spawn(board_->partition->level_irqs().serve(
      *parts_.port, [this](uint8_t pin) { board_->chipset->end_of_interrupt(pin); }));
  (void)co_await ended_.wait();
  services.cancel();
  (void)co_await services.join();
  for (const auto& vp : board_->vps) vp->request_stop();
  for (const auto& vp : board_->vps) vp->stop();
  const std::lock_guard guard(ending_lock_);
  co_return *std::exchange(ending_, std::nullopt);
}

// The chipset's timers, by one timer of the port.
Task<> Machine::keep_time() {
  const auto rescheduled = [](runtime::Signal& signal) -> Task<runtime::Result<>> {
    co_return co_await signal.wait();
  };
  for (;;) {
    board_->chipset->advance();
    const runtime::Instant next = instant(board_->chipset->next_event());
    const auto changed = co_await runtime::with_deadline(next, rescheduled(rescheduled_));
    if (!changed && changed.error() != runtime::system_error(ETIMEDOUT)) co_return;
  }
}

Task<> Machine::serve_signals() {
  signalfd_siginfo info{};
  for (;;) {
    const auto count = co_await parts_.signals.read(std::as_writable_bytes(std::span(&info, 1)));
    if (!count) co_return;
    if (*count == sizeof(info)) act_on(info.ssi_signo);
  }
}

void Machine::act_on(uint32_t signal) {
  if (signal != SIGPWR)
    return end({EndKind::kKilled, fmt::format("by {}", name_of_signal(signal)), {}});
  if (board_) board_->chipset->press_power_button();
}

// From any thread: the first ending counts.
void Machine::end(Ending ending) {
  {
    const std::lock_guard guard(ending_lock_);
    if (ending_) return;
    ending_ = std::move(ending);
  }
  if (board_) {
    for (const auto& vp : board_->vps) vp->request_stop();
  }
  ended_.set();
}

// From a VP's thread, at the guest's report of a panic: does the VM run on? Logged once a boot.
bool Machine::goes_on(const Ending& crash) {
  if (config_.on_crash == OnCrash::kStop) return false;
  if (crash_logged_.exchange(true)) return true;
  parts_.log->line("the guest reports a panic: " + crash.text);
  log_detail(crash);
  return true;
}

// A guest that panicked may well reset itself afterwards, or be killed while it hangs. The report
// is the partition's: every VP has the same.
Ending Machine::with_guest_report(Ending ending) {
  if (ending.kind == EndKind::kCrashed || ending.kind == EndKind::kError) return ending;
  const auto crash = read_guest_crash(*board_->partition, 0, board_->memory);
  if (!crash) return ending;
  if (ending.kind == EndKind::kKilled) {
    ending.text += "; before, the guest reported: " + crash->summary();
  } else {
    ending = {EndKind::kCrashed, crash->summary(), {}};
  }
  if (!crash_logged_) ending.detail = crash->text;
  return ending;
}

void Machine::deliver(const chipset::InterruptMessage& message) {
  const auto sent = board_->partition->assert_interrupt(message);
  if (!sent && delivery_log_.allow()) {
    parts_.log->line(fmt::format("interrupt {:#x} to {:#x} is lost: {}", message.vector,
                                 message.destination, sent.error().text));
  }
}

void Machine::log_detail(const Ending& ending) {
  std::string_view rest = ending.detail;
  for (int i = 0; i < kMaxDetailLines && !rest.empty(); ++i) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    parts_.log->line(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

}  // namespace vmwp
