// SPDX-License-Identifier: MIT
// Copies between a guest and the hypervisor, page by page through the partition's GPA space and the
// direct map, which reaches RAM only.
#include "hypervisor/core/guest_memory.h"

#include <algorithm>
#include <cstring>

namespace hv {

namespace {

Result<Spa> reach(const Partition& partition, Gpa address, Access access) {
  const Spa spa = partition.space.translate(address, access);
  if (spa == GpaSpace::kNowhere || !page_db.is_ram(spa)) [[unlikely]]
    return fail(Error::unmapped);
  return spa;
}

size_t left_in_page(Gpa address, size_t bytes) {
  return std::min<size_t>(bytes, kPageSize - address.offset());
}

}  // namespace

Result<> copy_in_bytes(const Partition& partition, Gpa from, void* to, size_t bytes) {
  for (auto* out = static_cast<uint8_t*>(to); bytes != 0;) {
    const size_t chunk = left_in_page(from, bytes);
    HV_TRY_ASSIGN(const Spa spa, reach(partition, from, Access::read));
    std::memcpy(out, direct_map(spa), chunk);
    out += chunk;
    from = from + chunk;
    bytes -= chunk;
  }
  return {};
}

Result<> copy_out_bytes(const Partition& partition, Gpa to, const void* from, size_t bytes) {
  for (auto* in = static_cast<const uint8_t*>(from); bytes != 0;) {
    const size_t chunk = left_in_page(to, bytes);
    HV_TRY_ASSIGN(const Spa spa, reach(partition, to, Access::write));
    std::memcpy(direct_map(spa), in, chunk);
    in += chunk;
    to = to + chunk;
    bytes -= chunk;
  }
  return {};
}

Result<Spa> pin_page(const Partition& partition, Gpa page, Access access) {
  return reach(partition, page.page_base(), access);
}

}  // namespace hv
