#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""/dev/mshv from a small program of its own: partitions are made, run and destroyed, killed at random
moments, and handed bad arguments; memory comes back every time. driver.py [CYCLES [KILLS]]."""
import sys

import harness

CYCLES = int(sys.argv[1]) if len(sys.argv) > 1 else 10
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 10


def test(checks):
    with harness.Machine("driver") as machine:
        machine.shell(1200)
        for flags in ("", "--negative", f"--cycles {CYCLES}", f"--kill {KILLS}"):
            output = machine.run(f"/usr/lib/partita/mshv_smoke {flags}", 1200 + 20 * CYCLES,
                                 check=False)
            checks.that(output.rstrip().rpartition("\n")[2].startswith("PASS: mshv_smoke"),
                        f"mshv_smoke {flags}", output)
        log = machine.run("mount -t debugfs none /sys/kernel/debug 2>/dev/null;"
                          " cat /sys/kernel/debug/mshv/log", check=False)
        checks.that("hv: Partita hypervisor" in log.partition("\n")[0],
                    "the root reads the hypervisor's log", log)
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
