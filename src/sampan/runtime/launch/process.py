"""Another process in a running container: `exec_into` joins its namespaces and becomes the command."""

from __future__ import annotations

import os
import socket
from typing import Any, Final

from sampan.linux import process, tty
from sampan.linux.cgroup import Cgroup
from sampan.linux.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    same_namespace,
    setns,
)
from sampan.linux.syscalls import clone3, filesystem_type
from sampan.runtime.launch import credentials, launch_error
from sampan.runtime.launch.container import Stdio, place_stdio, set_oom_score
from sampan.runtime.launch.launch_error import LaunchError
from sampan.runtime.launch.verdict import Launched, announce, await_ready, hand_over

_DEVPTS_SUPER_MAGIC: Final = 0x1CD1
_ALWAYS: Final = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP


def exec_into(
    init_pid: int,
    init_pidfd: int,
    spec: dict[str, Any],
    *,
    stdio: Stdio,
    cgroup: Cgroup | None = None,
    seccomp_bpf: bytes | None = None,
    config: dict[str, Any] | None = None,
    extra_fds: dict[int, int] | None = None,
) -> Launched:
    """Start OCI process `spec` in the container whose init is `init_pid`; the new process is a child of the caller.

    Must be called in a single-threaded process. Raises of the errors tree; then nothing is left of the process.
    """
    try:
        user_namespace = not same_namespace(init_pid, "user")
    except OSError:
        raise LaunchError("cannot exec in a stopped container") from None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    join_files = cgroup.join_files() if cgroup is not None else []
    cgroup_fd = cgroup.fd() if cgroup is not None else None
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A pid namespace is joined by children only: we step in, clone, and step out.
        setns(init_pidfd, CLONE_NEWPID)
        try:
            cloned = clone3(0, cgroup_fd=cgroup_fd)
            if cloned.pid == 0:
                joiner = _Joiner(init_pidfd, spec, stdio, seccomp_bpf, extra_fds or {}, theirs)
                joiner.run(join_files, user_namespace, config or {})
        finally:
            setns(own, CLONE_NEWPID)
        theirs.close()
        return await_ready(ours, cloned)
    except OSError as error:
        raise LaunchError(f"cannot join the container: {launch_error.describe(error)}") from None
    finally:
        ours.close()
        theirs.close()
        for descriptor in (own, cgroup_fd, *join_files):
            if descriptor is not None:
                os.close(descriptor)


class _Joiner:
    """The child's side."""

    def __init__(
        self,
        init_pidfd: int,
        spec: dict[str, Any],
        stdio: Stdio,
        seccomp_bpf: bytes | None,
        extra_fds: dict[int, int],
        channel: socket.socket,
    ) -> None:
        self._init_pidfd = init_pidfd
        self._spec = spec
        self._stdio = stdio
        self._seccomp = seccomp_bpf
        self._extra_fds = extra_fds
        self._channel = channel

    def run(self, join_files: list[int], user_namespace: bool, config: dict[str, Any]) -> None:
        """Never returns."""
        try:
            # First of all: from here on the container may see us, and must not get at us (CVE-2016-9962).
            process.set_dumpable(False)
            self._join(join_files, user_namespace, config)
            self._become()
        except BaseException as error:
            try:
                self._channel.send(launch_error.encode(error))
            except OSError:
                pass  # who asked is gone, and nobody else wants to know
        finally:
            os._exit(1)

    def _join(self, join_files: list[int], user_namespace: bool, config: dict[str, Any]) -> None:
        credentials.reset_signals()
        os.setsid()
        adjustment = self._spec.get("oomScoreAdj")
        if adjustment is None:
            adjustment = (config.get("process") or {}).get("oomScoreAdj")
        if adjustment is not None:
            set_oom_score(adjustment)
        for descriptor in join_files:
            os.write(descriptor, b"0")
        setns(self._init_pidfd, _ALWAYS | (CLONE_NEWUSER if user_namespace else 0))
        if user_namespace:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            process.set_dumpable(False)
        process.join_session_keyring("_ses")

    def _become(self) -> None:
        master = None
        stdio = self._stdio
        if self._spec.get("terminal"):
            master, slave = self._open_terminal()
            stdio = Stdio(slave, slave, slave)
        place_stdio(stdio, self._extra_fds, self._channel)
        process.close_range(3, cloexec=True)
        for number in self._extra_fds:
            os.set_inheritable(number, True)
        hand_over(self._channel, master)
        environment = credentials.become(self._spec, self._seccomp)
        arguments = list(self._spec.get("args") or [])
        if not arguments:
            raise LaunchError("process.args must not be empty")
        command = credentials.find_executable(arguments[0], environment.get("PATH"))
        announce(self._channel)
        credentials.execute(command, arguments, environment)

    def _open_terminal(self) -> tuple[int, int]:
        directory = os.open("/dev/pts", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if filesystem_type(directory) != _DEVPTS_SUPER_MAGIC:
                raise LaunchError("/dev/pts of the container is not devpts")
            pty = tty.open_pty(directory)
        finally:
            os.close(directory)
        size = self._spec.get("consoleSize")
        if size:
            tty.set_window_size(pty.master, size["height"], size["width"])
        tty.make_controlling(pty.slave)
        return pty.master, pty.slave
