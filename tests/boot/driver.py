#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""/dev/mshv from a small program of its own: partitions are made, run and destroyed, killed at random
moments, and handed bad arguments; every page comes back every time. driver.py [CYCLES [KILLS]]."""
import re
import sys

import harness

CYCLES = int(sys.argv[1]) if len(sys.argv) > 1 else 10
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 10


def test(checks):
    with harness.Machine("driver") as machine:
        machine.shell(1200)
        flags = f"--negative --cycles {CYCLES} --kill {KILLS} --exhaust"
        output = machine.run(f"/usr/lib/partita/mshv_smoke {flags}", 1800 + 20 * (CYCLES + KILLS),
                             check=False)
        for line in re.findall("^FAIL: (.*)$", output, re.MULTILINE):
            checks.that(False, line)
        checks.that(output.rstrip().rpartition("\n")[2].startswith("PASS: mshv_smoke"),
                    f"mshv_smoke {flags}: {output.count('PASS:')} checks hold", output)
        log = machine.run("cat /sys/kernel/debug/mshv/log", check=False)
        checks.that("hv: Partita hypervisor" in log.partition("\n")[0],
                    "the root reads the hypervisor's log", log)
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
