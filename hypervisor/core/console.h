// SPDX-License-Identifier: MIT
// Where log lines go besides the ring; supplied by the environment.
#pragma once

#include <string_view>

namespace hv {

void console_write(std::string_view text);

}  // namespace hv
