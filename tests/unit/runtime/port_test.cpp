// SPDX-License-Identifier: MIT
// The completion port as a thread sees it that takes packets. Every request form, on each engine.
#include "runtime/port.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/un.h>

#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <thread>
#include <vector>

#include "tests/unit/runtime/port_fixture.h"

namespace runtime {
namespace {

using namespace std::chrono_literals;

constexpr auto kGenerous = 60s;

class CompletionPortTest : public PortTest {
 protected:
  void SetUp() override {
    PortTest::SetUp();
    if (port_) sit();
  }
  void TearDown() override { seat_.reset(); }

  void sit() {
    auto seat = port_->take_seat();
    ASSERT_TRUE(seat) << seat.error().message();
    seat_.emplace(*std::move(seat));
  }

  Instant later() const { return port_->kernel().now() + kGenerous; }

  /// The next packet; a default one after a generous time without any.
  Packet next() {
    Packet packet;
    std::span<Packet> room(&packet, 1);
    const Instant deadline = later();
    while (seat_->wait(room, deadline) == 0 && port_->kernel().now() < deadline) {
    }
    EXPECT_NE(packet.operation, nullptr) << "no packet came";
    return packet;
  }

  Descriptor tcp_socket() { return associate(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

  /// To a port of the loopback that the kernel chooses.
  static sockaddr_in bind_to_loopback(const Descriptor& socket) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(::bind(socket.fd(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    return address;
  }

  bool nothing_waits() {
    Packet packet;
    return seat_->wait({&packet, 1}, port_->kernel().now() + 2ms) == 0;
  }

  /// The packets of these operations, in whichever order they come.
  void expect(std::initializer_list<std::pair<Operation*, int32_t>> expected) {
    std::map<Operation*, int32_t> wanted(expected.begin(), expected.end());
    while (!wanted.empty()) {
      const Packet packet = next();
      const auto found = wanted.find(packet.operation);
      ASSERT_NE(found, wanted.end());
      EXPECT_EQ(packet.result, found->second);
      wanted.erase(found);
    }
  }

  Result<size_t> run(const auto& io) {
    Operation operation;
    EXPECT_FALSE(io.start(operation));
    const Packet packet = next();
    EXPECT_EQ(packet.operation, &operation);
    return packet.value();
  }

  std::optional<Seat> seat_;
};
INSTANTIATE_ENGINES(CompletionPortTest);

TEST_P(CompletionPortTest, ReadsAndWritesAFile) {
  const Descriptor file = associate(file_with("0123456789").release(), Key{7});
  std::array<std::byte, 4> buffer;
  Operation operation;
  file.read(buffer, 3).start(operation);
  EXPECT_TRUE(operation.pending());
  const Packet packet = next();
  EXPECT_EQ(packet.key, Key{7});
  EXPECT_EQ(packet.operation, &operation);
  EXPECT_FALSE(operation.pending());
  EXPECT_EQ(*packet.value(), 4U);
  EXPECT_EQ(std::memcmp(buffer.data(), "3456", 4), 0);

  EXPECT_EQ(*run(file.write(bytes_of("abcd"), 8)), 4U);
  EXPECT_EQ(*run(file.sync()), 0U);
  EXPECT_EQ(*run(file.sync_data()), 0U);
  char back[12];
  ASSERT_EQ(::pread(file.fd(), back, sizeof(back), 0), 12);
  EXPECT_EQ(std::string_view(back, 12), "01234567abcd");
  EXPECT_EQ(*run(file.read(buffer, 1000)), 0U);
}

TEST_P(CompletionPortTest, VectoredForms) {
  const Descriptor file = associate(file_with("0123456789").release());
  char first[3];
  char second[4];
  const std::array<iovec, 2> into{{{first, 3}, {second, 4}}};
  EXPECT_EQ(*run(file.read(std::span<const iovec>(into), 1)), 7U);
  EXPECT_EQ(std::string_view(first, 3), "123");
  EXPECT_EQ(std::string_view(second, 4), "4567");
  EXPECT_EQ(*run(file.write(std::span<const iovec>(into), 0)), 7U);
  char back[10];
  ASSERT_EQ(::pread(file.fd(), back, sizeof(back), 0), 10);
  EXPECT_EQ(std::string_view(back, 10), "1234567789");
}

TEST_P(CompletionPortTest, FixedBuffers) {
  alignas(4096) static std::array<std::byte, 8192> memory;
  const std::array<iovec, 2> buffers{{{memory.data(), 4096}, {memory.data() + 4096, 4096}}};
  seat_.reset();
  open({.fixed_buffers = buffers});
  sit();
  const Descriptor file = associate(file_with("fixed and fast").release());
  const FixedBuffer whole = port_->fixed_buffer(1);
  const FixedBuffer part{1, whole.bytes.subspan(100, 5)};
  EXPECT_EQ(*run(file.read(part, 0)), 5U);
  EXPECT_EQ(std::memcmp(memory.data() + 4096 + 100, "fixed", 5), 0);
  EXPECT_EQ(*run(file.write(part, 10)), 5U);
  char back[15];
  ASSERT_EQ(::pread(file.fd(), back, sizeof(back), 0), 15);
  EXPECT_EQ(std::string_view(back, 15), "fixed and fixed");
}

TEST_P(CompletionPortTest, AcceptsConnectsSendsAndReceives) {
  const Descriptor listener = tcp_socket();
  const sockaddr_in address = bind_to_loopback(listener);
  ASSERT_EQ(::listen(listener.fd(), 8), 0);

  Operation accepting;
  sockaddr_storage peer{};
  socklen_t peer_length = 0;
  listener.accept(peer, peer_length).start(accepting, Key{1});
  EXPECT_TRUE(nothing_waits());
  const Descriptor client = tcp_socket();
  Operation connecting;
  client.connect(reinterpret_cast<const sockaddr*>(&address), sizeof(address))
      .start(connecting, Key{2});
  const Packet one = next();
  const Packet other = next();
  const Packet& accepted = one.key == Key{1} ? one : other;
  const Packet& connected = one.key == Key{1} ? other : one;
  ASSERT_EQ(accepted.operation, &accepting);
  ASSERT_EQ(connected.operation, &connecting);
  ASSERT_GE(accepted.result, 0);
  EXPECT_EQ(connected.result, 0);
  EXPECT_EQ(peer.ss_family, AF_INET);
  const Descriptor server = associate(accepted.result);

  std::array<std::byte, 16> buffer;
  Operation receiving;
  server.receive(buffer).start(receiving);
  EXPECT_TRUE(nothing_waits());
  Operation sending;
  client.send(bytes_of("hi")).start(sending);
  expect({{&sending, 2}, {&receiving, 2}});

  iovec vector{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  client.receive(message).start(receiving);
  iovec out{const_cast<char*>("hello"), 5};
  msghdr outward{};
  outward.msg_iov = &out;
  outward.msg_iovlen = 1;
  server.send(outward).start(sending);
  expect({{&sending, 5}, {&receiving, 5}});
  EXPECT_EQ(std::memcmp(buffer.data(), "hello", 5), 0);
}

TEST_P(CompletionPortTest, ConnectIsRefused) {
  const Descriptor listener = tcp_socket();
  const sockaddr_in address = bind_to_loopback(listener);
  const Descriptor client = tcp_socket();
  const auto result =
      run(client.connect(reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), system_error(ECONNREFUSED));
}

// set() has let the waiter go, and the thread that is to hear it has not looked yet.
TEST_P(CompletionPortTest, ACancelAfterASignalWasSetChangesNothing) {
  Signal signal(*port_);
  Operation operation;
  signal.wait().start(operation, Key{1});
  signal.set();
  port_->cancel(operation);
  const Packet packet = next();
  EXPECT_EQ(packet.operation, &operation);
  EXPECT_EQ(packet.result, 0);
  EXPECT_TRUE(nothing_waits());
  EXPECT_FALSE(operation.pending());
}

TEST_P(CompletionPortTest, BrokenConnectionIsAnErrorNotASignal) {
  auto [near, far] = stream_pair();
  far.close();
  const auto result = run(near.send(bytes_of("into the void")));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), system_error(EPIPE));
}

TEST_P(CompletionPortTest, WaitsForAnEventfdAndForReadiness) {
  const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const Descriptor event = associate(fd);
  uint64_t count = 0;
  Operation reading;
  event.read(std::as_writable_bytes(std::span(&count, 1))).start(reading);
  EXPECT_TRUE(nothing_waits());
  const uint64_t three = 3;
  ASSERT_EQ(::write(fd, &three, sizeof(three)), 8);
  EXPECT_EQ(next().result, 8);
  EXPECT_EQ(count, 3U);

  Operation polling;
  event.poll(POLLIN).start(polling);
  EXPECT_TRUE(nothing_waits());
  ASSERT_EQ(::write(fd, &three, sizeof(three)), 8);
  EXPECT_EQ(next().result & POLLIN, POLLIN);
}

TEST_P(CompletionPortTest, PipesWithEitherMode) {
  for (const int mode : {0, O_NONBLOCK}) {
    int fds[2];
    ASSERT_EQ(::pipe2(fds, O_CLOEXEC | mode), 0);
    const Descriptor reader = associate(fds[0]);
    const Descriptor writer = associate(fds[1]);
    std::array<std::byte, 8> buffer;
    Operation reading;
    reader.read(buffer).start(reading);
    EXPECT_TRUE(nothing_waits());
    Operation writing;
    writer.write(bytes_of("pipe")).start(writing);
    expect({{&writing, 4}, {&reading, 4}});
  }
}

TEST_P(CompletionPortTest, PostedPacketsKeepTheirOrder) {
  std::array<Operation, 5> operations;
  for (int i = 0; i < 5; ++i)
    port_->post(operations[static_cast<size_t>(i)], Key{static_cast<uint64_t>(i)}, 10 * i);
  std::array<Packet, 3> batch;
  ASSERT_EQ(seat_->wait(batch, later()), 3U);
  std::array<Packet, 3> rest;
  ASSERT_EQ(seat_->wait(rest, later()), 2U);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(batch[i].result, static_cast<int>(10 * i));
  EXPECT_EQ(rest[0].key, Key{3});
  EXPECT_EQ(rest[1].operation, &operations[4]);
}

TEST_P(CompletionPortTest, WaitEndsAtItsDeadline) {
  Packet packet;
  const Instant deadline = port_->kernel().now() + 3ms;
  EXPECT_EQ(seat_->wait({&packet, 1}, deadline), 0U);
  EXPECT_GE(port_->kernel().now(), deadline);
  EXPECT_EQ(seat_->wait({&packet, 1}, Instant()), 0U);
}

TEST_P(CompletionPortTest, TimersExpireInOrderAndNeverEarly) {
  std::array<Operation, 3> operations;
  const Instant start = port_->kernel().now();
  port_->sleep_until(start + 9ms).start(operations[0]);
  port_->sleep_until(start + 3ms).start(operations[1]);
  port_->sleep_until(start + 6ms).start(operations[2]);
  EXPECT_EQ(next().operation, &operations[1]);
  EXPECT_GE(port_->kernel().now(), start + 3ms);
  EXPECT_EQ(next().operation, &operations[2]);
  EXPECT_EQ(next().operation, &operations[0]);
  EXPECT_GE(port_->kernel().now(), start + 9ms);
}

TEST_P(CompletionPortTest, WallClockTimers) {
  Operation operation;
  const WallTime deadline = port_->kernel().wall_now() + 3ms;
  port_->sleep_until(deadline).start(operation);
  EXPECT_EQ(next().result, 0);
  EXPECT_GE(port_->kernel().wall_now(), deadline);
}

TEST_P(CompletionPortTest, CancelsOneOperation) {
  auto [near, far] = stream_pair();
  std::array<std::byte, 8> buffer;
  Operation receiving;
  Operation sleeping;
  near.receive(buffer).start(receiving);
  port_->sleep_for(1h).start(sleeping);
  EXPECT_TRUE(nothing_waits());
  EXPECT_TRUE(port_->cancel(receiving));
  EXPECT_EQ(next().result, -ECANCELED);
  EXPECT_TRUE(port_->cancel(sleeping));
  EXPECT_EQ(next().result, -ECANCELED);
  EXPECT_FALSE(port_->cancel(sleeping));
  EXPECT_TRUE(nothing_waits());
}

TEST_P(CompletionPortTest, CancelsFromAnotherThreadWakeTheOwner) {
  auto [near, far] = stream_pair();
  std::array<std::byte, 8> buffer;
  Operation receiving;
  near.receive(buffer).start(receiving);
  std::jthread other([&] { EXPECT_TRUE(port_->cancel(receiving)); });
  EXPECT_EQ(next().result, -ECANCELED);
}

TEST_P(CompletionPortTest, CancelsAllOfADescriptorAndNoOther) {
  auto [near, far] = stream_pair(Key{1}, Key{2});
  std::array<std::array<std::byte, 8>, 4> buffers;
  std::array<Operation, 4> operations;
  for (size_t i = 0; i < 3; ++i) near.receive(buffers[i]).start(operations[i]);
  far.receive(buffers[3]).start(operations[3]);
  near.cancel();
  for (int i = 0; i < 3; ++i) {
    const Packet packet = next();
    EXPECT_EQ(packet.key, Key{1});
    EXPECT_EQ(packet.result, -ECANCELED);
  }
  EXPECT_TRUE(nothing_waits());
  Operation sending;
  near.send(bytes_of("x")).start(sending);
  expect({{&sending, 1}, {&operations[3], 1}});
}

TEST_P(CompletionPortTest, CancelsAllOfAKey) {
  auto [near, far] = stream_pair(Key{1}, Key{1});
  auto [third, fourth] = stream_pair(Key{2}, Key{2});
  std::array<std::array<std::byte, 8>, 3> buffers;
  std::array<Operation, 3> operations;
  near.receive(buffers[0]).start(operations[0]);
  far.receive(buffers[1]).start(operations[1]);
  third.receive(buffers[2]).start(operations[2]);
  port_->cancel(Key{1});
  // Issued after the cancel, so not meant by it.
  Operation young;
  std::array<std::byte, 8> buffer;
  near.receive(buffer).start(young);
  for (int i = 0; i < 2; ++i) {
    const Packet packet = next();
    EXPECT_EQ(packet.key, Key{1});
    EXPECT_EQ(packet.result, -ECANCELED);
    EXPECT_NE(packet.operation, &young);
  }
  EXPECT_TRUE(nothing_waits());
  port_->cancel(Key{1});
  EXPECT_EQ(next().operation, &young);
  port_->cancel(Key{2});
  EXPECT_EQ(next().operation, &operations[2]);
}

TEST_P(CompletionPortTest, ClosingEndsWhatIsInFlightAndThenTheFile) {
  auto [near, far] = stream_pair();
  std::array<std::byte, 8> buffer;
  Operation receiving;
  near.receive(buffer).start(receiving);
  const int fd = near.fd();
  near.close();
  // The number stays taken until the request is delivered: nobody else's file can be hit.
  EXPECT_GE(::fcntl(fd, F_GETFD), 0);
  EXPECT_EQ(next().result, -ECANCELED);
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST_P(CompletionPortTest, RequestsOfOtherThreadsAreHandedOver) {
  const Descriptor file = associate(file_with("handed").release());
  std::array<std::byte, 6> buffer;
  Operation reading;
  Operation sleeping;
  std::jthread other([&] {
    file.read(buffer, 0).start(reading);
    port_->sleep_for(1ms).start(sleeping);
  });
  std::array<bool, 2> seen{};
  for (int i = 0; i < 2; ++i) {
    const Packet packet = next();
    seen[packet.operation == &reading] = true;
    EXPECT_GE(packet.result, 0);
  }
  EXPECT_TRUE(seen[0] && seen[1]);
  EXPECT_GE(port_->counters().hand_overs, 2U);
}

TEST_P(CompletionPortTest, ARequestNobodyTookYetIsCancelled) {
  auto [near, far] = stream_pair();
  std::array<std::byte, 8> buffer;
  Operation receiving;
  Operation second;
  std::jthread([&] {
    near.receive(buffer).start(receiving);
    EXPECT_TRUE(port_->cancel(receiving));
    near.receive(buffer).start(second);
    near.cancel();
  }).join();
  EXPECT_EQ(next().result, -ECANCELED);
  EXPECT_EQ(next().result, -ECANCELED);
}

TEST_P(CompletionPortTest, SkipsThePacketOfAnInlineCompletion) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  const Descriptor near = associate(fds[0], {}, {.skip_on_inline = true});
  const Descriptor far = associate(fds[1], {}, {.skip_on_inline = true});
  std::array<std::byte, 8> buffer;
  Operation receiving;
  EXPECT_FALSE(near.receive(buffer).start(receiving));
  Operation sending;
  EXPECT_TRUE(far.send(bytes_of("now")).start(sending));
  EXPECT_EQ(sending.result(), 3);
  EXPECT_EQ(next().operation, &receiving);
  EXPECT_TRUE(far.send(bytes_of("now")).start(sending));
  EXPECT_TRUE(near.receive(buffer).start(receiving));
  EXPECT_EQ(receiving.result(), 3);
  EXPECT_TRUE(nothing_waits());
  EXPECT_EQ(port_->counters().inline_completions, 3U);
}

TEST_P(CompletionPortTest, OneSeatAThread) {
  auto second = port_->take_seat();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), system_error(EBUSY));
}

TEST_P(CompletionPortTest, LeavingEndsTheThreadsRequestsAndPassesThemOn) {
  auto [near, far] = stream_pair(Key{5});
  std::array<std::byte, 8> buffer;
  Operation receiving;
  Operation sleeping;
  std::jthread([&] {
    auto seat = port_->take_seat();
    ASSERT_TRUE(seat);
    near.receive(buffer).start(receiving);
    port_->sleep_for(1h).start(sleeping);
  }).join();
  EXPECT_EQ(next().result, -ECANCELED);
  EXPECT_EQ(next().result, -ECANCELED);
}

TEST_P(CompletionPortTest, StopEndsWaits) {
  std::jthread other([&] { port_->stop(); });
  Packet packet;
  EXPECT_EQ(seat_->wait({&packet, 1}), 0U);
  EXPECT_TRUE(port_->stopped());
}

TEST_P(CompletionPortTest, CountsWhatItDoes) {
  const Descriptor file = associate(file_with("count").release());
  std::array<std::byte, 5> buffer;
  const PortCounters before = port_->counters();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(*run(file.read(buffer, 0)), 5U);
  Operation posted;
  port_->post(posted, Key{1});
  next();
  const PortCounters after = port_->counters();
  EXPECT_EQ(after.operations - before.operations, 11U);
  EXPECT_EQ(after.queued - before.queued, 1U);
  EXPECT_GE(after.batches - before.batches, 1U);
  EXPECT_GE(after.turns - before.turns, 1U);
}

// Threads that wait for one packet each and tell who got which.
class Waiters {
 public:
  Waiters(Port& port, int count) : port_(port) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, i] { run(i); });
      until([this, i] { return waiting_ == i + 1; });
      settle();
    }
  }
  ~Waiters() { port_.stop(); }

  int who_got_it() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !got_.empty(); });
    const int who = got_.front();
    got_.pop_front();
    return who;
  }
  size_t out() {
    const std::lock_guard guard(mutex_);
    return got_.size();
  }
  /// Lets the holder of a packet wait again.
  void release(int who) {
    {
      const std::lock_guard guard(mutex_);
      released_ |= 1U << who;
    }
    changed_.notify_all();
  }
  void until(auto condition) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, condition);
  }
  // Waiting is announced just before it begins; a thread that was overtaken there would be LIFO's
  // first, not the test's.
  void settle() { std::this_thread::sleep_for(20ms); }
  int waiting_ = 0;

 private:
  void run(int self) {
    auto seat = port_.take_seat();
    ASSERT_TRUE(seat);
    while (!port_.stopped()) {
      {
        const std::lock_guard guard(mutex_);
        ++waiting_;
        changed_.notify_all();
      }
      Packet packet;
      if (seat->wait({&packet, 1}) == 0) return;
      std::unique_lock lock(mutex_);
      --waiting_;
      got_.push_back(self);
      changed_.notify_all();
      changed_.wait(lock, [&] { return (released_ & (1U << self)) != 0; });
      released_ &= ~(1U << self);
    }
  }

  Port& port_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<int> got_;
  unsigned released_ = 0;
  std::vector<std::jthread> threads_;
};

TEST_P(CompletionPortTest, WakesTheThreadThatWaitedLast) {
  seat_.reset();
  open({.concurrency = 3});
  Waiters waiters(*port_, 3);
  std::array<Operation, 4> operations;
  port_->post(operations[0], Key{});
  EXPECT_EQ(waiters.who_got_it(), 2);
  port_->post(operations[1], Key{});
  EXPECT_EQ(waiters.who_got_it(), 1);
  waiters.release(2);
  waiters.until([&] { return waiters.waiting_ == 2; });
  waiters.settle();
  port_->post(operations[2], Key{});
  EXPECT_EQ(waiters.who_got_it(), 2);
  port_->post(operations[3], Key{});
  EXPECT_EQ(waiters.who_got_it(), 0);
  for (int i = 0; i < 3; ++i) waiters.release(i);
}

TEST_P(CompletionPortTest, KeepsItsConcurrencyLimit) {
  seat_.reset();
  open({.concurrency = 1});
  Waiters waiters(*port_, 3);
  std::array<Operation, 3> operations;
  for (Operation& operation : operations) port_->post(operation, Key{});
  const int first = waiters.who_got_it();
  EXPECT_EQ(first, 2);
  waiters.settle();
  EXPECT_EQ(waiters.out(), 0U);
  // The one that comes back takes the next at once: nobody is woken for it.
  waiters.release(first);
  EXPECT_EQ(waiters.who_got_it(), first);
  waiters.release(first);
  EXPECT_EQ(waiters.who_got_it(), first);
  EXPECT_EQ(port_->counters().wakeups, 1U);
  waiters.release(first);
}

TEST(PortFallbackTest, SaysThatIoUringIsRefused) {
  class Refusing : public Kernel {
   public:
    int ring_setup(unsigned, io_uring_params&) override { return -EPERM; }
  } kernel;
  std::vector<std::string> lines;
  PortOptions options{.name = "vm",
                      .log = [&](std::string_view line) { lines.emplace_back(line); }};
  options.kernel = &kernel;
  auto port = Port::create(options);
  ASSERT_TRUE(port);
  EXPECT_EQ((*port)->engine(), EngineKind::kEpoll);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].find("vm: io_uring is refused"), 0U);

  options.engine = EngineKind::kUring;
  auto insists = Port::create(options);
  ASSERT_FALSE(insists);
  EXPECT_EQ(insists.error(), system_error(EPERM));
}

}  // namespace
}  // namespace runtime
