"""Local archives of ADD: recognised by content, unpacked by the engine's own hostile-proof reader."""

from __future__ import annotations

import os

from sampan.content.compression import DecompressionError, open_decompressed
from sampan.tar.entry import DIRECTORY, TarError, clean_name
from sampan.tar.extract import extract_tree
from sampan.tar.reader import TarReader


def is_archive(path: str) -> bool:
    """Whether the file is a tar, plain or compressed with gzip, bzip2, xz or zstd."""
    with open(path, "rb") as file:
        head = file.read(512)
        if len(head) < 512 and not _is_compressed(head):
            return False
        file.seek(0)
        try:
            for _ in TarReader(open_decompressed(file)):
                return True
        except (TarError, DecompressionError, OSError, EOFError):
            return False
    return False


def _is_compressed(head: bytes) -> bool:
    return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))


def unpack(path: str, directory: str) -> None:
    """Unpack the archive into an empty directory. Raises `TarError` for a damaged or hostile one."""
    dirfd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(path, "rb") as file:
            extract_tree(open_decompressed(file), dirfd)
    finally:
        os.close(dirfd)


def explicit_directories(path: str) -> set[str]:
    """The directories that the archive itself names, and so decides the metadata of."""
    with open(path, "rb") as file:
        return {
            os.fsdecode(clean_name(entry.name))
            for entry in TarReader(open_decompressed(file))
            if entry.kind == DIRECTORY
        }
