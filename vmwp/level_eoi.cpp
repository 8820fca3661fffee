// SPDX-License-Identifier: MIT
#include "vmwp/level_eoi.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "abi/root/mshv.h"

namespace vmwp {
namespace {

constexpr uint32_t kMsiAddress = 0xFEE00000;
constexpr uint32_t kMsiLevel = 1 << 15;  // of the data word [SDM3 11.11.2]

std::unexpected<Failure> eoi_failure(const char* call) {
  return fail(fmt::format("end of interrupts: {}: {}", call, std::strerror(errno)));
}

}  // namespace

LevelEois::LevelEois(Ioctl ioctl)
    : ioctl_(std::move(ioctl)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

Result<> LevelEois::expect(uint8_t vector) {
  const std::lock_guard guard(lock_);
  if (std::ranges::find(slots_, vector, &Slot::vector) != slots_.end()) return {};
  if (slots_.size() < kSlots) return add_slot(vector);
  slots_[next_recycled_++ % kSlots].vector = vector;
  return set_routes();
}

Result<> LevelEois::add_slot(uint8_t vector) {
  Slot slot{UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
            UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), vector};
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = slots_.size();
  if (!slot.irqfd || !slot.resample ||
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, slot.resample.get(), &event) < 0) {
    return eoi_failure("eventfd");
  }
  mshv_user_irqfd request{};
  request.fd = slot.irqfd.get();
  request.resamplefd = slot.resample.get();
  request.gsi = static_cast<uint32_t>(slots_.size());
  request.flags = 1u << MSHV_IRQFD_BIT_RESAMPLE;
  slots_.push_back(std::move(slot));
  // The driver wants the route before the irqfd.
  auto routed = set_routes();
  if (routed && ioctl_(MSHV_IRQFD, &request) < 0) routed = eoi_failure("MSHV_IRQFD");
  if (!routed) slots_.pop_back();
  return routed;
}

// All routes at once: slot i is GSI i. Destinations do not matter, nothing is sent by these routes.
Result<> LevelEois::set_routes() {
  struct {
    mshv_user_irq_table table;
    std::array<mshv_user_irq_entry, kSlots> entries;
  } request{};
  static_assert(sizeof(mshv_user_irq_table) == offsetof(decltype(request), entries));
  request.table.nr = static_cast<uint32_t>(slots_.size());
  for (size_t i = 0; i < slots_.size(); ++i) {
    request.entries[i] = {static_cast<uint32_t>(i), kMsiAddress, 0, kMsiLevel | slots_[i].vector};
  }
  if (ioctl_(MSHV_SET_MSI_ROUTING, &request) < 0) return eoi_failure("MSHV_SET_MSI_ROUTING");
  return {};
}

std::vector<uint8_t> LevelEois::take() {
  std::vector<uint8_t> ended;
  std::array<epoll_event, kSlots> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), 0);
  const std::lock_guard guard(lock_);
  for (int i = 0; i < count; ++i) {
    const uint64_t index = events[static_cast<size_t>(i)].data.u64;
    if (index >= slots_.size()) continue;
    uint64_t times;
    if (::read(slots_[index].resample.get(), &times, sizeof(times)) < 0) continue;
    ended.push_back(slots_[index].vector);
  }
  return ended;
}

}  // namespace vmwp
