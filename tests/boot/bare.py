#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Where the hypervisor cannot or shall not run, hvloader says why and boots Linux bare."""
import harness

GUESTS = "/usr/share/partita/guests"
CASES = (
    ("no-svm", {"cpu": harness.CPU_WITHOUT_SVM}, r"SVM.*is not offered by this processor"),
    ("no-npt", {"cpu": "EPYC-Rome,+svm,-npt"}, r"nested paging is not offered"),
    ("launch-off", {"hypervisor_words": "launch=off"}, r"launch=off"),
)


def test(checks):
    for name, options, reason in CASES:
        with harness.Machine("bare-" + name, kvm=False, **options) as machine:
            machine.shell()
            checks.matches(reason + ".*booting Linux without the hypervisor",
                           machine.hypervisor_log(), f"{name}: the loader says why")
            checks.that("Microsoft" not in machine.run("dmesg"), f"{name}: Linux runs bare")
            checks.that(machine.run("nproc") == "2", f"{name}: both processors are up")
            said = machine.run(f"vmwp --kernel {GUESTS}/vmlinuz-cloud </dev/null; echo status $?")
            checks.matches(r"^vmwp: /dev/mshv: not there: this machine did not boot under the Partita "
                           r"hypervisor.*modprobe mshv\nstatus 1$", said,
                           f"{name}: vmwp says what to boot")
            machine.power_off()


if __name__ == "__main__":
    harness.main(test)
