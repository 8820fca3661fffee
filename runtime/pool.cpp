// SPDX-License-Identifier: MIT
// The pool's groups, timers and counters; pool_workers.cpp has its workers.
#include "runtime/pool.h"

#include <algorithm>
#include <thread>

#include "runtime/futex.h"
#include "runtime/thread_ordinal.h"

namespace runtime {
namespace {

PoolOptions complete(PoolOptions options) {
  if (options.concurrency == 0) options.concurrency = std::thread::hardware_concurrency();
  options.concurrency = std::max(options.concurrency, 1U);
  if (options.max_workers == 0) options.max_workers = options.concurrency + 64;
  options.max_workers = std::max(options.max_workers, options.concurrency);
  if (options.timer_wheels == 0) options.timer_wheels = options.concurrency;
  options.timer_wheels = std::min(options.timer_wheels, options.max_workers);
  return options;
}

}  // namespace

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(const PoolOptions& options, Kernel& kernel) {
  RT_TRY_ASSIGN(auto conductor, Conductor::get(kernel));
  return std::unique_ptr<ThreadPool>(
      new ThreadPool(complete(options), kernel, std::move(conductor)));
}

ThreadPool::ThreadPool(const PoolOptions& options, Kernel& kernel,
                       std::shared_ptr<Conductor> conductor)
    : options_(options),
      kernel_(kernel),
      batch_limit_(kernel.barrier_prepare() == 0 ? Worker::kBatch : 1),
      conductor_(std::move(conductor)) {
  for (unsigned i = 0; i < options_.timer_wheels; ++i)
    shelves_.push_back(std::make_unique<TimerShelf>(*this, i));
  for (unsigned i = 0; i < options_.max_workers; ++i)
    workers_.push_back(std::make_unique<Worker>(*this, i));
  {
    const std::lock_guard lock(mutex_);
    update_helpable();
  }
  own_ = std::make_unique<CleanupGroup>(*this);
  conductor_->attach(*this);
}

ThreadPool::~ThreadPool() {
  own_->close();
  conductor_->detach(*this);
  std::vector<Worker*> called;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    while (Worker* const worker = parked_.front()) called.push_back(call(*worker));
  }
  for (Worker* const worker : called) futex_wake(worker->word_);
  for (const auto& worker : workers_)
    if (worker->thread_.joinable()) worker->thread_.join();
}

// ---- groups -------------------------------------------------------------------------------------

void ThreadPool::schedule(CleanupGroup& group) {
  Worker* helper = nullptr;
  bool covered = false;
  {
    const std::lock_guard lock(mutex_);
    if (group.state_.load(std::memory_order_relaxed) != 0) return;  // somebody was faster
    group.state_.fetch_or(CleanupGroup::kReady, std::memory_order_seq_cst);
    ready_.push_back(&group);
    ready_count_.store(static_cast<uint32_t>(ready_.size()), std::memory_order_relaxed);
    group.ready_since_ = kernel_.now();
    helper = choose_helper();
    covered = helper || searching_ > 0;
  }
  if (helper) send(*helper);
  if (!covered) conductor_->watch();
}

void ThreadPool::unschedule(CleanupGroup& group) {
  ready_.remove(&group);
  ready_count_.store(static_cast<uint32_t>(ready_.size()), std::memory_order_relaxed);
}

void ThreadPool::unschedule_for_good(CleanupGroup& group) {
  const std::lock_guard lock(mutex_);
  const uint32_t before = group.state_.exchange(CleanupGroup::kClosed, std::memory_order_seq_cst);
  if (before & CleanupGroup::kReady) unschedule(group);
}

void ThreadPool::settle(CleanupGroup& group) {
  const std::lock_guard lock(mutex_);
  if (!(group.state_.load(std::memory_order_relaxed) & CleanupGroup::kReady)) return;
  // Whoever appends after this sees that the group is not ready; what was appended before is seen
  // by the look at the lanes.
  group.state_.fetch_and(~uint32_t{CleanupGroup::kReady}, std::memory_order_seq_cst);
  if (group.lanes_empty())
    unschedule(group);
  else
    group.state_.fetch_or(CleanupGroup::kReady, std::memory_order_seq_cst);
}

CleanupGroup* ThreadPool::next_group(Worker& worker) {
  const std::lock_guard lock(mutex_);
  start_counting(worker);
  worker.surplus_ = active_ > options_.concurrency;
  if (worker.surplus_) return nullptr;
  CleanupGroup* const group = ready_.pop_front();
  if (!group) return nullptr;
  ready_.push_back(group);
  ++group->tickets_;
  stop_searching(worker);
  if (group->ready_since_ != kNever) {
    worker.counters_.add_delay(
        static_cast<uint64_t>((kernel_.now() - group->ready_since_).count()));
    group->ready_since_ = kNever;
  }
  return group;
}

void ThreadPool::notify_quiet() {
  const std::lock_guard lock(mutex_);
  quiet_.notify_all();
}

void ThreadPool::pass_through() {
  conductor_->pass_through();
  for (const auto& shelf : shelves_) shelf->pass_through();
}

// ---- timers -------------------------------------------------------------------------------------

TimerShelf& ThreadPool::shelf() {
  const Worker* const worker = Worker::current();
  const unsigned number = worker && &worker->pool() == this ? worker->index() : thread_ordinal();
  return *shelves_[number % shelves_.size()];
}

void ThreadPool::expire(TimerShelf& shelf, Instant now) {
  timers_fired_.fetch_add(shelf.expire(now), std::memory_order_relaxed);
}

// Makes sure that somebody wakes up for a shelf that is due sooner than it was.
void ThreadPool::hurry(const TimerShelf& shelf) {
  Worker& keeper = *workers_[shelf.index()];
  const Instant due = shelf.next_due();
  if (!keeper.present_.load(std::memory_order_seq_cst)) return conductor_->wake_by(due);
  conductor_->wake_by(after(due, kShelfGrace));
  if (&keeper == Worker::current()) return;
  if (keeper.sleeps_until_.load(std::memory_order_seq_cst) <= due.time_since_epoch().count())
    return;
  uint32_t word = Worker::kAsleep;
  if (keeper.word_.compare_exchange_strong(word, Worker::kPoked, std::memory_order_acq_rel))
    futex_wake(keeper.word_);
}

Instant ThreadPool::keep_shelves(Instant now) {
  Instant wake = kNever;
  for (const auto& shelf : shelves_) {
    const bool kept = workers_[shelf->index()]->present_.load(std::memory_order_seq_cst);
    const Nanoseconds grace = kept ? kShelfGrace : Nanoseconds(0);
    if (after(shelf->next_due(), grace) <= now) expire(*shelf, now);
    wake = std::min(wake, after(shelf->next_due(), grace));
  }
  return wake;
}

void ThreadPool::clock_was_set() {
  for (const auto& shelf : shelves_) {
    shelf->clock_was_set();
    hurry(*shelf);
  }
}

// ---- counters -----------------------------------------------------------------------------------

PoolCounters ThreadPool::counters() const {
  PoolCounters sum;
  for (const auto& worker : workers_) worker->counters_.add_to(sum);
  sum.cancelled += cancelled_outside_.load(std::memory_order_relaxed);
  sum.timers = timers_fired_.load(std::memory_order_relaxed);
  sum.descriptors = descriptors_ready_.load(std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  sum.rescued = rescued_;
  sum.wakes = wakes_;
  sum.started = started_;
  sum.retired = retired_;
  sum.start_failures = start_failures_;
  sum.stand_ins = stand_ins_;
  sum.workers = total_;
  sum.parked = static_cast<unsigned>(parked_.size());
  sum.blocked = blocked_;
  return sum;
}

}  // namespace runtime
