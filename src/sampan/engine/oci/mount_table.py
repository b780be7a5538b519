"""The mounts of a container in OCI form: the kernel's file systems, Docker's own files, and the user's mounts over them."""

from __future__ import annotations

from typing import Any

from sampan.engine.oci.places import Places
from sampan.store.containers import ContainerRecord, MountRecord

Mount = dict[str, Any]
_NO_EXEC = ["nosuid", "noexec", "nodev"]


def collect(record: ContainerRecord, places: Places) -> list[Mount]:
    """In the order in which they are to be mounted: parents before children, a user's mount in place of a default one."""
    host = record.host_config
    taken = {mount.destination for mount in places.mounts}
    kernel = [mount for mount in _kernel(host) if mount["destination"] not in taken]
    own = [
        mount for mount in (*_shared_memory(host, places), *_files(host, places)) if mount["destination"] not in taken
    ]
    user = [_user_mount(mount, places) for mount in places.mounts]
    # Docker's files are sorted in: a volume on /etc goes below /etc/hosts, not over it
    return kernel + sorted(own + user, key=lambda mount: mount["destination"].count("/"))


def _kernel(host: dict[str, Any]) -> list[Mount]:
    privileged = bool(host["Privileged"])
    unprivileged = [] if privileged else ["ro"]
    cgroup_writable = privileged or "writable-cgroups=true" in (host["SecurityOpt"] or ())
    mounts = [
        _mount("/proc", "proc", "proc", _NO_EXEC),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        _mount("/sys", "sysfs", "sysfs", [*_NO_EXEC, *unprivileged]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*_NO_EXEC, *([] if cgroup_writable else ["ro"])]),
    ]
    # the file system shows the queues of the IPC namespace that mounts it, the host's too: no bind is needed
    mounts.append(_mount("/dev/mqueue", "mqueue", "mqueue", _NO_EXEC))
    return mounts


def _shared_memory(host: dict[str, Any], places: Places) -> list[Mount]:
    if host["IpcMode"] == "none":
        return []
    if host["IpcMode"] == "host":
        return [_mount("/dev/shm", "bind", "/dev/shm", ["rbind", *_NO_EXEC])]
    if places.shm_source:
        return [_mount("/dev/shm", "bind", places.shm_source, ["bind", *_NO_EXEC])]
    return [_mount("/dev/shm", "tmpfs", "shm", [*_NO_EXEC, "mode=1777", f"size={host['ShmSize']}"])]


def _files(host: dict[str, Any], places: Places) -> list[Mount]:
    options = ["rbind", "rprivate"] + (["ro"] if host["ReadonlyRootfs"] else [])
    found = (
        ("/etc/resolv.conf", places.resolv_conf),
        ("/etc/hostname", places.hostname),
        ("/etc/hosts", places.hosts),
    )
    options += _mapped(places)
    return [_mount(destination, "bind", source, options) for destination, source in found if source]


def _mapped(places: Places) -> list[str]:
    """What the engine keeps for a container belongs to the container's root, whoever that is on the host. A path of the
    host's own keeps its owners."""
    return [] if places.id_mappings is None else ["idmap"]


def _user_mount(mount: MountRecord, places: Places) -> Mount:
    access = [] if mount.writable else ["ro"]
    if mount.kind == "tmpfs":
        return _mount(
            mount.destination, "tmpfs", "tmpfs", [*mount.options, *(access if "ro" not in mount.options else [])]
        )
    options = ["rbind" if mount.recursive else "bind", mount.propagation or "rprivate"]
    if not mount.writable:
        # "ro" alone leaves submounts writable; Docker's default is recursive where the kernel can, for new clients
        options.append("rro" if mount.read_only_recursive == "force" else "ro")
    if mount.kind == "volume":
        options += _mapped(places)
    found = _mount(mount.destination, "bind", mount.source, options)
    if mount.subpath:
        found["source"] = f"{mount.source}/{mount.subpath}"
        found["sampan.root"] = mount.source  # the runtime resolves the rest below it, through no symlink to outside
    return found


def _mount(destination: str, kind: str, source: str, options: list[str]) -> Mount:
    return {"destination": destination, "type": kind, "source": source, "options": options}
