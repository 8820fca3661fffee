// SPDX-License-Identifier: MIT
// Physical pages. The page database knows for every frame of RAM who owns it and how many child
// mappings it has; a page pool holds the zeroed pages that a partition's parent deposited (the
// root's pool also has the boot reserve). There is no other allocator in the hypervisor.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/lock.h"
#include "hypervisor/core/address.h"
#include "hypervisor/core/error.h"

namespace hv {

// One 16-bit word a frame. A frame is either the root's, with a count of mappings into child
// partitions, or the hypervisor's (boot image, reserve, or deposited), or no RAM at all.
class PageDb {
 public:
  static constexpr uint16_t kHypervisor = 0xffff;
  static constexpr uint16_t kNoRam = 0xfffe;
  static constexpr uint16_t kMaxMappings = 0xfff0;

  // `words` has one entry for each frame in [0, frames), all zero: the root's, unmapped.
  void init(std::atomic<uint16_t>* words, uint64_t frames) {
    words_ = words;
    frames_ = frames;
  }
  // Marks the frames of [from, to) as holes: memory-mapped devices, firmware, nothing. For boot.
  void exclude(Spa from, Spa to);

  uint64_t frames() const { return frames_; }
  bool contains(Spa page) const { return page.page() < frames_; }
  // True where the direct map reaches memory that may be read and written.
  bool is_ram(Spa page) const { return contains(page) && word(page) != kNoRam; }
  bool owned_by_hypervisor(Spa page) const { return contains(page) && word(page) == kHypervisor; }

  // Root → hypervisor. Errors: object_in_use (a child maps it), access_denied (no RAM, the
  // hypervisor's already, or page 0, since Spa() stands for no page). Back again.
  Result<> acquire(Spa page);
  void release(Spa page);
  // Counts one more or one fewer mapping into a child. Errors: access_denied (not the root's RAM),
  // no_resources (too many mappings).
  Result<> add_mapping(Spa page);
  void drop_mapping(Spa page);
  // Zero for what is not the root's.
  uint16_t mappings(Spa page) const;

 private:
  uint16_t word(Spa page) const { return words_[page.page()].load(std::memory_order_relaxed); }

  std::atomic<uint16_t>* words_ = nullptr;
  uint64_t frames_ = 0;
};

extern PageDb page_db;

// Stacks of free pages linked through their first bytes: pages that the pool keeps for good, which
// are used first, and pages that the parent deposited, which may be withdrawn. Pages are zeroed
// when they enter the pool and leave it zeroed.
class PagePool {
 public:
  PagePool() = default;
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // Gives the pool the pages of [begin, end) to keep. Once, before anything else.
  void keep(Spa begin, Spa end);
  // Error: insufficient_memory.
  Result<Spa> allocate();
  void free(Spa page);
  // Pages given by the parent count as deposited until withdrawn. Error: no_resources (none free).
  void deposit(Spa page);
  Result<Spa> withdraw();

  uint64_t free_pages() const { return free_.load(std::memory_order_relaxed); }
  uint64_t total_pages() const { return total_.load(std::memory_order_relaxed); }

 private:
  struct Stack {
    Spa head;
    uint64_t pages = 0;
  };
  void push(Spa page, uint64_t added);
  Spa pop(Stack& stack) HV_REQUIRES(lock_);

  base::SpinLock lock_{60};
  Spa kept_begin_, kept_end_;
  Stack kept_ HV_GUARDED_BY(lock_);
  Stack deposited_ HV_GUARDED_BY(lock_);
  std::atomic<uint64_t> free_{0};
  std::atomic<uint64_t> total_{0};
};

// One page of a pool, returned to it unless released.
class PooledPage {
 public:
  static Result<PooledPage> allocate(PagePool& pool) {
    HV_TRY_ASSIGN(const Spa page, pool.allocate());
    return PooledPage(pool, page);
  }
  PooledPage(PooledPage&& other) noexcept : pool_(other.pool_), page_(other.page_) {
    other.pool_ = nullptr;
  }
  PooledPage& operator=(PooledPage&&) = delete;
  ~PooledPage() {
    if (pool_) pool_->free(page_);
  }
  Spa spa() const { return page_; }
  Spa release() {
    pool_ = nullptr;
    return page_;
  }

 private:
  PooledPage(PagePool& pool, Spa page) : pool_(&pool), page_(page) {}
  PagePool* pool_;
  Spa page_;
};

}  // namespace hv
