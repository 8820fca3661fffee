# SPDX-License-Identifier: MIT
# The fault tests edit submission queues, so they know liburing.
target_link_libraries(runtime_tests PRIVATE ${PARTITA_LIBURING})
# Minutes of what the normal run does for less than a second.
add_test(NAME runtime.soak CONFIGURATIONS soak
         COMMAND runtime_tests --gtest_filter=*Stress*)
set_tests_properties(runtime.soak PROPERTIES ENVIRONMENT PARTITA_SOAK_SECONDS=60 TIMEOUT 1800
                     LABELS soak)
# The guide's test reads the guide.
target_compile_definitions(runtime_tests PRIVATE PARTITA_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
