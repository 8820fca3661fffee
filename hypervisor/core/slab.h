// SPDX-License-Identifier: MIT
// Objects smaller than a page out of a page pool. A page returns to the pool with its last object,
// so page accounting is exact. The owner's lock guards it.
#pragma once

#include <cstdint>
#include <new>
#include <utility>

#include "base/list.h"
#include "hypervisor/core/memory.h"

namespace hv {

class PageSlab {
 public:
  explicit constexpr PageSlab(uint32_t object_size) : object_size_((object_size + 15) & ~15u) {}
  PageSlab(const PageSlab&) = delete;
  PageSlab& operator=(const PageSlab&) = delete;

  // Error: insufficient_memory.
  Result<void*> allocate(PagePool& pool);
  void free(PagePool& pool, void* object);

 private:
  struct Page {
    base::ListLink<Page> link;  // while it has a free object
    uint32_t used = 0;
    uint32_t untouched = 0;  // offset of the part that was never handed out
    void* free = nullptr;
  };
  const uint32_t object_size_;
  base::List<Page, &Page::link> partial_;
};

// The same for one type.
template <class T>
class Slab {
 public:
  template <class... Args>
  Result<T*> create(PagePool& pool, Args&&... args) {
    HV_TRY_ASSIGN(void* const memory, slab_.allocate(pool));
    return new (memory) T{std::forward<Args>(args)...};
  }
  void destroy(PagePool& pool, T* object) {
    object->~T();
    slab_.free(pool, object);
  }

 private:
  static_assert(sizeof(T) <= 1024 && alignof(T) <= 16);
  PageSlab slab_{sizeof(T)};
};

}  // namespace hv
