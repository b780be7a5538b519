"""OCI mount options, sorted into what each of the kernel's calls takes."""

from __future__ import annotations

from typing import Final, NamedTuple

from sampan.linux import mount as m

# option -> (flags to set, flags to clear); with an `r` in front the same, recursively (rro, rnosuid, …).
_FLAGS: Final[dict[str, tuple[int, int]]] = {
    "ro": (m.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, m.MOUNT_ATTR_RDONLY),
    "nosuid": (m.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, m.MOUNT_ATTR_NOSUID),
    "nodev": (m.MOUNT_ATTR_NODEV, 0),
    "dev": (0, m.MOUNT_ATTR_NODEV),
    "noexec": (m.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, m.MOUNT_ATTR_NOEXEC),
    "noatime": (m.MOUNT_ATTR_NOATIME, m.MOUNT_ATTR_ATIME),
    "atime": (0, m.MOUNT_ATTR_ATIME),
    "relatime": (0, m.MOUNT_ATTR_ATIME),
    "norelatime": (0, 0),
    "strictatime": (m.MOUNT_ATTR_STRICTATIME, m.MOUNT_ATTR_ATIME),
    "nostrictatime": (0, m.MOUNT_ATTR_ATIME),
    "nodiratime": (m.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, m.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (m.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, m.MOUNT_ATTR_NOSYMFOLLOW),
}
_PROPAGATION: Final[dict[str, int]] = {
    "private": m.MS_PRIVATE,
    "shared": m.MS_SHARED,
    "slave": m.MS_SLAVE,
    "unbindable": m.MS_UNBINDABLE,
}
_IGNORED: Final = frozenset(
    {"defaults", "async", "nofail", "_netdev", "rbind", "bind", "remount", "copy", "nocopy", "idmap", "ridmap"}
)


class MountOptions(NamedTuple):
    bind: bool
    recursive: bool
    set_flags: int
    clear_flags: int
    recursive_set: int
    recursive_clear: int
    propagation: list[tuple[int, bool]]
    copy_up: bool
    idmap: bool
    idmap_recursive: bool
    data: list[str]


def parse(options: list[str]) -> MountOptions:
    """Later options override earlier ones. What is not a mount flag goes to the filesystem, in order."""
    flags = [0, 0]
    recursive_flags = [0, 0]
    propagation: list[tuple[int, bool]] = []
    data: list[str] = []
    copy_up = False
    for option in options:
        plain = option[1:] if option.startswith("r") else ""
        if option in _FLAGS:
            _turn(flags, _FLAGS[option])
        elif plain in _FLAGS:
            _turn(recursive_flags, _FLAGS[plain])
        elif option in _PROPAGATION:
            propagation.append((_PROPAGATION[option], False))
        elif plain in _PROPAGATION:
            propagation.append((_PROPAGATION[plain], True))
        elif option == "tmpcopyup":
            copy_up = True
        elif option not in _IGNORED:
            data.append(option)
    bind = "bind" in options or "rbind" in options
    idmap_recursive = "ridmap" in options
    return MountOptions(
        bind,
        "rbind" in options,
        flags[0],
        flags[1],
        recursive_flags[0],
        recursive_flags[1],
        propagation,
        copy_up,
        idmap_recursive or "idmap" in options,
        idmap_recursive,
        data,
    )


def _turn(flags: list[int], change: tuple[int, int]) -> None:
    turn_on, turn_off = change
    flags[0] = (flags[0] & ~turn_off) | turn_on
    flags[1] = (flags[1] & ~turn_on) | turn_off
