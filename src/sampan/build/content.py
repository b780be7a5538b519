"""What a COPY would write, as one digest: names, types, modes and bytes; never times.

Two trees with the same digest give the same files, so the digest is the part of a step's cache key that stands for what
the step reads.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable

from sampan.build.tree import Found

_CHUNK_BYTES = 1 << 20
FileKey = tuple[str, int, int]


class ContentDigests:
    """Digests of files, each file read once per build. Safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[FileKey, bytes] = {}

    def of_file(self, found: Found) -> bytes:
        """sha256 of a regular file's bytes."""
        key = (found.path, found.info.st_size, found.info.st_mtime_ns)
        digest = self._known.get(key)
        if digest is None:
            digest = self._known[key] = _hash_file(found.path)
        return digest

    def of_entries(self, entries: Iterable[tuple[str, Found]], *, with_owner: bool) -> str:
        """Hex digest of (name, file) pairs in the order given; `with_owner` where ownership is copied too."""
        total = hashlib.sha256()
        for name, found in entries:
            total.update(self._record(name, found, with_owner))
        return total.hexdigest()

    def _record(self, name: str, found: Found, with_owner: bool) -> bytes:
        info = found.info
        fields = [os.fsencode(name), b"%o" % info.st_mode]
        if with_owner:
            fields.append(b"%d:%d" % (info.st_uid, info.st_gid))
        if stat.S_ISREG(info.st_mode):
            fields.append(self.of_file(found))
        elif stat.S_ISLNK(info.st_mode):
            fields.append(os.fsencode(os.readlink(found.path)))
        elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            fields.append(b"%d" % info.st_rdev)
        for attribute in _attributes(found):
            fields.append(os.fsencode(attribute))
            fields.append(os.getxattr(found.path, attribute, follow_symlinks=False))
        # Length prefixes keep ("ab","c") and ("a","bc") apart.
        return b"".join(b"%d:%s" % (len(field), field) for field in fields) + b"\n"


def _attributes(found: Found) -> list[str]:
    """Extended attributes that travel with a copy; overlayfs's own bookkeeping does not."""
    if found.is_link:
        return []
    try:
        names = os.listxattr(found.path, follow_symlinks=False)
    except OSError:
        return []
    return sorted(name for name in names if not name.startswith("trusted.overlay."))


def copied_attributes(found: Found) -> list[tuple[str, bytes]]:
    """Name and value of the attributes that a copy of the file carries."""
    return [(name, os.getxattr(found.path, name, follow_symlinks=False)) for name in _attributes(found)]


def _hash_file(path: str) -> bytes:
    total = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            total.update(chunk)
    return total.digest()
