#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The disk, the initrd and the guest's initramfs on their own, without the hypervisor: what fails
here is not the hypervisor's fault."""
import os

import harness


def short_init(checks):
    with harness.Machine("image-short-init", bare=True) as machine:
        seconds = machine.shell()
        checks.that(True, f"the root's shell after {seconds:.0f} s")
        checks.matches(r"^/dev/nvme0n1 / ext4 rw", machine.run("cat /proc/mounts"),
                       "the disk is mounted for writing")
        checks.that(machine.run("lsmod | grep -c hv_vmbus", check=False) == "0",
                    "hv_vmbus is not loaded")
        checks.that(machine.run("nproc") == "2", "both processors are up")
        checks.matches("0% packet loss", machine.run("ping -c 3 -w 30 10.0.2.2", check=False),
                       "the network answers")
        machine.power_off()
        checks.that(True, "power-off works")


def systemd(checks):
    with harness.Machine("image-systemd", bare=True, quick_init=False) as machine:
        seconds = machine.shell()
        checks.that(True, f"the root's shell after {seconds:.0f} s with systemd")
        # The driver has no hypervisor to talk to on this machine.
        failed = machine.run("systemctl --failed --plain --no-legend", check=False)
        failed = [line for line in failed.splitlines() if "systemd-modules-load" not in line]
        checks.that(not failed, "no unit failed", failed)
        machine.power_off()
        checks.that(True, "power-off works with systemd")


def guest(checks, flavour):
    folder = os.path.join(harness.IMAGE, "guest")
    with harness.Machine(f"image-guest-{flavour}", bare=True, smp=1, memory="256M", disk=False,
                         kernel=f"{folder}/vmlinuz-{flavour}", initrd=f"{folder}/initramfs",
                         quick_init=False, kernel_words="partita.run=once") as machine:
        machine.wait_end(600)
        checks.matches(r"^guest: uname: Linux .*6\.1\.", machine.text, f"{flavour}: uname")
        checks.matches(r"^guest: nproc: 1$", machine.text, f"{flavour}: nproc")
        checks.matches(r"^guest: clocksource: \S+$", machine.text, f"{flavour}: clocksource")
        checks.matches(r"Power down", machine.text, f"{flavour}: power-off")


def test(checks):
    short_init(checks)
    systemd(checks)
    guest(checks, "cloud")
    guest(checks, "generic")


if __name__ == "__main__":
    harness.main(test)
