#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The test kernel (tests/guest/kernel) in a VM of two processors: what intercepted instructions leave
behind is right, and a VM that does whatever a guest may try harms nobody: not the hypervisor, not the
root, not the VM beside it. It may end in any way of its own. hostile.py [SECONDS [SEEDS]]."""
import re
import sys

import harness

GUESTS = "/usr/share/partita/guests"
SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
SEEDS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
ANSWER_SECONDS = 10
LINES_A_SEED = 200  # of the hypervisor's log


def test_kernel(machine, words, limit):
    """Runs the test kernel; returns vmwp's status (124: it did not end by itself) and the console."""
    output = machine.run(
        f"timeout -k 30 {limit} vmwp --name test --memory 64MiB --vps 2 --on-reset stop "
        f"--kernel {GUESTS}/test-kernel --cmdline '{words}' --log /tmp/test.log </dev/null; "
        "echo vmwp status $?", limit + 120)
    body, _, status = output.rpartition("vmwp status ")
    return int(status), body


def start_neighbour(machine):
    """A stock guest that idles at its shell's prompt and is told by a pipe what to do."""
    machine.run("mkfifo /tmp/say; sleep infinity >/tmp/say & "
                f"vmwp --name neighbour --memory 192MiB --kernel {GUESTS}/vmlinuz-cloud "
                f"--initrd {GUESTS}/initramfs --cmdline 'console=ttyS0 quiet' "
                "</tmp/say >/tmp/neighbour 2>&1 & echo $! >/tmp/neighbour.pid")
    machine.run("until grep -q 'A guest of Partita' /tmp/neighbour; do sleep 1; done", 900)


def end_neighbour(checks, machine):
    machine.run("echo 'uname -r; echo answer-$((6 * 7)); poweroff -f' >/tmp/say")
    machine.run("while kill -0 $(cat /tmp/neighbour.pid) 2>/dev/null; do sleep 1; done", 600)
    said = machine.run("cat /tmp/neighbour")
    checks.matches("answer-42", said, "the VM beside them answers")
    checks.matches("neighbour: powered off", said, "the VM beside them powers off")


def svm_exits(checks, machine):
    status, text = test_kernel(machine, "svm-exits", 600)
    for line in re.findall("svm-exits: FAIL (.*)", text):
        checks.that(False, f"svm-exits: {line}")
    checks.that(status == 0, "svm-exits: the VM powered off", f"status {status}\n{text[-2000:]}")
    checks.matches(r"svm-exits: (\d+) of \1 checks hold", text, "svm-exits: all checks hold")
    between = re.search(r"between mov ss and cpuid: (\d+) interrupts", text)
    if machine.kvm and between:
        checks.that(between[1] == "0", "svm-exits: no interrupt between mov ss and cpuid", text)


def hostile(checks, machine, seed):
    lines = machine.hypervisor_log().count("\n")
    words = f"hostile seconds={SECONDS} seed={seed}" + (" hardware" if machine.kvm else "")
    status, text = test_kernel(machine, words, SECONDS * 3 + 60)
    print(f"     {text.strip().splitlines()[-1]}", flush=True)
    checks.matches(rf"hostile: seed {seed}", text, f"seed {seed}: it ran (status {status})")
    started = machine.seconds()
    machine.run("date")
    seconds = machine.seconds() - started
    checks.that(seconds < ANSWER_SECONDS, f"seed {seed}: the root answers in {seconds:.1f} s")
    lines = machine.hypervisor_log().count("\n") - lines
    checks.that(lines <= LINES_A_SEED, f"seed {seed}: {lines} lines in the hypervisor's log")
    return status == 0 and "survived" in text


def test(checks):
    with harness.Machine("hostile") as machine:
        machine.shell(1200)
        statistics = machine.statistics()
        svm_exits(checks, machine)
        start_neighbour(machine)
        survived = [hostile(checks, machine, seed) for seed in range(1, SEEDS + 1)]
        print(f"     {sum(survived)} of {SEEDS} hostile VMs survived themselves")
        end_neighbour(checks, machine)
        checks.that(machine.run("pgrep -c vmwp", check=False) == "0", "no vmwp is left behind")
        checks.same(statistics, machine.statistics(), "the hypervisor's pages are all back")
        machine.power_off()


if __name__ == "__main__":
    harness.main(test)
