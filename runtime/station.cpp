// SPDX-License-Identifier: MIT
#include "runtime/station.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace runtime {
namespace {

thread_local Station* t_station = nullptr;

// Handlers that one wait takes from the port's queue, so that threads that wake get some too.
constexpr size_t kQueueShare = 32;

}  // namespace

Station::Station(Port& port)
    : port_(port),
      kernel_(port.kernel()),
      wheel_(static_cast<uint64_t>(kernel_.now().time_since_epoch().count())) {}

Station::~Station() {
  if (t_station == this) leave();
}

Station* Station::current() {
  return t_station;
}

Result<> Station::open() {
  if (t_station) return failure(EBUSY);
  RT_TRY_ASSIGN(engine_, port_.create_engine(counters_));
  const std::lock_guard guard(port_.mutex_);
  port_.stations_.push_back(this);
  // Reserved here, so that parking cannot fail.
  port_.parked_.reserve(port_.stations_.size());
  t_station = this;
  return {};
}

// ---- waiting ----------------------------------------------------------------------------------

size_t Station::wait(std::span<Packet> packets, Instant deadline, OnStop on_stop) {
  for (;;) {
    Inbox inbox;
    const bool work = park_unless_work(inbox, !packets.empty());
    serve(inbox);
    if (port_.stopped() && on_stop == OnStop::kReturn) {
      end_wait();
      return 0;
    }
    // Completion work comes first, whatever else there is to take.
    turn(work, deadline);
    Operations queued;
    unpark_and_share(queued, packets.size());
    Operations own = std::exchange(engine_->ready(), {});
    size_t filled = 0;
    // What is in the queue is older.
    bool delivered = deliver_all(queued, packets, filled);
    delivered |= deliver_all(own, packets, filled);
    if (delivered) counters_.batches.add();
    spill(own);
    if (delivered) return filled;
    if (deadline != kNever && kernel_.now() >= deadline) {
      end_wait();
      return 0;
    }
  }
}

// Gives up the slot of the last round, and parks unless something waits already: then, true.
bool Station::park_unless_work(Inbox& inbox, bool takes_packets) {
  Station* other;
  {
    const std::lock_guard guard(port_.mutex_);
    release_slot();
    inline_left_ = kInlineShare;
    takes_packets_ = takes_packets;
    collect(inbox);
    if (port_.active_ < port_.limit_ && port_.queued_for(takes_packets)) return true;
    if (!engine_->ready().empty()) return true;
    parked_ = true;
    port_.parked_.push_back(this);
    // What waits for the slot may be packets, and this thread takes none.
    other = port_.grant_queued();
  }
  Port::rouse(other);
  return false;
}

// Back to the caller with nothing: whatever this thread was woken for is for another one.
void Station::end_wait() {
  Station* other;
  Inbox inbox;
  {
    const std::lock_guard guard(port_.mutex_);
    port_.unpark(*this);
    release_slot();
    other = port_.grant_queued();
    if (!other) other = pass_on_handed(inbox);
  }
  Port::rouse(other);
  begin(inbox);
}

void Station::serve(Inbox& inbox) {
  while (Operation* operation = inbox.handed.pop_front()) start(*operation);
  for (Operation* operation : inbox.cancels) cancel(*operation);
  for (const Port::Selector& selector : inbox.selectors) cancel_matching(selector);
}

void Station::turn(bool poll, Instant deadline) {
  const int64_t earliest =
      poll ? INT64_MIN : std::min(deadline.time_since_epoch().count(), timer_deadline());
  if (earliest == INT64_MAX) {
    engine_->turn(nullptr);
  } else {
    const Nanoseconds left =
        poll ? Nanoseconds(0) : Nanoseconds(earliest) - kernel_.now().time_since_epoch();
    engine_->turn(&left);
  }
  absorb_clock();
  expire_timers();
}

// Claims a slot if there is anything to deliver, and takes a share of the port's queue. Without a
// slot, what completed here is for the threads that have one.
void Station::unpark_and_share(Operations& queued, size_t room) {
  Station* other;
  Inbox inbox;
  {
    const std::lock_guard guard(port_.mutex_);
    port_.unpark(*this);
    Operations& ready = engine_->ready();
    const bool found = !ready.empty() || port_.queued_for(takes_packets_);
    if (!found) {
      release_slot();
    } else if (!active_ && port_.active_ < port_.limit_) {
      active_ = true;
      ++port_.active_;
    }
    if (found && active_) {
      port_.dequeue(queued, room, kQueueShare, counters_);
    } else if (found) {
      while (Operation* operation = ready.pop_front()) {
        retire_to_queue(*operation);
        port_.enqueue(*operation, &counters_);
      }
    }
    other = port_.grant_queued();
    if (active_ && !other) other = pass_on_handed(inbox);
  }
  Port::rouse(other);
  begin(inbox);
}

// Requests that came meanwhile must not wait until this thread has dealt with its own. They are for
// one that waits; if none does, for this one after all. With the port's lock held.
Station* Station::pass_on_handed(Inbox& inbox) {
  if (port_.handed_.empty()) return nullptr;
  Station* const other = port_.notify_latest();
  if (!other) take_handed(inbox);
  return other;
}

// What was taken is with the kernel before this thread turns to something else.
void Station::begin(Inbox& inbox) {
  if (inbox.handed.empty()) return;
  serve(inbox);
  engine_->submit();
}

// Runs handlers and fills packets, in order. What it leaves in the list are packets without room.
bool Station::deliver_all(Operations& operations, std::span<Packet> packets, size_t& filled) {
  bool delivered = false;
  Operations left;
  while (Operation* operation = operations.pop_front()) {
    if (!operation->handler_ && filled == packets.size()) {
      left.push_back(operation);
      continue;
    }
    delivered = true;
    counters_.operations.add();
    if (DescriptorState* descriptor = std::exchange(operation->descriptor_, nullptr))
      descriptor->release();
    const Operation::Handler handler = operation->handler_;
    if (!handler) packets[filled++] = {operation->key_, operation, operation->result_};
    retire(*operation);  // from here on it is the caller's
    if (handler) handler(*operation);
  }
  operations = left;
  return delivered;
}

// To the port's queue, for other threads.
void Station::spill(Operations& operations) {
  if (operations.empty()) return;
  Station* other;
  {
    const std::lock_guard guard(port_.mutex_);
    while (Operation* operation = operations.pop_front()) {
      retire_to_queue(*operation);
      port_.enqueue(*operation, &counters_);
    }
    other = port_.grant_queued();
  }
  Port::rouse(other);
}

// Takes the operation from those that cancel() may reach, and out of the mailbox that a cancel may
// have put it in meanwhile.
void Station::retire(Operation& operation) {
  Station* const station = operation.station_;
  const uint8_t before = operation.phase_.exchange(Operation::kIdle, std::memory_order_acq_rel);
  if (!(before & Operation::kMailed)) return;
  // The cancel came after the completion, or beside it; its mail must not outlive the operation.
  const std::lock_guard guard(station->port_.mutex_);
  if (station->mail_.contains(&operation)) station->mail_.remove(&operation);
}

// The same under the port's lock.
void Station::retire_to_queue(Operation& operation) {
  const uint8_t before = operation.phase_.exchange(Operation::kQueued, std::memory_order_acq_rel);
  if ((before & Operation::kMailed) && operation.station_->mail_.contains(&operation))
    operation.station_->mail_.remove(&operation);
}

// With the port's lock held: from here on, a cancel finds them with this station.
void Station::take_handed(Inbox& inbox) {
  while (Operation* operation = port_.handed_.pop_front()) {
    operation->station_ = this;
    operation->phase_.store(Operation::kStarted, std::memory_order_release);
    inbox.handed.push_back(operation);
  }
}

// With the port's lock held.
void Station::collect(Inbox& inbox) {
  take_handed(inbox);
  if (!mail_.empty())
    while (Operation* operation = mail_.pop_front()) inbox.cancels.push_back(operation);
  if (!selectors_.empty()) inbox.selectors.swap(selectors_);
}

void Station::release_slot() {
  if (!active_) return;
  active_ = false;
  --port_.active_;
}

// ---- requests ---------------------------------------------------------------------------------

void Station::start_own(Operation& operation) {
  operation.station_ = this;
  operation.phase_.store(Operation::kStarted, std::memory_order_release);
  start(operation);
}

void Station::start(Operation& operation) {
  switch (operation.request_.code) {
    case Opcode::kTimer:
    case Opcode::kWallTimer:
      engine_->adopt(operation);
      start_timer(operation);
      break;
    case Opcode::kSignal:
      engine_->adopt(operation);
      if (static_cast<Signal*>(operation.request_.address)->enroll(operation))
        engine_->complete(operation, 0);
      break;
    default:
      engine_->start(operation);
  }
}

void Station::cancel(Operation& operation) {
  if (!(operation.engine_flags_ & Operation::kInFlight)) return;
  bool gone = false;
  switch (operation.request_.code) {
    case Opcode::kTimer:
      gone = wheel_.cancel(operation);
      break;
    case Opcode::kWallTimer:
      gone = wall_wheel_.cancel(operation);
      break;
    case Opcode::kSignal:
      gone = static_cast<Signal*>(operation.request_.address)->withdraw(operation);
      break;
    default:
      engine_->cancel(operation);
  }
  if (gone) engine_->complete(operation, -ECANCELED);
}

void Station::cancel_matching(const Port::Selector& selector) {
  std::vector<Operation*> chosen;  // cancel() takes some of them out of the list at once
  Operations& in_flight = engine_->in_flight();
  for (Operation* operation = in_flight.front(); operation; operation = Operations::next(operation))
    if (selector.matches(*operation)) chosen.push_back(operation);
  for (Operation* operation : chosen) cancel(*operation);
}

// ---- the end ----------------------------------------------------------------------------------

void Station::leave() {
  {
    const std::lock_guard guard(port_.mutex_);
    std::erase(port_.stations_, this);
    port_.unpark(*this);
    release_slot();
  }
  cancel_matching({.everything = true, .epoch = UINT64_MAX});
  while (!engine_->in_flight().empty()) engine_->turn(nullptr);
  absorb_clock();
  if (clock_) std::exchange(clock_, nullptr)->release();
  Operations left = std::exchange(engine_->ready(), {});
  spill(left);
  Station* other;
  {
    const std::lock_guard guard(port_.mutex_);
    counters_.add_to(port_.past_);
    // Requests that nobody took are for the others; if there is nobody, for the next seat's thread.
    other = port_.handed_.empty() ? port_.grant_queued() : port_.notify_latest();
  }
  Port::rouse(other);
  while (wakers_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  t_station = nullptr;
}

}  // namespace runtime
