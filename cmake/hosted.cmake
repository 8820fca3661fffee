# SPDX-License-Identifier: MIT
# partita_hosted: warnings, include root and sanitizers for everything that runs under an
# operating system. Freestanding targets never link it.
add_library(partita_hosted INTERFACE)
target_include_directories(partita_hosted INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(partita_hosted INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-unused-parameter
  -Wno-missing-field-initializers)
if(PARTITA_ASAN)
  target_compile_options(partita_hosted INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(partita_hosted INTERFACE -fsanitize=address,undefined)
elseif(PARTITA_TSAN)
  target_compile_options(partita_hosted INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(partita_hosted INTERFACE -fsanitize=thread)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(partita_hosted INTERFACE
    -Wthread-safety -Wno-gnu-zero-variadic-macro-arguments)
  target_link_options(partita_hosted INTERFACE -fuse-ld=lld-19)
else()
  # g++-12 complains of its own std::string.
  target_compile_options(partita_hosted INTERFACE -Wno-restrict)
endif()
