// SPDX-License-Identifier: MIT
#include "runtime/descriptor.h"

#include <algorithm>
#include <limits>

#include "runtime/port.h"

namespace runtime {
namespace {

// What one request can carry: its result has to hold the count. The rest is a short count.
constexpr size_t kMaxLength = std::numeric_limits<int32_t>::max() & ~size_t{4095};

uint32_t clamp(size_t length) {
  return static_cast<uint32_t>(std::min(length, kMaxLength));
}
// The kernel reads the buffers of both directions through the same, unconst pointers.
void* address_of(const void* address) {
  return const_cast<void*>(address);
}

}  // namespace

Awaiter::Awaiter(Port& port, DescriptorState* descriptor, const Request& request, int64_t when)
    : Operation([](Operation& operation) { static_cast<Awaiter&>(operation).handle_.resume(); }),
      port_(port) {
  request_ = request;
  descriptor_ = descriptor;
  fd_ = descriptor ? descriptor->fd() : -1;
  key_ = descriptor ? descriptor->key() : Key{};
  when_ = when;
}

// False: it is complete, go on. After the issue another thread may have resumed the coroutine, and
// this may be gone.
bool Awaiter::suspend(std::coroutine_handle<> handle, const CancelSource* source) {
  handle_ = handle;
  source_ = source;
  return !port_.issue(*this);
}

void Descriptor::close() {
  if (!state_) return;
  cancel();
  std::exchange(state_, nullptr)->release();
}

void Descriptor::cancel() {
  if (state_->busy()) state_->port().cancel(*state_);
}

Io<size_t> Descriptor::transfer(Opcode code, const void* address, size_t length, uint64_t offset,
                                uint16_t index) const {
  return {state_->port(),
          state_,
          {.code = code,
           .buffer_index = index,
           .length = clamp(length),
           .address = address_of(address),
           .offset = offset}};
}

Io<size_t> Descriptor::message(Opcode code, const void* address, size_t length, int flags) const {
  return {state_->port(),
          state_,
          {.code = code,
           .flags = static_cast<uint32_t>(flags | MSG_NOSIGNAL),
           .length = clamp(length),
           .address = address_of(address)}};
}

Io<size_t> Descriptor::read(std::span<std::byte> buffer, uint64_t offset) const {
  return transfer(Opcode::kRead, buffer.data(), buffer.size(), offset);
}
Io<size_t> Descriptor::write(std::span<const std::byte> buffer, uint64_t offset) const {
  return transfer(Opcode::kWrite, buffer.data(), buffer.size(), offset);
}
Io<size_t> Descriptor::read(FixedBuffer buffer, uint64_t offset) const {
  return transfer(Opcode::kReadFixed, buffer.bytes.data(), buffer.bytes.size(), offset,
                  buffer.index);
}
Io<size_t> Descriptor::write(FixedBuffer buffer, uint64_t offset) const {
  return transfer(Opcode::kWriteFixed, buffer.bytes.data(), buffer.bytes.size(), offset,
                  buffer.index);
}
Io<size_t> Descriptor::read(std::span<const iovec> buffers, uint64_t offset) const {
  return transfer(Opcode::kReadVector, buffers.data(), buffers.size(), offset);
}
Io<size_t> Descriptor::write(std::span<const iovec> buffers, uint64_t offset) const {
  return transfer(Opcode::kWriteVector, buffers.data(), buffers.size(), offset);
}
Io<void> Descriptor::sync() const {
  return {state_->port(), state_, {.code = Opcode::kSync}};
}
Io<void> Descriptor::sync_data() const {
  return {state_->port(), state_, {.code = Opcode::kDataSync}};
}

Io<size_t> Descriptor::receive(std::span<std::byte> buffer, int flags) const {
  return message(Opcode::kReceive, buffer.data(), buffer.size(), flags);
}
Io<size_t> Descriptor::send(std::span<const std::byte> buffer, int flags) const {
  return message(Opcode::kSend, buffer.data(), buffer.size(), flags);
}
Io<size_t> Descriptor::receive(msghdr& message_header, int flags) const {
  return message(Opcode::kReceiveMessage, &message_header, 1, flags);
}
Io<size_t> Descriptor::send(const msghdr& message_header, int flags) const {
  return message(Opcode::kSendMessage, &message_header, 1, flags);
}

Io<UniqueFd> Descriptor::accept() const {
  return {state_->port(), state_, {.code = Opcode::kAccept, .flags = SOCK_CLOEXEC}};
}
Io<UniqueFd> Descriptor::accept(sockaddr_storage& peer, socklen_t& length) const {
  length = sizeof(peer);
  return {state_->port(),
          state_,
          {.code = Opcode::kAccept,
           .flags = SOCK_CLOEXEC,
           .address = &peer,
           .address_length = &length}};
}
Io<void> Descriptor::connect(const sockaddr* address, socklen_t length) const {
  return {state_->port(),
          state_,
          {.code = Opcode::kConnect, .length = length, .address = address_of(address)}};
}

Io<uint32_t> Descriptor::poll(short events) const {
  return {state_->port(),
          state_,
          {.code = Opcode::kPoll, .flags = static_cast<uint32_t>(static_cast<uint16_t>(events))}};
}

}  // namespace runtime
