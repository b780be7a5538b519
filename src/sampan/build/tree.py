"""A stack of layer directories read as the one tree that overlayfs would show, without mounting anything.

The builder reads build contexts (a stack of one) and finished stages through this, resolves destinations in it, and so
needs neither a mount nor a helper process for COPY. The directories must not change meanwhile: layers never do, and a
context is private to its build. Every symbolic link is resolved by hand inside the tree, so no link leads out of it.

Whiteouts and opaque directories are those of overlayfs
(https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sampan.errors import InvalidArgument, NotFound

_MAX_LINKS = 255
_OPAQUE = "trusted.overlay.opaque"


class Found(NamedTuple):
    """A file of the tree. `paths` are its places on the host: one, or for a directory all that merge, topmost first."""

    info: os.stat_result
    paths: list[str]

    @property
    def path(self) -> str:
        """Where the visible file is."""
        return self.paths[0]

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.info.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.info.st_mode)


class Resolved(NamedTuple):
    """`path` is absolute and free of links as far as it exists; `found` is None if it does not."""

    path: str
    found: Found | None


_NAME_MAX = 255  # bytes, limits.h


class LayeredTree:
    """The merged view of `directories`, topmost first."""

    def __init__(self, directories: Sequence[str]) -> None:
        self.directories = list(directories)
        self._merged = len(self.directories) > 1
        roots = self.directories[:1]
        self.root: Found | None = Found(os.lstat(roots[0]), self.directories) if roots else None

    def child(self, directory: Found, name: str) -> Found | None:
        """The entry `name` of a directory of this tree; None too for what no file can be called."""
        if "\0" in name or len(os.fsencode(name)) > _NAME_MAX:
            return None
        merged: list[str] = []
        top: os.stat_result | None = None
        for place in directory.paths:
            path = f"{place}/{name}"
            try:
                info = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISDIR(info.st_mode):
                if top is None and not _is_whiteout(info):
                    return Found(info, [path])
                break
            top = top or info
            merged.append(path)
            if self._merged and _is_opaque(path):
                break
        return Found(top, merged) if top is not None else None

    def children(self, directory: Found) -> Iterator[tuple[str, Found]]:
        """All entries of a directory, sorted by name."""
        names: set[str] = set()
        for place in directory.paths:
            names.update(os.listdir(place))
        for name in sorted(names, key=os.fsencode):
            found = self.child(directory, name)
            if found is not None:
                yield name, found

    def resolve(self, path: str, *, follow: bool = True) -> Resolved:
        """Follow `path` from the root, through links, never out of the tree.

        Parts that do not exist are kept as written. `follow` says whether a link at the end is followed too.

        Raises:
            InvalidArgument: too many links, or a component that is no directory has something below it.
        """
        pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        stack: list[tuple[str, Found | None]] = []
        links = 0
        while pending:
            name = pending.pop()
            if name == "..":
                if stack:
                    stack.pop()
                continue
            parent = stack[-1][1] if stack else self.root
            found = self.child(parent, name) if parent is not None and parent.is_directory else None
            if found is not None and found.is_link and (pending or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise InvalidArgument(f"{path}: too many levels of symbolic links")
                target = os.readlink(found.path)
                if target.startswith("/"):
                    stack.clear()
                pending.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
                continue
            if parent is not None and not parent.is_directory:
                raise InvalidArgument(f"{'/' + '/'.join(part for part, _ in stack)}: not a directory")
            stack.append((name, found))
        found = stack[-1][1] if stack else self.root
        return Resolved("/" + "/".join(name for name, _ in stack), found)

    def find(self, path: str, *, follow: bool = True) -> Found:
        """The file at `path`. Raises `NotFound`."""
        found = self.resolve(path, follow=follow).found
        if found is None:
            raise NotFound(f"stat {path.lstrip('/')}: file does not exist")
        return found

    def walk(self, top: Found, prefix: str = "") -> Iterator[tuple[str, Found]]:
        """Everything below `top` with its relative path, parents first, in order of names."""
        for name, found in self.children(top):
            path = f"{prefix}{name}"
            yield path, found
            if found.is_directory:
                yield from self.walk(found, path + "/")

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """The content of a regular file, at most `limit_bytes` of it; None if there is none."""
        found = self.resolve(path).found
        if found is None or not stat.S_ISREG(found.info.st_mode):
            return None
        with open(found.path, "rb") as file:
            return file.read(limit_bytes)


def _is_whiteout(info: os.stat_result) -> bool:
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False
