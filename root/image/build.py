#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds the root partition's disk and what boots it, from Debian's packages, mounting nothing.

Output in build/image: vmlinuz (stock generic kernel), initrd (busybox and the disk's modules),
root.img (ext4 on the bare disk), guest/{vmlinuz-cloud,vmlinuz-generic,initramfs}.
Each stage keeps a key of its inputs and is skipped while they are the same; packages come from the
mirrors that this machine's apt is configured with. Runs as root: files on the disk have owners, and
maintainer scripts run in a chroot."""
import argparse
import fcntl
import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import cpio

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
OUT = os.path.join(REPO, "build", "image")
CACHE = os.path.join(OUT, "cache")
PROGRAMS = os.path.join(CACHE, "programs")
SIZE_MB = 900
# Left out of the installed system: nobody reads them on this disk.
EXCLUDED = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*",
            "/usr/share/lintian/*", "/usr/share/bash-completion/*", "/usr/lib/udev/hwdb.bin",
            "/usr/lib/udev/hwdb.d/*"]
# Of the build folder's programs, those that run in the root partition.
PROGRAMS_IN_ROOT = {"vmwp/vmwp": "/usr/sbin/vmwp",
                    "tests/runtime_tests": "/usr/lib/partita/runtime_tests"}
MASKED_UNITS = ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
                "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
                "systemd-tmpfiles-clean.timer", "systemd-pstore.service",
                "systemd-firstboot.service", "systemd-update-utmp.service",
                "systemd-update-utmp-runlevel.service", "getty-static.service", "getty@tty1.service", "kexec.service",
                "kexec-load.service"]
ENABLED_UNITS = {"systemd-networkd.service": "/usr/lib/systemd/system",
                 "partita-run.service": "/etc/systemd/system"}


def say(text):
    print(f"image: {text}", flush=True)


def fail(text):
    sys.exit(f"image: {text}")


def run(*command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            check=False, **options)
    if result.returncode:
        fail(f"{' '.join(command)}\n{result.stdout}exit status {result.returncode}")
    return result.stdout


def lines_of(path):
    with open(path, encoding="utf-8") as stream:
        lines = (line.strip() for line in stream)
        return [line for line in lines if line and not line.startswith("#")]


def tree_files(folder):
    for base, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield os.path.join(base, name)


def key_of(*inputs):
    """A hash over texts and over the names, modes and contents of files ("file:" prefix)."""
    digest = hashlib.sha256()
    for item in inputs:
        if item.startswith("file:"):
            path = item[5:]
            digest.update(f"{path} {os.stat(path).st_mode:o}".encode())
            with open(path, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        else:
            digest.update(item.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def files_as_inputs(*folders):
    return [f"file:{path}" for folder in folders for path in tree_files(folder)]


class Stage:
    """Runs its body once per key; a body that fails leaves the old key invalid."""

    def __init__(self, name, outputs, *inputs):
        self.name, self.outputs = name, outputs
        self.stamp = os.path.join(CACHE, name + ".key")
        self.key = key_of(*inputs)

    def current(self):
        if not all(os.path.exists(path) for path in self.outputs):
            return False
        try:
            with open(self.stamp, encoding="ascii") as stream:
                return stream.read() == self.key
        except FileNotFoundError:
            return False

    def __enter__(self):
        if os.path.exists(self.stamp):
            os.unlink(self.stamp)
        self.started = time.monotonic()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            with open(self.stamp, "w", encoding="ascii") as stream:
                stream.write(self.key)
            say(f"{self.name} done in {time.monotonic() - self.started:.0f} s")


# ---- kernels -----------------------------------------------------------------------------------

def kernel_release():
    """The generic kernel whose headers are installed: the driver is built against exactly that."""
    text = subprocess.run(["dpkg-query", "-W", "-f", "${Depends}", "linux-headers-amd64"],
                          capture_output=True, text=True, check=False).stdout
    match = re.search(r"linux-headers-(\S+-amd64) \(= (\S+)\)", text)
    if not match:
        fail("linux-headers-amd64 is not installed: run tools/setup")
    return match.group(1), match.group(2)


def cloud_release(release):
    return release.replace("-amd64", "-cloud-amd64")


def fetch_kernel(release, version):
    """Unpacks linux-image-RELEASE of that version into the cache; returns the folder."""
    folder = os.path.join(CACHE, f"linux-{release}_{version}")
    stage = Stage(f"kernel {release}", [folder], "1", release, version)
    if stage.current():
        return folder
    with stage:
        say(f"fetching linux-image-{release} {version}")
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            run("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root",
                f"linux-image-{release}={version}", cwd=scratch)
            (package,) = os.listdir(scratch)
            shutil.rmtree(folder, ignore_errors=True)
            run("dpkg-deb", "-x", os.path.join(scratch, package), folder)
    return folder


def module_closure(kernel, release, names):
    """Paths (relative to the modules' folder) of the named modules and of what they depend on, in
    loading order. Names that are built in are skipped."""
    folder = os.path.join(kernel, "lib/modules", release)
    if not os.path.exists(os.path.join(folder, "modules.dep")):
        run("depmod", "-b", kernel, release)
    depends, by_name = {}, {}
    with open(os.path.join(folder, "modules.dep"), encoding="ascii") as stream:
        for line in stream:
            path, _, rest = line.partition(":")
            depends[path] = rest.split()
            by_name[os.path.basename(path)[:-3].replace("-", "_")] = path
    with open(os.path.join(folder, "modules.builtin"), encoding="ascii") as stream:
        builtin = {os.path.basename(line.strip())[:-3].replace("-", "_") for line in stream}
    order = []
    for name in names:
        if name in builtin:
            continue
        if name not in by_name:
            fail(f"root/image/modules.txt: {release} has no module {name}")
        for path in [*reversed(depends[by_name[name]]), by_name[name]]:
            if path not in order:
                order.append(path)
    return order


def module_names():
    sections, current = {}, None
    for line in lines_of(os.path.join(HERE, "modules.txt")):
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), [])
        else:
            current.append(line)
    return sections


def build_initrd(kernel, release):
    target = os.path.join(OUT, "initrd")
    init = os.path.join(HERE, "initrd-init")
    stage = Stage("initrd", [target], release, kernel, f"file:{init}", f"file:{HERE}/modules.txt",
                  f"file:{HERE}/cpio.py", "file:/bin/busybox")
    if stage.current():
        return
    with stage:
        archive = cpio.Archive()
        add_busybox(archive)
        archive.copy("init", init, 0o755)
        archive.directory("root")
        order = module_closure(kernel, release, module_names()["initrd"])
        for path in order:
            archive.copy("modules/" + os.path.basename(path),
                         os.path.join(kernel, "lib/modules", release, path))
        archive.file("modules/order", "".join(os.path.basename(p) + "\n" for p in order).encode())
        archive.write(target)


def add_busybox(archive):
    for folder in ("dev", "proc", "sys"):
        archive.directory(folder)
    archive.character_device("dev/console", 5, 1)
    archive.copy("bin/busybox", "/bin/busybox", 0o755)
    for applet in run("/bin/busybox", "--list").split():
        if applet != "busybox":
            archive.symlink("bin/" + applet, "busybox")


# ---- the guests --------------------------------------------------------------------------------

def build_guests(kernels):
    """Stock kernels and the initramfs that guests boot; test programs are compiled statically."""
    folder = os.path.join(OUT, "guest")
    os.makedirs(folder, exist_ok=True)
    for flavour, (release, kernel) in kernels.items():
        place(os.path.join(kernel, "boot", "vmlinuz-" + release), f"{folder}/vmlinuz-{flavour}")
    run("make", "-C", os.path.join(REPO, "tests", "guest", "kernel"), f"OUT={PROGRAMS}")
    place(os.path.join(PROGRAMS, "test-kernel"), f"{folder}/test-kernel")
    target = os.path.join(folder, "initramfs")
    programs = os.path.join(REPO, "tests", "guest")
    stage = Stage("guest initramfs", [target], *files_as_inputs(f"{HERE}/guest", programs),
                  *(kernel for _, kernel in kernels.values()), f"file:{HERE}/modules.txt",
                  f"file:{HERE}/cpio.py", "file:/bin/busybox")
    if stage.current():
        return folder
    with stage:
        archive = cpio.Archive()
        add_busybox(archive)
        archive.copy("init", f"{HERE}/guest/init", 0o755)
        for path in tree_files(f"{HERE}/guest/tests"):
            archive.copy("tests/" + os.path.basename(path), path, 0o755)
        for name, path in compile_programs(programs).items():
            archive.copy("tests/" + name, path, 0o755)
        for release, kernel in kernels.values():
            for path in module_closure(kernel, release, module_names()["guest"]):
                archive.copy(f"modules/{release}/" + os.path.basename(path),
                             os.path.join(kernel, "lib/modules", release, path))
        archive.write(target)
    return folder


def compile_programs(folder):
    """Compiles each FOLDER/NAME.c into the cache as one static program; returns name -> path."""
    programs = {}
    os.makedirs(PROGRAMS, exist_ok=True)
    for path in tree_files(folder):
        if not path.endswith(".c"):
            continue
        name = os.path.basename(path)[:-2]
        programs[name] = os.path.join(PROGRAMS, name)
        run("gcc-12", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread",
            "-o", programs[name], path)
    return programs


# ---- the root's system -------------------------------------------------------------------------

def build_base():
    """Debian's minimal system and packages.txt, as installed by dpkg: a tar archive."""
    target = os.path.join(OUT, "base.tar")
    packages = lines_of(os.path.join(HERE, "packages.txt"))
    stage = Stage("base system", [target], "2", *packages, *EXCLUDED)
    if stage.current():
        return target, stage.key
    entry = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    sources = run("apt-get", "indextargets", "--format", entry, "Created-By: Packages")
    sources = [line for line in sources.splitlines()
               if re.fullmatch(r"deb \S+ bookworm(-updates|-security)? main\s*", line)]
    if not sources:
        fail("apt is configured with no mirror of Debian 12 (bookworm, main)")
    with stage:
        say("installing Debian's minimal system (a minute or two)")
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            listing = os.path.join(scratch, "sources.list")
            with open(listing, "w", encoding="utf-8") as stream:
                stream.write("\n".join(sources) + "\n")
            with open(os.path.join(OUT, "base.log"), "w", encoding="utf-8") as log:
                result = subprocess.run(
                    ["mmdebstrap", "--variant=minbase", "--format=tar", "--mode=root",
                     "--skip=chroot/mount,output/dev",
                     "--include=" + ",".join(packages), "--aptopt=APT::Install-Recommends false",
                     *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
                     "bookworm", target + ".new", listing], stdout=log, stderr=log, check=False)
            if result.returncode:
                fail(f"mmdebstrap failed: see {os.path.relpath(log.name, REPO)}")
        os.replace(target + ".new", target)
    return target, stage.key


def build_driver(release):
    """mshv.ko for that kernel, or None while the driver's sources are not there."""
    source = os.path.join(REPO, "root", "driver")
    if not os.path.exists(os.path.join(source, "Makefile")):
        say("no root/driver yet: the disk gets no mshv.ko")
        return None
    work = os.path.join(OUT, "driver")
    target = os.path.join(work, "mshv.ko")
    sources = [path for path in [*tree_files(source), *tree_files(os.path.join(REPO, "abi/root"))]
               if path.endswith((".c", ".h", "Makefile", "Kbuild"))]
    stage = Stage("driver", [target], release, *(f"file:{path}" for path in sources))
    if stage.current():
        return target
    with stage:
        run("make", "-C", source, f"OUT={work}", f"KVER={release}", "CC=gcc-12")
    return target


def assemble(base, base_key, kernel, release, driver, guests, services):
    """Everything into one tree, and the tree into an ext4 image."""
    target = os.path.join(OUT, "root.img")
    overlay = os.path.join(HERE, "overlay")
    tools = compile_programs(os.path.join(REPO, "tests", "guest"))
    run("make", "-C", os.path.join(REPO, "tests", "driver"), f"OUT={PROGRAMS}", "CC=gcc-12")
    tools["mshv_smoke"] = os.path.join(PROGRAMS, "mshv_smoke")
    stage = Stage("root disk", [target], "3", base_key, release, kernel,
                  f"file:{HERE}/modules.txt", f"file:{os.path.abspath(__file__)}",
                  f"file:{OUT}/initrd", *files_as_inputs(overlay, guests), *(f"file:{path}" for path in tools.values()),
                  *(f"file:{path}" for path in services), *([f"file:{driver}"] if driver else []))
    if stage.current():
        return
    with stage, tempfile.TemporaryDirectory(dir=CACHE) as tree:
        os.chmod(tree, 0o755)
        run("tar", "-xf", base, "-C", tree, "--numeric-owner")
        os.makedirs(tree + "/dev", exist_ok=True)
        for path in tree_files(overlay):
            install(path, tree, "/" + os.path.relpath(path, overlay))
        for path in tree_files(guests):
            install(path, tree, "/usr/share/partita/guests/" + os.path.relpath(path, guests))
        install(f"{kernel}/boot/vmlinuz-{release}", tree, "/boot/vmlinuz")
        install(f"{OUT}/initrd", tree, "/boot/initrd")
        for path, place_in_root in services.items():
            install(path, tree, place_in_root)
            check_libraries(path, tree)
        for name, path in tools.items():
            install(path, tree, "/usr/lib/partita/" + name)
        install_modules(tree, kernel, release, driver)
        set_units(tree)
        with open(os.path.join(tree, "etc/machine-id"), "w", encoding="ascii") as stream:
            stream.write("5041525449544100000000000000001a\n")
        make_ext4(tree, target)


def install(source, tree, path):
    target = tree + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)


def check_libraries(program, tree):
    """Every shared library that the program names must be in the tree."""
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", program))
    for name in needed:
        if not any(fnmatch.fnmatch(os.path.basename(path), name)
                   for path in os.listdir(tree + "/usr/lib/x86_64-linux-gnu")):
            fail(f"{os.path.basename(program)} needs {name}: name its package in packages.txt")


def install_modules(tree, kernel, release, driver):
    source = os.path.join(kernel, "lib/modules", release)
    folder = f"/usr/lib/modules/{release}/"
    sections = module_names()
    for path in module_closure(kernel, release, sections["initrd"] + sections["root"]):
        install(os.path.join(source, path), tree, folder + path)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        install(os.path.join(source, name), tree, folder + name)
    if driver:
        install(driver, tree, folder + "extra/mshv.ko")
    run("depmod", "-b", tree, release)


def set_units(tree):
    units = tree + "/etc/systemd/system"
    for name in MASKED_UNITS:
        os.symlink("/dev/null", f"{units}/{name}")
    os.makedirs(units + "/multi-user.target.wants", exist_ok=True)
    for name, folder in ENABLED_UNITS.items():
        link = f"{units}/multi-user.target.wants/{name}"
        if not os.path.lexists(link):
            os.symlink(f"{folder}/{name}", link)
    default = units + "/default.target"
    if os.path.lexists(default):
        os.unlink(default)
    os.symlink("/usr/lib/systemd/system/multi-user.target", default)


def make_ext4(tree, target):
    # Fixed ids and times: the same inputs give the same bytes as far as mke2fs can.
    environment = dict(os.environ, E2FSPROGS_FAKE_TIME="1767225600")
    scratch = target + ".new"
    with open(scratch, "wb") as stream:
        stream.truncate(SIZE_MB << 20)
    run("mkfs.ext4", "-q", "-F", "-L", "partita-root", "-J", "size=8", "-m", "0",
        "-U", "70617274-6974-6121-8000-000000000001",
        "-E", "lazy_itable_init=0,lazy_journal_init=0,hash_seed=70617274-6974-6121-8000-000000000002",
        "-d", tree, scratch, env=environment)
    os.replace(scratch, target)


def place(source, target):
    if not os.path.exists(target) or os.stat(source).st_mtime_ns != os.stat(target).st_mtime_ns:
        shutil.copy2(source, target)


def find_services(folder):
    """The programs of ours that run in the root partition, each with its place there."""
    found = {}
    for name, place in PROGRAMS_IN_ROOT.items():
        path = os.path.join(folder, name)
        if os.path.exists(path):
            found[path] = place
        else:
            say(f"{os.path.relpath(path, REPO)} is not built: the disk goes without it")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--services", default=os.path.join(REPO, "build", "release"),
                        help="build folder that holds vmwp/vmwp (default: build/release)")
    parser.add_argument("--without", action="append", default=[], choices=["driver", "vmwp"],
                        help="leave that part out (while it does not build, say)")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        fail("must run as root (the disk's files have owners): use sudo")
    os.makedirs(CACHE, exist_ok=True)
    lock = open(os.path.join(CACHE, "lock"), "w", encoding="ascii")
    fcntl.flock(lock, fcntl.LOCK_EX)  # one builder at a time
    release, version = kernel_release()
    kernels = {flavour: (name, fetch_kernel(name, version))
               for flavour, name in (("generic", release), ("cloud", cloud_release(release)))}
    kernel = kernels["generic"][1]
    place(os.path.join(kernel, "boot", "vmlinuz-" + release), os.path.join(OUT, "vmlinuz"))
    build_initrd(kernel, release)
    guests = build_guests(kernels)
    base, base_key = build_base()
    driver = None if "driver" in arguments.without else build_driver(release)
    services = {} if "vmwp" in arguments.without else find_services(arguments.services)
    assemble(base, base_key, kernel, release, driver, guests, services)


if __name__ == "__main__":
    main()
