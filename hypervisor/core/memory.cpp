// SPDX-License-Identifier: MIT
// Frame ownership by compare-and-swap: whoever moves a frame's word first wins, so a page can never
// be both mapped into a child and deposited. Pools link free pages through their first bytes.
#include "hypervisor/core/memory.h"

#include <cstring>

#include "hypervisor/core/log.h"

namespace hv {

PageDb page_db;

void PageDb::exclude(Spa from, Spa to) {
  for (uint64_t frame = from.page(); frame < to.page() && frame < frames_; ++frame)
    words_[frame].store(kNoRam, std::memory_order_relaxed);
}

Result<> PageDb::acquire(Spa page) {
  if (!contains(page) || page == Spa()) return fail(Error::access_denied);
  uint16_t expected = 0;
  if (words_[page.page()].compare_exchange_strong(expected, kHypervisor)) return {};
  return fail(expected <= kMaxMappings ? Error::object_in_use : Error::access_denied);
}

void PageDb::release(Spa page) {
  HV_ASSERT(owned_by_hypervisor(page));
  words_[page.page()].store(0, std::memory_order_release);
}

Result<> PageDb::add_mapping(Spa page) {
  if (!contains(page)) return fail(Error::access_denied);
  std::atomic<uint16_t>& word = words_[page.page()];
  uint16_t count = word.load(std::memory_order_relaxed);
  do {
    if (count > kMaxMappings) return fail(Error::access_denied);
    if (count == kMaxMappings) return fail(Error::no_resources);
  } while (!word.compare_exchange_weak(count, static_cast<uint16_t>(count + 1)));
  return {};
}

void PageDb::drop_mapping(Spa page) {
  const uint16_t before = words_[page.page()].fetch_sub(1);
  HV_ASSERT(before != 0 && before <= kMaxMappings);
}

uint16_t PageDb::mappings(Spa page) const {
  const uint16_t count = contains(page) ? word(page) : kNoRam;
  return count <= kMaxMappings ? count : 0;
}

void PagePool::keep(Spa begin, Spa end) {
  kept_begin_ = begin;
  kept_end_ = end;
  for (Spa page = begin; page < end; page = page + kPageSize) push(page, 1);
}

void PagePool::push(Spa page, uint64_t added) {
  uint8_t* const bytes = direct_map<uint8_t>(page);
  std::memset(bytes, 0, kPageSize);
  base::Guard guard(lock_);
  Stack& stack = page >= kept_begin_ && page < kept_end_ ? kept_ : deposited_;
  std::memcpy(bytes, &stack.head, sizeof(stack.head));
  stack.head = page;
  ++stack.pages;
  free_.fetch_add(1, std::memory_order_relaxed);
  total_.fetch_add(added, std::memory_order_relaxed);
}

Spa PagePool::pop(Stack& stack) {
  const Spa page = stack.head;
  std::memcpy(&stack.head, direct_map(page), sizeof(stack.head));
  std::memset(direct_map(page), 0, sizeof(stack.head));
  --stack.pages;
  free_.fetch_sub(1, std::memory_order_relaxed);
  return page;
}

Result<Spa> PagePool::allocate() {
  base::Guard guard(lock_);
  Stack& stack = kept_.pages != 0 ? kept_ : deposited_;
  if (stack.pages == 0) return fail(Error::insufficient_memory);
  return pop(stack);
}

void PagePool::free(Spa page) {
  push(page, 0);
}

void PagePool::deposit(Spa page) {
  push(page, 1);
}

Result<Spa> PagePool::withdraw() {
  base::Guard guard(lock_);
  if (deposited_.pages == 0) return fail(Error::no_resources);
  total_.fetch_sub(1, std::memory_order_relaxed);
  return pop(deposited_);
}

}  // namespace hv
