# SPDX-License-Identifier: MIT
# partita_freestanding: flags of code that runs without an operating system. No SSE or x87 may be
# generated: guest FPU state stays live in the registers while the hypervisor runs.
add_library(partita_freestanding INTERFACE)
target_include_directories(partita_freestanding INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(partita_freestanding INTERFACE PARTITA_FREESTANDING=1)
target_compile_options(partita_freestanding INTERFACE
  # -fbuiltin: small copies of known size are moves, not calls.
  -O2 -g -ffreestanding -fbuiltin -fno-pic -fno-pie -mno-red-zone -fno-stack-protector -fcf-protection=none
  -fno-asynchronous-unwind-tables -fno-omit-frame-pointer
  -ffunction-sections -fdata-sections
  $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti -fno-threadsafe-statics>
  -Wall -Wextra -Wshadow -Wno-unused-parameter -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(partita_freestanding INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-mno-sse -mno-sse2 -mno-mmx -mno-avx>
    $<$<COMPILE_LANGUAGE:C>:-mno-sse -mno-sse2 -mno-mmx -mno-avx>)
else()
  target_compile_options(partita_freestanding INTERFACE
    $<$<COMPILE_LANGUAGE:CXX,C>:-mgeneral-regs-only --param=min-pagesize=0 -Wa,--noexecstack>
    $<$<COMPILE_LANGUAGE:ASM>:-Wa,--noexecstack>)
endif()

if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  set(PARTITA_IMAGE_LINKER lld-19)
else()
  set(PARTITA_IMAGE_LINKER bfd)
endif()
