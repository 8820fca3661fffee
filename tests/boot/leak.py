#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""VMs that boot, power off and are gone leave nothing behind: the hypervisor's page accounting ends
exactly, the root's free memory within 1 %, where it began. leak.py [CYCLES]."""
import sys

import harness

GUESTS = "/usr/share/partita/guests"
CYCLES = int(sys.argv[1]) if len(sys.argv) > 1 else 100
# Free pages that a processor keeps at hand, tens of megabytes after a VM's end, are not in MemFree.
FREE = ("sync; echo 3 >/proc/sys/vm/drop_caches; awk '/^MemFree/ { free += $2 } "
        "/^ +count:/ { free += 4 * $2 } END { print free }' /proc/meminfo /proc/zoneinfo")


def cycle(machine):
    machine.run(f"vmwp --name cycle --memory 128MiB --vps 2 --kernel {GUESTS}/vmlinuz-cloud "
                f"--initrd {GUESTS}/initramfs --cmdline 'console=ttyS0 quiet partita.run=once' "
                "</dev/null >/tmp/cycle 2>&1", 900)


def test(checks):
    with harness.Machine("leak") as machine:
        machine.shell(1200)
        cycle(machine)  # slabs, per-CPU lists and the page cache settle
        statistics, before = machine.statistics(), int(machine.run(FREE))
        for _ in range(CYCLES):
            cycle(machine)
        checks.same(statistics, machine.statistics(), f"{CYCLES} VMs: every page is back")
        after = int(machine.run(FREE))
        checks.that(abs(after - before) <= before // 100,
                    f"{CYCLES} VMs: free memory {before} KiB before, {after} KiB after")
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
