"""The shim: one small process per container that owns its stdio, its log and its exit status.

It is forked from the zygote with a start request, has a launcher of its own start the container (`launching`), and then
serves the channel that came with the request and any sampand that connects to `<task_dir>/shim.sock` (root-only
directory). It needs nobody: when sampand or the zygote dies, the container, its log and its attached clients go on.

Files of a task, in `task_dir` (tmpfs): `task.json` (who we are, for a sampand that finds us dead), `launch.json` and
`seccomp.bpf` (for exec), `shim.sock`. In `state_dir` (durable): `exit.json`.

The end of a container, in order: reap, drain the output, write `exit.json` (temp name + rename: survives the death of any
process of ours), tell the engine, wait for its ack for at most `ACK_TIMEOUT_S`, close the clients, remove the cgroup and
`task_dir`, exit. Without an ack `exit.json` gets an fsync and `task_dir` stays for the next sampand to collect.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps calls in enums: 0.5 ms, 200 KiB
import json
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

from sampan import errors
from sampan.linux.cgroup import open_cgroup
from sampan.linux.memory import Range, populate
from sampan.linux.process import die_with_parent, set_child_subreaper, set_parent_death_signal
from sampan.logs.interfaces import Writer
from sampan.logs.writer import open_writer
from sampan.runtime import protocol
from sampan.runtime.shim import launching
from sampan.runtime.shim.attach import ClientOptions
from sampan.runtime.shim.execs import Execs
from sampan.runtime.shim.files import fsync_file, remove_task_dir, replace_file
from sampan.runtime.shim.loop import READ, Loop
from sampan.runtime.shim.stdio import ProcessIO

ACK_TIMEOUT_S = 1.0
_encode = json.JSONEncoder().encode
_CLIENT_FLUSH_S = 30.0
_LAUNCHER_END_S = 0.005


def run(requests: socket.socket, notify: int, hot: list[Range]) -> None:
    """Body of a spare pair of processes, from the wait for a request to the container's end. The caller exits after.

    `requests` is the socket that all spares wait on; `notify` is written to when this one has got its request.
    `hot` is memory that a process writes to when it does anything at all.
    """
    os.setsid()
    set_child_subreaper()
    ours, theirs = protocol.pair()
    anything = select.epoll()
    spare = os.getpid()
    launcher = os.fork()
    if launcher == 0:
        ours.close()
        die_with_parent(spare)
        launching.run(requests, notify, theirs, anything, hot)
        return
    for end in (theirs, requests):
        end.close()
    os.close(notify)
    if not ours.recv(1):  # no request, or one for a worker
        return
    set_parent_death_signal(0)  # from here on the zygote may die without us
    beginning = ours.recv(1, socket.MSG_PEEK)
    if not beginning:
        os.waitpid(launcher, 0)
        _kill_children()
        return
    # Most containers do nothing most of the time, and a shim that has executed little has copied few of the zygote's
    # pages. So it does not even receive the hand-over: the launcher put its descriptors into `anything`, and they stay
    # in the socket's queue until the first of them has something to say.
    if protocol.lane_of(beginning) == launching.LANE_IDLE:
        _idle(launcher, anything)
        if _container_ended(launcher):  # what follows is to be quick, and this memory is given back at once
            populate(hot)
    anything.close()
    handed = protocol.receive_raw(ours)
    ours.close()
    if handed is None:
        _kill_children()
        return
    Shim(protocol.parse(handed)).serve()


def _idle(launcher: int, anything: select.epoll) -> None:
    """Wait for an event. The launcher is taken from the process table on the way, but no event waits for that."""
    while not os.waitpid(launcher, os.WNOHANG)[0]:
        if anything.poll(_LAUNCHER_END_S, 1):
            return
    anything.poll(-1, 1)


def _container_ended(launcher: int) -> bool:
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended is not None and ended.si_pid != launcher


def _kill_children() -> None:
    """The launcher was killed: what it had started has become our child."""
    with open(f"/proc/self/task/{os.getpid()}/children", "rb") as children:
        for pid in children.read().split():
            os.kill(int(pid), _signal.SIGKILL)
            os.waitpid(int(pid), 0)


class Shim:
    """Serves one running container. Made from the launcher's hand-over."""

    def __init__(self, handed: protocol.Message) -> None:
        body, fds = handed.body, handed.fds
        self.id: str = body["id"]
        self.task_dir: str = body["task_dir"]
        self.state_dir: str = body["state_dir"]
        self.log_spec: dict[str, Any] | None = body["log"]
        self.pid: int = body["pid"]
        self.started_at_ns: int = body["started_at_ns"]
        self.exit: dict[str, Any] | None = None
        self.cgroup = open_cgroup(body["cgroup_path"]) if body["cgroup_path"] else None
        self.loop = Loop()
        self._root = fds.pop(0)  # see `launch.verdict.Launched`
        self._connections = [socket.socket(fileno=fds.pop(0))]
        self._listener = socket.socket(fileno=fds.pop(0))
        self.pidfd = fds.pop(0)
        self._watchers: list[socket.socket] = []  # connections that want to know of the next write to the log
        self._log_writes = 0
        self._acked = False
        self._ending = False
        self._log = _open_log(self.log_spec)
        self.io = self._make_io(body, fds)
        self.execs = Execs(self)
        self.loop.on_child(self._reap)
        self._listener.setblocking(False)
        self.loop.add(self._listener.fileno(), READ, self._accept)
        self._serve_connection(self._connections[0])
        self.io.start()
        for fd, options in zip(fds, body["attachments"], strict=True):
            self.attach(fd, ClientOptions.from_json(options))

    def _make_io(self, body: dict[str, Any], fds: list[int]) -> ProcessIO:
        tty, open_stdin = bool(body["tty"]), bool(body["open_stdin"])
        io = ProcessIO(self.loop, tty=tty, open_stdin=open_stdin, stdin_once=bool(body["stdin_once"]), log=self._log)
        io.on_log = self._log_written
        if tty:
            io.adopt_console(fds.pop(0))
        else:
            stdout, stderr = fds.pop(0), fds.pop(0)
            io.adopt_pipes(fds.pop(0) if open_stdin else -1, stdout, stderr)
        return io

    # --- service

    def serve(self) -> None:
        self._reap()  # a SIGCHLD before the loop ran is in the pipe, but costs a round
        self.loop.run()
        # When all have been served, as this may take a while; but before the connections are closed, which tells the
        # engine that the next run of this container may mount the same directories.
        os.close(self._root)

    def _accept(self, _events: int) -> None:
        connection, _ = self._listener.accept()
        self._connections.append(connection)
        self._serve_connection(connection)

    def _serve_connection(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.loop.add(connection.fileno(), READ, lambda _events: self._on_request(connection))

    def _on_request(self, connection: socket.socket) -> None:
        try:
            message = protocol.receive(connection)
        except BlockingIOError:
            return
        except (OSError, errors.SampanError):
            message = None
        if message is None:
            self._disconnect(connection)
            return
        try:
            answer = self._handle(connection, message)
        except Exception as error:
            protocol.close_all(message.fds)
            answer = {"error": protocol.error_body(error)}
        if answer is not None:
            self.send(connection, {"seq": message.body.get("seq"), **answer})

    def _handle(self, connection: socket.socket, message: protocol.Message) -> dict[str, Any] | None:
        body = message.body
        operation = body["op"]
        if operation == "ack":
            self._acknowledged(body.get("exec_id"))
            return None
        if operation == "watch_log":
            self._watch_log(connection, int(body["seen"]))
            return None
        if operation == "hello":
            return self._describe()
        if operation == "attach":
            self.attach(message.fds.pop(0), ClientOptions.from_json(body["options"]))
        elif operation == "resize":
            self._io_of(body).resize(int(body["height"]), int(body["width"]))
        elif operation == "signal":
            self._signal(int(body["number"]), body.get("exec_id"))
        elif operation == "close_stdin":
            self._io_of(body).close_stdin()
        elif operation == "pids":
            return {"pids": self.cgroup.pids() if self.cgroup is not None else [self.pid]}
        elif operation == "exec":
            return self.execs.start(body, message.fds)
        else:
            raise errors.Internal(f"unknown operation of a shim: {operation}")
        return {}

    def _describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "pid": self.pid,
            "started_at_ns": self.started_at_ns,
            "state_dir": self.state_dir,
            "execs": self.execs.describe(),
            "exit": self.exit,
        }

    def _io_of(self, body: dict[str, Any]) -> ProcessIO:
        exec_id = body.get("exec_id")
        return self.io if exec_id is None else self.execs.io_of(exec_id)

    def _signal(self, number: int, exec_id: str | None) -> None:
        if exec_id is not None:
            os.kill(self.execs.pid_of(exec_id), number)
        elif self.exit is not None:
            raise errors.Conflict(f"container {self.id} is not running")
        else:
            os.kill(self.pid, number)  # our child, not reaped yet: the pid cannot have been reused

    def attach(self, fd: int, options: ClientOptions) -> None:
        backlog = self._read_log() if options.logs and self.log_spec else None
        self.io.attach(fd, options, backlog)
        if self.exit is not None:
            self.io.finish_clients()

    def _read_log(self) -> Iterator[tuple[int, bytes]]:
        from sampan.logs.reader import read_raw  # rarely needed: not in every shim's memory

        assert self.log_spec is not None
        return read_raw(self.log_spec)

    def send(self, connection: socket.socket, body: dict[str, Any]) -> None:
        try:
            protocol.send(connection, body)
        except OSError:
            self._disconnect(connection)

    def broadcast(self, body: dict[str, Any]) -> bool:
        """Tell every engine that is connected; False if there is none."""
        for connection in list(self._connections):
            self.send(connection, body)
        return bool(self._connections)

    def _watch_log(self, connection: socket.socket, seen: int) -> None:
        """Tell `connection` once, as soon as there were more writes than the `seen` that it knows of."""
        if seen != self._log_writes:
            self.send(connection, {"event": "log", "writes": self._log_writes})
        elif connection not in self._watchers:
            self._watchers.append(connection)

    def _log_written(self) -> None:
        self._log_writes += 1
        if self._watchers:
            watchers, self._watchers = self._watchers, []
            for connection in watchers:
                self.send(connection, {"event": "log", "writes": self._log_writes})

    def _disconnect(self, connection: socket.socket) -> None:
        if connection not in self._connections:
            return
        self.loop.remove(connection.fileno())
        self._connections.remove(connection)
        if connection in self._watchers:
            self._watchers.remove(connection)
        connection.close()
        if not self._connections:
            self.execs.nobody_acks()
            if self.exit is not None:
                self._end()

    # --- the end

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            exit_code = code if code >= 0 else 128 - code
            if pid == self.pid and self.exit is None:
                self._init_exited(exit_code)
            else:
                self.execs.exited(pid, exit_code)  # or an orphan of a container in the host's pid namespace

    def _init_exited(self, exit_code: int) -> None:
        exited_at_ns = time.time_ns()
        if self.cgroup is not None and self.cgroup.pids():  # no pid namespace of its own: the kernel left them to us
            self.cgroup.kill_all()
        self.io.drain()
        oom_killed = self.cgroup is not None and self.cgroup.oom_kills() > 0
        self.exit = {"exit_code": exit_code, "exited_at_ns": exited_at_ns, "oom_killed": oom_killed}
        self._write_exit()
        self._log_written()
        if self.broadcast({"event": "exit", **self.exit}):
            self.loop.call_later(ACK_TIMEOUT_S, self._end)
        else:
            self._end()

    def _write_exit(self) -> None:
        text = _encode(self.exit).encode()
        try:
            replace_file(f"{self.state_dir}/exit.json", text)
        except OSError as error:  # a full disk: the task's own directory is in memory
            os.write(2, f"sampan shim {self.id}: exit.json: {error}\n".encode())
            try:
                replace_file(f"{self.task_dir}/exit.json", text)
            except OSError:
                pass  # the engine, if there is one, still hears of the exit

    def _acknowledged(self, exec_id: str | None) -> None:
        if exec_id is not None:
            self.execs.acknowledged(exec_id)
        elif self.exit is not None:
            self._acked = True
            if self._ending:
                remove_task_dir(self.task_dir)
            self._end()

    def _end(self) -> None:
        """Close the clients and tidy up; the process stays for clients that have not taken all their output yet."""
        if self._ending:
            return
        self._ending = True
        if self._log is not None:
            self._log.close()
        self.io.on_idle = self._stop_if_idle
        self.io.finish_clients()
        self.execs.finish_all()
        self._remove_cgroup()
        if self._acked:
            remove_task_dir(self.task_dir)
        else:
            fsync_file(f"{self.state_dir}/exit.json")
        self.loop.call_later(_CLIENT_FLUSH_S, self.loop.stop)
        self._stop_if_idle()

    def _stop_if_idle(self) -> None:
        if not self.io.clients:
            self.loop.stop()

    def _remove_cgroup(self) -> None:
        if self.cgroup is not None:
            try:
                self.cgroup.remove()
            except OSError:
                pass  # collected at sampand's next start


def _open_log(spec: dict[str, Any] | None) -> Writer | None:
    try:
        return open_writer(spec)
    except (OSError, errors.SampanError) as error:
        # The container runs already: a log that cannot be written must not end it.
        os.write(2, f"sampan shim: cannot open the log: {error}\n".encode())
        return None
