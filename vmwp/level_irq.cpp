// SPDX-License-Identifier: MIT
#include "vmwp/level_irq.h"

#include <fmt/format.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "runtime/scope.h"

namespace vmwp {
namespace {

// MSI address and data [SDM3 11.11], as the I/O APIC's redirection entry names the same things.
constexpr uint32_t kMsiAddress = 0xFEE00000;
constexpr uint32_t kMsiLevel = 1 << 15;
constexpr unsigned kMsiDestinationShift = 12;
constexpr unsigned kMsiLogicalShift = 2;
constexpr unsigned kMsiModeShift = 8;

std::unexpected<Failure> irq_failure(const char* call) {
  return fail(fmt::format("level interrupts: {}: {}", call, std::strerror(errno)));
}

mshv_user_irq_entry entry_of(const chipset::InterruptMessage& message) {
  const bool logical = message.destination_mode == chipset::DestinationMode::kLogical;
  mshv_user_irq_entry entry{};
  entry.gsi = message.pin;
  entry.address_lo = kMsiAddress | uint32_t{message.destination} << kMsiDestinationShift |
                     uint32_t{logical} << kMsiLogicalShift;
  entry.data = kMsiLevel | static_cast<uint32_t>(message.mode) << kMsiModeShift | message.vector;
  return entry;
}

runtime::Task<> listen(runtime::Port& port, int ended, uint8_t pin,
                       const std::function<void(uint8_t)>& tell) {
  const auto event = port.borrow(ended);
  if (!event) co_return;
  for (;;) {
    uint64_t times;
    const auto count = co_await event->read(std::as_writable_bytes(std::span(&times, 1)));
    if (!count) co_return;
    tell(pin);
  }
}

}  // namespace

LevelIrqs::LevelIrqs(Ioctl ioctl) : ioctl_(std::move(ioctl)) {
  for (Pin& pin : pins_) pin.ended.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

Result<> LevelIrqs::send(const chipset::InterruptMessage& message) {
  const std::lock_guard guard(lock_);
  Pin& pin = pins_.at(message.pin);
  HV_PROPAGATE(route(message.pin, entry_of(message)));
  if (!pin.irq) HV_PROPAGATE(open(message.pin));
  const uint64_t one = 1;
  if (::write(pin.irq.get(), &one, sizeof(one)) < 0) return irq_failure("eventfd");
  return {};
}

// The driver takes all routes at once.
Result<> LevelIrqs::route(uint8_t number, const mshv_user_irq_entry& entry) {
  Pin& pin = pins_[number];
  if (pin.routed && std::memcmp(&pin.route, &entry, sizeof(entry)) == 0) return {};
  struct {
    mshv_user_irq_table table;
    std::array<mshv_user_irq_entry, chipset::IoApic::kPins> entries;
  } request{};
  static_assert(sizeof(mshv_user_irq_table) == offsetof(decltype(request), entries));
  for (size_t i = 0; i < pins_.size(); ++i) {
    if (i != number && !pins_[i].routed) continue;
    request.entries[request.table.nr++] = i == number ? entry : pins_[i].route;
  }
  if (ioctl_(MSHV_SET_MSI_ROUTING, &request) < 0) return irq_failure("MSHV_SET_MSI_ROUTING");
  pin.route = entry;
  pin.routed = true;
  return {};
}

// After its route: the driver wants to see that it is a level's.
Result<> LevelIrqs::open(uint8_t number) {
  Pin& pin = pins_[number];
  runtime::UniqueFd irq(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!irq || !pin.ended) return irq_failure("eventfd");
  mshv_user_irqfd request{};
  request.fd = irq.get();
  request.resamplefd = pin.ended.get();
  request.gsi = number;
  request.flags = 1u << MSHV_IRQFD_BIT_RESAMPLE;
  if (ioctl_(MSHV_IRQFD, &request) < 0) return irq_failure("MSHV_IRQFD");
  pin.irq = std::move(irq);
  return {};
}

runtime::Task<> LevelIrqs::serve(runtime::Port& port, std::function<void(uint8_t pin)> ended) {
  runtime::Scope listeners(co_await runtime::this_source());
  for (size_t i = 0; i < pins_.size(); ++i) {
    if (pins_[i].ended)
      listeners.spawn(listen(port, pins_[i].ended.get(), static_cast<uint8_t>(i), ended));
  }
  (void)co_await listeners.join();
}

}  // namespace vmwp
