// SPDX-License-Identifier: MIT
// What the port's tests share: every test runs on each engine and on the control arm, with a kernel
// that may be a faulty one.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <utility>

#include "runtime/port.h"

namespace runtime {

struct EngineCase {
  const char* name;
  EngineKind kind;
  Delivery delivery;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class PortTest : public testing::TestWithParam<EngineCase> {
 protected:
  void SetUp() override { open({}); }

  void open(PortOptions options) {
    options.engine = GetParam().kind;
    options.delivery = GetParam().delivery;
    port_.reset();
    auto port = Port::create(std::move(options));
    if (!port && GetParam().kind == EngineKind::kUring) GTEST_SKIP() << port.error().message();
    ASSERT_TRUE(port) << port.error().message();
    port_ = *std::move(port);
  }

  Descriptor associate(int fd, Key key = {}, DescriptorOptions options = {}) {
    auto descriptor = port_->associate(UniqueFd(fd), key, options);
    EXPECT_TRUE(descriptor);
    return *std::move(descriptor);
  }

  std::pair<Descriptor, Descriptor> stream_pair(Key near = {}, Key far = {}) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    return {associate(fds[0], near), associate(fds[1], far)};
  }

  /// A file without a name that holds `content`.
  static UniqueFd file_with(std::string_view content) {
    UniqueFd fd(::open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    EXPECT_TRUE(fd);
    EXPECT_EQ(::pwrite(fd.get(), content.data(), content.size(), 0),
              static_cast<ssize_t>(content.size()));
    return fd;
  }

  std::unique_ptr<Port> port_;
};

inline std::string name_of(const testing::TestParamInfo<EngineCase>& tested) {
  return tested.param.name;
}

#define INSTANTIATE_ENGINES(suite)                                                    \
  INSTANTIATE_TEST_SUITE_P(                                                           \
      Engines, suite,                                                                 \
      testing::Values(EngineCase{"uring", EngineKind::kUring, Delivery::kDeferred},   \
                      EngineCase{"control", EngineKind::kUring, Delivery::kOnIssuer}, \
                      EngineCase{"epoll", EngineKind::kEpoll, Delivery::kDeferred}),  \
      name_of)

}  // namespace runtime
