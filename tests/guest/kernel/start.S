# SPDX-License-Identifier: MIT
# The setup header [Linux Documentation/arch/x86/boot.rst], the 64-bit entry, the way of an
# application processor from its SIPI to C++, the stubs of all vectors, and attempt().
# A stack is 64 KiB aligned to its size, with the processor's Cpu at its lowest address.

.set kStackBytes, 65536
.set kTrampoline, 0x8000              # where SIPI vector 8 starts

.section .setup, "a"
setup:
    .org setup + 0x1f1
    .byte 1                           # one setup sector after the boot sector
    .org setup + 0x1fe
    .word 0xaa55
    .byte 0xeb, 0x66                  # the header ends at 268h
    .ascii "HdrS"
    .word 0x20f                       # protocol version
    .org setup + 0x211
    .byte 1                           # loaded high
    .org setup + 0x22c
    .long 0x7fffffff                  # highest address of an initrd
    .long 0x200000                    # alignment
    .byte 0                           # not relocatable
    .byte 21
    .word 1                           # it has a 64-bit entry
    .long 2047                        # longest command line
    .org setup + 0x258
    .quad 0x200000                    # preferred address
    .long kernel_size
    .long 0
    .org setup + 0x400

.section .text.entry, "ax"
    .org 0x200
.globl entry64
entry64:                              # RSI: boot_params
    cli
    cld
    leaq bss_start(%rip), %rdi
    leaq bss_end(%rip), %rcx
    subq %rdi, %rcx
    xorl %eax, %eax
    rep stosb
    leaq stacks + kStackBytes(%rip), %rsp
    movq %rsi, %rdi
    xorl %ebp, %ebp
    call kernel_main
1:  hlt
    jmp 1b

# ---- application processors: this is copied to kTrampoline ----
.text
.code16
.globl trampoline, trampoline_end
trampoline:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl kTrampoline + trampoline_gdtr - trampoline
    movl $0x20, %eax                  # PAE
    movl %eax, %cr4
    movl kTrampoline + trampoline_cr3 - trampoline, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    movl $0x100, %eax                 # LME
    xorl %edx, %edx
    wrmsr
    movl $0x80010033, %eax            # PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    ljmpl $0x10, $kTrampoline + trampoline_long - trampoline
.code64
trampoline_long:
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl kTrampoline + trampoline_stack - trampoline, %esp
    xorl %ebp, %ebp
    movabsq $processor_main, %rax
    call *%rax
1:  hlt
    jmp 1b
    .balign 8
trampoline_gdt:
    .quad 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff
trampoline_gdtr:
    .word 31
    .long kTrampoline + trampoline_gdt - trampoline
    .balign 4
.globl trampoline_cr3, trampoline_stack
trampoline_cr3: .long 0
trampoline_stack: .long 0
trampoline_end:

# ---- traps ----
# The processor aligns RSP to 16 before it pushes, so bit 3 tells whether there is an error code:
# an interrupt with the vector of an exception has none.
.balign 16
.globl trap_stubs
trap_stubs:
.set vector, 0
.rept 256
    .balign 16
    testb $8, %spl
    jz 1f
    pushq $0
1:  pushq $vector
    jmp trap_common
    .set vector, vector + 1
.endr
trap_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    cld
    movq %rsp, %rdi
    pushq %rbx
    movq %rsp, %rbx
    andq $-16, %rsp
    call on_trap
    movq %rbx, %rsp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

# uint64_t attempt(void (*function)(void*), void* argument)
# Calls it. Returns 0, or 100h + vector of the exception that ended it; nests.
.globl attempt, attempt_end
attempt:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rax
    andq $-kStackBytes, %rax
    pushq (%rax)                      # Cpu::recovery
    movq %rsp, (%rax)
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
    xorl %eax, %eax
attempt_end:
    movq %rsp, %rcx
    andq $-kStackBytes, %rcx
    popq (%rcx)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

# void run_code(Registers*): calls Registers::code with the registers in there, and stores them.
.globl run_code
run_code:
    pushq %rbx
    pushq %rbp
    pushq %rdi
    movq %rdi, %rbp
    movq 0(%rbp), %rax
    movq 8(%rbp), %rcx
    movq 16(%rbp), %rdx
    movq 24(%rbp), %rbx
    movq 32(%rbp), %rsi
    movq 40(%rbp), %rdi
    movq 48(%rbp), %r8
    movq %rbx, %r11                   # what a REX prefix makes of RBX
    call *56(%rbp)
    movq (%rsp), %rbp
    movq %rax, 0(%rbp)
    movq %rcx, 8(%rbp)
    movq %rdx, 16(%rbp)
    movq %rbx, 24(%rbp)
    movq %rsi, 32(%rbp)
    movq %rdi, 40(%rbp)
    movq %r8, 48(%rbp)
    popq %rdi
    popq %rbp
    popq %rbx
    ret

.bss
.balign kStackBytes
.globl stacks
stacks:
    .zero 8 * kStackBytes
