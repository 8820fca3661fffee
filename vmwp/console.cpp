// SPDX-License-Identifier: MIT
#include "vmwp/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "runtime/scope.h"

namespace vmwp {

using runtime::Descriptor;
using runtime::Task;
using runtime::UniqueFd;

namespace {

constexpr size_t kQueueLimit = 64 * 1024;
constexpr size_t kChunk = 1024;
constexpr auto kFlushTime = std::chrono::milliseconds(1500);
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

// The terminal as it was. Global because fatal signals and exit() must restore it too; tcsetattr()
// is safe in signal handlers.
termios saved_terminal;
std::atomic<bool> terminal_is_raw = false;

void restore_terminal() {
  if (terminal_is_raw.exchange(false)) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved_terminal);
}

void restore_and_die(int signal) {
  restore_terminal();
  ::raise(signal);  // SA_RESETHAND put the default action back
}

bool make_terminal_raw() {
  if (::tcgetattr(STDIN_FILENO, &saved_terminal) < 0) return false;
  termios raw = saved_terminal;
  ::cfmakeraw(&raw);
  terminal_is_raw = true;
  std::atexit(restore_terminal);
  struct sigaction action{};
  action.sa_handler = restore_and_die;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
    ::sigaction(signal, &action, nullptr);
  }
  return ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == 0;
}

// A description of our own, so that O_NONBLOCK does not leak to whoever shares this one. Plain
// files never block, and reopening them would lose the position; sockets cannot be reopened.
UniqueFd nonblocking_copy(int fd, int flags) {
  struct stat info{};
  if (::fstat(fd, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISSOCK(info.st_mode)) {
    const std::string path = fmt::format("/proc/self/fd/{}", fd);
    if (const int copy = ::open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        copy >= 0) {
      return UniqueFd(copy);
    }
  }
  return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

Result<UniqueFd> listen_on(const std::string& path) {
  const auto refuse = [&](const char* reason) {
    return bad_input(fmt::format(
        "console unix:{}: {}; accepted: a path in a writable directory where no program listens",
        path, reason));
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size());  // the configuration checked its length
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return refuse(std::strerror(errno));
  struct stat info{};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return refuse("exists and is no socket");
    if (::connect(socket.get(), generic, sizeof(address)) == 0) return refuse("is in use");
    ::unlink(path.c_str());  // left behind by a process that died
  }
  if (::bind(socket.get(), generic, sizeof(address)) < 0 || ::listen(socket.get(), 1) < 0) {
    return refuse(std::strerror(errno));
  }
  return socket;
}

}  // namespace

Result<std::unique_ptr<Console>> Console::open(const ConsoleConfig& config, runtime::Port& port) {
  using Kind = ConsoleConfig::Kind;
  UniqueFd input, output, listener;
  if (config.kind == Kind::kTerminal) {
    input = nonblocking_copy(STDIN_FILENO, O_RDONLY);
    output = nonblocking_copy(STDOUT_FILENO, O_WRONLY);
  } else if (config.kind == Kind::kFile) {
    output.reset(::open(config.path.c_str(),
                        O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0644));
    if (!output) {
      return bad_input(fmt::format("console file:{}: {}; accepted: a file to append to",
                                   config.path, std::strerror(errno)));
    }
  } else if (config.kind == Kind::kSocket) {
    auto socket = listen_on(config.path);
    HV_PROPAGATE(socket);
    listener = *std::move(socket);
  }
  std::unique_ptr<Console> console(new Console(config.kind, port));
  if (listener) console->socket_path_ = config.path;
  const auto adopt = [&port](UniqueFd fd, Descriptor& place) -> runtime::Result<> {
    if (!fd) return {};
    RT_TRY_ASSIGN(place, port.associate(std::move(fd)));
    return {};
  };
  for (auto [fd, place] :
       {std::pair(&input, &console->input_), std::pair(&output, &console->output_),
        std::pair(&listener, &console->listener_)}) {
    if (const auto adopted = adopt(std::move(*fd), *place); !adopted)
      return fail(fmt::format("console: {}", adopted.error().message()));
  }
  console->discards_ = !console->output_;
  return console;
}

Console::Console(ConsoleConfig::Kind kind, runtime::Port& port)
    : kind_(kind), port_(port), output_queued_(port), output_written_(port), input_room_(port) {}

Console::~Console() {
  if (raw_) restore_terminal();
  if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
}

// ---- moving bytes -----------------------------------------------------------------------------

Task<> Console::serve(Events events) {
  events_ = std::move(events);
  if (kind_ == ConsoleConfig::Kind::kTerminal && ::isatty(STDIN_FILENO) != 0) {
    raw_ = make_terminal_raw();
  }
  runtime::Scope streams(co_await runtime::this_source());
  if (listener_) streams.spawn(take_clients());
  if (input_) streams.spawn(give_input());
  if (output_) streams.spawn(give_output());
  (void)co_await streams.join();
}

Task<> Console::take_clients() {
  runtime::Scope clients(co_await runtime::this_source());
  for (;;) {
    auto client = co_await listener_.accept();
    if (!client) {  // cancelled, or out of descriptors for a while
      const auto rested = co_await port_.sleep_for(kAcceptPause);
      if (!rested) break;
      continue;
    }
    // One at a time: others are closed at once.
    if (!listened()) clients.spawn(serve_client(*std::move(client)));
  }
  (void)co_await clients.join();
}

Task<> Console::serve_client(UniqueFd client) {
  const auto stream = port_.associate(std::move(client));
  if (!stream) co_return;
  set_listened(true);
  runtime::Scope directions(co_await runtime::this_source());
  directions.spawn(move_input(*stream));  // the end of one ends the other
  directions.spawn(move_output(*stream));
  (void)co_await directions.join();
  set_listened(false);
}

Task<> Console::give_input() {
  (void)co_await move_input(input_);
}

// When nobody will read any more, or nothing more fits, what the guest says is swallowed.
Task<> Console::give_output() {
  (void)co_await move_output(output_);
  set_listened(false);
}

Task<runtime::Result<>> Console::move_input(const Descriptor& input) {
  std::array<std::byte, kChunk> buffer;
  for (;;) {
    RT_CO_TRY(co_await wait_for_room());
    RT_CO_TRY_ASSIGN(const size_t count, co_await input.read(buffer));
    if (count == 0) co_return runtime::failure(EPIPE);
    take_input(std::span(buffer).first(count));
  }
}

Task<runtime::Result<>> Console::move_output(const Descriptor& output) {
  std::array<std::byte, kChunk> chunk;
  for (;;) {
    const size_t size = peek_output(chunk);
    if (size == 0) {
      RT_CO_TRY(co_await output_queued_.wait());
      continue;
    }
    RT_CO_TRY_ASSIGN(const size_t count, co_await output.write(std::span(chunk).first(size)));
    wrote(count);
  }
}

Task<> Console::flush() {
  const runtime::Instant deadline = runtime::after(port_.kernel().now(), kFlushTime);
  (void)co_await runtime::with_deadline(deadline, wait_until_written());
}

Task<runtime::Result<>> Console::wait_until_written() {
  while (!all_written()) RT_CO_TRY(co_await output_written_.wait());
  co_return runtime::Result<>();
}

Task<runtime::Result<>> Console::wait_for_room() {
  for (;;) {
    {
      const std::lock_guard guard(lock_);
      if (!input_paused_) break;
    }
    RT_CO_TRY(co_await input_room_.wait());
  }
  co_return runtime::Result<>();
}

// ---- the queues -------------------------------------------------------------------------------

void Console::take_input(std::span<const std::byte> bytes) {
  const auto escape = raw_ ? std::ranges::find(bytes, std::byte{kEscape}) : bytes.end();
  {
    const std::lock_guard guard(lock_);
    for (auto byte = bytes.begin(); byte != escape; ++byte)
      to_guest_.push_back(std::to_integer<uint8_t>(*byte));
    input_paused_ = to_guest_.size() >= kQueueLimit;
  }
  events_.ready();
  if (escape != bytes.end()) events_.quit();
}

size_t Console::peek_output(std::span<std::byte> chunk) {
  const std::lock_guard guard(lock_);
  const size_t size = std::min(from_guest_.size(), chunk.size());
  for (size_t i = 0; i < size; ++i) chunk[i] = std::byte{from_guest_[i]};
  return size;
}

void Console::wrote(size_t count) {
  bool wanted;
  {
    const std::lock_guard guard(lock_);
    from_guest_.erase(from_guest_.begin(), from_guest_.begin() + static_cast<ptrdiff_t>(count));
    wanted = std::exchange(room_wanted_, false);
  }
  output_written_.set();
  if (wanted) events_.ready();
}

bool Console::all_written() {
  const std::lock_guard guard(lock_);
  return from_guest_.empty();
}

bool Console::listened() {
  const std::lock_guard guard(lock_);
  return !discards_;
}

void Console::set_listened(bool listened) {
  {
    const std::lock_guard guard(lock_);
    discards_ = !listened;
    if (listened) return;
    from_guest_.clear();
  }
  wrote(0);
}

bool Console::put(uint8_t byte) {
  bool first;
  {
    const std::lock_guard guard(lock_);
    if (discards_) return true;
    if (from_guest_.size() >= kQueueLimit) {
      room_wanted_ = true;
      return false;
    }
    first = from_guest_.empty();
    from_guest_.push_back(byte);
  }
  if (first) output_queued_.set();
  return true;
}

std::optional<uint8_t> Console::get() {
  bool resumes;
  uint8_t byte;
  {
    const std::lock_guard guard(lock_);
    if (to_guest_.empty()) return std::nullopt;
    byte = to_guest_.front();
    to_guest_.pop_front();
    resumes = input_paused_ && to_guest_.size() < kQueueLimit / 2;
    if (resumes) input_paused_ = false;
  }
  if (resumes) input_room_.set();
  return byte;
}

}  // namespace vmwp
