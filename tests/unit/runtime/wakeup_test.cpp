// SPDX-License-Identifier: MIT
// Lost wake-ups: each test brings about, step by step, a moment at which a thread that waits could
// be forgotten, and lets what should wake it be the only thing that does.
#include <array>
#include <functional>
#include <thread>
#include <vector>

#include "runtime/scope.h"
#include "tests/unit/runtime/port_fixture.h"

#include <liburing.h>

namespace runtime {
namespace {

using namespace std::chrono_literals;

constexpr auto kGenerous = 60s;

/// Knows who waits, and may do something else instead of waiting.
class WatchedKernel : public Kernel {
 public:
  int ring_enter(io_uring& ring, unsigned to_submit, unsigned min_complete, unsigned flags,
                 const Nanoseconds* timeout) override {
    if (refuses_room_ && flags == 0) return -EBUSY;
    refuses_room_ = false;
    if (min_complete > 0) {
      if (instead_of_wait()) return -ETIME;
      ++waits_;
    }
    return Kernel::ring_enter(ring, to_submit, min_complete, flags, timeout);
  }
  int epoll_wait(int epoll, epoll_event* events, int count, const Nanoseconds* timeout) override {
    if (!timeout || timeout->count() > 0) {
      if (instead_of_wait()) return 0;
      ++waits_;
    }
    return Kernel::epoll_wait(epoll, events, count, timeout);
  }

  /// Since the last call: a thread is parked at its port, and in the kernel or about to be.
  void await_waits(int count) {
    while (waits_ < count) std::this_thread::yield();
    waits_ = 0;
  }
  /// What the calling thread does when it would wait next.
  void instead(std::function<void()> action) {
    actor_ = std::this_thread::get_id();
    action_ = std::move(action);
  }
  /// Takes no submission that only makes room, until the next that does more.
  void refuse_room() { refuses_room_ = true; }

 private:
  bool instead_of_wait() {
    if (actor_.load() != std::this_thread::get_id() || !action_) return false;
    std::exchange(action_, nullptr)();
    return true;
  }

  std::atomic<int> waits_ = 0;
  std::atomic<bool> refuses_room_ = false;
  std::atomic<std::thread::id> actor_{};
  std::function<void()> action_;  // the actor's alone
};

class WakeUpTest : public PortTest {
 protected:
  void SetUp() override {}
  void TearDown() override { port_.reset(); }  // before its kernel

  // Entries of the ring that nothing completes, and no room for more until the next wait.
  void fill_ring(const Descriptor& idle, std::array<Operation, 4>& receiving) {
    kernel_.refuse_room();
    for (Operation& operation : receiving) idle.receive(unused_).start(operation);
  }
  void empty_ring(Seat& seat, Descriptor& idle) {
    idle.cancel();
    std::array<Packet, 4> packets;
    for (size_t left = 4; left > 0;) left -= seat.wait(packets);
  }

  /// When a ring has no room left, `start` lets something end the wait for `expected`: at once, or
  /// in the thread that it answers.
  template <class Start>
  void expect_from_full_ring(Operation& expected, Start start) {
    open({.entries = 4, .kernel = &kernel_});
    if (port_->engine() != EngineKind::kUring) GTEST_SKIP() << "has no ring";
    auto seat = port_->take_seat();
    ASSERT_TRUE(seat);
    auto [near, far] = stream_pair();
    std::array<Operation, 4> receiving;
    fill_ring(near, receiving);
    const std::jthread starter = start(near);
    const Instant deadline = later();
    Packet packet;
    ASSERT_EQ(seat->wait({&packet, 1}, deadline), 1U);
    EXPECT_EQ(packet.operation, &expected);
    EXPECT_LT(kernel_.now(), deadline);
    empty_ring(*seat, near);
  }

  Instant later() { return kernel_.now() + kGenerous; }

  WatchedKernel kernel_;
  std::array<std::byte, 1> unused_{};
};
INSTANTIATE_ENGINES(WakeUpTest);

struct Flagged : Operation {
  Flagged()
      : Operation([](Operation& operation) { static_cast<Flagged&>(operation).ran = true; }) {}
  std::atomic<bool> ran = false;
};

TEST_P(WakeUpTest, AHandOverToAThreadWhoseWaitIsOverGoesToAnother) {
  open({.kernel = &kernel_});
  auto threads = IoThreads::start(*port_, 1);
  ASSERT_TRUE(threads);
  kernel_.await_waits(1);
  auto seat = port_->take_seat();
  ASSERT_TRUE(seat);
  const Instant deadline = kernel_.now() + 20ms;
  Flagged operation;
  // This thread began to wait last, so the request is for it.
  kernel_.instead([&] {
    std::jthread([&] { port_->sleep_for(0ns).start(operation); }).join();
    std::this_thread::sleep_until(deadline);
  });
  EXPECT_EQ(seat->wait({}, deadline), 0U);
  for (const Instant limit = later(); !operation.ran && kernel_.now() < limit;)
    std::this_thread::yield();
  EXPECT_TRUE(operation.ran);
}

TEST_P(WakeUpTest, ASlotGivenUpForAWaitGoesToAThreadThatTakesPackets) {
  open({.concurrency = 1, .kernel = &kernel_});
  Operation posted;
  std::jthread taker([&] {
    auto seat = port_->take_seat();
    ASSERT_TRUE(seat);
    Packet packet;
    EXPECT_EQ(seat->wait({&packet, 1}, later()), 1U);
    EXPECT_EQ(packet.operation, &posted);
    port_->stop();
  });
  kernel_.await_waits(1);
  auto seat = port_->take_seat();
  ASSERT_TRUE(seat);
  struct Posting : Operation {
    Posting(Port& to, Operation& what)
        : Operation([](Operation& operation) {
            auto& self = static_cast<Posting&>(operation);
            self.port.post(self.posted, Key{});
          }),
          port(to),
          posted(what) {}
    Port& port;
    Operation& posted;
  } posting(*port_, posted);
  // While this thread's handler runs, it has the only slot.
  port_->sleep_for(0ns).start(posting);
  const Instant deadline = later();
  while (!port_->stopped() && kernel_.now() < deadline) seat->wait({}, deadline);
  EXPECT_LT(kernel_.now(), deadline);
}

TEST_P(WakeUpTest, ARequestThatFoundNoRoomIsNotForgotten) {
  Operation sending;
  expect_from_full_ring(sending, [&](const Descriptor& near) {
    near.send(unused_).start(sending);
    return std::jthread();
  });
}

TEST_P(WakeUpTest, AThreadThatCouldNotBeWokenDoesNotWait) {
  Operation posted;
  expect_from_full_ring(posted, [&](const Descriptor&) {
    return std::jthread([&] {
      kernel_.await_waits(1);
      port_->post(posted, Key{});
    });
  });
}

TEST_P(WakeUpTest, ASeatedThreadEndsItsTasksOnAPortThatWasStopped) {
  open({});
  auto seat = port_->take_seat();
  ASSERT_TRUE(seat);
  port_->stop();
  const auto sleep = [](Port& port) -> Task<Result<>> { co_return co_await port.sleep_for(1ms); };
  EXPECT_TRUE(block_on(*port_, sleep(*port_)));
}

}  // namespace
}  // namespace runtime
