// SPDX-License-Identifier: MIT
// The echo server on Asio with io_uring in place of epoll.
#define ASIO_HAS_IO_URING 1
#define ASIO_DISABLE_EPOLL 1
#include "tests/bench/echo_asio_bench.cpp"
