// SPDX-License-Identifier: MIT
// What the kernel may refuse, injected at the seam: every error is delivered exactly once, nothing
// is lost, nothing comes twice, and nobody is left waiting.
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "runtime/scope.h"
#include "tests/unit/runtime/faulty_kernel.h"
#include "tests/unit/runtime/port_fixture.h"

namespace runtime {
namespace {

using namespace std::chrono_literals;

class FaultTest : public PortTest {
 protected:
  void SetUp() override {}

  void open_faulty(FaultyKernel& kernel, unsigned entries = 256) {
    open({.entries = entries, .kernel = &kernel});
  }

  struct Read : Operation {
    std::array<std::byte, 16> buffer{};
    uint64_t offset = 0;
  };

  static std::string pattern(size_t size) {
    std::string text(size, ' ');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
    return text;
  }

  // Issues `count` reads at once and checks every one of them.
  void read_many(int count, bool may_fail) {
    const std::string content = pattern(static_cast<size_t>(count) + 16);
    const Descriptor file = associate(file_with(content).release());
    auto seat = port_->take_seat();
    ASSERT_TRUE(seat);
    std::vector<Read> reads(static_cast<size_t>(count));
    for (size_t i = 0; i < reads.size(); ++i) {
      reads[i].offset = i;
      file.read(reads[i].buffer, i).start(reads[i]);
    }
    std::map<Operation*, int> seen;
    const Instant limit = port_->kernel().now() + 60s;
    while (seen.size() < reads.size() && port_->kernel().now() < limit) {
      std::array<Packet, 32> packets;
      const size_t got = seat->wait(packets, port_->kernel().now() + 1s);
      for (size_t i = 0; i < got; ++i) {
        auto& read = static_cast<Read&>(*packets[i].operation);
        EXPECT_EQ(++seen[&read], 1);
        if (packets[i].result < 0) {
          EXPECT_TRUE(may_fail);
          EXPECT_EQ(packets[i].result, -EBADF);
          continue;
        }
        ASSERT_GT(packets[i].result, 0);
        EXPECT_EQ(std::memcmp(read.buffer.data(), content.data() + read.offset,
                              static_cast<size_t>(packets[i].result)),
                  0);
      }
    }
    EXPECT_EQ(seen.size(), reads.size());
    Packet none;
    EXPECT_EQ(seat->wait({&none, 1}, port_->kernel().now() + 2ms), 0U);
  }
};
INSTANTIATE_ENGINES(FaultTest);

TEST_P(FaultTest, MoreRequestsThanTheRingHolds) {
  FaultyKernel kernel(1, 0);
  open_faulty(kernel, 4);
  read_many(1000, false);
}

TEST_P(FaultTest, RefusedInterruptedAndPartialTurns) {
  FaultyKernel kernel(2, 0.3);
  open_faulty(kernel, 16);
  read_many(600, false);
  EXPECT_GT(kernel.faults(), 0U);
}

TEST_P(FaultTest, LostDescriptorsAndShortReads) {
  FaultyKernel kernel(3, 0.3);
  kernel.lose_descriptors(true);
  open_faulty(kernel, 16);
  read_many(600, true);
  EXPECT_GT(kernel.faults(), 0U);
}

TEST_P(FaultTest, ARingThatTakesNothingForALongTime) {
  for (const int error : {-EINTR, -EAGAIN, -EBUSY, -ENOMEM}) {
    FaultyKernel kernel(4, 0);
    open_faulty(kernel);
    kernel.fail_turns(error, 50);
    read_many(20, false);
  }
}

TEST_P(FaultTest, AHardErrorGoesToEveryRequestOfTheSubmission) {
  FaultyKernel kernel(5, 0);
  open_faulty(kernel);
  kernel.fail_turns(-EBADF, 1);
  read_many(20, true);
  EXPECT_EQ(kernel.faults(), 1U);
  read_many(20, false);
}

TEST_P(FaultTest, CancelsAreNotLostInARefusedSubmission) {
  for (const int error : {-ENOMEM, -EBADF}) {
    FaultyKernel kernel(6, 0);
    open_faulty(kernel);
    auto [near, far] = stream_pair();
    auto seat = port_->take_seat();
    ASSERT_TRUE(seat);
    std::array<std::byte, 8> buffer;
    Operation receiving;
    near.receive(buffer).start(receiving);
    Packet packet;
    EXPECT_EQ(seat->wait({&packet, 1}, port_->kernel().now() + 2ms), 0U);
    EXPECT_TRUE(port_->cancel(receiving));
    kernel.fail_turns(error, 3);
    while (seat->wait({&packet, 1}, port_->kernel().now() + 60s) == 0) {
    }
    EXPECT_EQ(packet.operation, &receiving);
    EXPECT_EQ(packet.result, -ECANCELED);
  }
}

TEST_P(FaultTest, WakeUpsSurviveARefusedSubmission) {
  FaultyKernel kernel(7, 0);
  open_faulty(kernel);
  kernel.fail_turns(-EBADF, 3);
  auto threads = IoThreads::start(*port_, 1);
  ASSERT_TRUE(threads);
  for (int i = 0; i < 20; ++i) {
    const auto nothing = []() -> Task<int> { co_return 1; };
    EXPECT_EQ(block_on(*port_, nothing()), 1);
  }
}

TEST(FaultAtStart, EveryStepOfOpeningMayFail) {
  struct Failing : Kernel {
    int steps;
    int left = 0;
    int opened = 0;
    explicit Failing(int step) : steps(step), left(step) {}
    bool fails() { return left-- == 0; }
    int ring_setup(unsigned entries, io_uring_params& parameters) override {
      return fails() ? -ENOMEM : Kernel::ring_setup(entries, parameters);
    }
    int ring_map(int fd, io_uring_params& parameters, io_uring& ring) override {
      if (!fails()) return Kernel::ring_map(fd, parameters, ring);
      Kernel::close(fd);
      return -ENOMEM;
    }
    int event_create() override { return fails() ? -EMFILE : Kernel::event_create(); }
    int epoll_create() override { return fails() ? -EMFILE : Kernel::epoll_create(); }
    int epoll_control(int epoll, int operation, int fd, epoll_event* event) override {
      return fails() ? -ENOSPC : Kernel::epoll_control(epoll, operation, fd, event);
    }
  };
  for (const EngineKind kind : {EngineKind::kUring, EngineKind::kEpoll}) {
    for (int step = 0; step < 3; ++step) {
      Failing kernel(step);
      const auto port = Port::create({.engine = kind, .kernel = &kernel});
      EXPECT_FALSE(port) << step;
    }
    Failing kernel(3);  // opening the trial works, and the first seat fails
    const auto port = Port::create({.engine = kind, .kernel = &kernel});
    ASSERT_TRUE(port);
    EXPECT_FALSE((*port)->take_seat());
    EXPECT_TRUE((*port)->take_seat());
  }
}

// A wall clock that the test sets, and a timer that says so.
class SettableClock : public Kernel {
 public:
  WallTime wall_now() override { return Kernel::wall_now() + Nanoseconds(shift_.load()); }
  int timer_create(int) override { return timer_ = Kernel::event_create(); }
  int timer_set(int fd, int, const itimerspec&) override {
    uint64_t count;
    while (::read(fd, &count, sizeof(count)) > 0) {
    }
    return 0;
  }
  void set_forward(Nanoseconds shift) {
    shift_ += shift.count();
    const uint64_t one = 1;
    EXPECT_EQ(::write(timer_, &one, sizeof(one)), 8);
  }

 private:
  std::atomic<int64_t> shift_ = 0;
  int timer_ = -1;
};

TEST_P(FaultTest, WallTimersFollowTheClockThatIsSet) {
  SettableClock kernel;
  open({.kernel = &kernel});
  auto seat = port_->take_seat();
  ASSERT_TRUE(seat);
  Operation in_an_hour;
  Operation in_two;
  port_->sleep_until(kernel.wall_now() + 1h).start(in_an_hour);
  port_->sleep_until(kernel.wall_now() + 2h).start(in_two);
  Packet packet;
  EXPECT_EQ(seat->wait({&packet, 1}, kernel.now() + 2ms), 0U);
  std::jthread setter([&] { kernel.set_forward(90min); });
  ASSERT_EQ(seat->wait({&packet, 1}, kernel.now() + 60s), 1U);
  EXPECT_EQ(packet.operation, &in_an_hour);
  setter.join();
  // Back again: what is left of the second hour is longer now.
  kernel.set_forward(-90min);
  EXPECT_EQ(seat->wait({&packet, 1}, kernel.now() + 2ms), 0U);
  kernel.set_forward(3h);
  ASSERT_EQ(seat->wait({&packet, 1}, kernel.now() + 60s), 1U);
  EXPECT_EQ(packet.operation, &in_two);
}

}  // namespace
}  // namespace runtime
