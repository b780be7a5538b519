"""Facts about the machine, for `info` and `version`."""

from __future__ import annotations

import functools
import os
import shlex

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}


def machine() -> str:
    """The kernel's name of the architecture, as `uname -m` prints it."""
    return os.uname().machine


def architecture() -> str:
    """The image world's name of the architecture (GOARCH)."""
    return _ARCHITECTURES.get(machine(), machine())


def kernel_version() -> str:
    return os.uname().release


def memory_total_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@functools.cache
def os_release() -> dict[str, str]:
    """The fields of os-release(5); empty where the file is absent."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8") as file:
                pairs = (line.strip().partition("=") for line in file if "=" in line and not line.startswith("#"))
                return {key: "".join(shlex.split(value)) for key, _, value in pairs}
        except OSError:
            continue  # the next place of os-release(5)
    return {}


def ip_forwarding() -> bool:
    try:
        with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def filesystem_type(path: str) -> str:
    """The type of the file system that holds `path`, in Docker's spelling (`extfs` for ext2 to ext4)."""
    real = os.path.realpath(path)
    best, kind = "", "unknown"
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _, target, name = line.split(" ", 3)[:3]
            inside = real == target or real.startswith(target.rstrip("/") + "/")
            if inside and len(target) >= len(best):
                best, kind = target, name
    return {"ext2": "extfs", "ext3": "extfs", "ext4": "extfs"}.get(kind, kind)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
