// SPDX-License-Identifier: MIT
// The echo server that nobody would want to write: io_uring by hand, with a multishot receive into
// provided buffers, registered files, and nothing between a completion and the next request. It
// shows what this kernel allows, and so what a bar can ask for. It checks no more than it must.
#include <liburing.h>

#include <cerrno>

#include "tests/bench/echo.h"

namespace {

constexpr unsigned kEntries = 1024;
constexpr unsigned kBuffers = 4096;  // of one message
constexpr int kFile = echo::kConnections;

enum class Step : uint8_t { kReceive, kRead, kSend };

class Limit {
 public:
  Limit()
      : buffers_(kBuffers),
        blocks_(echo::kConnections),
        ring_buffers_(static_cast<io_uring_buf_ring*>(
            std::aligned_alloc(4096, kBuffers * sizeof(io_uring_buf)))) {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
    parameters.cq_entries = 8 * kEntries;
    check(io_uring_queue_init_params(kEntries, &ring_, &parameters));
    std::array<int, echo::kConnections + 1> files;
    files[kFile] = echo::open_file();
    const int listener = echo::listen_and_tell();
    for (size_t i = 0; i < echo::kConnections; ++i) {
      files[i] = ::accept(listener, nullptr, nullptr);
      if (files[i] < 0) bench::die_of_errno("accept");
      echo::no_delay(files[i]);
    }
    check(io_uring_register_files(&ring_, files.data(), files.size()));
    io_uring_buf_ring_init(ring_buffers_);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uint64_t>(ring_buffers_);
    registration.ring_entries = kBuffers;
    check(io_uring_register_buf_ring(&ring_, &registration, 0));
    for (uint16_t i = 0; i < kBuffers; ++i) give_back(i);
  }

  [[noreturn]] void run() {
    for (int i = 0; i < echo::kConnections; ++i) receive(i);
    for (;;) {
      if (const int result = io_uring_submit_and_wait(&ring_, 1); result != -EINTR) check(result);
      unsigned head;
      unsigned count = 0;
      io_uring_cqe* completion;
      io_uring_for_each_cqe(&ring_, head, completion) {
        ++count;
        completed(*completion);
      }
      io_uring_cq_advance(&ring_, count);
    }
  }

 private:
  static void check(int result) {
    if (result >= 0) return;
    errno = -result;
    bench::die_of_errno("io_uring");
  }

  io_uring_sqe& entry() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    while (!entry) {
      check(io_uring_submit(&ring_));
      entry = io_uring_get_sqe(&ring_);
    }
    return *entry;
  }
  // After its preparation, which clears both.
  static void finish(io_uring_sqe& entry, Step step, int connection, uint16_t buffer) {
    io_uring_sqe_set_data64(&entry, static_cast<uint64_t>(step) << 32 |
                                        static_cast<uint64_t>(connection) << 16 | buffer);
    entry.flags |= IOSQE_FIXED_FILE;
  }

  void receive(int connection) {
    io_uring_sqe& sqe = entry();
    io_uring_prep_recv_multishot(&sqe, connection, nullptr, 0, 0);
    finish(sqe, Step::kReceive, connection, 0);
    sqe.flags |= IOSQE_BUFFER_SELECT;
  }

  void completed(const io_uring_cqe& completion) {
    const auto step = static_cast<Step>(completion.user_data >> 32);
    const auto connection = static_cast<int>(completion.user_data >> 16 & 0xffff);
    const auto buffer = static_cast<uint16_t>(completion.user_data);
    if (completion.res != -ENOBUFS) check(completion.res);
    switch (step) {
      case Step::kReceive: {
        if (!(completion.flags & IORING_CQE_F_MORE)) receive(connection);
        if (completion.res == -ENOBUFS) break;
        if (completion.res != static_cast<int>(echo::kMessage)) std::exit(0);  // the client left
        const auto filled = static_cast<uint16_t>(completion.flags >> IORING_CQE_BUFFER_SHIFT);
        io_uring_sqe& sqe = entry();
        io_uring_prep_read(&sqe, kFile, blocks_[static_cast<size_t>(connection)].data(),
                           echo::kBlock, offsets_.next());
        finish(sqe, Step::kRead, connection, filled);
        break;
      }
      case Step::kRead: {
        io_uring_sqe& sqe = entry();
        io_uring_prep_send(&sqe, connection, buffers_[buffer].data(), echo::kMessage, MSG_NOSIGNAL);
        finish(sqe, Step::kSend, connection, buffer);
        break;
      }
      case Step::kSend:
        give_back(buffer);
        break;
    }
  }

  void give_back(uint16_t buffer) {
    io_uring_buf_ring_add(ring_buffers_, buffers_[buffer].data(), echo::kMessage, buffer,
                          io_uring_buf_ring_mask(kBuffers), 0);
    io_uring_buf_ring_advance(ring_buffers_, 1);
  }

  io_uring ring_{};
  std::vector<std::array<std::byte, echo::kMessage>> buffers_;
  std::vector<std::array<std::byte, echo::kBlock>> blocks_;
  io_uring_buf_ring* ring_buffers_;
  echo::Offsets offsets_;
};

}  // namespace

int main() {
  Limit().run();
}
