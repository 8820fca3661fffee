#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Three busy guests at once: the root still answers promptly, and a fourth VM that is killed over and
over disturbs nobody: every processor of the three makes progress after each kill.
several.py [KILLS]."""
import random
import re
import sys
import time

import harness

GUESTS = "/usr/share/partita/guests"
KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
ANSWER_SECONDS = 2
PROGRESS_SECONDS = 300


def launch(machine, name, words):
    """Starts a VM of 2 VPs in the background; its console goes to /tmp/NAME."""
    machine.run(f"vmwp --name {name} --memory 192MiB --vps 2 --kernel {GUESTS}/vmlinuz-cloud "
                f"--initrd {GUESTS}/initramfs --cmdline 'console=ttyS0 quiet {words}' "
                f"--console file:/tmp/{name} --log /tmp/{name}.log </dev/null >/tmp/{name}.end 2>&1 "
                f"& echo $! >/tmp/{name}.pid")


def wait_for(machine, name, text, seconds):
    machine.run(f"for i in $(seq {seconds}); do grep -q '{text}' /tmp/{name} 2>/dev/null && break; "
                f"sleep 1; done; grep -q '{text}' /tmp/{name}", seconds * 4)


def work_done(machine, name):
    """What each processor of that guest has done, by its last line; the console's end may be a part
    of a line."""
    lines = re.findall(r"^guest: work done: ([\d ]+)$", machine.run(f"tail -n 3 /tmp/{name}"),
                       re.MULTILINE)
    return [int(word) for word in lines[-1].split()] if lines else [0, 0]


def progress(machine, names, before):
    """Waits until every processor of every guest has done more than before; what it has done by
    then. Raises where one does not."""
    deadline = time.monotonic() + PROGRESS_SECONDS
    while True:
        now = {name: work_done(machine, name) for name in names}
        if all(was < done for name in names for was, done in zip(before[name], now[name])):
            return now
        if time.monotonic() > deadline:
            said = machine.run(f"tail -n 60 {' '.join('/tmp/' + name for name in names)} | "
                               "grep -v 'work done'", check=False)
            raise harness.BootError(f"no progress within {PROGRESS_SECONDS} s: {before} -> {now}\n"
                                    f"{said}")
        time.sleep(0.5)


def answers(checks, machine):
    slowest = 0
    end = time.monotonic() + 60
    while time.monotonic() < end:
        started = time.monotonic()
        machine.run("date")
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.2)
    checks.that(slowest <= ANSWER_SECONDS,
                f"three guests under load: date answers within {slowest:.2f} s for a minute")


def test(checks):
    names = ("first", "second", "third")
    chance = random.Random(2008)
    with harness.Machine("several", memory="3G") as machine:
        machine.shell(1200)
        statistics = machine.statistics()
        for name in names:
            launch(machine, name, "partita.run=load partita.seconds=1000000")
        for name in names:
            wait_for(machine, name, "guest: load on 2 processors", 900)
        done = progress(machine, names, {name: [0, 0] for name in names})
        answers(checks, machine)
        for _ in range(KILLS):
            launch(machine, "victim", "partita.run=load")
            machine.run(f"sleep {chance.uniform(0.05, 15):.2f}; kill -9 $(cat /tmp/victim.pid)")
            machine.run("while kill -0 $(cat /tmp/victim.pid) 2>/dev/null; do sleep 0.1; done", 60)
            done = progress(machine, names, done)
        checks.that(True, f"one VM killed {KILLS} times: every processor of the others goes on")
        for name in names:
            machine.run(f"kill $(cat /tmp/{name}.pid); wait $(cat /tmp/{name}.pid)", check=False)
            ending = machine.run(f"cat /tmp/{name}.end /tmp/{name}.log", check=False)
            checks.matches(rf"{name}: killed", ending, f"{name} was running until the end")
        checks.same(statistics, machine.statistics(), "every page of them is back")
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
