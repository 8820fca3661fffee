// SPDX-License-Identifier: MIT
#include "vmwp/console.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "runtime/scope.h"

namespace vmwp {
namespace {

/// Serves a console on a thread of the port, until it goes.
class Serving {
 public:
  Serving(runtime::Port& port, Console& console, Console::Events events)
      : port_(port), threads_(*runtime::IoThreads::start(port, 1)), scope_(port) {
    scope_.spawn(console.serve(std::move(events)));
  }
  ~Serving() {
    scope_.cancel();
    (void)runtime::block_on(port_, scope_.join());
  }

 private:
  runtime::Port& port_;
  runtime::IoThreads threads_;
  runtime::Scope scope_;
};

runtime::Task<> wait_for(runtime::Signal& signal) {
  (void)co_await signal.wait();
}

std::unique_ptr<runtime::Port> make_port() {
  return *runtime::Port::create({.name = "console"});
}

std::string temp_path(const char* name) {
  return ::testing::TempDir() + name + std::to_string(::getpid());
}

void say(Console& console, std::string_view text) {
  for (const char c : text) EXPECT_TRUE(console.put(static_cast<uint8_t>(c)));
}

int connect_to(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) return -1;
  return fd;
}

std::string read_some(int fd) {
  pollfd ready{fd, POLLIN, 0};
  if (::poll(&ready, 1, 5000) <= 0) return "(timeout)";
  char buffer[256];
  const ssize_t count = ::read(fd, buffer, sizeof(buffer));
  return std::string(buffer, static_cast<size_t>(count > 0 ? count : 0));
}

// A terminal hands out what was written to it in pieces.
std::string read_as_long_as(int fd, std::string_view expected) {
  std::string text;
  while (text.size() < expected.size()) {
    const std::string more = read_some(fd);
    text += more;
    if (more.empty() || more == "(timeout)") break;
  }
  return text;
}

TEST(ConsoleTest, FileGetsTheOutput) {
  const std::string path = temp_path("vmwp_console_file");
  {
    const auto port = make_port();
    const auto console = *Console::open({ConsoleConfig::Kind::kFile, path}, *port);
    const Serving serving(*port, *console, {[] {}, [] {}});
    say(*console, "to a file");
    runtime::block_on(*port, console->flush());
  }
  std::ifstream file(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "to a file");
  std::remove(path.c_str());
}

TEST(ConsoleTest, NoneSwallows) {
  const auto port = make_port();
  const auto console = *Console::open({ConsoleConfig::Kind::kNone, {}}, *port);
  for (int i = 0; i < 200'000; ++i) ASSERT_TRUE(console->put('x'));
  EXPECT_EQ(console->get(), std::nullopt);
}

TEST(ConsoleTest, SocketCarriesBothWaysAndWelcomesTheNextClient) {
  const std::string path = temp_path("vmwp_console_socket");
  const auto port = make_port();
  auto console = *Console::open({ConsoleConfig::Kind::kSocket, path}, *port);
  std::string received;
  const auto echo = [&] {
    while (const auto byte = console->get()) received += static_cast<char>(*byte);
    if (received.ends_with("\n")) say(*console, std::exchange(received, {}));
  };
  std::optional<Serving> serving(std::in_place, *port, *console, Console::Events{echo, [] {}});
  for (const std::string text : {"hello\n", "again\n"}) {
    const int client = connect_to(path);
    ASSERT_GE(client, 0);
    ASSERT_EQ(::write(client, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    EXPECT_EQ(read_as_long_as(client, text), text);
    ::close(client);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_FALSE(Console::open({ConsoleConfig::Kind::kSocket, path}, *port).has_value());  // in use
  serving.reset();
  console.reset();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(ConsoleTest, ExactComplaints) {
  const auto port = make_port();
  EXPECT_EQ(
      Console::open({ConsoleConfig::Kind::kFile, "/nonexistent/x"}, *port).error().text,
      "console file:/nonexistent/x: No such file or directory; accepted: a file to append to");
  EXPECT_EQ(Console::open({ConsoleConfig::Kind::kSocket, "/dev/null"}, *port).error().text,
            "console unix:/dev/null: exists and is no socket; accepted: a path in a writable "
            "directory where no program listens");
}

/// Runs `body` in a child whose terminal is a new one; answers its controller.
template <class Body>
pid_t on_terminal(int& controller, Body body) {
  controller = ::posix_openpt(O_RDWR | O_NOCTTY);
  ::grantpt(controller);
  ::unlockpt(controller);
  const std::string name = ::ptsname(controller);
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::setsid();
  const int terminal = ::open(name.c_str(), O_RDWR);
  for (const int fd : {0, 1}) ::dup2(terminal, fd);
  body();
  ::_exit(0);
}

bool is_raw(int controller) {
  termios state{};
  ::tcgetattr(controller, &state);
  return (state.c_lflag & (ICANON | ECHO)) == 0;
}

TEST(ConsoleTest, TerminalIsRawUntilTheEscapeAndRestoredAfter) {
  int controller;
  const pid_t child = on_terminal(controller, [] {
    const auto port = make_port();
    auto console = *Console::open({ConsoleConfig::Kind::kTerminal, {}}, *port);
    {
      runtime::Signal left(*port);
      const Serving serving(*port, *console, {[] {}, [&left] { left.set(); }});
      say(*console, "ready");
      runtime::block_on(*port, wait_for(left));
      while (const auto byte = console->get())
        say(*console, {reinterpret_cast<const char*>(&*byte), 1});
      runtime::block_on(*port, console->flush());
    }
    console.reset();
  });
  std::string seen;
  while (seen.find("ready") == std::string::npos) {
    const std::string more = read_some(controller);
    ASSERT_NE(more, "(timeout)");
    seen += more;
  }
  EXPECT_TRUE(is_raw(controller));
  ASSERT_EQ(::write(controller, "abc\x1d!", 5), 5);
  EXPECT_EQ(read_as_long_as(controller, "abc"), "abc");  // what came before the escape
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(is_raw(controller));
  ::close(controller);
}

/// The part of that time in which this process had a processor.
double busy_part(std::chrono::nanoseconds time) {
  const auto used = [] {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
  };
  const double before = used();
  std::this_thread::sleep_for(time);
  return (used() - before) / static_cast<double>(time.count());
}

template <class Condition>
bool comes_true(Condition condition) {
  for (int i = 0; i < 30'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

// In a child whose standard output is a pipe that nobody reads any more: no spinning, and what the
// guest says is swallowed. 0, or where it went wrong.
int lose_the_reader(bool full) {
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  ::dup2(::open("/dev/null", O_RDONLY), 0);
  ::dup2(ends[1], 1);
  ::close(ends[1]);
  ::signal(SIGPIPE, SIG_IGN);
  const auto port = make_port();
  const auto console = *Console::open({ConsoleConfig::Kind::kTerminal, {}}, *port);
  std::atomic<bool> woken = false;
  const Serving serving(*port, *console, {[&] { woken = true; }, [] {}});
  while (full && console->put('x')) {
  }
  ::close(ends[0]);
  if (busy_part(std::chrono::milliseconds(200)) > 0.5) return 2;
  // The byte that was refused must be asked for again.
  if (full && !comes_true([&] { return woken.load(); })) return 3;
  for (int i = 0; i < 200'000; ++i) {
    if (!comes_true([&] { return console->put('x'); })) return 4;
  }
  return 0;
}

TEST(ConsoleTest, OutputThatNobodyReadsIsGivenUp) {
  for (const bool full : {false, true}) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(lose_the_reader(full));
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << full;
  }
}

TEST(ConsoleTest, TerminalIsRestoredByAFatalSignal) {
  int controller;
  const pid_t child = on_terminal(controller, [] {
    const auto port = make_port();
    const auto console = *Console::open({ConsoleConfig::Kind::kTerminal, {}}, *port);
    const Serving serving(*port, *console, {[] {}, [] {}});
    say(*console, "raw");
    runtime::block_on(*port, console->flush());
    ::raise(SIGABRT);
  });
  EXPECT_EQ(read_as_long_as(controller, "raw"), "raw");
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(is_raw(controller));
  ::close(controller);
}

}  // namespace
}  // namespace vmwp
