// SPDX-License-Identifier: MIT
// The echo server on the runtime: one coroutine a connection, one thread. The argument "epoll"
// chooses the fallback engine.
#include <string>

#include "runtime/scope.h"
#include "tests/bench/echo.h"

namespace {

using namespace runtime;

Task<> serve(Descriptor socket, const Descriptor& file, echo::Offsets& offsets) {
  std::array<std::byte, echo::kMessage> message;
  std::array<std::byte, echo::kBlock> block;
  for (;;) {
    for (std::span<std::byte> rest = message; !rest.empty();) {
      const auto count = co_await socket.receive(rest);
      if (!count || *count == 0) co_return;
      rest = rest.subspan(*count);
    }
    const auto read = co_await file.read(block, offsets.next());
    if (!read) bench::die_of_errno("read");
    const auto sent = co_await socket.send(message);
    if (!sent || *sent != message.size()) co_return;
  }
}

Task<Result<>> listen(Port& port, const Descriptor& listener, const Descriptor& file, Scope& scope,
                      echo::Offsets& offsets, DescriptorOptions options) {
  for (;;) {
    RT_CO_TRY_ASSIGN(UniqueFd fd, co_await listener.accept());
    echo::no_delay(fd.get());
    RT_CO_TRY_ASSIGN(Descriptor socket, port.associate(std::move(fd), Key{}, options));
    scope.spawn(serve(std::move(socket), file, offsets));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string choice = argc > 1 ? argv[1] : "";
  auto port = Port::create({.engine = choice == "epoll" ? EngineKind::kEpoll : EngineKind::kUring});
  if (!port) bench::die_of_errno(port.error().message().c_str());
  auto seat = (*port)->take_seat();
  if (!seat) bench::die_of_errno(seat.error().message().c_str());
  const auto file = (*port)->associate(UniqueFd(echo::open_file()), Key{},
                                       {.skip_on_inline = choice == "inline" || choice == "all"});
  const auto listener = (*port)->associate(UniqueFd(echo::listen_and_tell()));
  echo::Offsets offsets;
  Scope scope(**port);
  scope.spawn(
      listen(**port, *listener, *file, scope, offsets, {.skip_on_inline = choice == "all"}));
  seat->run();
}
