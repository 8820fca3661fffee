#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make bench: what things cost under the hypervisor beside the same kernel bare and beside KVM.

One processor under deterministic counting: a tick of the time stamp counter is an instruction, the
hypervisor's included, so figures hold on every machine. Exit status 1 if a bar is missed."""
import re
import sys

import harness

KINDS = ("cpuid", "syscall", "clock", "work", "read /dev/nvme0n1")
TOOLS = "/usr/lib/partita"
GUESTS = "/usr/share/partita/guests"


def figures(text):
    """name -> (median, least) from the lines of tests/guest/measure.c."""
    return {match[0]: (int(match[1]), int(match[2]))
            for match in re.findall(r"^measure (\w+): median (-?\d+) least (-?\d+)", text, re.M)}


def machine(name, bare):
    return harness.Machine("bench-" + name, bare=bare, smp=1, count=True, kvm=False,
                           kernel_words="nokaslr")


def measure(root, bare):
    text = "\n".join(root.run(f"{TOOLS}/measure {kind}", 1800) for kind in KINDS)
    if bare:
        text += "\n" + root.run(f"modprobe kvm_amd; {TOOLS}/kvm_cpuid", 1800)
    return text


def bare_figures():
    with machine("bare", True) as root:
        root.shell(1800)
        text = measure(root, True)
        root.power_off()
    kvm = re.search(r"^kvm_cpuid: median (\d+)", text, re.M)
    if not kvm:
        raise harness.BootError("kvm_cpuid says nothing: " + text[-500:])
    return figures(text), int(kvm.group(1))


def hypervisor_figures():
    with machine("root", False) as root:
        root.shell(1800)
        own = figures(measure(root, False))
        text = root.run(f"vmwp --name bench --memory 256MiB --vps 1 --kernel {GUESTS}/vmlinuz-cloud "
                        f"--initrd {GUESTS}/initramfs "
                        "--cmdline 'console=ttyS0 quiet nokaslr partita.run=costs' </dev/null", 3600)
        root.power_off()
    return own, figures(text)


def main():
    print("bench: counting instructions in software emulation; three boots, some minutes", flush=True)
    try:
        bare, kvm = bare_figures()
        root, guest = hypervisor_figures()
    except harness.BootError as error:
        sys.exit(f"bench: {error}")
    rows = (
        ("CPUID 0x40000000, guest's user mode (KVM)", guest["cpuid"][0], kvm, 400),
        ("CPUID 0x40000000, root's user mode (bare)", root["cpuid"][0], bare["cpuid"][0], None),
        ("getppid(), guest", guest["syscall"][0], bare["syscall"][0], None),
        ("getppid(), root", root["syscall"][0], bare["syscall"][0], None),
        ("clock_gettime, guest", guest["clock"][0], bare["clock"][0], None),
        ("clock_gettime, root: without an exit", root["clock"][0], bare["clock"][0], 200),
        ("10^9 instructions of user work, root", root["work"][0], bare["work"][0],
         bare["work"][0] * 1.02),
        ("4 KiB NVMe read at depth 1, root, least", root["read"][1], bare["read"][1],
         bare["read"][1] + 3000),
    )
    print(f"{'instructions (median unless said)':44}{'partita':>14}{'peer':>14}{'bar':>14}")
    missed = 0
    for name, value, peer, bar in rows:
        miss = bar is not None and value > bar
        missed += miss
        print(f"{name:44}{value:14,}{peer:14,}{f'{bar:14,.0f}' if bar else '-':>14}"
              f"{'  MISSED' if miss else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
