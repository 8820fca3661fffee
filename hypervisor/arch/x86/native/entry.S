# SPDX-License-Identifier: MIT
# The image's entry and its exception and interrupt stubs. The loader enters with paging on, on the
# LP's own stack: RDI = BootInfo, ESI = LP index.

.section .text.entry, "ax"
.globl image_entry
image_entry:
    cld
    xorl %ebp, %ebp
    call hv_main
1:  hlt
    jmp 1b

.text
# 256 stubs of 16 bytes: vectors that push no error code get a zero.
.balign 16
.globl interrupt_stubs
interrupt_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp interrupt_common
    .set vector, vector + 1
.endr

.balign 16
interrupt_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    movq %rsp, %rbp
    andq $-16, %rsp
    call on_interrupt
    movq %rbp, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

# void load_descriptors(const void* gdt, const void* idt): the code segment is 0x08, data 0x10,
# the task state segment 0x18.
.globl load_descriptors
load_descriptors:
    lgdt (%rdi)
    lidt (%rsi)
    pushq $0x08
    leaq 1f(%rip), %rax
    pushq %rax
    lretq
1:  movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movw $0x18, %ax
    ltr %ax
    ret

# bool wrmsr_checked(msr, value), bool rdmsr_checked(msr, uint64_t* value): a #GP at the _at labels
# continues at msr_failed.
.globl wrmsr_checked, wrmsr_checked_at, rdmsr_checked, rdmsr_checked_at, msr_failed
wrmsr_checked:
    movl %edi, %ecx
    movq %rsi, %rax
    movq %rsi, %rdx
    shrq $32, %rdx
wrmsr_checked_at:
    wrmsr
    movl $1, %eax
    ret
rdmsr_checked:
    movl %edi, %ecx
rdmsr_checked_at:
    rdmsr
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, (%rsi)
    movl $1, %eax
    ret
msr_failed:
    xorl %eax, %eax
    ret
