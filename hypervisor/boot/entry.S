# SPDX-License-Identifier: MIT
# hvloader's entry: multiboot 1 hands over in 32-bit protected mode without paging. The image is
# 64-bit code in an ELF32 wrapper, so the first instructions enter long mode on an identity map of
# the first 4 GB. The second half is the trampoline that application processors run from low memory.

.set MULTIBOOT_MAGIC, 0x1badb002
.set MULTIBOOT_FLAGS, 0x3              # modules on page boundaries, memory map wanted

.section .multiboot, "a"
.balign 4
    .long MULTIBOOT_MAGIC
    .long MULTIBOOT_FLAGS
    .long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

.section .text.entry, "ax"
.code32
.globl loader_entry
loader_entry:
    cli
    cld
    movl %eax, %edi                    # multiboot magic
    movl %ebx, %esi                    # multiboot information
    movl $loader_stack_top, %esp

    # CPUID long mode: without it there is nothing we could start.
    movl $0x80000000, %eax
    pushl %edi
    pushl %esi
    cpuid
    popl %esi
    popl %edi
    cmpl $0x80000001, %eax
    jb no_long_mode

    movl $loader_pdpt, %eax
    orl $3, %eax
    movl %eax, loader_pml4
    movl $loader_pd, %eax
    orl $3, %eax
    movl $loader_pdpt, %edx
    movl $4, %ecx
1:  movl %eax, (%edx)
    addl $4096, %eax
    addl $8, %edx
    loop 1b
    movl $loader_pd, %edx
    movl $0x83, %eax                   # present, writable, 2 MB
    movl $2048, %ecx
2:  movl %eax, (%edx)
    addl $0x200000, %eax
    addl $8, %edx
    loop 2b

    movl $loader_pml4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                    # PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax                   # LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax              # PG, PE
    movl %eax, %cr0
    lgdt loader_gdt_pointer
    ljmp $0x10, $long_mode

no_long_mode:
    movl $0xb8000, %edi
    movl $0x4f364f34, (%edi)           # "64" on red: this processor has no 64-bit mode
3:  hlt
    jmp 3b

.code64
long_mode:
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl %edi, %edi
    movl %esi, %esi
    movq $loader_stack_top, %rsp
    xorl %ebp, %ebp
    call loader_main
4:  hlt
    jmp 4b

# void enter_linux(entry, params, cr3, gdt pointer, stack)
.globl enter_linux
enter_linux:
    cli
    lgdt (%rcx)
    movq %rdx, %cr3
    movq %r8, %rsp
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    pushq $0x10
    leaq 1f(%rip), %rax
    pushq %rax
    lretq
1:  xorl %ebp, %ebp
    jmp *%rdi

# void enter_hypervisor(entry, boot info, lp index, cr3, stack)
.globl enter_hypervisor
enter_hypervisor:
    movq %rcx, %cr3
    movq %r8, %rsp
    xorl %ebp, %ebp
    movq %rdi, %rax
    movq %rsi, %rdi
    movl %edx, %esi
    pushq $0
    jmp *%rax

# --- Application processors: copied to a page below 1 MB and started there in real mode ---
.section .rodata.trampoline, "a"
.balign 16
.globl trampoline_start, trampoline_end, trampoline_data
.code16
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movzwl %ax, %ebx
    shll $4, %ebx                      # linear address of this page
    leal (trampoline_gdt - trampoline_start)(%ebx), %eax
    movl %eax, trampoline_gdt_pointer - trampoline_start + 2
    lgdtl trampoline_gdt_pointer - trampoline_start
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl trampoline_data - trampoline_start, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x900, %eax                   # LME, NXE
    wrmsr
    movl %cr0, %eax
    andl $0x9fffffff, %eax             # caches on
    orl $0x80000001, %eax
    movl %eax, %cr0
    leal (trampoline_64 - trampoline_start)(%ebx), %eax
    movl %eax, trampoline_far - trampoline_start
    ljmpl *(trampoline_far - trampoline_start)
.code64
trampoline_64:
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl %ebx, %ebx
    leaq (trampoline_data - trampoline_start)(%rbx), %rbx
    movq 16(%rbx), %rsp
    movq 24(%rbx), %rdi
    movq 8(%rbx), %rax
    xorl %ebp, %ebp
    call *%rax
5:  hlt
    jmp 5b
.balign 16
trampoline_far:
    .long 0
    .word 0x10
.balign 8
trampoline_gdt:
    .quad 0
    .quad 0
    .quad 0x00af9b000000ffff           # 0x10: 64-bit code
    .quad 0x00cf93000000ffff           # 0x18: data
trampoline_gdt_pointer:
    .word 31
    .long 0
.balign 8
trampoline_data:
    .quad 0                            # page tables
    .quad 0                            # entry
    .quad 0                            # stack
    .quad 0                            # argument
trampoline_end:

.section .rodata, "a"
.balign 8
loader_gdt:
    .quad 0
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
loader_gdt_pointer:
    .word 31
    .long loader_gdt

.section .bss
.balign 4096
loader_pml4: .skip 4096
loader_pdpt: .skip 4096
loader_pd:   .skip 16384
.globl loader_pml4
.skip 32768
loader_stack_top:
ap_stack_area: .skip 16384
.globl ap_stack_top
ap_stack_top:
