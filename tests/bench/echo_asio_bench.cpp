// SPDX-License-Identifier: MIT
// The echo server on Asio, with its epoll reactor; echo_asio_uring_bench is the same with its
// io_uring. Epoll has no file operation in Asio, so the cached block is read in place; with
// io_uring it is Asio's own file object, or in place with the argument "inline".
#include <asio.hpp>

#include <cstring>
#include <exception>
#include <memory>

#include "tests/bench/echo.h"

namespace {

using asio::ip::tcp;

#if defined(ASIO_HAS_FILE)
asio::random_access_file* g_file = nullptr;
#endif
int g_fd = -1;
echo::Offsets g_offsets;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : socket_(std::move(socket)) {}

  void receive() {
    asio::async_read(socket_, asio::buffer(message_),
                     [self = shared_from_this()](const std::error_code& error, size_t) {
                       if (!error) self->read_block();
                     });
  }

 private:
  void read_block() {
#if defined(ASIO_HAS_FILE)
    if (g_file) {
      g_file->async_read_some_at(g_offsets.next(), asio::buffer(block_),
                                 [self = shared_from_this()](const std::error_code& error, size_t) {
                                   if (!error) self->answer();
                                 });
      return;
    }
#endif
    if (::pread(g_fd, block_.data(), block_.size(), static_cast<off_t>(g_offsets.next())) < 0)
      bench::die_of_errno("pread");
    answer();
  }

  void answer() {
    asio::async_write(socket_, asio::buffer(message_),
                      [self = shared_from_this()](const std::error_code& error, size_t) {
                        if (!error) self->receive();
                      });
  }

  tcp::socket socket_;
  std::array<std::byte, echo::kMessage> message_;
  std::array<std::byte, echo::kBlock> block_;
};

void accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](const std::error_code& error, tcp::socket socket) {
    if (error) return;
    socket.set_option(tcp::no_delay(true));
    std::make_shared<Session>(std::move(socket))->receive();
    accept(acceptor);
  });
}

}  // namespace

int main(int argc, char** argv) try {
  asio::io_context context(1);
  g_fd = echo::open_file();
#if defined(ASIO_HAS_FILE)
  asio::random_access_file file(context, ::dup(g_fd));
  if (argc < 2 || std::strcmp(argv[1], "inline") != 0) g_file = &file;
#else
  static_cast<void>(argc);
  static_cast<void>(argv);
#endif
  tcp::acceptor acceptor(context, tcp::v4(), echo::listen_and_tell());
  accept(acceptor);
  context.run();
} catch (const std::exception& error) {
  bench::die(error.what());
}
