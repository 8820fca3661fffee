// SPDX-License-Identifier: MIT
#include "runtime/pool_wait.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <memory>

#include <cerrno>

#include "runtime/unique_fd.h"
#include "tests/unit/runtime/pool_fixture.h"

namespace runtime {
namespace {

class PoolWaitTest : public PoolTestBase {
 protected:
  void ring(const UniqueFd& fd, uint64_t count = 1) const {
    ASSERT_EQ(::write(fd.get(), &count, sizeof(count)), 8);
  }
  void drain(const UniqueFd& fd) const {
    uint64_t count;
    ASSERT_EQ(::read(fd.get(), &count, sizeof(count)), 8);
  }
  static UniqueFd make_event() { return UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

  const UniqueFd fd_ = make_event();
  std::atomic<int> count_ = 0;
  std::atomic<uint32_t> events_ = ~0U;
  const std::unique_ptr<ThreadPool> pool_ = make_pool();
};

TEST_F(PoolWaitTest, RunsWhenTheDescriptorIsReady) {
  PoolWait wait(pool_->group(), fd_.get(), [&](uint32_t events) {
    events_ = events;
    ++count_;
  });
  ASSERT_TRUE(wait.arm(EPOLLIN));
  EXPECT_EQ(count_, 0);
  ring(fd_);
  EXPECT_TRUE(eventually([&] { return count_ == 1; }));
  EXPECT_EQ(events_, uint32_t{EPOLLIN});
}

TEST_F(PoolWaitTest, RunsOncePerArming) {
  PoolWait wait(pool_->group(), fd_.get(), [&](uint32_t) { ++count_; });
  ring(fd_);
  for (int i = 1; i <= 10; ++i) {
    ASSERT_TRUE(wait.arm(EPOLLIN));  // it is ready all the time
    EXPECT_TRUE(eventually([&] { return count_ == i; }));
    pool_->group().wait();
  }
  EXPECT_EQ(count_, 10);
  EXPECT_EQ(pool_->counters().descriptors, 10U);
}

TEST_F(PoolWaitTest, CallableMayArmItAgain) {
  PoolWait* self = nullptr;
  PoolWait wait(pool_->group(), fd_.get(), [&](uint32_t) {
    drain(fd_);
    ++count_;
    EXPECT_TRUE(self->arm(EPOLLIN));
  });
  self = &wait;
  ASSERT_TRUE(wait.arm(EPOLLIN));
  for (int i = 1; i <= 50; ++i) {
    ring(fd_);
    EXPECT_TRUE(eventually([&] { return count_ == i; }));
  }
}

TEST_F(PoolWaitTest, DeadlineEndsTheWait) {
  PoolWait wait(pool_->group(), fd_.get(), [&](uint32_t events) {
    events_ = events;
    ++count_;
  });
  ASSERT_TRUE(wait.arm(EPOLLIN, Kernel::real().now() + 2ms));
  EXPECT_TRUE(eventually([&] { return count_ == 1; }));
  EXPECT_EQ(events_, 0u);
  ring(fd_);  // nobody waits any more
  ASSERT_TRUE(wait.arm(EPOLLIN, Kernel::real().now() + 1h));
  EXPECT_TRUE(eventually([&] { return count_ == 2; }));
  EXPECT_EQ(events_, uint32_t{EPOLLIN});
}

TEST_F(PoolWaitTest, CancelledWaitDoesNotRun) {
  PoolWait wait(pool_->group(), fd_.get(), [&](uint32_t) { ++count_; });
  EXPECT_FALSE(wait.cancel());
  ASSERT_TRUE(wait.arm(EPOLLIN));
  EXPECT_TRUE(wait.cancel());
  ring(fd_);
  const UniqueFd other = make_event();
  PoolWait later(pool_->group(), other.get(), [&](uint32_t) { events_ = 1; });
  ASSERT_TRUE(later.arm(EPOLLIN));
  ring(other);
  EXPECT_TRUE(eventually([&] { return events_ == 1; }));
  EXPECT_EQ(count_, 0);
  ASSERT_TRUE(wait.arm(EPOLLIN));
  EXPECT_TRUE(eventually([&] { return count_ == 1; }));
}

TEST_F(PoolWaitTest, HangUpIsAnEvent) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]), writer(ends[1]);
  PoolWait wait(pool_->group(), reader.get(), [&](uint32_t events) {
    events_ = events;
    ++count_;
  });
  ASSERT_TRUE(wait.arm(EPOLLIN));
  writer.reset();
  EXPECT_TRUE(eventually([&] { return count_ == 1; }));
  EXPECT_TRUE(events_ & EPOLLHUP);
}

TEST_F(PoolWaitTest, SaysWhatCannotBeWaitedFor) {
  const UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  PoolWait on_file(pool_->group(), file.get(), [](uint32_t) {});
  const auto refused = on_file.arm(EPOLLIN);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), system_error(EPERM));
  EXPECT_FALSE(on_file.cancel());

  PoolWait closed(pool_->group(), -1, [](uint32_t) {});
  ASSERT_FALSE(closed.arm(EPOLLIN));

  PoolWait first(pool_->group(), fd_.get(), [](uint32_t) {});
  PoolWait second(pool_->group(), fd_.get(), [](uint32_t) {});
  ASSERT_TRUE(first.arm(EPOLLIN));
  const auto taken = second.arm(EPOLLIN);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error(), system_error(EEXIST));
}

TEST_F(PoolWaitTest, WaitsForADescriptorOfTheSameNumber) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]), writer(ends[1]);
  PoolWait wait(pool_->group(), reader.get(), [&](uint32_t) { ++count_; });
  ASSERT_TRUE(wait.arm(EPOLLIN));
  ASSERT_EQ(::write(writer.get(), "x", 1), 1);
  EXPECT_TRUE(eventually([&] { return count_ == 1; }));
  // The old one goes, an eventfd takes its number.
  ASSERT_EQ(::dup2(fd_.get(), reader.get()), reader.get());
  ASSERT_TRUE(wait.arm(EPOLLIN));
  ring(fd_);
  EXPECT_TRUE(eventually([&] { return count_ == 2; }));
}

TEST_F(PoolWaitTest, ClosedGroupEndsItsWaits) {
  CleanupGroup group(*pool_);
  PoolWait wait(group, fd_.get(), [&](uint32_t) { ++count_; });
  ASSERT_TRUE(wait.arm(EPOLLIN, Kernel::real().now() + 1ms));
  group.close();
  const int after = count_;
  ring(fd_);
  const auto refused = wait.arm(EPOLLIN);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), system_error(ECANCELED));
  // The descriptor is free for another one.
  PoolWait other(pool_->group(), fd_.get(), [&](uint32_t) { events_ = 1; });
  ASSERT_TRUE(other.arm(EPOLLIN));
  EXPECT_TRUE(eventually([&] { return events_ == 1; }));
  EXPECT_EQ(count_, after);
}

TEST_F(PoolWaitTest, DestructionRacesWithTheEvent) {
  for (int i = 0; i < 300; ++i) {
    std::atomic<bool> alive = true;
    {
      PoolWait wait(pool_->group(), fd_.get(), [&](uint32_t) { EXPECT_TRUE(alive); });
      ASSERT_TRUE(wait.arm(EPOLLIN));
      ring(fd_);
      if (i % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i % 60));
    }
    alive = false;
    drain(fd_);
  }
}

}  // namespace
}  // namespace runtime
