"""A container's filesystem: its root, and what OCI's `mounts` puts into it. Runs in the container's mount namespace.

Sources are opened before anything is mounted over them; targets are resolved inside the new root by `targets`; a mount
is attached to a descriptor, never to a path.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Final

from sampan.linux import idmapped, user_namespace
from sampan.linux import mount as m
from sampan.linux.cgroup import Cgroup
from sampan.linux.overlay import mount_overlay
from sampan.linux.syscalls import (
    AT_FDCWD,
    PROC_SUPER_MAGIC,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    SYSFS_MAGIC,
    filesystem_type,
    open_in_root,
    openat2,
)
from sampan.runtime.launch import mount_options, targets
from sampan.runtime.launch.copy_up import copy_tree
from sampan.runtime.launch.launch_error import LaunchError, describe


def mount_rootfs(rootfs: dict[str, Any], target: str) -> None:
    """Mount the root that `rootfs` describes on the directory `target`.

    `{"kind": "overlay", "lower": […topmost first], "upper", "work", "readonly", "volatile"}` or
    `{"kind": "directory", "path", "readonly"}`.
    """
    if rootfs["kind"] == "overlay":
        mount_overlay(
            target,
            rootfs["lower"],
            upper=rootfs.get("upper"),
            work=rootfs.get("work"),
            readonly=bool(rootfs.get("upper") is None),
            volatile=bool(rootfs.get("volatile")),
        )
        return
    source = m.open_tree(AT_FDCWD, rootfs["path"], clone=True, recursive=True)
    try:
        attach(source, target)
    finally:
        os.close(source)


def attach(tree: int, target: str) -> None:
    """Put the detached mount `tree` on the directory `target`."""
    directory = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        m.move_mount(tree, directory)
    finally:
        os.close(directory)


def root_target(rootfs: dict[str, Any]) -> str:
    """A directory that exists and can be mounted over in a private namespace without hiding what the mounts need."""
    return str(rootfs["path"] if rootfs["kind"] == "directory" else rootfs["lower"][-1])


def clone_source(entry: dict[str, Any], bundle: str, recursive: bool) -> int:
    """A detached copy of a bind's source. `sampan.root` names a directory below which the source must lie, whatever
    symlinks in it say: a volume's subpath is the container's to change."""
    source = os.path.join(bundle, entry["source"])
    if "sampan.root" not in entry:
        return m.open_tree(AT_FDCWD, source, clone=True, recursive=recursive)
    root = os.open(entry["sampan.root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        beneath = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
        inside = openat2(root, os.path.relpath(source, entry["sampan.root"]), os.O_PATH | os.O_CLOEXEC, resolve=beneath)
    finally:
        os.close(root)
    try:
        return m.open_tree(inside, clone=True, recursive=recursive)
    finally:
        os.close(inside)


class RootBuilder:
    """Puts mounts into the root behind `root`. `proc` and `devpts` hold the mounts of these types once they are made."""

    def __init__(self, root: int, *, cgroup: Cgroup | None, bundle: str = "/") -> None:
        self.root = root
        self.proc = -1
        self.devpts = -1
        self.own_dev = False
        self._cgroup = cgroup
        self._bundle = bundle

    def mount(self, entry: dict[str, Any], source: int = -1) -> None:
        """One entry of OCI's `mounts`. `source` is the detached mount of a bind whose source has been opened already."""
        destination = "/" + entry["destination"].lstrip("/")
        try:
            self._mount(entry, destination, source)
        except OSError as error:
            name = entry.get("source") or entry.get("type") or ""
            raise LaunchError(f'error mounting "{name}" to rootfs at "{destination}": {describe(error)}') from None

    def _mount(self, entry: dict[str, Any], destination: str, source: int) -> None:
        options = mount_options.parse(entry.get("options") or [])
        kind = entry.get("type") or ""
        if options.bind or kind == "bind":
            self._bind(entry, destination, options, source)
        elif kind in ("cgroup", "cgroup2"):
            self._cgroups(destination, options)
        else:
            self._filesystem(kind, entry.get("source") or kind, destination, options)

    def _bind(self, entry: dict[str, Any], destination: str, options: mount_options.MountOptions, source: int) -> None:
        tree = source if source >= 0 else clone_source(entry, self._bundle, options.recursive)
        try:
            if entry.get("uidMappings") and source < 0:
                map_ids(entry, tree, options)
            directory = stat.S_ISDIR(os.fstat(tree).st_mode)
            if destination in ("/proc", "/sys") and filesystem_type(tree) not in (PROC_SUPER_MAGIC, SYSFS_MAGIC):
                kind = "proc" if destination == "/proc" else "sysfs"
                raise LaunchError(f'"{destination}" cannot be mounted because it is not of type {kind}')
            target = targets.open_target(self.root, destination, directory=directory)
            try:
                _refuse_procfs(target, destination)
                m.move_mount(tree, target)
            finally:
                os.close(target)
            _apply_flags(tree, options)
        finally:
            os.close(tree)

    def _filesystem(self, kind: str, source: str, destination: str, options: mount_options.MountOptions) -> None:
        existed = kind == "tmpfs" and targets.exists(self.root, destination)
        if kind in ("proc", "sysfs"):
            target = targets.open_ordinary_directory(self.root, destination)
        else:
            target = targets.open_target(self.root, destination, directory=True)
            _refuse_procfs(target, destination)
        try:
            data = options.data
            # What the image has there lends its mode; a mount point of our own making does not (tmpfs's is 1777)
            if existed and not any(one.startswith("mode=") for one in data):
                data = [*data, f"mode={stat.S_IMODE(os.fstat(target).st_mode):o}"]
            mounted = m.new_filesystem(kind, data, source=source, attributes=options.set_flags & ~m.MOUNT_ATTR_RDONLY)
            if kind == "tmpfs" and options.copy_up:
                self._copy_up(target, mounted)
            m.move_mount(mounted, target)
        finally:
            os.close(target)
        if kind == "tmpfs" and destination == "/dev":
            self.own_dev = True
        kept = self._keep(kind, mounted)
        if options.set_flags & m.MOUNT_ATTR_RDONLY and destination != "/dev":
            m.mount_setattr(mounted, set_flags=m.MOUNT_ATTR_RDONLY)
        for propagation, recursive in options.propagation:
            m.mount_setattr(mounted, propagation=propagation, recursive=recursive)
        if not kept:
            os.close(mounted)

    def _keep(self, kind: str, mounted: int) -> bool:
        if kind == "proc" and self.proc < 0:
            self.proc = mounted
        elif kind == "devpts" and self.devpts < 0:
            self.devpts = mounted
        else:
            return False
        return True

    def _copy_up(self, source: int, destination: int) -> None:
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source)
        try:
            copy_tree(readable, destination)
        finally:
            os.close(readable)

    def _cgroups(self, destination: str, options: mount_options.MountOptions) -> None:
        """The container's own group only, at the place where the whole hierarchy is on the host."""
        target = targets.open_target(self.root, destination, directory=True)
        paths = self._cgroup.paths() if self._cgroup is not None else {}
        try:
            if "" in paths:
                _attach_copy(paths[""], target, options.set_flags)
                return
            base = m.new_filesystem("tmpfs", ["mode=755"], source="tmpfs", attributes=_without_readonly(options))
            m.move_mount(base, target)
        finally:
            os.close(target)
        for directory in dict.fromkeys(paths.values()):
            names = os.path.basename(directory.removesuffix(self._cgroup.path if self._cgroup else ""))
            os.mkdir(names, 0o755, dir_fd=base)
            child = os.open(names, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=base)
            _attach_copy(directory, child, options.set_flags)
            os.close(child)
            for alias in names.split(",") if "," in names else []:
                os.symlink(names, alias, dir_fd=base)
        m.mount_setattr(base, set_flags=options.set_flags)
        os.close(base)


def _without_readonly(options: mount_options.MountOptions) -> int:
    return options.set_flags & ~m.MOUNT_ATTR_RDONLY


def _attach_copy(source: str, target: int, flags: int) -> None:
    tree = m.open_tree(AT_FDCWD, source, clone=True)
    m.mount_setattr(tree, set_flags=flags)
    m.move_mount(tree, target)
    os.close(tree)


_INSIDE_PROC: Final = frozenset(
    {"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg",
     "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled"}
)  # fmt: skip


def _refuse_procfs(target: int, destination: str) -> None:
    """Nothing is mounted over procfs but the files that lxcfs fakes: a fake /proc/self/attr would disarm LSMs."""
    if filesystem_type(target) == PROC_SUPER_MAGIC and destination not in _INSIDE_PROC:
        raise LaunchError(f'"{destination}" cannot be mounted because it is inside /proc')


def map_ids(entry: dict[str, Any], tree: int, options: mount_options.MountOptions) -> None:
    """Shift the ids of a bind by maps of its own."""
    userns_fd = user_namespace.create(entry["uidMappings"], entry["gidMappings"])[0]
    try:
        idmapped.map_tree(tree, userns_fd, recursive=options.idmap_recursive, name=entry["source"])
    finally:
        os.close(userns_fd)


def _apply_flags(tree: int, options: mount_options.MountOptions) -> None:
    if options.set_flags or options.clear_flags:
        m.mount_setattr(tree, set_flags=options.set_flags, clear_flags=options.clear_flags)
    if options.recursive_set or options.recursive_clear:
        m.mount_setattr(tree, set_flags=options.recursive_set, clear_flags=options.recursive_clear, recursive=True)
    for propagation, recursive in options.propagation:
        m.mount_setattr(tree, propagation=propagation, recursive=recursive)


def mask_paths(paths: list[str], root: int, dev_null: int) -> None:
    """Hide files behind the container's own null device and directories behind one empty read-only tmpfs.

    `dev_null` is a descriptor that has been checked to be the null device (CVE-2025-31133).
    """
    empty = -1
    for path in dict.fromkeys(paths):
        try:
            target = open_in_root(root, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            continue  # nothing to hide; any other failure fails the start, or a path would stay open in silence
        try:
            if not stat.S_ISDIR(os.fstat(target).st_mode):
                tree = m.open_tree(dev_null, clone=True)
            elif empty < 0:
                empty = tree = m.new_filesystem(
                    "tmpfs", ["nr_blocks=1", "nr_inodes=1"], source="tmpfs", attributes=m.MOUNT_ATTR_RDONLY
                )
            else:
                tree = m.open_tree(empty, clone=True)
            m.move_mount(tree, target)
            if tree != empty:
                os.close(tree)
        finally:
            os.close(target)
    if empty >= 0:
        os.close(empty)


def make_readonly(paths: list[str], root: int) -> None:
    """Put a read-only view of each path over itself; missing ones are skipped."""
    for path in dict.fromkeys(paths):
        try:
            target = open_in_root(root, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            tree = m.open_tree(target, clone=True, recursive=True)
            m.mount_setattr(tree, set_flags=m.MOUNT_ATTR_RDONLY, recursive=True)
            m.move_mount(tree, target)
            os.close(tree)
        finally:
            os.close(target)
