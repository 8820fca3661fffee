// SPDX-License-Identifier: MIT
#include "runtime/scope.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <thread>

#include "tests/unit/runtime/port_fixture.h"

namespace runtime {
namespace {

using namespace std::chrono_literals;

class ScopeTest : public PortTest {};
INSTANTIATE_ENGINES(ScopeTest);

Task<int> answer() {
  co_return 42;
}
Task<int> twice() {
  co_return co_await answer() + co_await answer();
}

TEST_P(ScopeTest, TaskAnswersItsAwaiter) {
  auto seat = port_->take_seat();
  ASSERT_TRUE(seat);
  EXPECT_EQ(block_on(*port_, twice()), 84);
}

TEST_P(ScopeTest, ThreadWithoutSeatBlocksOnThePortsThreads) {
  auto threads = IoThreads::start(*port_, 2);
  ASSERT_TRUE(threads);
  const auto here = [](Port& port) -> Task<bool> { co_return port.seated(); };
  EXPECT_TRUE(block_on(*port_, here(*port_)));
}

Task<Result<size_t>> echo_once(const Descriptor& socket) {
  std::array<std::byte, 64> buffer;
  RT_CO_TRY_ASSIGN(const size_t count, co_await socket.receive(buffer));
  co_return co_await socket.send(std::span(buffer).first(count));
}

TEST_P(ScopeTest, AwaitsTheKernel) {
  auto threads = IoThreads::start(*port_, 2);
  ASSERT_TRUE(threads);
  auto [near, far] = stream_pair();
  const auto talk = [](const Descriptor& a, const Descriptor& b) -> Task<Result<std::string>> {
    auto [echoed, said] =
        co_await when_all(echo_once(a), [](const Descriptor& socket) -> Task<Result<size_t>> {
          co_return co_await socket.send(bytes_of("hello"));
        }(b));
    RT_CO_TRY(echoed);
    RT_CO_TRY(said);
    std::array<std::byte, 64> buffer;
    RT_CO_TRY_ASSIGN(const size_t count, co_await b.receive(buffer));
    co_return std::string(reinterpret_cast<const char*>(buffer.data()), count);
  };
  const auto heard = block_on(*port_, talk(near, far));
  ASSERT_TRUE(heard) << heard.error().message();
  EXPECT_EQ(*heard, "hello");
}

Task<Result<>> receive_forever(const Descriptor& socket, std::atomic<int>& running) {
  std::array<std::byte, 64> buffer;
  ++running;
  const auto result = co_await socket.receive(buffer);
  --running;
  if (!result) co_return std::unexpected(result.error());
  co_return Result<>();
}

TEST_P(ScopeTest, CancelFromAnotherThreadReachesTheKernel) {
  auto threads = IoThreads::start(*port_, 2);
  ASSERT_TRUE(threads);
  auto [near, far] = stream_pair();
  Scope scope(*port_);
  std::atomic<int> running = 0;
  for (int i = 0; i < 8; ++i) scope.spawn(receive_forever(near, running));
  while (running != 8) std::this_thread::yield();
  scope.cancel();
  const Result<> result = block_on(*port_, scope.join());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), system_error(ECANCELED));
  EXPECT_EQ(running, 0);
}

TEST_P(ScopeTest, FirstErrorEndsTheSiblings) {
  auto threads = IoThreads::start(*port_, 2);
  ASSERT_TRUE(threads);
  auto [near, far] = stream_pair();
  Scope scope(*port_);
  std::atomic<int> running = 0;
  scope.spawn(receive_forever(near, running));
  scope.spawn([](Port& port) -> Task<Result<>> {
    co_await port.sleep_for(1ms);
    co_return failure(EPROTO);
  }(*port_));
  const Result<> result = block_on(*port_, scope.join());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), system_error(EPROTO));
}

TEST_P(ScopeTest, RequestsUnderACancelledSourceFailAtOnce) {
  auto seat = port_->take_seat();
  ASSERT_TRUE(seat);
  auto [near, far] = stream_pair();
  Scope scope(*port_);
  scope.cancel();
  std::atomic<int> running = 0;
  scope.spawn(receive_forever(near, running));
  const Result<> result = block_on(*port_, scope.join());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), system_error(ECANCELED));
}

TEST_P(ScopeTest, DeadlineEndsATaskThatWaits) {
  auto seat = port_->take_seat();
  ASSERT_TRUE(seat);
  auto [near, far] = stream_pair();
  std::atomic<int> running = 0;
  const auto result =
      block_on(*port_, with_deadline(port_->kernel().now() + 5ms, receive_forever(near, running)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), system_error(ETIMEDOUT));
}

TEST_P(ScopeTest, DeadlineLeavesAFastTaskAlone) {
  auto seat = port_->take_seat();
  ASSERT_TRUE(seat);
  const auto quick = []() -> Task<Result<int>> { co_return 7; };
  const auto result = block_on(*port_, with_deadline(port_->kernel().now() + 1h, quick()));
  ASSERT_TRUE(result);
  EXPECT_EQ(*result, 7);
}

TEST_P(ScopeTest, WhenAllOfManyKeepsTheOrder) {
  auto threads = IoThreads::start(*port_, 2);
  ASSERT_TRUE(threads);
  const auto late = [](Port& port, int i) -> Task<int> {
    co_await port.sleep_for(std::chrono::microseconds(100 * (20 - i)));
    co_return i;
  };
  std::vector<Task<int>> tasks;
  tasks.reserve(20);
  for (int i = 0; i < 20; ++i) tasks.push_back(late(*port_, i));
  const std::vector<int> values = block_on(*port_, when_all(std::move(tasks)));
  ASSERT_EQ(values.size(), 20U);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(values[static_cast<size_t>(i)], i);
}

TEST_P(ScopeTest, SignalCrossesThreads) {
  auto threads = IoThreads::start(*port_, 2);
  ASSERT_TRUE(threads);
  Signal ping(*port_);
  Signal pong(*port_);
  constexpr int kRounds = 200;
  const auto player = [](Signal& mine, Signal& other, int rounds) -> Task<int> {
    int heard = 0;
    for (int i = 0; i < rounds; ++i) {
      if (!co_await mine.wait()) break;
      ++heard;
      other.set();
    }
    co_return heard;
  };
  ping.set();
  const auto [a, b] =
      block_on(*port_, when_all(player(ping, pong, kRounds), player(pong, ping, kRounds)));
  EXPECT_EQ(a, kRounds);
  EXPECT_EQ(b, kRounds);
}

TEST_P(ScopeTest, SignalWaitIsCancelled) {
  auto threads = IoThreads::start(*port_, 1);
  ASSERT_TRUE(threads);
  Signal never(*port_);
  Scope scope(*port_);
  scope.spawn([](Signal& signal) -> Task<Result<>> { co_return co_await signal.wait(); }(never));
  scope.cancel();
  const Result<> result = block_on(*port_, scope.join());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), system_error(ECANCELED));
}

TEST_P(ScopeTest, DeepAndLongChainsNeedNoStack) {
  auto seat = port_->take_seat();
  ASSERT_TRUE(seat);
  const auto loop = []() -> Task<int> {
    int sum = 0;
    for (int i = 0; i < 100'000; ++i) sum += co_await answer() - 41;
    co_return sum;
  };
  EXPECT_EQ(block_on(*port_, loop()), 100'000);
}

}  // namespace
}  // namespace runtime
