"""cgroup v1, v2 and hybrid behind one interface."""

from __future__ import annotations

import os
from typing import Final

from sampan.linux.cgroup.interfaces import Cgroup

ROOT: Final = "/sys/fs/cgroup"
_found_version: list[int] = []

__all__ = ["Cgroup", "open_cgroup", "version"]


def version() -> int:
    """2 when the unified hierarchy is mounted at the root and holds the controllers; 1 for v1 and hybrid."""
    if not _found_version:
        _found_version.append(2 if os.path.exists(f"{ROOT}/cgroup.controllers") else 1)
    return _found_version[0]


def open_cgroup(path: str) -> Cgroup:
    """The group at `path`, counted from the root of the hierarchy whatever group this process is in.

    `..` cannot lead out of the hierarchy. Nothing is created.
    """
    clean = os.path.normpath("/" + path.lstrip("/"))
    if version() == 2:
        from sampan.linux.cgroup.v2 import CgroupV2

        return CgroupV2(clean)
    from sampan.linux.cgroup.v1 import CgroupV1

    return CgroupV1(clean)
