// SPDX-License-Identifier: MIT
#include "vmwp/event_loop.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/vmwp/busy.h"

namespace vmwp {
namespace {

TEST(EventLoopTest, RunsAgainAfterAStop) {
  auto loop = *EventLoop::create();
  Doorbell bell;
  unsigned rings = 0;
  loop->watch(bell.fd(), EPOLLIN, [&](uint32_t) {
    bell.drain();
    ++rings;
    loop->stop();
  });
  for (unsigned round = 1; round <= 3; ++round) {
    loop->rearm();
    bell.ring();
    loop->run();
    EXPECT_EQ(rings, round);
  }
}

TEST(EventLoopTest, AStopBeforeTheRunCounts) {
  auto loop = *EventLoop::create();
  loop->rearm();
  loop->stop();
  loop->run();
  loop->rearm();
  std::thread stopper([&] { loop->stop(); });
  loop->run();
  stopper.join();
}

// An eventfd that nobody reads stays readable: the loop would spin. Processor time tells.
TEST(EventLoopTest, SleepsAfterAStop) {
  auto loop = *EventLoop::create();
  loop->stop();
  loop->run();
  loop->rearm();
  EXPECT_LT(busy_part(*loop, std::chrono::milliseconds(200)), 0.5);
}

}  // namespace
}  // namespace vmwp
