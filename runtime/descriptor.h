// SPDX-License-Identifier: MIT
// Descriptor: a file, socket or event associated with a port. Each of its calls describes a request
// (Io), which a coroutine awaits and anyone else starts with an Operation of his own. Closing
// cancels what is in flight; the file closes when the last of it has been delivered, so that no
// request ever meets a reused number.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "runtime/kernel.h"
#include "runtime/operation.h"
#include "runtime/unique_fd.h"

namespace runtime {

class Port;

struct DescriptorOptions {
  /// Try each request at once, without waiting; if that works there is no packet: Io::start answers
  /// true, and a coroutine does not suspend.
  bool skip_on_inline = false;
};

/// Part of a buffer that was given to the port in PortOptions::fixed_buffers.
struct FixedBuffer {
  uint16_t index = 0;
  std::span<std::byte> bytes;
};

/// What a Descriptor, and each request in flight on it, hold on to.
class DescriptorState {
 public:
  DescriptorState(Port& port, Kernel& kernel, int fd, bool owned, Key key, int file_type,
                  DescriptorOptions options)
      : port_(port),
        kernel_(kernel),
        fd_(fd),
        file_type_(file_type),
        key_(key),
        options_(options),
        owned_(owned) {}

  Port& port() const { return port_; }
  int fd() const { return fd_; }
  Key key() const { return key_; }
  int file_type() const { return file_type_; }
  bool skip_on_inline() const { return options_.skip_on_inline; }

  /// Whether the last receive left more behind, as far as anybody was told.
  bool more_waits() const { return more_waits_.load(std::memory_order_relaxed); }
  void set_more_waits(bool more) {
    if (more != more_waits()) more_waits_.store(more, std::memory_order_relaxed);
  }
  /// Whether anything but the handle holds it.
  bool busy() const { return references_.load(std::memory_order_acquire) > 1; }
  void hold() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (owned_) kernel_.close(fd_);
    delete this;
  }

 private:
  ~DescriptorState() = default;

  Port& port_;
  Kernel& kernel_;
  const int fd_;
  const int file_type_;
  const Key key_;
  const DescriptorOptions options_;
  const bool owned_;
  std::atomic<uint32_t> references_ = 1;
  std::atomic<bool> more_waits_ = false;
};

/// What Awaiter<T> does whatever T is.
class Awaiter : public Operation {
 protected:
  Awaiter(Port& port, DescriptorState* descriptor, const Request& request, int64_t when);

  bool suspend(std::coroutine_handle<> handle, const CancelSource* source);

 private:
  Port& port_;
  std::coroutine_handle<> handle_;
};

/// A request that has not been started: await it, or start() it.
template <class T>
class [[nodiscard]] Io {
 public:
  class Await : public Awaiter {
   public:
    explicit Await(const Io& io) : Awaiter(io.port_, io.descriptor_, io.request_, io.when_) {}

    bool await_ready() const { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) {
      if constexpr (requires { handle.promise().cancel_source(); })
        return suspend(handle, handle.promise().cancel_source());
      else
        return suspend(handle, nullptr);
    }
    Result<T> await_resume() {
      if (result() < 0) return failure(-result());
      if constexpr (std::is_void_v<T>)
        return {};
      else
        return T(static_cast<unsigned>(result()));
    }
  };

  Io(Port& port, DescriptorState* descriptor, const Request& request, int64_t when = 0)
      : port_(port), descriptor_(descriptor), request_(request), when_(when) {}

  Await operator co_await() const { return Await(*this); }

  /// Issues it from any thread. The operation and all buffers must stay until its packet or handler
  /// has come. True: it is complete already, and there will be neither (skip_on_inline only).
  bool start(Operation& operation, Key key) const {
    return start_request(port_, operation, request_, descriptor_, key, when_);
  }
  bool start(Operation& operation) const {
    return start(operation, descriptor_ ? descriptor_->key() : Key{});
  }

 private:
  Port& port_;
  DescriptorState* descriptor_;
  Request request_;
  int64_t when_;
};

class Descriptor {
 public:
  Descriptor() = default;
  Descriptor(Descriptor&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(state_, other.state_);
    other.close();
    return *this;
  }
  ~Descriptor() { close(); }

  explicit operator bool() const { return state_ != nullptr; }
  int fd() const { return state_->fd(); }
  Key key() const { return state_->key(); }

  /// Ends what is in flight with ECANCELED and lets go of the file.
  void close();
  /// Ends what is in flight, from whichever thread, with ECANCELED.
  void cancel();

  // Files and streams. The default offset is a stream's: where it stands. A count may be short.
  Io<size_t> read(std::span<std::byte> buffer, uint64_t offset = Request::kStream) const;
  Io<size_t> write(std::span<const std::byte> buffer, uint64_t offset = Request::kStream) const;
  Io<size_t> read(FixedBuffer buffer, uint64_t offset = Request::kStream) const;
  Io<size_t> write(FixedBuffer buffer, uint64_t offset = Request::kStream) const;
  Io<size_t> read(std::span<const iovec> buffers, uint64_t offset = Request::kStream) const;
  Io<size_t> write(std::span<const iovec> buffers, uint64_t offset = Request::kStream) const;
  Io<void> sync() const;
  Io<void> sync_data() const;

  // Sockets. A broken connection is EPIPE, never a signal.
  Io<size_t> receive(std::span<std::byte> buffer, int flags = 0) const;
  Io<size_t> send(std::span<const std::byte> buffer, int flags = 0) const;
  Io<size_t> receive(msghdr& message, int flags = 0) const;
  Io<size_t> send(const msghdr& message, int flags = 0) const;
  Io<UniqueFd> accept() const;
  Io<UniqueFd> accept(sockaddr_storage& peer, socklen_t& length) const;
  Io<void> connect(const sockaddr* address, socklen_t length) const;

  /// Waits for POLLIN and the like; answers those that hold.
  Io<uint32_t> poll(short events) const;

 private:
  friend class Port;
  explicit Descriptor(DescriptorState* state) : state_(state) {}

  Io<size_t> transfer(Opcode code, const void* address, size_t length, uint64_t offset,
                      uint16_t index = 0) const;
  Io<size_t> message(Opcode code, const void* address, size_t length, int flags) const;

  DescriptorState* state_ = nullptr;
};

}  // namespace runtime
