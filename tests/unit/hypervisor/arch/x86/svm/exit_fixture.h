// SPDX-License-Identifier: MIT
// A child's VP that has just exited: real mode, code at 0x1000, its messages readable.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "hypervisor/arch/x86/cpuid.h"
#include "hypervisor/arch/x86/requests.h"
#include "hypervisor/arch/x86/svm/svm.h"
#include "hypervisor/core/arch.h"
#include "hypervisor/core/scheduler.h"
#include "tests/fake/cpu.h"
#include "tests/fake/environment.h"

namespace hv::svm {

class ExitTest : public testing::Test {
 protected:
  static constexpr uint64_t kCode = 0x1000;

  ExitTest() {
    x86::init_cpuid();
    vp.intercept_page = *child.pool.allocate();
    environment.load(0, &vp);
    environment.lp(0).reschedule = false;
    v.cs = {0, 0x9b, 0xffff, 0};
    v.rip = kCode;
  }

  void code(std::initializer_list<uint8_t> bytes) {
    std::copy(bytes.begin(), bytes.end(), &environment.at<uint8_t>(child, Gpa(kCode)));
  }
  void exit(Exit code, uint64_t info1 = 0, uint64_t info2 = 0) {
    v.exit_code = static_cast<uint64_t>(code);
    v.exit_info1 = info1;
    v.exit_info2 = info2;
    v.exit_interrupt_info = 0;
    handle_exit(vp);
  }
  static Exit exception(unsigned vector) {
    return static_cast<Exit>(static_cast<uint64_t>(Exit::exception_first) + vector);
  }
  Result<> install(abi::HvInterceptType type, uint64_t parameter = 0, uint32_t access = 7) {
    return child.intercepts.install(child, type, {.as_uint64 = parameter}, access);
  }
  // The message of an intercept; forgets it and lets the VP go on.
  template <class Payload>
  std::optional<Payload> message(abi::HvMessageType type) {
    if (!vp.is(VpSuspend::intercept_suspend)) return std::nullopt;
    vp.remove(VpSuspend::intercept_suspend);
    const auto& page = *direct_map<abi::HvMessage>(vp.intercept_page);
    EXPECT_EQ(page.header.message_type, type);
    EXPECT_EQ(page.header.payload_size, sizeof(Payload));
    Payload payload;
    std::memcpy(&payload, page.payload, sizeof(payload));
    return payload;
  }
  std::optional<unsigned> injected() {
    if (!vp.event.valid()) return std::nullopt;
    return static_cast<unsigned>(x86::PendingEvent::Vector::get(std::exchange(vp.event.raw, 0)));
  }

  fake::Environment environment;
  Partition& child = environment.make_child();
  x86::Vcpu& vp = environment.make_running_vp(child, 0);
  Vmcb& v = *vp.vmcb;
};

}  // namespace hv::svm
