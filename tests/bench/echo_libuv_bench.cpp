// SPDX-License-Identifier: MIT
// The echo server on libuv. The block is read in place, the fastest that libuv offers for what is
// in the page cache, or by its thread pool with the argument "threads".
#include <uv.h>

#include <cstring>

#include "tests/bench/echo.h"

namespace {

int g_fd = -1;
bool g_threads = false;
echo::Offsets g_offsets;

struct Session {
  uv_tcp_t socket{};
  uv_fs_t reading{};
  uv_write_t writing{};
  std::array<char, echo::kMessage> message;
  std::array<char, echo::kBlock> block;
  size_t filled = 0;
};

void answer(Session& session) {
  uv_buf_t buffer = uv_buf_init(session.message.data(), echo::kMessage);
  auto* stream = reinterpret_cast<uv_stream_t*>(&session.socket);
  session.filled = 0;
  if (uv_try_write(stream, &buffer, 1) == static_cast<int>(echo::kMessage)) return;
  uv_write(&session.writing, stream, &buffer, 1, nullptr);
}

void receive(Session& session);

void read_block(Session& session) {
  uv_loop_t* loop = session.socket.loop;
  uv_buf_t buffer = uv_buf_init(session.block.data(), echo::kBlock);
  const auto offset = static_cast<int64_t>(g_offsets.next());
  if (!g_threads) {
    uv_fs_read(loop, &session.reading, g_fd, &buffer, 1, offset, nullptr);
    uv_fs_req_cleanup(&session.reading);
    answer(session);
    return;
  }
  uv_read_stop(reinterpret_cast<uv_stream_t*>(&session.socket));
  session.reading.data = &session;
  uv_fs_read(loop, &session.reading, g_fd, &buffer, 1, offset, [](uv_fs_t* request) {
    auto& done = *static_cast<Session*>(request->data);
    uv_fs_req_cleanup(request);
    answer(done);
    receive(done);
  });
}

void receive(Session& session) {
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&session.socket),
      [](uv_handle_t* handle, size_t, uv_buf_t* buffer) {
        auto& self = *static_cast<Session*>(handle->data);
        *buffer = uv_buf_init(self.message.data() + self.filled,
                              static_cast<unsigned>(echo::kMessage - self.filled));
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
        auto& self = *static_cast<Session*>(stream->data);
        if (count < 0) {
          uv_close(reinterpret_cast<uv_handle_t*>(stream),
                   [](uv_handle_t* handle) { delete static_cast<Session*>(handle->data); });
          return;
        }
        self.filled += static_cast<size_t>(count);
        if (self.filled == echo::kMessage) read_block(self);
      });
}

}  // namespace

int main(int argc, char** argv) {
  g_threads = argc > 1 && std::strcmp(argv[1], "threads") == 0;
  g_fd = echo::open_file();
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t listener;
  uv_tcp_init(loop, &listener);
  uv_tcp_open(&listener, echo::listen_and_tell());
  uv_listen(reinterpret_cast<uv_stream_t*>(&listener), echo::kConnections,
            [](uv_stream_t* server, int status) {
              if (status < 0) return;
              auto* session = new Session;
              uv_tcp_init(server->loop, &session->socket);
              session->socket.data = session;
              if (uv_accept(server, reinterpret_cast<uv_stream_t*>(&session->socket)) < 0) return;
              uv_tcp_nodelay(&session->socket, 1);
              receive(*session);
            });
  return uv_run(loop, UV_RUN_DEFAULT);
}
