"""The start of a container, in a process of its own that ends with it.

The shim forks this launcher, which parses the request, makes directory, cgroup and pipes, launches the container, answers
the engine and passes what the shim needs as descriptors and a small message. All that this touches in memory goes away
with it; the container's init becomes the shim's child, because the shim is a subreaper.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps calls in enums: 0.5 ms, 200 KiB
import json
import os
import select
import socket
import time
from typing import Any

from sampan import errors
from sampan.linux.cgroup import open_cgroup, version
from sampan.linux.memory import Range, populate
from sampan.linux.process import set_parent_death_signal
from sampan.runtime import protocol, rootfs_worker
from sampan.runtime.launch import reserve
from sampan.runtime.launch.container import Stdio, launch
from sampan.runtime.launch.launch_error import describe
from sampan.runtime.shim.attach import discard
from sampan.runtime.shim.files import process_start_ticks, remove_task_dir, replace_file, write_file
from sampan.runtime.shim.stdio import Pipes, make_pipes

LANE_SERVE, LANE_IDLE = 0, 1
"""Of the hand-over: whether the shim may leave it in its socket until something happens."""
encode = json.JSONEncoder().encode


def child_stdio(pipes: Pipes | None) -> Stdio:
    """What the process gets; with a tty it opens its own from the container's devpts."""
    if pipes is None:
        return Stdio(-1, -1, -1, None)
    return Stdio(pipes.child_stdin, pipes.child_stdout, pipes.child_stderr, None)


def run(requests: socket.socket, notify: int, shim: socket.socket, anything: select.epoll, hot: list[Range]) -> None:
    """Body of the launcher process: one request. `shim` gets a byte when it is for a shim, then the hand-over, or EOF
    when the start failed. `anything` is the shim's, to watch the descriptors that wake it. `hot` is memory that will be
    written to: it is copied before the request comes."""
    waiting = reserve.make(hot) if version() == 1 else None  # v2: clone3 puts the process into its cgroup
    populate(hot)
    raw = protocol.receive_raw(requests)
    if raw is None:
        return
    os.write(notify, b"u")
    os.close(notify)
    requests.close()
    if raw.lane == protocol.LANE_ROOTFS:
        set_parent_death_signal(0)  # first: the future shim that is not needed ends with the close
        shim.close()
        if waiting is not None:
            waiting.channel.close()
        rootfs_worker.run(protocol.parse(raw))
        return
    shim.send(b"s")
    _start(protocol.parse(raw), shim, anything, waiting)
    if waiting is not None:
        waiting.dismiss()


def _start(
    request: protocol.Message, shim: socket.socket, anything: select.epoll, waiting: reserve.Reserve | None
) -> None:
    control = socket.socket(fileno=request.fds.pop(0))
    netns_fd = request.fds.pop(0) if request.body["netns"] else None
    userns_fd = request.fds.pop(0) if request.body["userns"] else None
    launcher = Launcher(request.body, request.blob, waiting)
    try:
        launcher.start(netns_fd, userns_fd)
        launcher.hand_over(shim, anything, control, request.fds)
    except Exception as error:
        launcher.abandon()
        for fd in request.fds:
            discard(fd)
        protocol.send(control, {"seq": request.body["seq"], "error": protocol.error_body(error)})


class Launcher:
    def __init__(self, body: dict[str, Any], seccomp: bytes, waiting: reserve.Reserve | None) -> None:
        self._body = body
        self._reserve = waiting
        self._seccomp = seccomp
        self._task_dir: str = body["task_dir"]
        self._made_task_dir = False
        self._cgroup: Any = None
        self._listener: socket.socket | None = None
        self._pipes: Pipes | None = None
        self._console = -1
        self._root = -1
        self._pid = 0
        self._pidfd = -1
        self._started_at_ns = 0

    def start(self, netns_fd: int | None, userns_fd: int | None) -> None:
        """Launch the container. Raises an error of the tree or OSError, having told nobody."""
        self._make_task_dir()
        self._listen()
        self._make_cgroup()
        self._launch(netns_fd, userns_fd)
        self._write_task_file()

    def _make_task_dir(self) -> None:
        body = self._body
        try:
            os.mkdir(self._task_dir, 0o700)
        except FileExistsError:
            raise errors.Conflict(f"a task for container {body['id']} exists already") from None
        self._made_task_dir = True
        try:
            os.unlink(f"{body['state_dir']}/exit.json")  # of an earlier run
        except FileNotFoundError:
            pass
        self._write_task_file()
        launch_text = encode({"config": body["config"]})
        write_file(f"{self._task_dir}/launch.json", launch_text.encode())
        if self._seccomp:
            write_file(f"{self._task_dir}/seccomp.bpf", self._seccomp)

    def _write_task_file(self) -> None:
        text = {
            "id": self._body["id"],
            "shim_pid": os.getppid(),
            "pid": self._pid,
            "pid_start": process_start_ticks(self._pid) if self._pid else 0,
            "started_at_ns": self._started_at_ns,
            "state_dir": self._body["state_dir"],
            "cgroup_path": self._body["cgroup_path"],
        }
        replace_file(f"{self._task_dir}/task.json", encode(text).encode())

    def _listen(self) -> None:
        directory = os.open(self._task_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # a socket's address holds 107 bytes; the directory's own path may be longer
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._listener.bind(f"/proc/self/fd/{directory}/shim.sock")
        finally:
            os.close(directory)
        self._listener.listen(16)

    def _make_cgroup(self) -> None:
        if not self._body["cgroup_path"]:
            return
        self._cgroup = open_cgroup(self._body["cgroup_path"])
        try:
            self._cgroup.create()
            resources = self._body["config"].get("linux", {}).get("resources")
            if resources:
                self._cgroup.apply(resources)
        except OSError as error:
            raise errors.Internal(f"error setting cgroup config: {describe(error)}") from error

    def _launch(self, netns_fd: int | None, userns_fd: int | None) -> None:
        body = self._body
        if not body["tty"]:
            self._pipes = make_pipes(bool(body["open_stdin"]))
        if body.get("console_size"):  # set before the process can ask for it
            height, width = body["console_size"]
            body["config"]["process"]["consoleSize"] = {"height": height, "width": width}
        launched = launch(
            body["config"],
            rootfs=body["rootfs"],
            stdio=child_stdio(self._pipes),
            cgroup=self._cgroup,
            netns_fd=netns_fd,
            userns_fd=userns_fd,
            seccomp_bpf=self._seccomp or None,
            init_path=body.get("init_path"),
            reserve=self._reserve,
        )
        self._pid, self._pidfd = launched.pid, launched.pidfd
        self._started_at_ns = time.time_ns()
        self._console = -1 if launched.console is None else launched.console
        self._root = -1 if launched.root is None else launched.root

    def hand_over(
        self, shim: socket.socket, anything: select.epoll, control: socket.socket, clients: list[int]
    ) -> None:
        """Tell the engine, then give the shim what it needs. First the descriptors that an idle shim watches."""
        body = self._body
        assert self._listener is not None
        watched = [control.fileno(), self._listener.fileno(), self._pidfd]
        others = []
        if self._pipes is None:
            watched.append(self._console)
        else:
            watched += [self._pipes.stdout, self._pipes.stderr]
            others = [self._pipes.stdin] if self._pipes.stdin >= 0 else []
        kept = ("id", "task_dir", "state_dir", "cgroup_path", "log", "tty", "open_stdin", "stdin_once", "attachments")
        state = {key: body.get(key) for key in kept}
        state |= {"pid": self._pid, "started_at_ns": self._started_at_ns}
        namespaces = body["config"].get("linux", {}).get("namespaces") or []
        # Without a pid namespace of the container's own, its orphans come to the shim and must be reaped at once.
        may_idle = not clients and any(one["type"] == "pid" and not one.get("path") for one in namespaces)
        if may_idle:
            for fd in watched:
                anything.register(fd, select.EPOLLIN)
        answer = {"seq": body["seq"], "pid": self._pid, "started_at_ns": self._started_at_ns}
        try:  # first: without an answer the engine would wait as long as the shim holds the channel
            protocol.send(control, answer)
        except OSError:
            pass  # the engine died; the container lives
        lane = LANE_IDLE if may_idle else LANE_SERVE
        fds = [self._root, *watched, *others, *clients]
        protocol.send(shim, state, fds=fds, lane=lane)  # one message: all or nothing

    def abandon(self) -> None:
        """Undo a start that failed: kill what runs, remove the cgroup and the task's directory."""
        if self._pidfd >= 0:
            _signal.pidfd_send_signal(self._pidfd, _signal.SIGKILL)
            os.waitpid(self._pid, 0)
        if self._cgroup is not None:
            try:
                self._cgroup.remove()
            except OSError:
                pass  # the start's own failure is what the client must hear; the next start of sampand removes it
        if self._made_task_dir:
            remove_task_dir(self._task_dir)
