// SPDX-License-Identifier: MIT
// The examples of docs/runtime.md, compiled and run: the last test holds every fenced example
// against this file and pool_guide_test.cpp, so change both together.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "runtime/scope.h"
#include "tests/unit/runtime/port_fixture.h"

namespace runtime {
namespace {

using namespace std::chrono_literals;

// ---- A VSP in straight code --------------------------------------------------------------------

struct DiskRequest {
  uint64_t offset = 0;
  std::span<std::byte> pages;
};

Task<Result<>> read_fully(const Descriptor& disk, DiskRequest request) {
  while (!request.pages.empty()) {
    RT_CO_TRY_ASSIGN(const size_t count, co_await disk.read(request.pages, request.offset));
    if (count == 0) co_return failure(EIO);  // beyond the end
    request.pages = request.pages.subspan(count);
    request.offset += count;
  }
  co_return Result<>();
}

// ---- A channel: wait, serve side by side, end together -----------------------------------------

struct Channel {
  std::vector<DiskRequest> take_all() { return std::exchange(waiting, {}); }
  std::vector<DiskRequest> waiting;
};

Task<Result<>> serve_channel(const Descriptor& doorbell, const Descriptor& disk, Channel& channel) {
  Scope requests(co_await this_source());
  for (;;) {
    uint64_t rings = 0;
    const auto rung = co_await doorbell.read(std::as_writable_bytes(std::span(&rings, 1)));
    if (!rung) break;  // cancelled: the channel closes
    for (const DiskRequest& request : channel.take_all()) requests.spawn(read_fully(disk, request));
  }
  co_return co_await requests.join();
}

// ---- Deadlines ---------------------------------------------------------------------------------

Task<Result<size_t>> receive_some(const Descriptor& socket, std::span<std::byte> buffer) {
  co_return co_await socket.receive(buffer);
}

Task<Result<size_t>> receive_within(Port& port, const Descriptor& socket,
                                    std::span<std::byte> buffer) {
  const Instant deadline = port.kernel().now() + 5ms;
  co_return co_await with_deadline(deadline, receive_some(socket, buffer));
}

// ---- Other threads -----------------------------------------------------------------------------

// Any thread may call `changed.set()`: one that sits in RUN_VP, say.
Task<Result<int>> count_changes(Signal& changed, int wanted) {
  int seen = 0;
  while (seen < wanted) {
    RT_CO_TRY(co_await changed.wait());
    ++seen;
  }
  co_return seen;
}

// ---- The tests ---------------------------------------------------------------------------------

TEST(GuideTest, StartsAPortAndBlocksOnATask) {
  const UniqueFd image(::memfd_create("image", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(image.get(), 8192), 0);
  std::array<std::byte, 4096> page{};

  const auto start = [&]() -> Result<> {
    RT_TRY_ASSIGN(const std::unique_ptr<Port> port, Port::create({.name = "storage"}));
    RT_TRY_ASSIGN(const IoThreads threads, IoThreads::start(*port, 2));
    RT_TRY_ASSIGN(const Descriptor disk, port->associate(UniqueFd(::dup(image.get()))));
    return block_on(*port, read_fully(disk, {.offset = 0, .pages = page}));
  };
  const Result<> result = start();
  EXPECT_TRUE(result) << result.error().message();
}

TEST(GuideTest, ServesAChannelUntilItIsCancelled) {
  auto port = *Port::create();
  auto threads = *IoThreads::start(*port, 2);
  const int bell = ::eventfd(0, EFD_CLOEXEC);
  auto doorbell = *port->associate(UniqueFd(bell));
  UniqueFd image(::memfd_create("image", MFD_CLOEXEC));
  const char text[] = "sector";
  ASSERT_EQ(::pwrite(image.get(), text, sizeof(text), 0), static_cast<ssize_t>(sizeof(text)));
  auto disk = *port->associate(std::move(image));
  std::array<std::byte, sizeof(text)> buffer{};
  Channel channel{{{.offset = 0, .pages = buffer}}};

  Scope vm(*port);
  vm.spawn(serve_channel(doorbell, disk, channel));
  const uint64_t one = 1;
  ASSERT_EQ(::write(bell, &one, sizeof(one)), 8);
  // The start of the task, the doorbell, and the request.
  while (port->counters().operations < 3) std::this_thread::yield();
  vm.cancel();
  EXPECT_TRUE(block_on(*port, vm.join()));
  EXPECT_EQ(std::memcmp(buffer.data(), text, sizeof(text)), 0);
}

TEST(GuideTest, GivesUpAtADeadline) {
  auto port = *Port::create();
  auto seat = *port->take_seat();
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  auto near = *port->associate(UniqueFd(fds[0]));
  auto far = *port->associate(UniqueFd(fds[1]));
  std::array<std::byte, 16> buffer;
  const auto result = block_on(*port, receive_within(*port, near, buffer));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), system_error(ETIMEDOUT));
}

TEST(GuideTest, HearsOfOtherThreads) {
  auto port = *Port::create();
  auto threads = *IoThreads::start(*port, 1);
  Signal changed(*port);
  std::jthread vp([&] { changed.set(); });
  EXPECT_EQ(*block_on(*port, count_changes(changed, 1)), 1);
}

TEST(GuideTest, TakesPackets) {
  auto port = *Port::create();
  UniqueFd file(::memfd_create("file", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  std::array<std::byte, 512> buffer{};
  Operation posted;
  port->post(posted, Key{9}, 42);

  struct Read : Operation {
    uint64_t sector = 0;
  };
  auto seat = *port->take_seat();
  const auto disk = *port->associate(std::move(file), Key{7});
  Read read;
  read.sector = 3;
  disk.read(buffer, read.sector * 512).start(read);

  int reads = 0;
  for (int expected = 2; expected > 0;) {
    std::array<Packet, 16> packets;
    const size_t count = seat.wait(packets, port->kernel().now() + 1s);
    for (const Packet& packet : std::span(packets).first(count)) {
      --expected;
      if (packet.key == Key{7}) reads += static_cast<Read&>(*packet.operation).sector == 3;
    }
  }
  EXPECT_EQ(reads, 1);
}

std::string without_indentation(std::istream& stream) {
  std::string text;
  for (std::string line; std::getline(stream, line);) {
    const size_t start = line.find_first_not_of(' ');
    text += (start == std::string::npos ? "" : line.substr(start)) + "\n";
  }
  return text;
}

TEST(GuideTest, EveryExampleOfTheGuideIsCompiledHere) {
  const std::string root = PARTITA_SOURCE_DIR;
  std::string compiled;
  for (const char* name : {"guide_test.cpp", "pool_guide_test.cpp"}) {
    std::ifstream source(root + "/tests/unit/runtime/" + name);
    ASSERT_TRUE(source) << name << " is gone";
    compiled += without_indentation(source);
  }
  std::ifstream guide(root + "/docs/runtime.md");
  ASSERT_TRUE(guide) << "docs/runtime.md is gone";
  int examples = 0;
  for (std::string line; std::getline(guide, line);) {
    if (line != "```cpp") continue;
    std::stringstream example;
    while (std::getline(guide, line) && line != "```") example << line << "\n";
    const std::string text = without_indentation(example);
    EXPECT_NE(compiled.find(text), std::string::npos) << "not compiled anywhere:\n" << text;
    ++examples;
  }
  EXPECT_GE(examples, 5);
}

}  // namespace
}  // namespace runtime
