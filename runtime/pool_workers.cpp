// SPDX-License-Identifier: MIT
// How workers come, sleep, are called and go; and how the conductor notices that one is blocked.
#include <algorithm>
#include <utility>

#include "runtime/fork.h"
#include "runtime/futex.h"
#include "runtime/pool.h"
#include "runtime/thread.h"

namespace runtime {

// ---- who helps ----------------------------------------------------------------------------------

void ThreadPool::update_helpable() {
  const bool room = active_ < options_.concurrency;
  const bool somebody = !parked_.empty() || total_ < options_.max_workers;
  helpable_.store(searching_ == 0 && (!joining_.empty() || (room && somebody)),
                  std::memory_order_seq_cst);
}

Worker* ThreadPool::choose_helper() {
  if (stopping_ || searching_ > 0 || active_ >= options_.concurrency) return nullptr;
  if (Worker* const worker = parked_.front()) return call(*worker);
  if (total_ == options_.max_workers) return nullptr;
  Worker& worker = **std::ranges::find_if(workers_, [](const auto& candidate) {
    return !candidate->present_.load(std::memory_order_relaxed);
  });
  worker.present_.store(true, std::memory_order_seq_cst);
  worker.word_.store(Worker::kStarting, std::memory_order_relaxed);
  worker.searching_ = true;
  ++total_;
  ++active_;
  ++searching_;
  update_helpable();
  return &worker;
}

// Takes a sleeper off its list, as one that searches.
Worker* ThreadPool::call(Worker& worker) {
  get_up(worker);
  worker.searching_ = true;
  ++searching_;
  ++wakes_;
  update_helpable();
  worker.word_.store(Worker::kCalled, std::memory_order_release);
  return &worker;
}

void ThreadPool::send(Worker& helper) {
  if (helper.word_.load(std::memory_order_relaxed) == Worker::kStarting)
    start(helper);
  else
    futex_wake(helper.word_);
}

void ThreadPool::help() {
  if (!helpable_.load(std::memory_order_relaxed)) return conductor_->watch();
  Worker* helper;
  bool covered;
  {
    const std::lock_guard lock(mutex_);
    helper = choose_helper();
    covered = helper || searching_ > 0;
  }
  if (helper) send(*helper);
  if (!covered) conductor_->watch();
}

// Somebody who waits in a join is as good as anybody, and better than a thread that must start.
void ThreadPool::help_fork() {
  Worker* helper = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (searching_ > 0) return;
    if (Worker* const worker = joining_.front()) {
      rouse(*worker);
      helper = worker;
    } else {
      helper = choose_helper();
    }
  }
  if (helper) send(*helper);
}

// With the lock, so that the thread that was here before is joined before this one can go.
void ThreadPool::start(Worker& worker) {
  const std::lock_guard lock(mutex_);
  if (!stopping_) {
    if (worker.thread_.joinable()) worker.thread_.join();
    const std::string name = options_.name + "/" + std::to_string(worker.index());
    auto thread = start_thread(name, [&worker] { worker.run(); });
    if (thread) {
      worker.thread_ = std::move(*thread);
      ++started_;
      return;
    }
    // The conductor tries again, as long as there is work.
    ++start_failures_;
  }
  stop_searching(worker);
  stop_counting(worker);
  retire(worker);
  conductor_->watch();
}

void ThreadPool::introduce(Worker& worker) {
  worker.traces_.introduce();
  worker.now_ = kernel_.now();
  worker.word_.store(Worker::kAwake, std::memory_order_relaxed);
}

// ---- searching ----------------------------------------------------------------------------------

bool ThreadPool::enter_search(Worker& worker) {
  if (worker.searching_) return true;
  const std::lock_guard lock(mutex_);
  if (searching_ > 0) return false;
  worker.searching_ = true;
  ++searching_;
  update_helpable();
  return true;
}

void ThreadPool::leave_search(Worker& worker) {
  if (!worker.searching_) return;
  const std::lock_guard lock(mutex_);
  stop_searching(worker);
}

void ThreadPool::stop_searching(Worker& worker) {
  if (!worker.searching_) return;
  worker.searching_ = false;
  --searching_;
  update_helpable();
}

bool ThreadPool::forks_in_sight() const {
  return std::ranges::any_of(workers_, [](const auto& worker) {
    return worker->present_.load(std::memory_order_relaxed) && !worker->forks_.empty();
  });
}

bool ThreadPool::work_in_sight() const {
  return ready_count_.load(std::memory_order_relaxed) > 0 ||
         rescue_.load(std::memory_order_relaxed) || forks_in_sight();
}

// ---- counting: active_ is who runs items or looks for some --------------------------------------

// Unless it counts already.
void ThreadPool::start_counting(Worker& worker) {
  if (!std::exchange(worker.blocked_, false)) return;
  --blocked_;
  ++active_;
  update_helpable();
}

void ThreadPool::stop_counting(Worker& worker) {
  if (worker.blocked_) {
    worker.blocked_ = false;
    --blocked_;
  } else {
    --active_;
  }
}

void ThreadPool::get_up(Worker& worker) {
  parked_.remove(&worker);
  ++active_;
}

// Not counted already.
void ThreadPool::retire(Worker& worker) {
  --total_;
  ++retired_;
  worker.present_.store(false, std::memory_order_seq_cst);
  update_helpable();
}

void ThreadPool::begin_long(Worker& worker) {
  {
    const std::lock_guard lock(mutex_);
    stop_counting(worker);
    worker.long_ = true;
    update_helpable();
  }
  if (ready_count_.load(std::memory_order_relaxed) > 0) help();
}

void ThreadPool::end_long(Worker& worker) {
  const std::lock_guard lock(mutex_);
  worker.long_ = false;
  ++active_;
  update_helpable();
}

// ---- sleep --------------------------------------------------------------------------------------

bool ThreadPool::park(Worker& worker) {
  bool surplus;
  {
    const std::lock_guard lock(mutex_);
    stop_searching(worker);
    surplus = active_ > options_.concurrency;
    if (!stopping_ && !surplus && (!ready_.empty() || rescue_.load(std::memory_order_relaxed)))
      return true;
    stop_counting(worker);
    if (stopping_) {
      retire(worker);
      return false;
    }
    parked_.push_front(&worker);
    worker.word_.store(Worker::kAsleep, std::memory_order_seq_cst);
    update_helpable();
  }
  worker.counters_.parks.add();
  if (surplus) {
    if (work_in_sight()) conductor_->watch();  // it is for others
  } else if (forks_in_sight()) {  // whoever forks later sees that it can send for somebody
    const std::lock_guard lock(mutex_);
    if (worker.word_.load(std::memory_order_relaxed) != Worker::kCalled) call(worker);
  }
  return sleep(worker);
}

bool ThreadPool::sleep(Worker& worker) {
  const bool keeper = worker.index() < shelves_.size();
  const auto due = [&] { return keeper ? shelves_[worker.index()]->next_due() : kNever; };
  Instant retire_at = after(worker.now_, options_.idle_time);
  worker.called_ = true;
  for (;;) {
    const Instant until = std::min(due(), retire_at);
    worker.sleeps_until_.store(until.time_since_epoch().count(), std::memory_order_seq_cst);
    if (due() < until) continue;
    futex_wait(worker.word_, Worker::kAsleep, until);
    uint32_t word = Worker::kPoked;
    worker.word_.compare_exchange_strong(word, Worker::kAsleep, std::memory_order_acq_rel);
    if (word == Worker::kCalled) break;
    worker.now_ = kernel_.now();
    if (worker.now_ < until) continue;
    const std::lock_guard lock(mutex_);
    if (worker.word_.load(std::memory_order_acquire) == Worker::kCalled) break;
    if (due() <= worker.now_) {
      call(worker);
      --wakes_;
      worker.called_ = false;
      break;
    }
    if (worker.now_ < retire_at) continue;
    if (total_ <= options_.min_workers) {
      retire_at = kNever;
      continue;
    }
    parked_.remove(&worker);
    retire(worker);
    worker.sleeps_until_.store(0, std::memory_order_seq_cst);
    // From here on nobody keeps the shelf but the conductor.
    conductor_->wake_by(due());
    return false;
  }
  worker.sleeps_until_.store(0, std::memory_order_seq_cst);
  worker.word_.store(Worker::kAwake, std::memory_order_relaxed);
  worker.now_ = kernel_.now();
  return true;
}

bool ThreadPool::sleep_for_fork(Worker& worker, const std::atomic<uint32_t>& state) {
  {
    const std::lock_guard lock(mutex_);
    if (state.load(std::memory_order_acquire) == ForkBase::kDone) return false;
    if (!worker.long_) stop_counting(worker);
    worker.counters_.parks.add();
    joining_.push_front(&worker);
    worker.word_.store(Worker::kJoining, std::memory_order_seq_cst);
    update_helpable();
  }
  if (forks_in_sight()) {
    const std::lock_guard lock(mutex_);
    if (worker.word_.load(std::memory_order_relaxed) == Worker::kJoining) rouse(worker);
  }
  return true;
}

// A fork that it waited for is done. It may know already, and be asleep for something else.
void ThreadPool::call_back(Worker& worker) {
  {
    const std::lock_guard lock(mutex_);
    if (worker.word_.load(std::memory_order_relaxed) != Worker::kJoining) return;
    rouse(worker);
  }
  futex_wake(worker.word_);
}

void ThreadPool::rouse(Worker& worker) {
  joining_.remove(&worker);
  if (!worker.long_) ++active_;
  worker.word_.store(Worker::kCalled, std::memory_order_release);
  update_helpable();
}

// ---- what the conductor sees --------------------------------------------------------------------

unsigned ThreadPool::take_from_stuck(Worker& worker, CleanupGroup*& group) {
  const std::lock_guard lock(mutex_);
  unsigned count = 0;
  bool others = false;
  for (const auto& candidate : workers_) {
    if (!candidate->stuck_) continue;
    if (count > 0) {
      others = true;
      continue;
    }
    candidate->stuck_ = false;
    count = claim(*candidate, worker.batch_);
    if (count > 0) group = candidate->group_;
  }
  rescue_.store(others, std::memory_order_relaxed);
  rescued_ += count;
  if (count > 0) stop_searching(worker);
  return count;
}

// Takes what the worker has not begun. The barrier decides, so that the worker need not make one
// for each item: a position that is not seen here is followed by a look at claimed_ that sees it.
unsigned ThreadPool::claim(Worker& worker, std::span<WorkItem*, Worker::kBatch> items) {
  worker.claimed_.store(true, std::memory_order_seq_cst);
  if (&worker != Worker::current() && kernel_.barrier() != 0) return 0;
  const unsigned position = worker.position_.load(std::memory_order_acquire);
  const unsigned end = worker.batch_end_.load(std::memory_order_relaxed);
  if (position >= end) return 0;
  worker.batch_end_.store(position, std::memory_order_relaxed);
  std::copy(worker.batch_.begin() + position, worker.batch_.begin() + end, items.begin());
  return end - position;
}

unsigned ThreadPool::claim_own(Worker& worker, std::span<WorkItem*, Worker::kBatch> items) {
  const std::lock_guard lock(mutex_);
  return claim(worker, items);
}

// By the worker itself: what is still its own ends where?
unsigned ThreadPool::settle_claim(Worker& worker) {
  const std::lock_guard lock(mutex_);
  worker.claimed_.store(false, std::memory_order_relaxed);
  return worker.batch_end_.load(std::memory_order_relaxed);
}

bool ThreadPool::look_after(Instant now) {
  bool needed;
  {
    const std::lock_guard lock(mutex_);
    needed = !ready_.empty();
    for (const auto& worker : workers_) needed |= watch_batch(*worker);
  }
  if (!needed) {
    for (const auto& worker : workers_) worker->sight_.forget();
    return false;
  }
  for (const auto& worker : workers_)
    worker->verdict_ = worker->sight_.look(worker->traces_, worker->counters_.parks.get(), now);
  Worker* helper;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& worker : workers_) judge(*worker);
    helper = choose_helper();
    stand_ins_ += helper && blocked_ > 0;
  }
  if (helper) send(*helper);
  return true;
}

// A batch takes a moment; one that is still there a tick later is stuck.
bool ThreadPool::watch_batch(Worker& worker) {
  const uint32_t run = worker.traces_.run.load(std::memory_order_seq_cst);
  if (run % 2 == 0) return false;
  const bool any = worker.position_.load(std::memory_order_relaxed) <
                   worker.batch_end_.load(std::memory_order_relaxed);
  if (any && run == worker.seen_run_) {
    worker.stuck_ = true;
    rescue_.store(true, std::memory_order_relaxed);
  }
  worker.seen_run_ = run;
  return any;
}

// A blocked worker does not count, until it is seen running again or comes for more work.
void ThreadPool::judge(Worker& worker) {
  if (!worker.present_.load(std::memory_order_relaxed) || worker.long_ || worker.idle_link_.linked)
    return;
  if (worker.verdict_ == WorkerSight::Verdict::kBlocked && !worker.blocked_) {
    worker.blocked_ = true;
    --active_;
    ++blocked_;
  } else if (worker.verdict_ == WorkerSight::Verdict::kBusy) {
    start_counting(worker);
  }
  update_helpable();
}

}  // namespace runtime
