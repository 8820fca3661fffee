// SPDX-License-Identifier: MIT
#include "runtime/port.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/blocking_threads.h"
#include "runtime/station.h"
#include "runtime/transfer.h"

namespace runtime {
namespace {

constexpr unsigned kBlockingThreads = 4;

int64_t nanoseconds_of(Instant instant) {
  return instant.time_since_epoch().count();
}

}  // namespace

// ---- creation ---------------------------------------------------------------------------------

Port::Port(PortOptions options)
    : options_(std::move(options)),
      kind_(options_.engine == EngineKind::kEpoll ? EngineKind::kEpoll : EngineKind::kUring),
      limit_(options_.concurrency ? options_.concurrency
                                  : std::max(1U, std::thread::hardware_concurrency())),
      blocking_(std::make_unique<BlockingThreads>(*options_.kernel, kBlockingThreads)) {}

Port::~Port() {
  assert(stations_.empty());
  // Nobody is left to whom these could be delivered.
  for (Operations* list : {&packets_, &handlers_, &handed_}) {
    while (Operation* operation = list->pop_front()) {
      if (operation->descriptor_) operation->descriptor_->release();
      operation->phase_.store(Operation::kIdle, std::memory_order_release);
    }
  }
}

Result<std::unique_ptr<Port>> Port::create(PortOptions options) {
  std::unique_ptr<Port> port(new Port(std::move(options)));
  RT_TRY(port->choose_engine());
  return port;
}

// Whether io_uring is to be had is found out by setting a ring up; then it is taken down again.
Result<> Port::choose_engine() {
  SeatCounters counters;
  const auto trial = create_engine(counters);
  if (trial) return {};
  if (options_.engine != EngineKind::kAutomatic) return std::unexpected(trial.error());
  kind_ = EngineKind::kEpoll;
  RT_TRY(create_engine(counters));
  log("io_uring is refused (" + trial.error().message() + "), epoll and threads do its work");
  return {};
}

Result<std::unique_ptr<Engine>> Port::create_engine(SeatCounters& counters) {
  const EngineOptions options{.kernel = options_.kernel,
                              .entries = options_.entries,
                              .delivery = options_.delivery,
                              .fixed_buffers = options_.fixed_buffers};
  return kind_ == EngineKind::kUring ? create_uring_engine(options, counters)
                                     : create_epoll_engine(options, counters, *blocking_);
}

void Port::log(const std::string& line) const {
  if (options_.log) options_.log(options_.name + ": " + line);
}

Result<Seat> Port::take_seat() {
  auto station = std::make_unique<Station>(*this);
  RT_TRY(station->open());
  return Seat(std::move(station));
}

bool Port::seated() const {
  const Station* station = Station::current();
  return station && &station->port() == this;
}

Result<Descriptor> Port::associate(UniqueFd fd, Key key, DescriptorOptions options) {
  RT_TRY_ASSIGN(Descriptor descriptor, associate(fd.get(), true, key, options));
  fd.release();
  return descriptor;
}

Result<Descriptor> Port::borrow(int fd, Key key, DescriptorOptions options) {
  return associate(fd, false, key, options);
}

Result<Descriptor> Port::associate(int fd, bool owned, Key key, DescriptorOptions options) {
  const int type = kernel().file_type(fd);
  if (type < 0) return failure(-type);
  if (kind_ == EngineKind::kEpoll && type == S_IFSOCK)
    if (const int result = kernel().set_nonblocking(fd); result < 0) return failure(-result);
  return Descriptor(new DescriptorState(*this, kernel(), fd, owned, key, type, options));
}

FixedBuffer Port::fixed_buffer(uint16_t index) const {
  const iovec& buffer = options_.fixed_buffers[index];
  return {index, {static_cast<std::byte*>(buffer.iov_base), buffer.iov_len}};
}

// ---- issuing ----------------------------------------------------------------------------------

bool start_request(Port& port, Operation& operation, const Request& request,
                   DescriptorState* descriptor, Key key, int64_t when) {
  assert(!operation.pending());
  operation.request_ = request;
  operation.descriptor_ = descriptor;
  operation.fd_ = descriptor ? descriptor->fd() : -1;
  operation.key_ = key;
  operation.when_ = when;
  return port.issue(operation);
}

// True: it is complete, and nothing more will be heard of it.
bool Port::issue(Operation& operation) {
  // Read before the source is looked at: a cancel either finds this operation older than itself, or
  // is seen here.
  operation.epoch_ = epoch_.load(std::memory_order_acquire);
  if (operation.source_ && operation.source_->cancelled()) {
    operation.descriptor_ = nullptr;
    operation.result_ = -ECANCELED;
    return true;
  }
  if (operation.request_.code == Opcode::kPosted) {
    post(operation, operation.key_);
    return false;
  }
  Station* const station = seated() ? Station::current() : nullptr;
  if (DescriptorState* descriptor = operation.descriptor_) {
    if (descriptor->skip_on_inline() && (!station || station->allow_inline()) &&
        try_inline(operation)) {
      if (station) station->counters().inline_completions.add();
      operation.descriptor_ = nullptr;
      return true;
    }
    descriptor->hold();
  }
  if (station)
    station->start_own(operation);
  else
    hand_over(operation);
  return false;
}

bool Port::try_inline(Operation& operation) {
  const int64_t result = transfer(kernel(), operation.fd_, operation.request_, RWF_NOWAIT);
  if (result == -EAGAIN || result == -EINTR || result == -EOPNOTSUPP) return false;
  operation.result_ = static_cast<int32_t>(result);
  return true;
}

// For a thread that waits, the latest first; if none does, for the next that will.
void Port::hand_over(Operation& operation) {
  Station* station;
  {
    const std::lock_guard guard(mutex_);
    ++past_.hand_overs;
    operation.station_ = nullptr;
    if (operation.source_ && operation.source_->cancelled()) {
      // Cancelled since issue() looked, and maybe since cancel() walked the list.
      operation.result_ = -ECANCELED;
      station = enqueue_and_grant(operation);
    } else {
      operation.phase_.store(Operation::kHanded, std::memory_order_release);
      handed_.push_back(&operation);
      station = notify_latest();
    }
  }
  rouse(station);
}

void Port::post(Operation& operation, Key key, int32_t result) {
  operation.key_ = key;
  operation.result_ = result;
  operation.descriptor_ = nullptr;
  operation.station_ = nullptr;
  Station* station;
  {
    const std::lock_guard guard(mutex_);
    station = enqueue_and_grant(operation);
  }
  rouse(station);
}

Io<void> Port::sleep_until(Instant deadline) {
  return {*this, nullptr, {.code = Opcode::kTimer}, nanoseconds_of(deadline)};
}
Io<void> Port::sleep_for(Nanoseconds duration) {
  return sleep_until(after(kernel().now(), duration));
}
Io<void> Port::sleep_until(WallTime deadline) {
  return {*this, nullptr, {.code = Opcode::kWallTimer}, deadline.time_since_epoch().count()};
}
Io<void> Port::turn() {
  return {*this, nullptr, {.code = Opcode::kPosted}};
}

// ---- cancelling -------------------------------------------------------------------------------

bool Port::Selector::matches(const Operation& operation) const {
  if (operation.epoch_ >= epoch) return false;
  if (descriptor) return operation.descriptor_ == descriptor;
  if (source) return operation.source_ && operation.source_->below(source);
  return everything || operation.key_ == key;
}

bool Port::Selector::same_choice(const Selector& other) const {
  return descriptor == other.descriptor && source == other.source &&
         everything == other.everything && key == other.key;
}

bool Port::cancel(Operation& operation) {
  Station* to_wake = nullptr;
  {
    const std::lock_guard guard(mutex_);
    uint8_t phase = operation.phase_.load(std::memory_order_acquire);
    if (phase == Operation::kHanded) {
      handed_.remove(&operation);
      operation.result_ = -ECANCELED;
      to_wake = enqueue_and_grant(operation);
    } else {
      // Its station may be completing it: whoever changes the phase first is the first.
      if ((phase & Operation::kPhases) != Operation::kStarted) return false;
      if (phase & Operation::kMailed) return true;
      if (!operation.phase_.compare_exchange_strong(phase, phase | Operation::kMailed,
                                                    std::memory_order_acq_rel))
        return false;
      Station& station = *operation.station_;
      station.mail_.push_back(&operation);
      to_wake = notify(station);
    }
  }
  rouse(to_wake);
  return true;
}

void Port::cancel(Key key) {
  cancel(Selector{.key = key});
}
void Port::cancel(const CancelSource& source) {
  cancel(Selector{.source = &source});
}
void Port::cancel(const DescriptorState& descriptor) {
  cancel(Selector{.descriptor = &descriptor});
}

void Port::cancel(Selector selector) {
  selector.epoch = epoch_.fetch_add(1, std::memory_order_acq_rel) + 1;
  std::vector<Station*> to_wake;
  {
    const std::lock_guard guard(mutex_);
    for (Operation* operation = handed_.front(); operation;) {
      Operation* const next = Operations::next(operation);
      if (selector.matches(*operation)) {
        handed_.remove(operation);
        operation->result_ = -ECANCELED;
        to_wake.push_back(enqueue_and_grant(*operation));
      }
      operation = next;
    }
    for (Station* station : stations_) {
      // One that was sent again and again before the station looked is sent once.
      std::vector<Selector>& mail = station->selectors_;
      if (!mail.empty() && mail.back().same_choice(selector))
        mail.back().epoch = std::max(mail.back().epoch, selector.epoch);
      else
        mail.push_back(selector);
      to_wake.push_back(notify(*station));
    }
  }
  for (Station* station : to_wake) rouse(station);
}

void CancelSource::cancel() {
  cancelled_.store(true, std::memory_order_release);
  port_.cancel(*this);
}

// ---- the queue and who waits ------------------------------------------------------------------

bool Port::queued_for(bool takes_packets) const {
  return !handlers_.empty() || (takes_packets && !packets_.empty());
}

void Port::enqueue(Operation& operation, SeatCounters* counters) {
  operation.phase_.store(Operation::kQueued, std::memory_order_release);
  operation.when_ = nanoseconds_of(kernel().now());
  (operation.handler_ ? handlers_ : packets_).push_back(&operation);
  if (counters)
    counters->queued.add();
  else
    ++past_.queued;
}

Station* Port::enqueue_and_grant(Operation& operation) {
  enqueue(operation, nullptr);
  return grant_queued();
}

void Port::dequeue(Operations& taken, size_t packets, size_t handlers, SeatCounters& counters) {
  if ((packets == 0 || packets_.empty()) && handlers_.empty()) return;
  const int64_t now = nanoseconds_of(kernel().now());
  const auto take = [&](Operations& queue, size_t most) {
    for (; most > 0 && !queue.empty(); --most) {
      Operation* operation = queue.pop_front();
      counters.queue_delay_ns.add(
          static_cast<uint64_t>(std::max<int64_t>(now - operation->when_, 0)));
      taken.push_back(operation);
    }
  };
  take(handlers_, handlers);
  take(packets_, packets);
}

// While there are packets and a slot is free, the thread that waited last gets it.
Station* Port::grant_queued() {
  if (active_ >= limit_ || !queued_for(true)) return nullptr;
  for (size_t i = parked_.size(); i-- > 0;) {
    Station& station = *parked_[i];
    if (!queued_for(station.takes_packets_)) continue;
    Station* const to_wake = notify(station);
    unpark(station);
    station.active_ = true;
    ++active_;
    return to_wake;
  }
  return nullptr;
}

Station* Port::notify_latest() {
  return parked_.empty() ? nullptr : notify(*parked_.back());
}

Station* Port::notify(Station& station) {
  if (!station.parked_ || station.notified_) return nullptr;
  station.notified_ = true;
  station.wakers_.fetch_add(1, std::memory_order_relaxed);
  ++past_.wakeups;
  return &station;
}

void Port::unpark(Station& station) {
  station.notified_ = false;
  if (!std::exchange(station.parked_, false)) return;
  // Most often the last.
  const auto found = std::find(parked_.rbegin(), parked_.rend(), &station);
  parked_.erase(std::next(found).base());
}

// Outside the lock; the station waits for us before it goes.
void Port::rouse(Station* station) {
  if (!station) return;
  station->engine_->wake();
  station->wakers_.fetch_sub(1, std::memory_order_release);
}

void Port::wake_all() {
  std::vector<Station*> to_wake;
  {
    const std::lock_guard guard(mutex_);
    for (Station* station : stations_) to_wake.push_back(notify(*station));
  }
  for (Station* station : to_wake) rouse(station);
}

void Port::serve_once() {
  Station::current()->wait({}, kernel().now() + std::chrono::seconds(1), Station::OnStop::kServe);
}

void Port::stop() {
  stopped_.store(true, std::memory_order_release);
  wake_all();
}

PortCounters Port::counters() const {
  const std::lock_guard guard(mutex_);
  PortCounters sum = past_;
  for (const Station* station : stations_) station->counters_.add_to(sum);
  return sum;
}

}  // namespace runtime
