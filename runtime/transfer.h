// SPDX-License-Identifier: MIT
// A read, write, send or receive by plain system call, for whoever carries out a request without
// a ring: a port that tries one at once, the epoll engine, and its threads.
#pragma once

#include "runtime/kernel.h"
#include "runtime/operation.h"

namespace runtime {

/// The forms of read and write, as against those of sockets.
constexpr bool is_file_transfer(Opcode code) {
  return code >= Opcode::kRead && code <= Opcode::kWriteFixed;
}

/// The count, or minus an errno; -EOPNOTSUPP also for a request of another kind. `file_flags` are
/// those of preadv2(): RWF_NOWAIT or none. Sockets are never waited for.
int64_t transfer(Kernel& kernel, int fd, const Request& request, int file_flags);

}  // namespace runtime
