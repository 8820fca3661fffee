// SPDX-License-Identifier: MIT
// Many threads post, read, send, sleep, cancel and close at random, from a seed; a model knows what
// may come of each request: exactly one completion, with a result that its history allows, and not
// a byte lost between sockets. PARTITA_SOAK_SECONDS sets how long each case runs.
#include <sys/ioctl.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <random>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "tests/unit/runtime/faulty_kernel.h"
#include "tests/unit/runtime/port_fixture.h"

namespace runtime {
namespace {

using namespace std::chrono_literals;

constexpr int kSeats = 3;
constexpr int kOutsiders = 2;
constexpr size_t kSlots = 192;
constexpr size_t kPairs = 6;
constexpr size_t kFileSize = 1 << 16;

std::chrono::milliseconds duration() {
  const char* seconds = std::getenv("PARTITA_SOAK_SECONDS");
  return seconds ? std::chrono::seconds(std::atoi(seconds)) : 400ms;
}

std::byte content_at(uint64_t offset) {
  return static_cast<std::byte>(offset * 7 + offset / 251);
}

enum class Kind : uint8_t { kPost, kSleep, kRead, kReceive, kSend };

struct Slot : Operation {
  std::mutex mutex;  // of the model's, held while it is issued, cancelled or judged
  bool outstanding = false;
  bool cancelled = false;  // by name
  int pair_cancels = 0;    // of its pair that were over when it was issued
  int departures = 0;      // of threads, when it was issued
  Kind kind = Kind::kPost;
  int32_t posted = 0;
  Instant deadline;
  uint64_t offset = 0;
  size_t pair = 0;
  std::array<std::byte, 512> buffer;
};

// Two sockets that are replaced now and then. `guard` is held shared to issue on them.
struct Pair {
  std::shared_mutex guard;
  std::array<Descriptor, 2> ends;
  std::atomic<int64_t> in_the_pipe = 0;
  std::atomic<int> outstanding = 0;
  std::atomic<int> cancels_begun = 0;
  std::atomic<int> cancels_over = 0;

  void cancel(auto&& how) {
    ++cancels_begun;
    how();
    ++cancels_over;
  }
};

class StressTest : public PortTest {
 protected:
  void SetUp() override {}

  void stress(unsigned seed, double fault_rate) {
    FaultyKernel kernel(seed, fault_rate);
    open({.concurrency = 2, .entries = 32, .kernel = &kernel});
    std::vector<std::byte> content(kFileSize);
    for (size_t i = 0; i < kFileSize; ++i) content[i] = content_at(i);
    file_ = associate(
        file_with({reinterpret_cast<char*>(content.data()), content.size()}).release(), Key{1000});
    for (size_t i = 0; i < kPairs; ++i) replace(pairs_[i], i);
    for (Slot& slot : slots_) free_.push_back(&slot);

    std::vector<std::jthread> threads;
    threads.reserve(kSeats + kOutsiders);
    for (unsigned i = 0; i < kSeats; ++i)
      threads.emplace_back([this, seed, i] { sit_and_serve(seed * 31 + i); });
    for (unsigned i = 0; i < kOutsiders; ++i)
      threads.emplace_back([this, seed, i] {
        std::mt19937 random(seed * 37 + i);
        while (!draining_) act(random);
      });
    std::this_thread::sleep_for(duration());
    // A busy machine may not have let the seats run yet.
    const Instant limit = port_->kernel().now() + 120s;
    while (judged_ <= kSlots && port_->kernel().now() < limit) std::this_thread::sleep_for(1ms);
    draining_ = true;
    kernel.set_rate(0);
    drain();
    port_->stop();
    threads.clear();
    EXPECT_EQ(issued_, judged_);
    EXPECT_GT(judged_, kSlots);
    for (Pair& pair : pairs_) {
      check_balance(pair);
      for (Descriptor& end : pair.ends) end.close();
    }
    file_.close();
    port_.reset();
    if (HasFailure()) ADD_FAILURE() << "the seed was " << seed;
  }

 private:
  void sit_and_serve(unsigned seed) {
    std::mt19937 random(seed);
    while (!port_->stopped()) {
      auto seat = port_->take_seat();
      ASSERT_TRUE(seat) << seat.error().message();
      // Now and then a thread leaves with its requests in flight.
      for (int round = 0; round < 2000 && !port_->stopped(); ++round) {
        std::array<Packet, 8> packets;
        const size_t room = 1 + random() % packets.size();
        const size_t count = seat->wait(std::span(packets).first(room),
                                        port_->kernel().now() + std::chrono::microseconds(500));
        for (size_t i = 0; i < count; ++i) judge(packets[i]);
        for (unsigned i = random() % 4; i > 0 && !draining_; --i) act(random);
      }
      ++departures_;
    }
  }

  void act(std::mt19937& random) {
    switch (random() % 32) {
      case 0:
        cancel_key(random() % kPairs);
        break;
      case 1: {
        Pair& pair = pairs_[random() % kPairs];
        const std::shared_lock lock(pair.guard);
        pair.cancel([&] { pair.ends[random() % 2].cancel(); });
        break;
      }
      case 2:
        replace_pair(random() % kPairs);
        break;
      case 3:
      case 4:
      case 5:
      case 6:
      case 7:
        cancel_one(slots_[random() % kSlots]);
        break;
      default:
        issue(random);
    }
  }

  static bool on_socket(const Slot& slot) {
    return slot.kind == Kind::kReceive || slot.kind == Kind::kSend;
  }

  void issue(std::mt19937& random) {
    Slot* slot;
    {
      const std::lock_guard guard(free_mutex_);
      // Looked at under the lock: when drain() finds every slot free, nobody takes one any more.
      if (draining_ || free_.empty()) return;
      slot = free_.front();
      free_.pop_front();
    }
    const size_t which = random() % kPairs;
    Pair& pair = pairs_[which];
    const std::shared_lock pair_lock(pair.guard);
    const std::lock_guard lock(slot->mutex);
    slot->outstanding = true;
    slot->cancelled = false;
    slot->pair_cancels = pair.cancels_over;
    slot->departures = departures_;
    slot->kind = static_cast<Kind>(random() % 5);
    slot->pair = which;
    ++issued_;
    const auto length = 1 + random() % slot->buffer.size();
    const std::span<std::byte> buffer = std::span(slot->buffer).first(length);
    switch (slot->kind) {
      case Kind::kPost:
        slot->posted = static_cast<int32_t>(random() % 1000);
        port_->post(*slot, Key{2000}, slot->posted);
        break;
      case Kind::kSleep:
        slot->deadline = port_->kernel().now() + std::chrono::microseconds(random() % 2000);
        port_->sleep_until(slot->deadline).start(*slot, Key{3000});
        break;
      case Kind::kRead:
        slot->offset = random() % kFileSize;
        file_.read(buffer, slot->offset).start(*slot);
        break;
      case Kind::kReceive:
        ++pair.outstanding;
        pair.ends[random() % 2].receive(buffer).start(*slot);
        break;
      case Kind::kSend:
        ++pair.outstanding;
        pair.ends[random() % 2].send(buffer).start(*slot);
        break;
    }
  }

  void judge(const Packet& packet) {
    auto& slot = static_cast<Slot&>(*packet.operation);
    {
      const std::lock_guard lock(slot.mutex);
      EXPECT_TRUE(slot.outstanding) << "a completion came twice";
      EXPECT_FALSE(slot.pending());
      slot.outstanding = false;
      ++judged_;
      const int32_t result = packet.result;
      if (result == -ECANCELED) {
        // By name, with its pair, or with the thread that it was left to.
        EXPECT_TRUE(slot.cancelled || slot.departures != departures_ ||
                    (on_socket(slot) && slot.pair_cancels != pairs_[slot.pair].cancels_begun));
        EXPECT_NE(slot.kind, Kind::kPost);
      } else if (result < 0) {
        ADD_FAILURE() << "kind " << static_cast<int>(slot.kind) << ": " << result;
      }
      switch (slot.kind) {
        case Kind::kPost:
          EXPECT_EQ(result, slot.posted);
          break;
        case Kind::kSleep:
          EXPECT_TRUE(result != 0 || port_->kernel().now() >= slot.deadline);
          break;
        case Kind::kRead:
          for (int32_t i = 0; i < result; ++i)
            if (slot.buffer[static_cast<size_t>(i)] !=
                content_at(slot.offset + static_cast<size_t>(i)))
              ADD_FAILURE() << "wrong byte";
          break;
        case Kind::kReceive:
        case Kind::kSend: {
          Pair& pair = pairs_[slot.pair];
          if (result > 0) pair.in_the_pipe += slot.kind == Kind::kSend ? result : -result;
          --pair.outstanding;
          break;
        }
      }
    }
    const std::lock_guard guard(free_mutex_);
    free_.push_back(&slot);
  }

  void cancel_one(Slot& slot) {
    const std::lock_guard lock(slot.mutex);
    // Delivered and not yet judged is the case that must be harmless.
    if (!slot.outstanding) return;
    slot.cancelled = true;
    port_->cancel(slot);
  }

  void cancel_key(size_t pair) {
    pairs_[pair].cancel([&] { port_->cancel(Key{pair}); });
  }

  // Closes both ends with requests in flight. New ones begin when the last old one was judged.
  void replace_pair(size_t index) {
    Pair& pair = pairs_[index];
    const std::unique_lock lock(pair.guard, std::try_to_lock);
    if (!lock.owns_lock() || pair.outstanding != 0) {
      if (lock.owns_lock())
        for (Descriptor& end : pair.ends) pair.cancel([&] { end.cancel(); });
      return;
    }
    check_balance(pair);
    replace(pair, index);
  }

  void replace(Pair& pair, size_t index) {
    auto [near, far] = stream_pair(Key{index}, Key{index});
    pair.ends[0] = std::move(near);
    pair.ends[1] = std::move(far);
    pair.in_the_pipe = 0;
  }

  // What was sent and not received must still be there.
  void check_balance(Pair& pair) {
    int64_t waiting = 0;
    for (const Descriptor& end : pair.ends) {
      int bytes = 0;
      ASSERT_EQ(::ioctl(end.fd(), FIONREAD, &bytes), 0);
      waiting += bytes;
    }
    EXPECT_EQ(waiting, pair.in_the_pipe);
  }

  void drain() {
    const Instant limit = port_->kernel().now() + 120s;
    for (;;) {
      for (size_t i = 0; i < kPairs; ++i) cancel_key(i);
      {
        const std::lock_guard guard(free_mutex_);
        if (free_.size() == kSlots) return;
      }
      if (port_->kernel().now() > limit) {
        for (Slot& slot : slots_)
          if (slot.outstanding) ADD_FAILURE() << "stuck: kind " << static_cast<int>(slot.kind);
        std::abort();  // the operations are still the port's; nothing can be unwound
      }
      std::this_thread::sleep_for(1ms);
    }
  }

  std::array<Slot, kSlots> slots_;
  std::array<Pair, kPairs> pairs_;
  Descriptor file_;
  std::mutex free_mutex_;
  std::deque<Slot*> free_;
  std::atomic<bool> draining_ = false;
  std::atomic<int> departures_ = 0;
  std::atomic<uint64_t> issued_ = 0;
  std::atomic<uint64_t> judged_ = 0;
};
INSTANTIATE_ENGINES(StressTest);

TEST_P(StressTest, EveryRequestCompletesOnce) {
  stress(std::random_device()(), 0);
}
TEST_P(StressTest, AlsoWhenTheKernelFails) {
  stress(20080227, 0.05);
}

}  // namespace
}  // namespace runtime
