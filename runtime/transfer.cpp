// SPDX-License-Identifier: MIT
#include "runtime/transfer.h"

#include <cerrno>

namespace runtime {

int64_t transfer(Kernel& kernel, int fd, const Request& request, int file_flags) {
  iovec single{.iov_base = request.address, .iov_len = request.length};
  msghdr message{};
  message.msg_iov = &single;
  message.msg_iovlen = 1;
  const auto* vector = static_cast<const iovec*>(request.address);
  const auto count = static_cast<int>(request.length);
  const auto offset = static_cast<int64_t>(request.offset);
  const auto flags = static_cast<int>(request.flags) | MSG_DONTWAIT;
  switch (request.code) {
    case Opcode::kRead:
    case Opcode::kReadFixed:
      return kernel.read(fd, &single, 1, offset, file_flags);
    case Opcode::kReadVector:
      return kernel.read(fd, vector, count, offset, file_flags);
    case Opcode::kWrite:
    case Opcode::kWriteFixed:
      return kernel.write(fd, &single, 1, offset, file_flags);
    case Opcode::kWriteVector:
      return kernel.write(fd, vector, count, offset, file_flags);
    case Opcode::kReceive:
      return kernel.receive(fd, message, flags);
    case Opcode::kSend:
      return kernel.send(fd, message, flags);
    case Opcode::kReceiveMessage:
      return kernel.receive(fd, *static_cast<msghdr*>(request.address), flags);
    case Opcode::kSendMessage:
      return kernel.send(fd, *static_cast<const msghdr*>(request.address), flags);
    default:
      return -EOPNOTSUPP;
  }
}

}  // namespace runtime
