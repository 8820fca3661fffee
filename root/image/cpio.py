# SPDX-License-Identifier: MIT
"""Writes initramfs archives (cpio "newc", gzip) without root rights and reproducibly: owners are
root, times are zero, and device nodes are records in the archive, never nodes on this machine."""
import gzip
import os
import stat


class Archive:
    """Collects entries; parents of an entry are made as needed."""

    def __init__(self):
        self._entries = {}

    def directory(self, path):
        self._add(path, stat.S_IFDIR | 0o755)

    def file(self, path, data, mode=0o644):
        self._add(path, stat.S_IFREG | mode, data)

    def copy(self, path, source, mode=None):
        with open(source, "rb") as stream:
            self.file(path, stream.read(), mode or stat.S_IMODE(os.stat(source).st_mode))

    def symlink(self, path, target):
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path, major, minor):
        self._add(path, stat.S_IFCHR | 0o600, device=(major, minor))

    def _add(self, path, mode, data=b"", device=(0, 0)):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self._entries:
            self.directory(parent)
        self._entries[path] = (mode, data, device)

    def write(self, target):
        out = bytearray()
        for number, (path, entry) in enumerate(self._entries.items(), 1):
            _record(out, number, path, *entry)
        _record(out, 0, "TRAILER!!!", 0, b"", (0, 0))
        with open(target + ".new", "wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as zipped:
                zipped.write(out)
        os.replace(target + ".new", target)


def _record(out, number, path, mode, data, device):
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
    out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
    out += bytes(-len(out) % 4)
    out += data
    out += bytes(-len(out) % 4)
