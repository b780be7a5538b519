"""Make a container: `launch` clones a process into new namespaces, which builds its root and becomes the command.

The way of the child, `Child.run`: control group → namespaces given by path → root and mounts → /dev and console →
pivot_root → sysctls, masked and read-only paths → `credentials.become` → ready → (wait for start) → execve.
The child is a copy of the caller's memory; everything that it needs is imported before, since after pivot_root an
import would load code from the container.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  (imported by the socket module on first use otherwise)
import fcntl
import os
import socket
import stat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sampan.linux import mount as m
from sampan.linux import process, tty
from sampan.linux.cgroup import Cgroup, open_cgroup
from sampan.linux.namespaces import CLONE_NEWCGROUP, CLONE_NEWPID, setns, unshare
from sampan.linux.syscalls import PROC_SUPER_MAGIC, filesystem_type, openat2

from sampan.linux.syscalls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV  # isort: skip
from sampan.runtime.launch import cloning, credentials, devices, init_loop, launch_error, mounts, remap, targets
from sampan.runtime.launch.launch_error import LaunchError
from sampan.runtime.launch.verdict import Launched, announce, await_ready, hand_over

if TYPE_CHECKING:
    from sampan.runtime.launch.reserve import Reserve

INIT_ANNOTATION: Final = "org.sampan.init"
_INIT_TITLE: Final = "/sbin/docker-init"
_SHARED: Final = frozenset(["shared", "rshared"])
_PROPAGATIONS: Final = {
    "": m.MS_SLAVE, "rslave": m.MS_SLAVE, "slave": m.MS_SLAVE, "private": m.MS_PRIVATE, "rprivate": m.MS_PRIVATE,
    # pivot_root wants no shared parent: what shall be shared is opened before (`_open_shared_sources`)
    "shared": m.MS_SLAVE, "rshared": m.MS_SLAVE, "unbindable": m.MS_UNBINDABLE, "runbindable": m.MS_UNBINDABLE,
}  # fmt: skip


class Stdio(NamedTuple):
    """Descriptors that become 0, 1 and 2 (-1: /dev/null). They stay the caller's to close."""

    stdin: int
    stdout: int
    stderr: int
    terminal: int | None = None


def launch(
    config: dict[str, Any],
    *,
    rootfs: dict[str, Any],
    stdio: Stdio,
    cgroup: Cgroup | None = None,
    netns_fd: int | None = None,
    userns_fd: int | None = None,
    seccomp_bpf: bytes | None = None,
    extra_fds: dict[int, int] | None = None,
    wait_start_fd: int | None = None,
    init_path: str | None = None,
    bundle: str = "/",
    reserve: Reserve | None = None,
) -> Launched:
    """Start the process of the OCI `config` in a container of its own, and return once only its execve is left.

    `extra_fds` maps descriptor numbers in the container to ours. With `wait_start_fd` (the read end of a FIFO) the
    process waits before execve for a byte. `init_path` replaces the command by `init_path -- command`. `netns_fd` and
    `userns_fd` are namespaces to live in, whatever the config says; they stay the caller's. `reserve` becomes the
    process if it fits.
    Must be called in a single-threaded process. Raises of the errors tree; then nothing is left of the process.
    """
    child = Child(config, rootfs, stdio, cgroup, seccomp_bpf, extra_fds or {}, wait_start_fd, init_path, bundle)
    flags, joins = cloning.plan(config, netns_fd)
    child.new_cgroup_namespace = bool(flags & CLONE_NEWCGROUP)
    flags &= ~CLONE_NEWCGROUP
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    opened = [fd for _, fd in joins if fd != netns_fd]
    try:
        remapped = remap.open_user_namespace(config, userns_fd)
        child.prepare(theirs, remapped is not None)
        if remapped is None:
            child.joins = [one for one in joins if one[0] != CLONE_NEWPID]
            cgroup_fd = cgroup.fd() if cgroup is not None else None
            opened += [] if cgroup_fd is None else [cgroup_fd]
            if reserve is not None and cgroup_fd is None and reserve.fits(child, flags) and reserve.order(child):
                return await_ready(reserve.channel, reserve.cloned)
            cloned = cloning.clone(flags, cgroup_fd, next((fd for flag, fd in joins if flag == CLONE_NEWPID), None))
        else:
            opened.append(remapped)
            porter = remap.Porter(config, rootfs, bundle, joins, remapped)
            cloned = porter.clone(flags, child.adjust_oom_score)
            child.luggage = porter.luggage
        if cloned.pid == 0:
            child.run()
        theirs.close()
        return await_ready(ours, cloned)
    finally:
        ours.close()
        theirs.close()
        child.close()
        for descriptor in opened:
            os.close(descriptor)


class Child:
    """All that the new process needs, gathered by the parent."""

    def __init__(
        self,
        config: dict[str, Any],
        rootfs: dict[str, Any],
        stdio: Stdio,
        cgroup: Cgroup | None,
        seccomp_bpf: bytes | None,
        extra_fds: dict[int, int],
        wait_start_fd: int | None,
        init_path: str | None,
        bundle: str,
    ) -> None:
        self._config = config
        self._process: dict[str, Any] = config.get("process") or {}
        self._linux: dict[str, Any] = config.get("linux") or {}
        self._rootfs = rootfs
        self._stdio = stdio
        self._cgroup = cgroup
        self._seccomp = seccomp_bpf
        self._extra_fds = extra_fds
        self._wait_start = wait_start_fd
        self._init_path = init_path
        self._bundle = bundle
        self._join_files: list[int] = []
        self._channel: socket.socket
        self.joins: list[tuple[int, int]] = []
        self.luggage: remap.Luggage | None = None
        self.new_cgroup_namespace = False
        self._becomes_init = (config.get("annotations") or {}).get(INIT_ANNOTATION) == "true"
        # asked while /proc is the host's
        self._argument_area = process.argument_area() if self._becomes_init else (0, 0)

    def prepare(self, channel: socket.socket, user_namespace: bool) -> None:
        """Open what the child writes itself into its cgroup with, unless clone3 does that: not from a user namespace."""
        self._channel = channel
        if self._cgroup is not None:
            self._join_files = self._cgroup.join_files(always=user_namespace)

    @property
    def can_be_ordered(self) -> bool:
        """Whether `to_orders` tells all."""
        return not self._extra_fds and self._wait_start is None and self.luggage is None

    def to_orders(self) -> tuple[dict[str, Any], list[int], bytes]:
        """(description, descriptors, seccomp filter) from which another process makes the same child."""
        stdio = self._stdio[:3]
        body = {
            "config": self._config,
            "rootfs": self._rootfs,
            "stdio": [fd >= 0 for fd in stdio],
            "cgroup_path": self._cgroup.path if self._cgroup is not None else "",
            "joins": [flag for flag, _ in self.joins],
            "new_cgroup_namespace": self.new_cgroup_namespace,
            "init_path": self._init_path,
            "bundle": self._bundle,
        }
        fds = [fd for fd in stdio if fd >= 0] + [fd for _, fd in self.joins] + self._join_files
        return body, fds, self._seccomp or b""

    @classmethod
    def from_orders(cls, body: dict[str, Any], fds: list[int], seccomp: bytes, channel: socket.socket) -> Child:
        """What `to_orders` described, in the process that is to become it."""
        stdio = Stdio(*(fds.pop(0) if given else -1 for given in body["stdio"]))
        cgroup = open_cgroup(body["cgroup_path"]) if body["cgroup_path"] else None
        init_path, bundle = body["init_path"], body["bundle"]
        child = cls(body["config"], body["rootfs"], stdio, cgroup, seccomp or None, {}, None, init_path, bundle)
        child.joins = [(flag, fds.pop(0)) for flag in body["joins"]]
        child.new_cgroup_namespace = bool(body["new_cgroup_namespace"])
        child._join_files = fds
        child._channel = channel
        return child

    def close(self) -> None:
        for descriptor in self._join_files:
            os.close(descriptor)

    def run(self) -> None:
        """In the child; never returns."""
        try:
            self._run()
        except BaseException as error:
            try:
                self._channel.send(launch_error.encode(error))
            except OSError:
                pass  # who asked is gone, and nobody else wants to know
        finally:
            os._exit(1)

    def _run(self) -> None:
        process.set_dumpable(False)
        credentials.reset_signals()
        os.setsid()
        self._enter_namespaces()
        process.join_session_keyring(self._config.get("hostname") or "_ses")
        os.umask(0)
        root, builder = self._build_root()
        master, slave = self._open_terminal(root, builder)
        hostname, domain = self._config.get("hostname"), self._config.get("domainname")
        if hostname:
            socket.sethostname(hostname)
        self._enter_root(root, builder)
        if domain:
            _write_sysctl(builder.proc, "kernel/domainname", domain)
        for name, value in (self._linux.get("sysctl") or {}).items():
            _write_sysctl(builder.proc, name.replace(".", "/"), value)
        self._protect(builder)
        if slave is not None:
            self._stdio = Stdio(slave, slave, slave)
            _own_terminal(slave, self._process)
        place_stdio(self._stdio, self._extra_fds, self._channel, self._wait_start)
        self._finish(master, root)

    def adjust_oom_score(self) -> None:
        adjustment = self._process.get("oomScoreAdj")
        if adjustment is not None:
            set_oom_score(adjustment)

    def _enter_namespaces(self) -> None:
        self.adjust_oom_score()
        for descriptor in self._join_files:
            os.write(descriptor, b"0")
        for flag, descriptor in self.joins:
            setns(descriptor, flag)
        if self.luggage is not None:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            process.set_dumpable(False)
        if self.new_cgroup_namespace:
            unshare(CLONE_NEWCGROUP)

    def _mount_root(self) -> int:
        m.set_propagation("/", _PROPAGATIONS[self._linux.get("rootfsPropagation") or ""] | m.MS_REC)
        if self.luggage is not None:
            mounts.attach(self.luggage.root, "/")
            return self.luggage.root
        target = mounts.root_target(self._rootfs)
        mounts.mount_rootfs(self._rootfs, target)
        return os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _build_root(self) -> tuple[int, mounts.RootBuilder]:
        sources = self.luggage.sources if self.luggage is not None else self._open_shared_sources()
        root = self._mount_root()
        m.mount_setattr(root, propagation=m.MS_PRIVATE)
        builder = mounts.RootBuilder(root, cgroup=self._cgroup, bundle=self._bundle)
        for index, entry in enumerate(self._config.get("mounts") or []):
            builder.mount(entry, sources.get(index, -1))
        if builder.own_dev:
            devices.populate(root, self._linux.get("devices") or [], bind=self.luggage is not None)
        return root, builder

    def _open_shared_sources(self) -> dict[int, int]:
        """Copies of the sources of shared binds, taken while our mounts are still the peers of the host's."""
        entries = enumerate(self._config.get("mounts") or [])
        shared = {index: entry for index, entry in entries if _SHARED & set(entry.get("options") or ())}
        return {index: mounts.clone_source(entry, self._bundle, True) for index, entry in shared.items()}

    def _open_terminal(self, root: int, builder: mounts.RootBuilder) -> tuple[int | None, int | None]:
        if not self._process.get("terminal"):
            return None, None
        if builder.devpts < 0:
            raise LaunchError("a terminal needs a devpts mount in the container")
        pty = tty.open_pty(builder.devpts)
        size = self._process.get("consoleSize")
        if size:
            tty.set_window_size(pty.master, size["height"], size["width"])
        devices.bind_console(root, pty.slave)
        return pty.master, pty.slave

    def _enter_root(self, root: int, builder: mounts.RootBuilder) -> None:
        if builder.proc < 0:
            # Not visible in the container; ours to write sysctls through.
            try:
                builder.proc = m.new_filesystem("proc", [], source="proc")
            except OSError:
                pass  # no sysctl may be wanted; writing one says what is missing
        self._make_working_directory(root)
        m.pivot_into(root)
        if (self._config.get("root") or {}).get("readonly") or self._rootfs.get("readonly"):
            here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            m.mount_setattr(here, set_flags=m.MOUNT_ATTR_RDONLY)
            os.close(here)
        if any(e["destination"].rstrip("/") == "/dev" and "ro" in (e.get("options") or [])
               for e in self._config.get("mounts") or []):  # fmt: skip
            here = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            m.mount_setattr(here, set_flags=m.MOUNT_ATTR_RDONLY)
            os.close(here)

    def _make_working_directory(self, root: int) -> None:
        """As runc does, if it is missing. What cannot be made, chdir will name."""
        path = self._config["process"].get("cwd") or "/"
        try:
            opened = targets.open_target(root, path, directory=True)
        except OSError:
            return
        ordinary = stat.S_ISDIR(os.fstat(opened).st_mode)
        os.close(opened)
        if not ordinary:
            raise LaunchError(f"Cannot mkdir: {path} is not a directory")

    def _protect(self, builder: mounts.RootBuilder) -> None:
        readonly, masked = self._linux.get("readonlyPaths") or [], self._linux.get("maskedPaths") or []
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mounts.make_readonly(readonly, root)
        if masked:
            null = devices.open_null(root)
            mounts.mask_paths(masked, root, null)
            os.close(null)

    def _finish(self, master: int | None, root: int) -> None:
        process.close_range(3, cloexec=True)
        for number in self._extra_fds:
            os.set_inheritable(number, True)
        hand_over(self._channel, master, root)
        environment = credentials.become(self._process, self._seccomp)
        arguments = list(self._process.get("args") or [])
        if not arguments:
            raise LaunchError("process.args must not be empty")
        command = credentials.find_executable(arguments[0], environment.get("PATH"))
        if self._init_path:
            command, arguments = self._init_path, [self._init_path, "--", *arguments]
        announce(self._channel)
        if self._wait_start is not None:
            init_loop.wait_for_start(self._wait_start)
        if self._becomes_init:
            title = [_INIT_TITLE, "--", *arguments]
            init_loop.become_init(
                lambda: credentials.execute(command, arguments, environment), title, self._argument_area
            )
        credentials.execute(command, arguments, environment)


def place_stdio(stdio: Stdio, extra: dict[int, int], *keep: socket.socket | int | None) -> None:
    """Make 0, 1, 2 and the extra descriptors what they shall be. `keep`s that are in the way are not expected: they
    were opened after the process had its standard descriptors."""
    del keep
    wanted = {0: stdio.stdin, 1: stdio.stdout, 2: stdio.stderr, **extra}
    high: dict[int, int] = {}
    for number, source in wanted.items():
        if source < 0:
            opened = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            high[number] = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 200)
            os.close(opened)
        else:
            high[number] = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 200)
    for number, source in high.items():
        os.dup2(source, number, inheritable=True)
        os.close(source)


def _own_terminal(slave: int, spec: dict[str, Any]) -> None:
    tty.make_controlling(slave)
    uid = (spec.get("user") or {}).get("uid")
    if uid:
        try:
            os.fchown(slave, uid, -1)
        except OSError:
            pass  # as runc: a read-only or id-mapped devpts refuses, and the terminal works all the same


def set_oom_score(adjustment: int) -> None:
    """Write oom_score_adj, unless it is what it shall be: lowering it takes a capability that the engine may lack."""
    descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    try:
        if filesystem_type(descriptor) != PROC_SUPER_MAGIC:
            raise LaunchError("/proc of the host is not procfs")
        if int(os.read(descriptor, 16)) != adjustment:
            os.pwrite(descriptor, str(adjustment).encode(), 0)
    finally:
        os.close(descriptor)


def _write_sysctl(proc: int, name: str, value: str) -> None:
    if proc < 0:
        raise LaunchError("sysctls need a proc mount")
    try:
        restrictions = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
        descriptor = openat2(proc, f"sys/{name}", os.O_WRONLY, resolve=restrictions)
        try:
            os.write(descriptor, str(value).encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LaunchError(f"write sysctl key {name.replace('/', '.')}: {launch_error.describe(error)}") from None
