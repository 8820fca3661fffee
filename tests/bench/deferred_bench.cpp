// SPDX-License-Identifier: MIT
// Deferred completion against the control arm. Two issuers share a port; each keeps 4 KiB O_DIRECT
// reads and messages to the other in flight, and computes for a fixed number of steps for every
// completion before it issues the next request. Same engine, same program. "control" is the way
// before 2008: a submission for each request, whose completion interrupts its issuer. In
// "control-batched" submissions wait as they do in "deferred", so that only what the kernel does
// when something completes differs. A line of JSON for each arm and round.
//
//   deferred_bench [--rounds N] [--seconds S] [--steps N]
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>

#include "runtime/port.h"
#include "tests/bench/bench.h"

namespace {

using namespace runtime;

constexpr size_t kBlock = 4096;
constexpr uint64_t kBlocks = 16384;
constexpr size_t kPairs = 32;  // of sockets, with one message each way
constexpr uint64_t kMessagesPerRead = 4;
constexpr size_t kMessage = 64;

struct Options {
  int rounds = 7;
  double seconds = 2;
  uint64_t steps = 2000;
};

struct Arm {
  const char* name;
  Delivery delivery;
  bool submits_each;
};

constexpr std::array kArms = {Arm{"deferred", Delivery::kDeferred, false},
                              Arm{"control", Delivery::kOnIssuer, true},
                              Arm{"control-batched", Delivery::kOnIssuer, false}};

/// A file that O_DIRECT reads find on the device.
UniqueFd big_file() {
  UniqueFd fd(::open("/var/tmp", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600));
  if (!fd) bench::die_of_errno("file");
  constexpr size_t kChunk = 1 << 20;
  void* chunk = std::aligned_alloc(kBlock, kChunk);
  std::memset(chunk, 'x', kChunk);
  for (uint64_t at = 0; at < kBlocks * kBlock; at += kChunk)
    if (::write(fd.get(), chunk, kChunk) != static_cast<ssize_t>(kChunk))
      bench::die_of_errno("file");
  std::free(chunk);
  ::fsync(fd.get());
  return fd;
}

uint64_t compute(uint64_t value, uint64_t steps) {
  for (uint64_t i = 0; i < steps; ++i)
    value = value * 6364136223846793005ULL + 1442695040888963407ULL;
  return value;
}

class End;

enum class What : uint8_t { kRead, kReceive, kSend };

struct Request : Operation {
  What what = What::kRead;
  End* end = nullptr;
};

struct Totals {
  uint64_t reads = 0;
  uint64_t messages = 0;
  uint64_t involuntary = 0;
  uint64_t voluntary = 0;
  uint64_t check = 0;
};

// How an issuer goes about it, and what it has done.
struct Issuer {
  void start(const Io<size_t>& io, Request& request) {
    io.start(request);
    if (submits_each) seat.submit();
  }

  Seat& seat;
  const bool submits_each;
  const uint64_t steps;
  Totals totals{};
};

// One end of a pair of sockets, with a read beside it. Its completions come to either issuer, two
// of them maybe at once.
class End {
 public:
  End(const Descriptor& file, Descriptor socket, uint64_t seed)
      : file_(file),
        socket_(std::move(socket)),
        random_(seed),
        block_(static_cast<std::byte*>(std::aligned_alloc(kBlock, kBlock))) {
    read_.what = What::kRead;
    receive_.what = What::kReceive;
    send_.what = What::kSend;
    read_.end = receive_.end = send_.end = this;
  }
  ~End() { std::free(block_); }
  End(const End&) = delete;

  void begin(Issuer& issuer) {
    issuer.start(socket_.receive(incoming_), receive_);
    answer(issuer);
  }

  void handle(const Request& request, int32_t result, Issuer& issuer) {
    if (request.what == What::kSend) {
      // Half of a message; its receive counts.
      if (to_send_.fetch_sub(1) > 1) issuer.start(socket_.send(outgoing_), send_);
      return;
    }
    if (result <= 0) return;  // the other issuer has left
    Totals& totals = issuer.totals;
    totals.check += compute(totals.check + 1, issuer.steps);
    if (request.what == What::kRead) {
      ++totals.reads;
      reading_ = false;
      return;
    }
    ++totals.messages;
    const bool read = ++messages_ % kMessagesPerRead == 0;
    issuer.start(socket_.receive(incoming_), receive_);
    answer(issuer);
    if (read && !reading_.exchange(true)) {
      random_ = random_ * 6364136223846793005ULL + 1;
      issuer.start(file_.read({block_, kBlock}, (random_ >> 33) % kBlocks * kBlock), read_);
    }
  }

 private:
  // Now, or when the send before is over.
  void answer(Issuer& issuer) {
    if (to_send_.fetch_add(1) == 0) issuer.start(socket_.send(outgoing_), send_);
  }

  const Descriptor& file_;
  Descriptor socket_;
  Request read_;
  Request receive_;
  Request send_;
  uint64_t random_;
  std::atomic<uint64_t> messages_ = 0;
  std::atomic<int> to_send_ = 0;
  std::atomic<bool> reading_ = false;
  std::byte* block_;
  std::array<std::byte, kMessage> incoming_{};
  std::array<std::byte, kMessage> outgoing_{};
};

using Ends = std::deque<End>;

Totals issue(Port& port, Ends& ends, const Arm& arm, uint64_t steps,
             const std::atomic<bool>& stop) {
  auto seat = port.take_seat();
  if (!seat) bench::die_of_errno("seat");
  Issuer issuer{.seat = *seat, .submits_each = arm.submits_each, .steps = steps};
  for (End& end : ends) end.begin(issuer);
  rusage before{};
  ::getrusage(RUSAGE_THREAD, &before);
  while (!stop.load(std::memory_order_relaxed)) {
    std::array<Packet, 16> packets;
    const size_t count = seat->wait(packets, port.kernel().now() + std::chrono::milliseconds(50));
    for (size_t i = 0; i < count; ++i) {
      const auto& request = static_cast<Request&>(*packets[i].operation);
      request.end->handle(request, packets[i].result, issuer);
    }
  }
  rusage after{};
  ::getrusage(RUSAGE_THREAD, &after);
  Totals& totals = issuer.totals;
  totals.involuntary = static_cast<uint64_t>(after.ru_nivcsw - before.ru_nivcsw);
  totals.voluntary = static_cast<uint64_t>(after.ru_nvcsw - before.ru_nvcsw);
  return totals;
}

void measure(const Arm& arm, int round, const Options& options, int file_fd) {
  auto port = Port::create({.engine = EngineKind::kUring, .delivery = arm.delivery});
  if (!port) bench::die_of_errno("port");
  auto file = (*port)->borrow(file_fd);
  std::array<Ends, 2> ends;
  for (size_t i = 0; i < kPairs; ++i) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
      bench::die_of_errno("sockets");
    for (size_t side = 0; side < 2; ++side)
      ends[side].emplace_back(*file, *(*port)->associate(UniqueFd(pair[side])), i + 1);
  }
  std::array<Totals, 2> totals;
  std::atomic<bool> stop = false;
  const bench::Meter meter;
  {
    std::array<std::jthread, 2> threads;
    for (size_t i = 0; i < 2; ++i)
      threads[i] =
          std::jthread([&, i] { totals[i] = issue(**port, ends[i], arm, options.steps, stop); });
    std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
    stop = true;
  }
  const bench::Usage usage = meter.read();
  const PortCounters counters = (*port)->counters();
  {
    // What the issuers left, before it is taken away.
    auto seat = (*port)->take_seat();
    std::array<Packet, 64> packets;
    while (seat->wait(packets, (*port)->kernel().now()) > 0) {
    }
  }
  const uint64_t reads = totals[0].reads + totals[1].reads;
  const uint64_t messages = totals[0].messages + totals[1].messages;
  const uint64_t involuntary = totals[0].involuntary + totals[1].involuntary;
  const double requests = static_cast<double>(reads + messages);
  bench::Line("deferred", arm.name)
      .add("round", round)
      .add("requests_per_second", requests / usage.seconds)
      .add("reads_per_second", static_cast<double>(reads) / usage.seconds)
      .add("cpu_us_per_request", usage.cpu_seconds * 1e6 / requests)
      .add("interruptions_per_1000",
           1000.0 * static_cast<double>(involuntary + counters.interruptions) / requests)
      .add("involuntary_switches", involuntary)
      .add("completions_while_computing", counters.interruptions)
      .add("voluntary_switches", totals[0].voluntary + totals[1].voluntary)
      .add("turns_per_request", static_cast<double>(counters.turns) / requests)
      .print();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--rounds")) options.rounds = std::atoi(argv[i + 1]);
    if (!std::strcmp(argv[i], "--seconds")) options.seconds = std::atof(argv[i + 1]);
    if (!std::strcmp(argv[i], "--steps")) options.steps = std::strtoull(argv[i + 1], nullptr, 10);
  }
  const UniqueFd file = big_file();
  for (int round = 1; round <= options.rounds; ++round) {
    for (const Arm& arm : kArms) measure(arm, round, options, file.get());
  }
}
