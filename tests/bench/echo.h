// SPDX-License-Identifier: MIT
// What the echo servers share: the message, the file that each message makes them read, and how a
// server says which port it listens on. Every server has one thread, reads exactly one message,
// then one block of the file, then answers.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tests/bench/bench.h"

namespace echo {

inline constexpr size_t kMessage = 64;
inline constexpr size_t kBlock = 4096;
inline constexpr size_t kBlocks = 256;
inline constexpr int kConnections = 256;

/// A file of kBlocks blocks, without a name, in the page cache.
inline int open_file() {
  const int fd = ::open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) bench::die_of_errno("file");
  const std::vector<char> block(kBlock, 'x');
  for (size_t i = 0; i < kBlocks; ++i)
    if (::write(fd, block.data(), kBlock) != static_cast<ssize_t>(kBlock))
      bench::die_of_errno("file");
  return fd;
}

/// Where the next message reads.
class Offsets {
 public:
  uint64_t next() { return next_++ % kBlocks * kBlock; }

 private:
  uint64_t next_ = 0;
};

/// Listens on a loopback port and prints its number: the server is ready.
inline int listen_and_tell() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), length) < 0 ||
      ::listen(fd, kConnections) < 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) < 0)
    bench::die_of_errno("listen");
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

inline void no_delay(int fd) {
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

}  // namespace echo
