# SPDX-License-Identifier: MIT
# The fault tests edit submission queues, so they know liburing.
target_link_libraries(runtime_tests PRIVATE ${PARTITA_LIBURING})
