"""The image `busybox` from Debian's package busybox-static: one program under the names of its applets."""

from __future__ import annotations

import os
import struct
import subprocess

from sampan.tar.entry import DIRECTORY, HARDLINK, Entry
from sampan.tar.header import END_OF_ARCHIVE, encode
from sampan.tar.writer import Writable

BUSYBOX_CHANGES = ['CMD ["sh"]']
_CANDIDATES = ("/usr/bin/busybox", "/bin/busybox")
_DIRECTORIES = (
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("root", 0o700),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/sbin", 0o755),
    ("var", 0o755),
    ("var/spool", 0o755),
    ("var/spool/mail", 0o755),
    ("var/www", 0o755),
)
_FILES = {
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nbin:x:2:2:bin:/bin:/bin/false\n"
        "sys:x:3:3:sys:/dev:/bin/false\nmail:x:8:8:mail:/var/spool/mail:/bin/false\n"
        "www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
    ),
    "etc/group": (
        "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\nwheel:x:10:root\n"
        "www-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n"
    ),
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def find_busybox() -> str | None:
    """The path of a statically linked busybox."""
    for path in _CANDIDATES:
        if os.path.exists(path) and _is_static(path):
            return path
    return None


def _is_static(path: str) -> bool:
    """Whether an ELF file asks for no interpreter (PT_INTERP, elf(5)). Only the 64-bit form is looked into."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if head[:5] != b"\x7fELF\x02":
        return head[:4] == b"\x7fELF"
    order = "<" if head[5] == 1 else ">"
    (table,) = struct.unpack_from(order + "Q", head, 32)
    size, count = struct.unpack_from(order + "HH", head, 54)
    if table + size * count > len(head):
        return False
    kinds = (struct.unpack_from(order + "I", head, table + index * size)[0] for index in range(count))
    return 3 not in kinds


def busybox_tar(path: str, out: Writable) -> None:
    """Write the image's one layer: the program, its applets as hard links, and the directories that programs expect."""
    with open(path, "rb") as file:
        program = file.read()
    mtime_ns = int(os.stat(path).st_mtime) * 1_000_000_000
    listed = subprocess.run([path, "--list"], check=True, capture_output=True, text=True, timeout=10).stdout
    applets = sorted(set(listed.split()) - {"busybox"})

    def put(name: str, mode: int, kind: bytes | None = None, data: bytes = b"", link: str = "") -> None:
        entry = Entry(name.encode())
        if kind is not None:
            entry.kind = kind
        entry.mode, entry.mtime_ns, entry.size, entry.linkname = mode, mtime_ns, len(data), link.encode()
        out.write(encode(entry) + data + bytes(-len(data) % 512))

    for directory, mode in _DIRECTORIES:
        put(directory, mode, DIRECTORY)
    put("bin/busybox", 0o755, data=program)
    for applet in applets:
        put(f"bin/{applet}", 0o755, HARDLINK, link="bin/busybox")
    for name, text in _FILES.items():
        put(name, 0o644, data=text.encode())
    out.write(END_OF_ARCHIVE)
