#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unmodified Debian kernels in child partitions: both flavours with 1, 2 and 4 virtual processors
reach their shell and power off; a reset boots again in place; a panic is what vmwp says it is; the
power button reaches the guest; bad input is refused before there is a partition. In the end the
hypervisor has what it had in the beginning."""
import json
import re

import harness

GUESTS = "/usr/share/partita/guests"
# What a kernel may complain about depends on the processor's bugs; its tables and devices are ours.
FIRMWARE = re.compile(r"ACPI|BIOS|firmware|MADT|FADT|DSDT|APIC|hv_|hyperv|Hyper-V|MSR|clocksource|tsc:"
                      r"|rtc|8250|ttyS|WARNING: CPU|BUG:", re.IGNORECASE)


def vmwp(machine, flavour="cloud", vps=1, words="", flags="", initrd=f"{GUESTS}/initramfs",
         memory="256MiB", seconds=900):
    """Runs one VM to its end; returns its exit status and everything that was said."""
    output = machine.run(
        f"vmwp --name test --memory {memory} --vps {vps} --kernel {GUESTS}/vmlinuz-{flavour} "
        f"--initrd {initrd} --cmdline 'console=ttyS0 quiet {words}' {flags} </dev/null; "
        "echo vmwp status $?", seconds)
    body, _, status = output.rpartition("vmwp status ")
    return int(status), body


def boots(checks, machine, flavour, vps):
    name = f"{flavour}, {vps} VP(s)"
    started = machine.seconds()
    status, text = vmwp(machine, flavour, vps, "partita.run=once")
    seconds = machine.seconds() - started
    checks.that(status == 0, f"{name}: powered off after {seconds:.0f} s", text[-3000:])
    checks.matches("Hypervisor detected: Microsoft Hyper-V", text, f"{name}: detects Hyper-V")
    checks.matches("Hyper-V: Using hypercall for remote TLB flush", text,
                   f"{name}: uses the hypercall page")
    complaints = re.findall("^guest: complaint: (.*)$", text, re.MULTILINE)
    complaints = [line for line in complaints if FIRMWARE.search(line)]
    checks.that(not complaints, f"{name}: does not complain about its machine",
                "\n".join(complaints))
    checks.matches(rf"^guest: nproc: {vps}\s*$", text, f"{name}: all processors are up")
    checks.matches(r"^guest: clocksource: (hyperv_clocksource_tsc_page|tsc)\s*$", text,
                   f"{name}: clocksource")


def ends(checks, machine):
    status, text = vmwp(machine, words="partita.run=reboot-once", vps=2, flags="--json")
    report = re.search(r"^\{.*\}$", text, re.MULTILINE)
    report = json.loads(report.group()) if report else {}
    checks.that(status == 0 and report.get("boots") == 2 and report.get("ended") == "powered off",
                "a reset boots again in place, and the second boot powers off", text[-3000:])
    checks.matches("guest: the clock's memory has 90", text, "the clock's memory outlives a reset")
    status, text = vmwp(machine, words="partita.run=reboot", flags="--no-reboot")
    checks.that(status == 0 and "guest: rebooting" in text, "a reset ends the VM as asked",
                text[-3000:])
    status, text = vmwp(machine, words="partita.run=panic panic=1")
    checks.that(status == 3, "a panic ends with status 3", f"status {status}\n{text[-3000:]}")
    checks.matches(r"^vmwp: test: crashed: .*sysrq triggered crash", text,
                   "the panic's text is reported")
    status, text = vmwp(machine, words="partita.run=panic panic=1",
                        flags="--on-crash continue --no-reboot --log /tmp/panic.log")
    checks.that(status == 3 and "Rebooting in 1 seconds" in text,
                "a guest may go on after its panic, to its reset", f"status {status}\n{text[-3000:]}")
    checks.matches("the guest reports a panic: .*sysrq triggered crash",
                   machine.run("cat /tmp/panic.log"), "its report is logged then")


def power_button(checks, machine):
    """Three presses: a level interrupt, its end, and it again."""
    text = machine.run(
        f"vmwp --name button --memory 256MiB --kernel {GUESTS}/vmlinuz-cloud --initrd "
        f"{GUESTS}/initramfs --cmdline 'console=ttyS0 quiet partita.run=button' "
        "--console file:/tmp/presses </dev/null 2>/tmp/presses.end & vm=$!\n"
        "for press in 1 2 3; do\n"
        "  until grep -qs \"waiting for press $press\" /tmp/presses; do sleep 0.2; done\n"
        "  kill -PWR $vm\n"
        "done\n"
        "wait $vm; cat /tmp/presses /tmp/presses.end", 900)
    checks.that("guest: pressed 3 times" in text and "vmwp: button: powered off" in text,
                "the power button reaches the guest, three times", text[-3000:])


def refused(checks, machine, command, named, status=2):
    """One line that names what is wrong, and the status."""
    output = machine.run(f"{command} </dev/null; echo status $?")
    lines = output.splitlines()
    checks.that(lines[-1] == f"status {status}" and named in output and len(lines) == 2,
                f"{command}: one line and status {status}", output)


def bad_input(checks, machine):
    machine.run(f"head -c 3000000 {GUESTS}/vmlinuz-cloud >/tmp/cut")
    for flags, named in (("--vps 0", "--vps 0"), ("--vps 65", "--vps 65"),
                         ("--memory 1MiB", "--memory 1MiB"),
                         ("--kernel /nowhere", "/nowhere"), ("--initrd /nowhere", "/nowhere"),
                         ("--kernel /etc/hostname", "/etc/hostname"),
                         ("--initrd /etc/hostname", "/etc/hostname: not an initramfs"),
                         ("--kernel /tmp/cut", "/tmp/cut: the file is cut short"),
                         ("--check --log /nowhere/log", "/nowhere/log"),
                         ("--check --console unix:/nowhere/socket", "/nowhere/socket")):
        base = f"--kernel {GUESTS}/vmlinuz-cloud " if "--kernel" not in flags else ""
        refused(checks, machine, f"vmwp {base}{flags}", named)
    memory = machine.run("awk '/MemTotal/ { print int($2 / 1024) + 1024 }' /proc/meminfo")
    refused(checks, machine, f"vmwp --kernel {GUESTS}/vmlinuz-cloud --memory {memory}MiB",
            "memory: not enough: the VM needs", 1)
    machine.run("chmod 666 /dev/mshv")
    refused(checks, machine, "prlimit --memlock=8388608 setpriv --reuid=65534 --clear-groups "
            f"vmwp --kernel {GUESTS}/vmlinuz-cloud --memory 128MiB", "may lock 8192 KiB", 1)
    machine.run("chmod 600 /dev/mshv")


def test(checks):
    with harness.Machine("guests", memory="3G") as machine:
        machine.shell(1200)
        before = machine.statistics()
        bad_input(checks, machine)
        for flavour in ("cloud", "generic"):
            for vps in (1, 2, 4):
                boots(checks, machine, flavour, vps)
        ends(checks, machine)
        power_button(checks, machine)
        checks.that(machine.run("pgrep -c vmwp", check=False) == "0", "no vmwp is left behind")
        checks.same(before, machine.statistics(), "the hypervisor's accounting ends where it began")
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
