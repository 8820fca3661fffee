#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""VMs that boot, power off and are gone leave nothing behind: the root's free memory ends within 1 %
of where it began. leak.py [CYCLES]."""
import sys

import harness

GUESTS = "/usr/share/partita/guests"
CYCLES = int(sys.argv[1]) if len(sys.argv) > 1 else 100
FREE = "sync; echo 3 >/proc/sys/vm/drop_caches; awk '/^MemFree/ { print $2 }' /proc/meminfo"


def cycle(machine):
    machine.run(f"vmwp --name cycle --memory 128MiB --vps 2 --kernel {GUESTS}/vmlinuz-cloud "
                f"--initrd {GUESTS}/initramfs --cmdline 'console=ttyS0 quiet partita.run=once' "
                "</dev/null >/tmp/cycle 2>&1", 900)


def test(checks):
    with harness.Machine("leak") as machine:
        machine.shell(1200)
        cycle(machine)  # slabs, per-CPU lists and the page cache settle
        before = int(machine.run(FREE))
        for _ in range(CYCLES):
            cycle(machine)
        after = int(machine.run(FREE))
        checks.that(abs(after - before) <= before // 100,
                    f"{CYCLES} VMs: free memory {before} KiB before, {after} KiB after")
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
