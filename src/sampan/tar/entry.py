"""What one member of a tar archive is, and the bounds that an archive from a stranger must keep.

Names stay bytes from end to end: Linux names are bytes, and images carry names that no encoding explains.
"""

from __future__ import annotations

from sampan.errors import InvalidArgument

# typeflags of POSIX ustar and GNU (tar(5)); the reader folds the rest into these
REGULAR = b"0"
HARDLINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK = b"4"
DIRECTORY = b"5"
FIFO = b"6"

MAX_ID = (1 << 32) - 2  # (uid_t)-1 means "leave alone" in chown(2)


class TarError(InvalidArgument):
    """The archive is malformed, hostile, or larger than the caller allows."""


class Limits:
    """Bounds of one archive; crossing one raises `TarError` before memory or disk is spent on it.

    `size_bytes` counts the files' real sizes (holes too: a sparse bomb is a bomb), `name_bytes` is one byte below PATH_MAX
    (limits.h counts the final NUL), `special_bytes` bounds one pax or GNU long-name member as Go's archive/tar does.
    """

    __slots__ = ("entries", "name_bytes", "size_bytes", "special_bytes")

    def __init__(
        self,
        *,
        entries: int = 4_000_000,
        size_bytes: int = 1 << 38,
        name_bytes: int = 4095,
        special_bytes: int = 1 << 20,
    ) -> None:
        self.entries = entries
        self.size_bytes = size_bytes
        self.name_bytes = name_bytes
        self.special_bytes = special_bytes


class Entry:
    """One member. `size` is the size of the file as it will read (0 unless regular); `mtime_ns` may be negative."""

    __slots__ = (
        "device_major",
        "device_minor",
        "gid",
        "gname",
        "kind",
        "linkname",
        "mode",
        "mtime_ns",
        "name",
        "size",
        "sparse",
        "uid",
        "uname",
        "xattrs",
    )

    def __init__(self, name: bytes, kind: bytes = REGULAR) -> None:
        self.name = name
        self.kind = kind
        self.mode = 0o644
        self.uid = 0
        self.gid = 0
        self.uname = b""
        self.gname = b""
        self.size = 0
        self.mtime_ns = 0
        self.linkname = b""
        self.device_major = 0
        self.device_minor = 0
        self.xattrs: dict[bytes, bytes] | None = None
        self.sparse: list[tuple[int, int]] | None = None

    def __repr__(self) -> str:
        return f"<Entry {self.kind.decode()} {self.name!r} {self.mode:o} {self.size}>"


def clean_name(name: bytes) -> bytes:
    """`name` relative to the archive's root, without `.`, `..` and doubled slashes; b"" is the root itself.

    Absolute names lose their slash, as every tar does. A name that climbs out of the root raises `TarError`: quietly
    putting it elsewhere would hide an attack.
    """
    if name and name[0] != 46 and name[0] != 47 and b"//" not in name and b"/." not in name:
        return name[:-1] if name[-1] == 47 else name
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise TarError(f"invalid tar entry {printable(name)}: it is outside of the archive's root")
            parts.pop()
        else:
            parts.append(part)
    return b"/".join(parts)


def printable(name: bytes) -> str:
    """`name` for a message: quoted, without control characters, not longer than a line."""
    text = name[:200].decode("utf-8", "backslashreplace")
    return (
        '"'
        + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
        + ("…" if len(name) > 200 else "")
        + '"'
    )
