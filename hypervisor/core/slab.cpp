// SPDX-License-Identifier: MIT
// Pages of equal objects: a header, then objects; freed ones are linked through their first word.
#include "hypervisor/core/slab.h"

namespace hv {

Result<void*> PageSlab::allocate(PagePool& pool) {
  Page* page = partial_.front();
  if (!page) {
    HV_TRY_ASSIGN(const Spa fresh, pool.allocate());
    page = new (direct_map(fresh)) Page;
    page->untouched = (sizeof(Page) + 15) & ~15u;
    partial_.push_back(page);
  }
  ++page->used;
  void* object = page->free;
  if (object) {
    page->free = *static_cast<void**>(object);
  } else {
    object = reinterpret_cast<uint8_t*>(page) + page->untouched;
    page->untouched += object_size_;
  }
  if (!page->free && page->untouched + object_size_ > kPageSize) partial_.remove(page);
  return object;
}

void PageSlab::free(PagePool& pool, void* object) {
  const auto address = reinterpret_cast<uint64_t>(object);
  auto* const page = reinterpret_cast<Page*>(address & ~(kPageSize - 1));
  if (--page->used == 0) {
    if (partial_.contains(page)) partial_.remove(page);
    pool.free(Spa(reinterpret_cast<uint64_t>(page) - direct_map_base));
    return;
  }
  *static_cast<void**>(object) = page->free;
  page->free = object;
  if (!partial_.contains(page)) partial_.push_back(page);
}

}  // namespace hv
