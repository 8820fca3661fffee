// SPDX-License-Identifier: MIT
#include "vmwp/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace vmwp {
namespace {

constexpr size_t kQueueLimit = 64 * 1024;
constexpr size_t kChunk = 1024;
constexpr auto kFlushTime = std::chrono::milliseconds(1500);

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

Result<std::unique_ptr<Console>> Console::open(const ConsoleConfig& config) {
  using Kind = ConsoleConfig::Kind;
  UniqueFd input, output;
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
  }
  std::unique_ptr<Console> console(new Console(config.kind, std::move(input), std::move(output)));
  if (config.kind == Kind::kSocket) {
    auto listener = listen_on(config.path);
    HV_PROPAGATE(listener);
    console->listener_ = *std::move(listener);
    console->socket_path_ = config.path;
  }
  return console;
}

Console::Console(ConsoleConfig::Kind kind, UniqueFd input, UniqueFd output)
    : kind_(kind), input_(std::move(input)), output_(std::move(output)) {
  discards_ = !output_;
}

Console::~Console() {
  if (raw_) restore_terminal();
  if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
}

void Console::attach(EventLoop& loop, std::function<void()> ready, std::function<void()> quit) {
  loop_ = &loop;
  ready_ = std::move(ready);
  quit_ = std::move(quit);
  if (kind_ == ConsoleConfig::Kind::kTerminal && ::isatty(STDIN_FILENO) != 0) {
    raw_ = make_terminal_raw();
  }
  loop.watch(doorbell_.fd(), EPOLLIN, [this](uint32_t) { on_doorbell(); });
  if (listener_) loop.watch(listener_.get(), EPOLLIN, [this](uint32_t) { accept_client(); });
  watch_streams();
}

void Console::watch_streams() {
  if (input_) loop_->watch(input_.get(), EPOLLIN, [this](uint32_t) { on_input(); });
  // Separate descriptors even for a socket: each has its own registration.
  if (output_) {
    loop_->watch(output_.get(), 0, [this](uint32_t events) {
      // Errors are told whether asked for or not, and again for as long as they are there.
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) lose_output();
      if (drain_output()) ready_();
    });
  }
}

void Console::accept_client() {
  UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client || input_) return;  // one client at a time: others are closed at once
  output_.reset(::fcntl(client.get(), F_DUPFD_CLOEXEC, 3));
  input_ = std::move(client);
  {
    const std::lock_guard guard(lock_);
    discards_ = false;
    output_wanted_ = false;
  }
  watch_streams();
}

// Input or output ended: of a socket wait for the next client, else go on without.
void Console::drop_client() {
  loop_->forget(input_.get());
  input_.reset(-1);
  if (kind_ != ConsoleConfig::Kind::kSocket) return;
  loop_->forget(output_.get());
  output_.reset(-1);
  const std::lock_guard guard(lock_);
  discards_ = true;
  from_guest_.clear();
  input_paused_ = false;
}

// Nobody will read any more, or nothing more fits: what the guest says is swallowed.
void Console::lose_output() {
  if (kind_ == ConsoleConfig::Kind::kSocket) return drop_client();
  if (loop_ != nullptr) loop_->forget(output_.get());
  output_.reset(-1);
  const std::lock_guard guard(lock_);
  discards_ = true;
  from_guest_.clear();
}

void Console::on_input() {
  std::array<uint8_t, kChunk> buffer;
  const ssize_t count = ::read(input_.get(), buffer.data(), buffer.size());
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    drop_client();
    ready_();
    return;
  }
  const std::span bytes(buffer.data(), static_cast<size_t>(count));
  const auto escape = raw_ ? std::ranges::find(bytes, kEscape) : bytes.end();
  {
    const std::lock_guard guard(lock_);
    to_guest_.insert(to_guest_.end(), bytes.begin(), escape);
    if (to_guest_.size() >= kQueueLimit) {
      input_paused_ = true;
      loop_->modify(input_.get(), 0);
    }
  }
  ready_();
  if (escape != bytes.end()) quit_();
}

// A VP thread left bytes to write, or took bytes and made room.
void Console::on_doorbell() {
  doorbell_.drain();
  {
    const std::lock_guard guard(lock_);
    if (input_paused_ && to_guest_.size() < kQueueLimit / 2) {
      input_paused_ = false;
      if (input_) loop_->modify(input_.get(), EPOLLIN);
    }
  }
  if (drain_output()) ready_();
}

// Writes what can be written now. True: a refused put() would succeed now.
bool Console::drain_output() {
  while (output_) {
    std::array<uint8_t, kChunk> chunk;
    size_t size;
    {
      const std::lock_guard guard(lock_);
      size = std::min(from_guest_.size(), chunk.size());
      std::copy_n(from_guest_.begin(), size, chunk.begin());
    }
    if (size == 0) break;
    // A shared description may block: ask first. One chunk fits where poll() says there is room.
    pollfd room{output_.get(), POLLOUT, 0};
    const bool writable = ::poll(&room, 1, 0) > 0;
    const ssize_t written = writable ? ::write(output_.get(), chunk.data(), size) : -1;
    if (written < 0 && (!writable || errno == EAGAIN || errno == EINTR)) {
      set_output_wanted(true);
      return false;
    }
    if (written < 0) {
      lose_output();
      break;
    }
    const std::lock_guard guard(lock_);
    from_guest_.erase(from_guest_.begin(), from_guest_.begin() + written);
  }
  if (output_) set_output_wanted(false);
  const std::lock_guard guard(lock_);
  return std::exchange(room_wanted_, false);
}

void Console::set_output_wanted(bool wanted) {
  if (std::exchange(output_wanted_, wanted) == wanted) return;
  loop_->modify(output_.get(), wanted ? uint32_t{EPOLLOUT} : 0u);
}

void Console::flush() {
  const auto deadline = std::chrono::steady_clock::now() + kFlushTime;
  while (output_ && std::chrono::steady_clock::now() < deadline) {
    drain_output();
    {
      const std::lock_guard guard(lock_);
      if (from_guest_.empty()) return;
    }
    pollfd room{output_.get(), POLLOUT, 0};
    ::poll(&room, 1, 50);
  }
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
  if (first) doorbell_.ring();
  return true;
}

std::optional<uint8_t> Console::get() {
  bool resume;
  uint8_t byte;
  {
    const std::lock_guard guard(lock_);
    if (to_guest_.empty()) return std::nullopt;
    byte = to_guest_.front();
    to_guest_.pop_front();
    resume = input_paused_ && to_guest_.size() == kQueueLimit / 2 - 1;
  }
  if (resume) doorbell_.ring();
  return byte;
}

}  // namespace vmwp
