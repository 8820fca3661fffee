// SPDX-License-Identifier: MIT
// Strong ids: numbers of different kinds that do not convert into one another.
#pragma once

#include <compare>

namespace base {

template <class Tag, class Rep>
class Id {
 public:
  using rep = Rep;
  constexpr Id() = default;
  constexpr explicit Id(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  friend constexpr auto operator<=>(Id, Id) = default;

 private:
  Rep value_ = 0;
};

}  // namespace base
