// SPDX-License-Identifier: MIT
#include "runtime/worker.h"

#include <algorithm>

#include "runtime/fork.h"
#include "runtime/pool.h"
#include "runtime/thread_ordinal.h"

namespace runtime {
namespace {

using std::chrono::microseconds;

// Items of a batch should be done in this time; then nothing else need look after them.
constexpr Nanoseconds kMoment = microseconds(25);
// A backlog of items that take a moment is worth another worker when it lasts this long.
constexpr Nanoseconds kBacklogTime = microseconds(20);
// From this many items in a moment on, items are cheaper than waking a thread.
constexpr unsigned kCheap = 8;
// How long an idle worker looks for work before it goes to sleep.
constexpr Nanoseconds kSearchTime = microseconds(20);

// Visits to a queue, of about a microsecond each, that bring nothing, before others get a chance.
constexpr unsigned kPatience = 16;

// One in so many visits to a group looks at the other threads' lanes first.
constexpr unsigned kOthersTurn = 4;

// Looks, of less than a microsecond each, before a join sleeps.
constexpr unsigned kFruitless = 50;

void pause(unsigned count) {
  for (unsigned i = 0; i < count; ++i) __builtin_ia32_pause();
}

}  // namespace

void Worker::run() {
  current_ = this;
  pool_.introduce(*this);
  now_ = pool_.kernel().now();
  do {
    keep_shelf();
    while (take()) keep_shelf();
    if (ForkBase* const fork = steal()) {
      pool_.leave_search(*this);
      traces_.begin_run();
      execute(*fork);
      traces_.end_run();
      now_ = pool_.kernel().now();
    }
  } while (search() || pool_.park(*this));
  current_ = nullptr;
}

void Worker::keep_shelf() {
  if (index_ >= pool_.shelves_.size()) return;
  TimerShelf& shelf = *pool_.shelves_[index_];
  if (shelf.next_due() > now_) return;
  pool_.enter_search(*this);  // what is posted needs nobody else yet
  pool_.expire(shelf, now_);
}

// Until work comes in sight, or for a while; not where somebody does so already, and only for a
// look where it woke up by itself, for a timer: that work comes says nothing about more to come.
bool Worker::search() {
  if (surplus_ || !pool_.enter_search(*this)) return false;
  const Instant until = called_ ? now_ + kSearchTime : now_;
  const TimerShelf* const shelf =
      index_ < pool_.shelves_.size() ? pool_.shelves_[index_].get() : nullptr;
  do {
    if (pool_.work_in_sight() || (shelf && shelf->next_due() <= now_)) return true;
    pause(8);
    now_ = pool_.kernel().now();
  } while (now_ < until);
  return false;
}

// ---- batches ------------------------------------------------------------------------------------

bool Worker::take() {
  if (pool_.rescue_.load(std::memory_order_relaxed) && rescue()) return true;
  surplus_ = false;
  if (pool_.ready_count_.load(std::memory_order_relaxed) == 0) return false;
  CleanupGroup* const group = pool_.next_group(*this);
  if (!group) return false;
  if (WorkItem* const item = group->take_long()) {
    pool_.settle(*group);
    run_long(*group, *item);
    return true;
  }
  bool more = false;
  const unsigned count = group->take(first_lane(), std::span(batch_).first(limit_), more);
  if (!more) pool_.settle(*group);
  if (count == 0) {
    group->finish(1);  // the ticket, unused
    // An append has begun, or others are at the lanes; but who appends may have been preempted, on
    // this very processor.
    if (++fruitless_ % kPatience == 0)
      std::this_thread::yield();
    else
      pause(32);
    return false;
  }
  fruitless_ = 0;
  counters_.batches.add();
  share_backlog();
  run_batch(*group, count);
  return true;
}

// What this thread posted itself, mostly, so that work that posts its next part stays where its
// memory and its timers are; and every other lane in turn.
unsigned Worker::first_lane() {
  return ++turn_ % kOthersTurn == 0 ? turn_ / kOthersTurn : thread_ordinal();
}

// Something is queued that this worker does not take: who does?
void Worker::share_backlog() {
  if (pool_.ready_count_.load(std::memory_order_relaxed) == 0) {
    backlog_since_ = kNever;
    return;
  }
  if (backlog_since_ == kNever) backlog_since_ = now_;
  if (limit_ < kCheap || now_ - backlog_since_ >= kBacklogTime)
    pool_.help();
  else
    pool_.conductor().watch();
}

void Worker::run_batch(CleanupGroup& group, unsigned count) {
  const Instant start = now_;
  group_ = &group;
  done_ = dropped_ = 0;
  batch_end_.store(count, std::memory_order_relaxed);
  traces_.begin_run();
  if (count > 1) pool_.conductor().watch();
  unsigned end = count;
  for (unsigned i = 0; go_to(i + 1, end); ++i) run_item(group, *batch_[i]);
  go_to(kNone, end);
  traces_.end_run();
  group_ = nullptr;
  const unsigned done = done_;
  account(group);
  now_ = pool_.kernel().now();
  adapt(now_ - start, count, done);
}

// False: the items end before that position, or now do, because somebody took them away.
bool Worker::go_to(unsigned position, unsigned& end) {
  position_.store(position, std::memory_order_release);
  // Who claims has a barrier made here, by the processor, before or after this point.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (claimed_.load(std::memory_order_relaxed)) [[unlikely]]
    end = pool_.settle_claim(*this);
  return position <= end;
}

void Worker::run_item(CleanupGroup& group, WorkItem& item) {
  const bool closed = group.state_.load(std::memory_order_acquire) & CleanupGroup::kClosed;
  dropped_ += closed;
  item.function_(item, closed ? Turn::kCancelled : Turn::kRun);
  ++done_;
}

// Afterwards the group may be gone, unless an item of it is still running here.
void Worker::account(CleanupGroup& group) {
  const unsigned done = std::exchange(done_, 0);
  const unsigned dropped = std::exchange(dropped_, 0);
  counters_.items.add(done - dropped);
  if (dropped > 0) {
    counters_.cancelled.add(dropped);
    group.cancelled_.fetch_add(dropped, std::memory_order_relaxed);
  }
  if (done > 0) group.finish(done);
}

void Worker::give_back() {
  account(*group_);
  std::array<WorkItem*, kBatch> items;
  group_->requeue(std::span(items).first(pool_.claim_own(*this, items)));
}

// The next batch has as many items as fit into a moment, twice as many as before at most.
void Worker::adapt(Nanoseconds time, unsigned count, unsigned done) {
  if (done == 0) return;
  if (time * limit_ > 2 * kMoment * done)
    limit_ = std::max<unsigned>(1, static_cast<unsigned>(kMoment * done / time));
  else if (count == limit_ && 2 * time <= kMoment)
    limit_ = std::min(2 * limit_, pool_.batch_limit_);
}

void Worker::run_long(CleanupGroup& group, WorkItem& item) {
  pool_.begin_long(*this);
  counters_.long_items.add();
  group_ = &group;
  run_item(group, item);
  group_ = nullptr;
  account(group);
  pool_.end_long(*this);
  now_ = pool_.kernel().now();
}

// Takes what a stuck worker has not begun.
bool Worker::rescue() {
  CleanupGroup* group = nullptr;
  const unsigned count = pool_.take_from_stuck(*this, group);
  if (count == 0) return false;
  run_batch(*group, count);
  return true;
}

// ---- fork and join ------------------------------------------------------------------------------

bool Worker::push(ForkBase& fork) {
  if (!forks_.push(fork)) return false;
  counters_.forks.add();
  if (pool_.helpable_.load(std::memory_order_seq_cst)) pool_.help_fork();
  return true;
}

ForkBase* Worker::steal() {
  const auto& workers = pool_.workers_;
  const size_t count = workers.size();
  for (size_t i = 1; i < count; ++i) {
    Worker& victim = *workers[(index_ + i) % count];
    if (!victim.present_.load(std::memory_order_relaxed) || victim.forks_.empty()) continue;
    ForkBase* const fork = victim.forks_.steal();
    if (!fork) continue;
    counters_.steals.add();
    if (!victim.forks_.empty() && pool_.helpable_.load(std::memory_order_relaxed))
      pool_.help_fork();
    return fork;
  }
  return nullptr;
}

void Worker::execute(ForkBase& fork) {
  Worker& owner = *fork.owner_;
  fork.function_(fork);
  // From here on the fork may be gone.
  if (fork.state_.exchange(ForkBase::kDone, std::memory_order_acq_rel) == ForkBase::kAwaited)
    pool_.call_back(owner);
}

void Worker::join(ForkBase& fork, ForkBase* popped) {
  for (unsigned fruitless = 0;; ++fruitless) {
    for (; popped; popped = forks_.pop()) {
      execute(*popped);
      fruitless = 0;
    }
    if (fork.state_.load(std::memory_order_acquire) == ForkBase::kDone) return;
    popped = steal();
    if (popped) continue;
    if (fruitless < kFruitless)
      pause(8);
    else
      wait_for(fork);
  }
}

// Until the thief is done, or there is something to steal.
void Worker::wait_for(ForkBase& fork) {
  uint32_t state = ForkBase::kForked;
  if (!fork.state_.compare_exchange_strong(state, ForkBase::kAwaited, std::memory_order_acq_rel) &&
      state == ForkBase::kDone)
    return;
  if (!pool_.sleep_for_fork(*this, fork.state_)) return;
  while (word_.load(std::memory_order_acquire) == kJoining) futex_wait(word_, kJoining);
  word_.store(kAwake, std::memory_order_relaxed);
}

}  // namespace runtime
