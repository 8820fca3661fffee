# SPDX-License-Identifier: MIT
# The hypervisor's tests run on the fake machine.
if(NOT TARGET partita_fake)
  file(GLOB fake_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fake/*.cpp)
  add_library(partita_fake STATIC ${fake_sources})
  target_link_libraries(partita_fake PUBLIC partita_hypervisor)
endif()
target_link_libraries(hypervisor_tests PRIVATE partita_fake)
