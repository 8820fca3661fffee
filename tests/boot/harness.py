# SPDX-License-Identifier: MIT
"""Boots the platform in QEMU and talks to the root partition's console.

A Machine is one QEMU process: hvloader with the hypervisor, the stock kernel and its initrd as
multiboot modules, or the same kernel bare. Everything waits for events with generous limits, the
disk is never written (snapshot), and QEMU dies with its owner however that ends. A machine that
resets by itself, or whose hypervisor panics, fails its test at once; one that powers off with
complaints of the driver or the hypervisor fails it too. Console and hypervisor log of every run stay
in the preset's boot-logs folder."""
import ctypes
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGE = os.path.join(REPO, "build", "image")
BUILD = os.environ.get("PARTITA_BUILD", os.path.join(REPO, "build", "release"))
LOGS = os.path.join(BUILD, "boot-logs")

CPU_WITH_SVM = "EPYC-Rome,+svm,+npt"
CPU_WITHOUT_SVM = "qemu64,-svm"
# no_timer_check: an emulator that is short of processor time fails Linux's test of the IRQ 0 timer,
# bare; as a Hyper-V guest or root Linux leaves that test out by itself.
KERNEL_WORDS = "console=ttyS0 root=/dev/nvme0n1 quiet no_timer_check"
QUICK_INIT = "init=/usr/lib/partita/init"
PROMPT = r"root@partita:[^\n]*# "
PANIC = re.compile(r"hypervisor panic", re.IGNORECASE)
ROOT_STARTS = "hvloader: entering the root partition"
COMPLAINTS = "dmesg --notime --level=emerg,alert,crit,err,warn"
# The driver says nothing at these levels but that something went wrong. What the kernel says about
# a module from outside its tree is not the driver's word.
UNSIGNED_MODULE = r"mshv: (?:loading out-of-tree module|module verification failed)"
ROOT_TROUBLE = re.compile(rf"^(?!{UNSIGNED_MODULE})mshv:"
                          r"|\bBUG:|\bOops\b|^WARNING: CPU|lockup|hung task|blocked for more than")
HYPERVISOR_TROUBLE = re.compile(r"pages lost|touched the hypervisor's memory")


class BootError(Exception):
    """The machine did not do what was waited for; the text holds the end of its transcript."""


def nested_svm():
    """Whether KVM may be used: the CPU says so, nesting is on, and the device is ours (in a container
    it often is not). /dev/kvm is never opened: on some machines it answers and then runs guests
    slower than the emulator does."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            svm = re.search(r"^flags\s*:.*\bsvm\b", stream.read(), re.MULTILINE)
        with open("/sys/module/kvm_amd/parameters/nested", encoding="ascii") as stream:
            return bool(svm) and stream.read().strip() in ("1", "Y")
    except OSError:
        return False


def die_with_parent():
    """In the child between fork and exec: SIGKILL when the parent goes (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def emulator_process(kvm):
    """In the child between fork and exec. An emulator whose processors share a thread leaves the
    guest's memory barriers out, although its devices run on another thread: a doorbell may get lost
    (docs/debugging.md). All threads on one of this machine's processors need no barrier."""
    die_with_parent()
    if not kvm:
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[os.getpid() % len(processors)]})


def module_words(text):
    """Module command lines are separated by commas; one inside a line is doubled."""
    return text.replace(",", ",,")


class Machine:
    """One boot. Use as a context manager; attributes hold defaults that tests override."""

    def __init__(self, name, bare=False, smp=2, memory="2G", cpu=None, kernel_words="",
                 quick_init=True, loader_words="", hypervisor_words="", extra=(), interactive=False,
                 kvm=None, count=False, disk=True, kernel=None, initrd=None, resets=False):
        self.name, self.bare, self.interactive = name, bare, interactive
        # Resets that the test announces by restart(); else a reset ends QEMU, and so the wait.
        self.resets, self.starts = resets or interactive, 1
        self.kernel = kernel or os.path.join(IMAGE, "vmlinuz")
        self.initrd = initrd or os.path.join(IMAGE, "initrd")
        self.loader = os.path.join(BUILD, "hypervisor", "hvloader")
        self.hypervisor = os.path.join(BUILD, "hypervisor", "hvax64")
        self.disk = os.path.join(IMAGE, "root.img") if disk else None
        self.smp, self.memory, self.count = smp, memory, count
        self.kvm = nested_svm() if kvm is None else kvm
        self.cpu = cpu or ("host" if self.kvm else CPU_WITH_SVM)
        words = [KERNEL_WORDS, QUICK_INIT if quick_init else "", kernel_words]
        self.kernel_words = " ".join(word for word in words if word)
        self.quick_init = quick_init
        self.loader_words, self.hypervisor_words = loader_words, hypervisor_words
        self.extra = list(extra)
        os.makedirs(LOGS, exist_ok=True)
        self.log_path = os.path.join(LOGS, name + ".hypervisor.log")
        self.console_path = os.path.join(LOGS, name + ".console.log")
        self.process = None
        self.text = ""     # everything the console said
        self.mark = 0      # up to here it has been matched

    # ---- the process ---------------------------------------------------------------------------

    def command(self):
        # One thread for all processors: with a thread each, an FXRSTOR or XRSTOR on any of them may
        # undo what #VMEXIT just changed in processor 0 (docs/debugging.md). emulator_process() is
        # the other half of this.
        accelerator = "kvm" if self.kvm else "tcg,thread=single"
        args = ["qemu-system-x86_64", "-M", "q35", "-accel", accelerator, "-cpu", self.cpu,
                "-smp", str(self.smp), "-m", self.memory, "-display", "none", "-no-user-config",
                "-nodefaults", "-netdev", "user,id=net", "-device", "e1000e,netdev=net",
                "-debugcon", "file:" + self.log_path, "-serial",
                "mon:stdio" if self.interactive else "stdio", "-serial",
                "file:" + self.log_path.replace(".log", ".serial.log")]
        if self.disk:
            args += ["-drive", f"file={self.disk},if=none,id=disk,format=raw,snapshot=on",
                     "-device", "nvme,drive=disk,serial=partita"]
        if not self.resets:
            args += ["-no-reboot"]
        if self.count:  # the time stamp counter counts instructions: the same in every run
            args += ["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]
        if self.bare:
            args += ["-kernel", self.kernel, "-initrd", self.initrd, "-append", self.kernel_words]
        else:
            modules = [f"{self.hypervisor} {module_words(self.hypervisor_words)}".strip(),
                       f"{self.kernel} {module_words(self.kernel_words)}", self.initrd]
            args += ["-kernel", self.loader, "-append", self.loader_words,
                     "-initrd", ",".join(modules)]
        return args + self.extra

    def check_files(self):
        needed = [self.kernel, self.initrd] + ([self.disk] if self.disk else [])
        needed += [] if self.bare else [self.loader, self.hypervisor]
        for path in needed:
            if not os.path.exists(path):
                raise BootError(f"{os.path.relpath(path, REPO)} is missing: make builds it")

    def start(self):
        self.check_files()
        command = self.command()
        with open(os.path.join(LOGS, self.name + ".command"), "w", encoding="utf-8") as stream:
            stream.write(shlex.join(command) + "\n")
        if os.path.exists(self.log_path):
            os.unlink(self.log_path)  # QEMU empties it too, but not before the first look at it
        self.started = time.monotonic()
        pipe = None if self.interactive else subprocess.PIPE
        # QEMU's own words (a list of features that its software CPU lacks) are kept apart.
        self.error_path = os.path.join(LOGS, self.name + ".qemu.log")
        with open(self.error_path, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors,
                                            preexec_fn=lambda: emulator_process(self.kvm))
        if not self.interactive:
            os.set_blocking(self.process.stdout.fileno(), False)
            self.console = open(self.console_path, "w", encoding="utf-8")
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
            if not self.interactive:
                self._read(0)
                self.console.close()

    # ---- the console ---------------------------------------------------------------------------

    def _read(self, seconds):
        """Adds what the console says within that time; False at its end."""
        stream = self.process.stdout
        if not select.select([stream], [], [], seconds)[0]:
            return True
        data = stream.read()
        if data == b"":
            return False
        if data:
            text = data.decode("utf-8", "replace").replace("\r", "")
            self.text += text
            self.console.write(text)
            self.console.flush()
            self.heard(text)
        return True

    def heard(self, text):
        """Called with every piece of console text; a subclass may show it."""

    def expect(self, pattern, seconds=600):
        """Waits for the regular expression in what the console said since the last match."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + seconds
        while True:
            match = expression.search(self.text, self.mark)
            if match:
                self.mark = match.end()
                return match
            if not self._read(1):
                match = expression.search(self.text, self.mark)
                if match:
                    self.mark = match.end()
                    return match
                raise BootError(self._story(f"the machine ended or reset before: {pattern}"))
            self._watch()
            if time.monotonic() > deadline:
                raise BootError(self._story(f"{seconds} s passed without: {pattern}"))

    def _watch(self):
        """Raises if the machine can do no more of what its test waits for, though QEMU runs on."""
        log = self.hypervisor_log()
        trouble = ("the hypervisor panicked" if PANIC.search(log) else
                   "it started again by itself" if log.count(ROOT_STARTS) > self.starts else None)
        if trouble:
            self._read(1)
            raise BootError(self._story(trouble))

    def seconds(self):
        """Since power-on."""
        return time.monotonic() - self.started

    def _story(self, what):
        return (f"{self.name}, {self.seconds():.0f} s after power-on: {what}\n"
                f"---- console ----\n{self.text[-3000:]}\n"
                f"---- hypervisor ----\n{self.hypervisor_log()[-3000:]}")

    def hypervisor_log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as stream:
                return stream.read()
        except FileNotFoundError:
            return ""

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_end(self, seconds=300):
        """Waits until the machine powers itself off."""
        deadline = time.monotonic() + seconds
        while self._read(1):
            self._watch()
            if time.monotonic() > deadline:
                raise BootError(self._story(f"no power-off within {seconds} s"))
        self.process.wait()

    # ---- the root's shell ----------------------------------------------------------------------

    def shell(self, seconds=600):
        """Waits for the root's prompt and makes the shell quiet; returns the seconds it took."""
        self.expect(PROMPT, seconds)
        ready = self.seconds()
        self.send("exec env PS1= PS2= TERM=dumb bash --noediting --norc\n")
        self.send("stty -echo; echo shell-$((6 * 7))\n")
        self.expect(r"shell-42\n", 120)
        return ready

    def run(self, command, seconds=300, check=True):
        """Runs a command in the root's shell; returns what it printed. A status other than zero
        raises unless check is False."""
        self.send(f"{{ {command}\n}} 2>&1; status=$?; echo; echo \"@@status $status@@\"\n")
        start = self.mark
        match = self.expect(r"^@@status (\d+)@@\n", seconds)
        output = self.text[start:match.start()].strip("\n")
        if check and match.group(1) != "0":
            raise BootError(self._story(f"'{command}' in the root ended with {match.group(1)}"))
        return output

    def statistics(self):
        """The hypervisor's and the driver's counts: partitions, processors, pages. Whole numbers
        that are the same again once every VM is gone."""
        return self.run("cat /sys/kernel/debug/mshv/statistics")

    def complaints(self):
        """Lines of the root's kernel and of the hypervisor that no healthy machine has."""
        lines = [line for line in self.run(COMPLAINTS).splitlines() if ROOT_TROUBLE.search(line)]
        return lines + [line for line in self.hypervisor_log().splitlines()
                        if HYPERVISOR_TROUBLE.search(line)]

    def check_health(self):
        """Raises if there are any; a root without the hypervisor has none of the two to ask."""
        if ROOT_STARTS not in self.hypervisor_log():
            return
        complaints = self.complaints()
        if complaints:
            raise BootError(self._story("complaints:\n" + "\n".join(complaints)))

    def restart(self, command, seconds=900, resets=False):
        """Runs a command that ends in a new boot of the root, and waits for its shell again. With
        `resets` the whole machine starts again, else only the root's kernel."""
        self.check_health()
        self.starts += resets
        self.send(command + "\n")
        return self.shell(seconds)

    def power_off(self, seconds=300, check=True):
        if check:
            self.check_health()
        self.send("exit\n" if self.quick_init else "systemctl poweroff\n")
        self.wait_end(seconds)
        if "Power down" not in self.text[self.mark:] or self.process.returncode:
            raise BootError(self._story("the machine ended, but not by a power-off"))


class Checks:
    """Collects what a test found; finish() prints each failure and ends the process."""

    def __init__(self):
        self.failures, self.count = [], 0

    def that(self, condition, text, detail=""):
        self.count += 1
        print(f"{'ok  ' if condition else 'FAIL'} {text}", flush=True)
        if not condition:
            self.failures.append(text)
            if detail:
                print("     " + str(detail).replace("\n", "\n     "), flush=True)
        return bool(condition)

    def matches(self, pattern, text, words):
        return self.that(re.search(pattern, text, re.MULTILINE), words,
                         f"no match for {pattern} in:\n{text[-2000:]}")

    def same(self, before, after, words):
        return self.that(before == after, words, f"before:\n{before}\nafter:\n{after}")

    def finish(self):
        print(f"{self.count - len(self.failures)} of {self.count} checks hold")
        sys.exit(1 if self.failures or not self.count else 0)


def main(test):
    """Runs test(checks); a machine that does not do what it should is one more failure."""
    checks = Checks()
    try:
        test(checks)
    except BootError as error:
        checks.that(False, "the machine does what the test waits for", error)
    checks.finish()
