// SPDX-License-Identifier: MIT
// The one client of all echo servers. It starts each server in turn, round by round, drives it flat
// out (a message in flight on each connection) and then at one rate for all, and prints a line of
// JSON for each: requests per CPU-second of the server by the scheduler's own count, and latencies
// from the instant at which a message was due.
//
//   echo_bench [--rounds N] [--seconds S] [--only NAME,...] [--rate R]
#include <sys/epoll.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "tests/bench/echo.h"

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

struct Contender {
  const char* name;
  std::vector<const char*> command;
};

// Those without a bar show what the choice within a peer costs; "limit" shows what the kernel
// allows.
const std::vector<Contender> kContenders = {
    {"partita", {"echo_partita_bench"}},
    {"partita-inline", {"echo_partita_bench", "inline"}},
    {"partita-all", {"echo_partita_bench", "all"}},
    {"partita-epoll", {"echo_partita_bench", "epoll"}},
    {"limit", {"echo_limit_bench"}},
    {"asio-epoll", {"echo_asio_bench"}},
    {"asio-uring", {"echo_asio_uring_bench"}},
    {"asio-uring-inline", {"echo_asio_uring_bench", "inline"}},
    {"libuv", {"echo_libuv_bench"}},
    {"libuv-threads", {"echo_libuv_bench", "threads"}},
};

bool is_peer(const Contender& contender) {
  return std::strncmp(contender.name, "partita", 7) != 0 &&
         std::strcmp(contender.name, "limit") != 0;
}

// ---- the server's process ---------------------------------------------------------------------

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  ::sched_setaffinity(0, sizeof(set), &set);
}

struct Usage {
  uint64_t cpu_ns = 0;
  uint64_t switches = 0;
};

class Server {
 public:
  Server(const std::filesystem::path& folder, const Contender& contender) {
    int out[2];
    if (::pipe(out) < 0) bench::die_of_errno("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      pin(0);
      const std::string program = folder / contender.command[0];
      std::vector<char*> arguments;
      arguments.reserve(contender.command.size() + 1);
      for (const char* word : contender.command) arguments.push_back(const_cast<char*>(word));
      arguments.push_back(nullptr);
      ::execv(program.c_str(), arguments.data());
      bench::die_of_errno(program.c_str());
    }
    ::close(out[1]);
    FILE* stream = ::fdopen(out[0], "r");
    if (std::fscanf(stream, "%d", &port_) != 1) bench::die_of_errno("server");
    std::fclose(stream);
  }
  ~Server() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Server(const Server&) = delete;

  int port() const { return port_; }

  // Summed over the threads, io_uring's workers among them.
  Usage usage() const {
    Usage usage;
    const std::string tasks = "/proc/" + std::to_string(pid_) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      uint64_t ran = 0;
      std::ifstream(task.path() / "schedstat") >> ran;
      usage.cpu_ns += ran;
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);)
        if (line.find("ctxt_switches:") != std::string::npos)
          usage.switches += std::stoull(line.substr(line.find(':') + 1));
    }
    return usage;
  }

 private:
  pid_t pid_;
  int port_ = 0;
};

// ---- the load ---------------------------------------------------------------------------------

class Client {
 public:
  explicit Client(int port)
      : epoll_(::epoll_create1(EPOLL_CLOEXEC)), connections_(echo::kConnections) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    for (size_t i = 0; i < connections_.size(); ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0)
        bench::die_of_errno("connect");
      echo::no_delay(fd);
      ::fcntl(fd, F_SETFL, O_NONBLOCK);
      connections_[i].fd = fd;
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }
  }
  ~Client() {
    for (Connection& connection : connections_) ::close(connection.fd);
    ::close(epoll_);
  }
  Client(const Client&) = delete;

  // A message in flight on each connection. Answers how many came back.
  uint64_t saturate(nanoseconds duration) {
    latencies_.clear();
    for (Connection& connection : connections_)
      if (connection.due.empty()) send(connection, Clock::now());
    const Clock::time_point end = Clock::now() + duration;
    uint64_t answered = 0;
    while (Clock::now() < end)
      answered += receive(0, [this](Connection& connection) { send(connection, Clock::now()); });
    return answered;
  }

  // Until nothing is in flight.
  void drain() {
    const Clock::time_point limit = Clock::now() + std::chrono::seconds(10);
    while (in_flight_ > 0 && Clock::now() < limit) receive(100, [](Connection&) {});
  }

  // Messages at a steady rate, whether the server keeps up or not. Spins: the client's processor is
  // its own.
  uint64_t pace(double rate, nanoseconds duration) {
    latencies_.clear();
    const Clock::time_point start = Clock::now();
    const auto total =
        static_cast<uint64_t>(rate * std::chrono::duration<double>(duration).count());
    uint64_t sent = 0;
    uint64_t answered = 0;
    while (answered < total && Clock::now() < start + duration * 3) {
      const auto due = [&](uint64_t i) {
        return start + nanoseconds(static_cast<int64_t>(static_cast<double>(i) * 1e9 / rate));
      };
      const Clock::time_point now = Clock::now();
      for (; sent < total && due(sent) <= now; ++sent)
        send(connections_[sent % connections_.size()], due(sent));
      answered += receive(0, [](Connection&) {});
    }
    return answered;
  }

  double percentile_us(double fraction) {
    if (latencies_.empty()) return 0;
    const auto at = static_cast<ptrdiff_t>(fraction * static_cast<double>(latencies_.size() - 1));
    std::nth_element(latencies_.begin(), latencies_.begin() + at, latencies_.end());
    return static_cast<double>(latencies_[static_cast<size_t>(at)]) / 1e3;
  }

 private:
  struct Connection {
    int fd = -1;
    size_t filled = 0;
    std::deque<Clock::time_point> due;
  };

  void send(Connection& connection, Clock::time_point due) {
    static const std::array<char, echo::kMessage> message{};
    if (::send(connection.fd, message.data(), message.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(message.size()))
      bench::die_of_errno("send");
    connection.due.push_back(due);
    ++in_flight_;
  }

  uint64_t receive(int timeout, auto&& answered) {
    std::array<epoll_event, echo::kConnections> events;
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout);
    uint64_t total = 0;
    for (int i = 0; i < count; ++i) {
      Connection& connection = connections_[events[static_cast<size_t>(i)].data.u64];
      std::array<char, 64 * echo::kMessage> buffer;
      const ssize_t got = ::recv(connection.fd, buffer.data(), buffer.size(), 0);
      if (got <= 0) bench::die_of_errno("recv");
      connection.filled += static_cast<size_t>(got);
      const Clock::time_point now = Clock::now();
      for (; connection.filled >= echo::kMessage; connection.filled -= echo::kMessage) {
        latencies_.push_back((now - connection.due.front()).count());
        connection.due.pop_front();
        --in_flight_;
        ++total;
        answered(connection);
      }
    }
    return total;
  }

  int epoll_;
  std::vector<Connection> connections_;
  std::vector<int64_t> latencies_;
  uint64_t in_flight_ = 0;
};

// ---- rounds -----------------------------------------------------------------------------------

struct Options {
  int rounds = 7;
  double seconds = 1.5;
  double rate = 0;
  std::string only;  // names between commas; nothing: all

  bool wants(const char* name) const {
    return only.empty() ||
           ("," + only + ",").find("," + std::string(name) + ",") != std::string::npos;
  }
};

struct Flat {
  double per_second;
  double per_cpu_second;
};

Flat measure(const std::filesystem::path& folder, const Contender& contender, int round,
             const Options& options, double rate) {
  const auto duration = nanoseconds(static_cast<int64_t>(options.seconds * 1e9));
  const Server server(folder, contender);
  Client client(server.port());
  client.saturate(duration / 5);
  const Usage before = server.usage();
  const Clock::time_point start = Clock::now();
  const uint64_t answered = client.saturate(duration);
  const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  const Usage after = server.usage();
  const double p99_flat = client.percentile_us(0.99);
  client.drain();
  const double cpu = static_cast<double>(after.cpu_ns - before.cpu_ns) / 1e9;
  const Flat flat{static_cast<double>(answered) / elapsed, static_cast<double>(answered) / cpu};
  double p50 = 0;
  double p99 = 0;
  double paced_cpu_us = 0;
  if (rate > 0) {
    const Usage paced_before = server.usage();
    const uint64_t paced = client.pace(rate, duration);
    const Usage paced_after = server.usage();
    p50 = client.percentile_us(0.5);
    p99 = client.percentile_us(0.99);
    paced_cpu_us = static_cast<double>(paced_after.cpu_ns - paced_before.cpu_ns) / 1e3 /
                   static_cast<double>(std::max<uint64_t>(paced, 1));
  }
  bench::Line("echo", contender.name)
      .add("round", round)
      .add("requests_per_cpu_second", flat.per_cpu_second)
      .add("requests_per_second", flat.per_second)
      .add("switches_per_1000", 1000.0 * static_cast<double>(after.switches - before.switches) /
                                    static_cast<double>(answered))
      .add("p99_flat_us", p99_flat)
      .add("rate", rate)
      .add("p50_us", p50)
      .add("p99_us", p99)
      .add("paced_cpu_us", paced_cpu_us)
      .print();
  return flat;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--rounds")) options.rounds = std::atoi(argv[i + 1]);
    if (!std::strcmp(argv[i], "--seconds")) options.seconds = std::atof(argv[i + 1]);
    if (!std::strcmp(argv[i], "--only")) options.only = argv[i + 1];
    if (!std::strcmp(argv[i], "--rate")) options.rate = std::atof(argv[i + 1]);
  }
  const std::filesystem::path folder = std::filesystem::canonical("/proc/self/exe").parent_path();
  pin(1);
  // Round 0 warms up and finds the rate: seven tenths of what the best peer, or else anyone, can.
  double rate = options.rate;
  double best = 0;
  double own = 0;
  for (int round = rate > 0 ? 1 : 0; round <= options.rounds; ++round) {
    for (const Contender& contender : kContenders) {
      if (!options.wants(contender.name)) continue;
      const Flat flat = measure(folder, contender, round, options, round ? rate : 0);
      if (is_peer(contender)) best = std::max(best, flat.per_second);
      own = std::max(own, flat.per_second);
    }
    if (round == 0) rate = 0.7 * (best > 0 ? best : own);
  }
}
