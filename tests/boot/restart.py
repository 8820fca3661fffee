#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The root starts again: by kexec, twice and once with a VM running, and by a reset of the machine.
Each time it is the root partition and can run partitions. What the VM had is the root's memory
again."""
import harness

GUESTS = "/usr/share/partita/guests"
# The short init leaves no manager to ask: the file systems are settled by hand.
KEXEC = ("kexec -l /boot/vmlinuz --initrd=/boot/initrd --reuse-cmdline && sync && "
         "mount -o remount,ro / ; kexec -e")


def whole(checks, machine, after):
    log = machine.run("dmesg")
    checks.matches("Hyper-V: running as root partition", log, f"{after}: it is the root partition")
    checks.that(machine.run("nproc") == "2", f"{after}: both processors are up")
    output = machine.run("/usr/lib/partita/mshv_smoke", 600, check=False)
    checks.that("PASS: mshv_smoke" in output, f"{after}: partitions run", output)


def fill(checks, machine, after):
    """Writes to nearly all of the root's memory: what still belonged to a partition would fault."""
    filled = machine.run(
        "count=$(awk '/MemAvailable/ { print int($2 * 9 / 10 / 1024) }' /proc/meminfo); "
        "mount -o remount,size=100% /dev/shm; dd if=/dev/zero of=/dev/shm/fill bs=1M count=$count "
        "2>/dev/null && echo filled $count MiB; rm /dev/shm/fill", 900, check=False)
    checks.matches(r"^filled \d{4} MiB$", filled, f"{after}: its memory is its own: {filled}")


def test(checks):
    with harness.Machine("restart", resets=True) as machine:
        machine.shell(1200)
        machine.restart(KEXEC)
        whole(checks, machine, "kexec")
        machine.run(f"vmwp --name left --vps 2 --kernel {GUESTS}/vmlinuz-cloud "
                    f"--initrd {GUESTS}/initramfs --cmdline 'console=ttyS0 partita.run=load' "
                    "--console file:/tmp/left </dev/null >/tmp/left.end 2>&1 &")
        machine.run("for i in $(seq 300); do grep -q 'guest: load' /tmp/left && break; sleep 1; done;"
                    "grep -q 'guest: load' /tmp/left", 1200)
        machine.restart(KEXEC)
        whole(checks, machine, "kexec beside a running VM")
        fill(checks, machine, "kexec beside a running VM")
        machine.restart("sync; mount -o remount,ro / ; reboot -ff", resets=True)
        whole(checks, machine, "reset")
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
