#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Stock Debian as the root partition: it knows what it is, complains about nothing that it does not
complain about bare, and its disk and network work under load without a lost interrupt."""
import hashlib
import re
import socket
import threading

import harness

TRANSFER = 24 << 20


class Feeder:
    """Sends the same TRANSFER bytes to everyone who connects; the guest reaches it at 10.0.2.2."""

    def __init__(self):
        block = bytes(range(256)) * 4096
        self.data = block * (TRANSFER // len(block))
        self.digest = hashlib.md5(self.data).hexdigest()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
                with connection:
                    connection.sendall(self.data)
            except OSError:
                continue


def normal(line):
    """Without numbers and addresses: those differ from boot to boot."""
    return re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+", "#", line.strip())


def warnings(machine):
    """Without the kernel's remarks on a module from outside its tree: bare it loads none."""
    lines = machine.run(harness.COMPLAINTS).splitlines()
    return [line for line in lines
            if line.strip() and not re.match(harness.UNSIGNED_MODULE, line)]


def interrupts(machine):
    """Interrupt counts by their names' last word, summed over processors."""
    counts = {}
    for line in machine.run("cat /proc/interrupts").splitlines()[1:]:
        name, _, rest = line.partition(":")
        numbers = []
        words = rest.split()
        while words and words[0].isdigit():
            numbers.append(int(words.pop(0)))
        if numbers:
            key = words[-1] if name.strip().isdigit() and words else name.strip()
            counts[key] = counts.get(key, 0) + sum(numbers)
    return counts


def identity(checks, machine):
    log = machine.run("dmesg")
    checks.matches("Hypervisor detected: Microsoft Hyper-V", log, "it detects the hypervisor")
    checks.matches("Hyper-V: running as root partition", log, "it runs as the root partition")
    checks.that(machine.run("nproc") == "2", "both virtual processors are up")
    clock = machine.run("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
    checks.that(clock == "tsc", "its clocksource is the TSC", clock)
    checks.that(machine.run("lsmod | grep -c ^kvm", check=False) == "0",
                "nothing offers it AMD-V")
    offline = machine.run("echo 0 >/sys/devices/system/cpu/cpu1/online", check=False)
    checks.that("Device or resource busy" in offline and machine.run("nproc") == "2",
                "its processors stay: one that goes offline would take the kernel with it", offline)
    checks.that(machine.run("test -c /dev/mshv && echo there", check=False) == "there",
                "/dev/mshv is there")


def load(checks, machine, feeder):
    before = interrupts(machine)
    fetch = f"cat </dev/tcp/10.0.2.2/{feeder.port} | md5sum"
    output = machine.run(
        "ping -c 1 -w 30 10.0.2.2 >/dev/null\n"
        "/usr/lib/partita/disk_load /root/load 30 >/tmp/disk & "
        f"for i in 1 2 3; do {fetch}; done; wait $!; echo disk status $?; cat /tmp/disk", 900)
    checks.that(output.count(feeder.digest) == 3, "three transfers arrive whole", output)
    checks.matches(r"^disk status 0$", output, "every block read is what was written")
    slowest = re.search(r"(\d+) operations, slowest (\d+) ms", output)
    checks.that(slowest and int(slowest.group(2)) < 10000, "no disk operation waits for a timeout",
                output)
    after = interrupts(machine)
    for name in ("nvme0q1", "nvme0q2", "LOC", "RES"):
        checks.that(after.get(name, 0) > before.get(name, 0), f"interrupts of {name} advance",
                    f"{before.get(name)} -> {after.get(name)}")
    network = [name for name in after if name.startswith("eth0")]
    checks.that(any(after[name] > before.get(name, 0) for name in network),
                "the network's interrupts advance", network)
    checks.that(machine.run("dmesg | grep -ciE 'timeout|polled|nobody cared'", check=False) == "0",
                "the kernel reports no lost interrupt")


def test(checks):
    feeder = Feeder()
    with harness.Machine("root-compare-bare", bare=True) as machine:
        machine.shell()
        known = {normal(line) for line in warnings(machine)}
        machine.power_off()
    with harness.Machine("root") as machine:
        seconds = machine.shell(1200)
        checks.that(True, f"the root's shell after {seconds:.0f} s")
        identity(checks, machine)
        load(checks, machine, feeder)
        new = [line for line in warnings(machine) if normal(line) not in known]
        checks.that(not new, "its log has no warning that it does not have bare", "\n".join(new))
        machine.power_off()
        checks.that(True, "power-off works")


if __name__ == "__main__":
    harness.main(test)
