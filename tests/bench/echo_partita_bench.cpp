// SPDX-License-Identifier: MIT
// The echo server on the runtime: one coroutine a connection, one thread. The argument "epoll"
// chooses the fallback engine.
#include <cstring>

#include "runtime/scope.h"
#include "tests/bench/echo.h"

namespace {

using namespace runtime;

Task<Result<>> receive_message(const Descriptor& socket, std::span<std::byte> message) {
  while (!message.empty()) {
    RT_CO_TRY_ASSIGN(const size_t count, co_await socket.receive(message));
    if (count == 0) co_return failure(ECONNRESET);
    message = message.subspan(count);
  }
  co_return Result<>();
}

Task<> serve(Descriptor socket, const Descriptor& file, echo::Offsets& offsets) {
  std::array<std::byte, echo::kMessage> message;
  std::array<std::byte, echo::kBlock> block;
  for (;;) {
    const auto received = co_await receive_message(socket, message);
    if (!received) co_return;
    const auto read = co_await file.read(block, offsets.next());
    if (!read) echo::die("read");
    const auto sent = co_await socket.send(message);
    if (!sent || *sent != message.size()) co_return;
  }
}

Task<Result<>> listen(Port& port, const Descriptor& listener, const Descriptor& file, Scope& scope,
                      echo::Offsets& offsets) {
  for (;;) {
    RT_CO_TRY_ASSIGN(UniqueFd fd, co_await listener.accept());
    echo::no_delay(fd.get());
    RT_CO_TRY_ASSIGN(Descriptor socket, port.associate(std::move(fd)));
    scope.spawn(serve(std::move(socket), file, offsets));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool epoll = argc > 1 && std::strcmp(argv[1], "epoll") == 0;
  auto port = Port::create({.engine = epoll ? EngineKind::kEpoll : EngineKind::kUring});
  if (!port) echo::die(port.error().message().c_str());
  auto seat = (*port)->take_seat();
  if (!seat) echo::die(seat.error().message().c_str());
  const auto file = (*port)->associate(UniqueFd(echo::open_file()));
  const auto listener = (*port)->associate(UniqueFd(echo::listen_and_tell()));
  echo::Offsets offsets;
  Scope scope(**port);
  scope.spawn(listen(**port, *listener, *file, scope, offsets));
  seat->run();
}
