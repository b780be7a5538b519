"""The way into a user namespace, for a container that has one.

    launch ── clone ──▶ porter ── clone (CLONE_PARENT) ──▶ the container's first process

Root in a user namespace may not do what only the host's root may: open a bind's source in somebody's private directory,
mount an overlay that knows the images' own extended attributes, map the ids of a mount, join namespaces of the host. The
porter does all that, carries what it has opened over the threshold, and clones the container's first process on the other
side, so that all namespaces of the container belong to its user namespace. Then it ends.
"""

from __future__ import annotations

import os
import socket
from typing import Any, NamedTuple

from sampan.linux import idmapped, pidfd, process, user_namespace
from sampan.linux import mount as m
from sampan.linux.namespaces import CLONE_NEWNS, CLONE_NEWUSER, open_namespace, setns, unshare
from sampan.linux.syscalls import AT_FDCWD, CLONE_PARENT, Cloned, clone3
from sampan.runtime.launch import launch_error, mount_options
from sampan.runtime.launch.launch_error import LaunchError
from sampan.runtime.launch.mounts import clone_source, map_ids, root_target


class Luggage(NamedTuple):
    """Detached mounts that the porter has made: the root, and the sources of binds by their index in OCI's `mounts`."""

    root: int
    sources: dict[int, int]


class Porter:
    """What is to be carried. `joins` are (flag, descriptor) of the namespaces to join besides the user namespace."""

    def __init__(
        self, config: dict[str, Any], rootfs: dict[str, Any], bundle: str, joins: list[tuple[int, int]], userns_fd: int
    ) -> None:
        self._config = config
        self._rootfs = rootfs
        self._bundle = bundle
        self._joins = joins
        self._userns_fd = userns_fd
        self.luggage: Luggage | None = None

    def clone(self, flags: int, before: Any) -> Cloned:
        """As clone3: 0 in the container's first process, which finds `luggage`. `before` is called in the porter first.

        Raises of the errors tree.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            porter = clone3(0)
            if porter.pid == 0:
                return self._carry(flags, before, theirs)
            theirs.close()
            try:
                message, descriptors, _, _ = socket.recv_fds(ours, 16384, 1, socket.MSG_CMSG_CLOEXEC)
            finally:
                pidfd.reap(porter.pidfd)
                os.close(porter.pidfd)
        if descriptors:
            return Cloned(int(message), descriptors[0])
        if message:
            raise launch_error.decode(message)
        raise LaunchError("the container's process was killed before it entered its user namespace")

    def _carry(self, flags: int, before: Any, channel: socket.socket) -> Cloned:
        """In the porter, which ends here; only its clone returns."""
        try:
            process.set_dumpable(False)
            before()
            self.luggage = self._pack()
            for flag, descriptor in self._joins:
                setns(descriptor, flag)
            setns(self._userns_fd, CLONE_NEWUSER)
            cloned = clone3(flags | CLONE_PARENT)
            if cloned.pid == 0:
                return cloned
            socket.send_fds(channel, [str(cloned.pid).encode()], [cloned.pidfd])
        except BaseException as error:
            channel.send(launch_error.encode(error))
        os._exit(0)

    def _pack(self) -> Luggage:
        sources = {}
        for index, entry in enumerate(self._config.get("mounts") or []):
            options = mount_options.parse(entry.get("options") or [])
            if not options.bind and entry.get("type") != "bind":
                continue
            try:
                sources[index] = self._source(entry, options)
            except OSError as error:
                text = f'error mounting "{entry["source"]}" to rootfs at "{entry["destination"]}"'
                raise LaunchError(f"{text}: {launch_error.describe(error)}") from None
        return Luggage(self._root(), sources)

    def _source(self, entry: dict[str, Any], options: mount_options.MountOptions) -> int:
        tree = clone_source(entry, self._bundle, options.recursive)
        if entry.get("uidMappings"):
            map_ids(entry, tree, options)
        elif options.idmap:
            idmapped.map_tree(tree, self._userns_fd, recursive=options.idmap_recursive, name=entry["source"])
        return tree

    def _root(self) -> int:
        rootfs = self._rootfs
        if rootfs["kind"] != "overlay":
            tree = m.open_tree(AT_FDCWD, rootfs["path"], clone=True, recursive=True)
            m.mount_setattr(tree, propagation=m.MS_PRIVATE, recursive=True)
            return tree
        linux = self._config["linux"]
        home = open_namespace(os.getpid(), "mount")
        unshare(CLONE_NEWNS)
        m.set_propagation("/", m.MS_PRIVATE | m.MS_REC)
        tree = idmapped.open_overlay(
            root_target(rootfs),
            rootfs["lower"],
            upper=rootfs.get("upper"),
            work=rootfs.get("work"),
            userns_fd=self._userns_fd,
            root_uid=user_namespace.host_id(linux["uidMappings"], 0),
            root_gid=user_namespace.host_id(linux["gidMappings"], 0),
            volatile=bool(rootfs.get("volatile")),
        )
        setns(home, CLONE_NEWNS)
        os.close(home)
        return tree


def open_user_namespace(config: dict[str, Any], given: int | None) -> int | None:
    """A descriptor of the user namespace that a container is to live in, the caller's to close; None for ours.

    `given` wins over a path in the config, and that over a new one with the config's maps.
    """
    linux = config.get("linux") or {}
    if given is not None:
        return os.dup(given)
    entry = next((one for one in linux.get("namespaces") or [] if one["type"] == "user"), None)
    if entry is None:
        return None
    if entry.get("path"):
        try:
            return os.open(entry["path"], os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LaunchError(f"cannot open namespace {launch_error.describe(error)}") from None
    return user_namespace.create(linux.get("uidMappings") or [], linux.get("gidMappings") or [])[0]
