#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The I/O runtime's own tests, on the kernel of the root partition. runtime.py [GTEST_FILTER]."""
import re
import sys

import harness

# That one compares the guide with itself, and needs the source for it.
FILTER = sys.argv[1] if len(sys.argv) > 1 else "*-GuideTest.EveryExample*"


def test(checks):
    with harness.Machine("runtime") as machine:
        machine.shell(1200)
        release = machine.run("uname -r").strip()
        checks.that(release.startswith("6.1."), f"the root's kernel is {release}")
        command = f"/usr/lib/partita/runtime_tests --gtest_brief=1 --gtest_filter='{FILTER}' 2>&1"
        output = machine.run(command, 3000, check=False)
        passed = re.search(r"\[  PASSED  \] (\d+) tests", output)
        checks.that(passed and "FAILED" not in output,
                    f"{passed[1] if passed else 'not all'} tests of the runtime pass", output)
        machine.check_health()
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
