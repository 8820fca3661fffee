#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Three busy guests at once: the root still answers promptly, and a fourth VM that is killed over and
over disturbs nobody. several.py [KILLS]."""
import random
import sys
import time

import harness

GUESTS = "/usr/share/partita/guests"
KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
ANSWER_SECONDS = 2


def launch(machine, name, words):
    """Starts a VM of 2 VPs in the background; its console goes to /tmp/NAME."""
    machine.run(f"vmwp --name {name} --memory 192MiB --vps 2 --kernel {GUESTS}/vmlinuz-cloud "
                f"--initrd {GUESTS}/initramfs --cmdline 'console=ttyS0 quiet {words}' "
                f"--console file:/tmp/{name} --log /tmp/{name}.log </dev/null >/tmp/{name}.end 2>&1 "
                f"& echo $! >/tmp/{name}.pid")


def wait_for(machine, name, text, seconds):
    machine.run(f"for i in $(seq {seconds}); do grep -q '{text}' /tmp/{name} 2>/dev/null && break; "
                f"sleep 1; done; grep -q '{text}' /tmp/{name}", seconds * 4)


def alive(machine, names):
    return all(machine.run(f"kill -0 $(cat /tmp/{name}.pid) && echo yes", check=False) == "yes"
               for name in names)


def test(checks):
    names = ("first", "second", "third")
    chance = random.Random(2008)
    with harness.Machine("several", memory="3G") as machine:
        machine.shell(1200)
        for name in names:
            launch(machine, name, "partita.run=load partita.seconds=1000000")
        for name in names:
            wait_for(machine, name, "guest: load on 2 processors", 900)
        slowest = 0
        end = time.monotonic() + 60
        while time.monotonic() < end:
            started = time.monotonic()
            machine.run("date")
            slowest = max(slowest, time.monotonic() - started)
            time.sleep(0.2)
        checks.that(slowest <= ANSWER_SECONDS,
                    f"three guests under load: date answers within {slowest:.2f} s for a minute")
        for _ in range(KILLS):
            launch(machine, "victim", "partita.run=load")
            machine.run(f"sleep {chance.uniform(0.05, 15):.2f}; kill -9 $(cat /tmp/victim.pid)")
            machine.run("while kill -0 $(cat /tmp/victim.pid) 2>/dev/null; do sleep 0.1; done", 60)
        checks.that(alive(machine, names), f"one VM killed {KILLS} times: the others are alive")
        for name in names:
            machine.run(f"kill $(cat /tmp/{name}.pid); wait $(cat /tmp/{name}.pid)", check=False)
            ending = machine.run(f"cat /tmp/{name}.end /tmp/{name}.log", check=False)
            checks.matches(rf"{name}: killed", ending, f"{name} was running until the end")
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
