#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unmodified Debian kernels in child partitions: both flavours with 1, 2 and 4 virtual processors
reach their shell and power off; a reset and a panic are what vmwp says they are; bad input is
refused before there is a partition."""
import harness

GUESTS = "/usr/share/partita/guests"


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
    checks.matches(rf"^guest: nproc: {vps}\s*$", text, f"{name}: all processors are up")
    checks.matches(r"^guest: clocksource: (hyperv_clocksource_tsc_page|tsc)\s*$", text,
                   f"{name}: clocksource")


def ends(checks, machine):
    status, text = vmwp(machine, words="partita.run=reboot", flags="--no-reboot")
    checks.that(status == 0 and "guest: rebooting" in text, "a reset ends the VM as asked",
                text[-3000:])
    status, text = vmwp(machine, words="partita.run=panic panic=1")
    checks.that(status == 3, "a panic ends with status 3", f"status {status}\n{text[-3000:]}")
    checks.matches(r"^vmwp: test: crashed: .*sysrq triggered crash", text,
                   "the panic's text is reported")


def bad_input(checks, machine):
    for flags, named in (("--vps 0", "--vps 0"), ("--memory 1MiB", "--memory 1MiB"),
                         ("--kernel /nowhere", "/nowhere"), ("--initrd /nowhere", "/nowhere"),
                         ("--kernel /etc/hostname", "/etc/hostname")):
        base = f"--kernel {GUESTS}/vmlinuz-cloud " if "--kernel" not in flags else ""
        output = machine.run(f"vmwp {base}{flags} </dev/null; echo status $?")
        lines = output.splitlines()
        checks.that(lines[-1] == "status 2" and named in output and len(lines) == 2,
                    f"{flags}: one line and status 2", output)


def test(checks):
    with harness.Machine("guests", memory="3G") as machine:
        machine.shell(1200)
        bad_input(checks, machine)
        for flavour in ("cloud", "generic"):
            for vps in (1, 2, 4):
                boots(checks, machine, flavour, vps)
        ends(checks, machine)
        checks.that(machine.run("pgrep -c vmwp", check=False) == "0", "no vmwp is left behind")
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
