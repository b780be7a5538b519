"""Further processes in a shim's container: start, stdio, and their end."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from sampan import errors
from sampan.linux.capabilities import bounding, names_of
from sampan.runtime.launch.process import exec_into
from sampan.runtime.shim.attach import ClientOptions
from sampan.runtime.shim.launching import child_stdio
from sampan.runtime.shim.stdio import Pipes, ProcessIO, make_pipes

if TYPE_CHECKING:
    from sampan.runtime.shim.shim import Shim

ACK_TIMEOUT_S = 1.0


class Exec:
    """One process; kept until its clients are gone, so that a late resize finds it."""

    __slots__ = ("acked", "exit_code", "id", "io", "pid", "pidfd")

    def __init__(self, exec_id: str, pid: int, pidfd: int, io: ProcessIO) -> None:
        self.id = exec_id
        self.pid = pid
        self.pidfd = pidfd
        self.io = io
        self.exit_code: int | None = None
        self.acked = False


class Execs:
    def __init__(self, shim: Shim) -> None:
        self._shim = shim
        self._execs: dict[str, Exec] = {}

    def start(self, body: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Run a process. Its client, if any, is attached from the first byte. Raises the errors of a launch."""
        shim = self._shim
        if shim.exit is not None:
            raise errors.Conflict(f"container {shim.id} is not running")
        io = ProcessIO(shim.loop, tty=bool(body["tty"]), open_stdin=bool(body["open_stdin"]), stdin_once=True)
        pipes = None if io.tty else make_pipes(bool(body["open_stdin"]))
        try:
            launched = self._launch(body, pipes)
        except BaseException:
            if pipes is not None:
                pipes.close_ours()
            raise
        process = Exec(body["exec_id"], launched.pid, launched.pidfd, io)
        self._execs[process.id] = process
        if pipes is not None:
            io.adopt_pipes(pipes.stdin, pipes.stdout, pipes.stderr)
        elif launched.console is not None:
            io.adopt_console(launched.console)
        io.start()
        if body.get("attachment") is not None:
            io.attach(fds.pop(0), ClientOptions.from_json(body["attachment"]))
        return {"pid": launched.pid}

    def _launch(self, body: dict[str, Any], pipes: Pipes | None) -> Any:
        shim = self._shim
        with open(f"{shim.task_dir}/launch.json", "rb") as launch_file:
            config = json.load(launch_file)["config"]
        process = merged_process(config.get("process", {}), body["process"], bool(body["tty"]))
        if body.get("console_size"):
            process["consoleSize"] = dict(zip(("height", "width"), body["console_size"], strict=True))
        seccomp: bytes | None = None
        if body.get("seccomp", True) and os.path.exists(f"{shim.task_dir}/seccomp.bpf"):
            with open(f"{shim.task_dir}/seccomp.bpf", "rb") as seccomp_file:
                seccomp = seccomp_file.read()
        try:
            return exec_into(
                shim.pid,
                shim.pidfd,
                process,
                stdio=child_stdio(pipes),
                cgroup=shim.cgroup,
                seccomp_bpf=seccomp,
                config=config,
            )
        finally:
            if pipes is not None:
                pipes.close_child()

    def _get(self, exec_id: str) -> Exec:
        process = self._execs.get(exec_id)
        if process is None:
            raise errors.NotFound(f"No such exec instance: {exec_id}")
        return process

    def io_of(self, exec_id: str) -> ProcessIO:
        return self._get(exec_id).io

    def pid_of(self, exec_id: str) -> int:
        process = self._get(exec_id)
        if process.exit_code is not None:
            raise errors.Conflict(f"exec {exec_id} is not running")
        return process.pid

    def describe(self) -> list[dict[str, Any]]:
        return [{"id": one.id, "pid": one.pid, "exit_code": one.exit_code} for one in self._execs.values()]

    def exited(self, pid: int, exit_code: int) -> None:
        """A child was reaped: note the end of the exec that it was, tell the engine, then end its clients' streams."""
        process = next((one for one in self._execs.values() if one.pid == pid and one.exit_code is None), None)
        if process is None:
            return
        process.exit_code = exit_code
        os.close(process.pidfd)
        process.io.drain()
        if self._shim.broadcast({"event": "exec_exit", "exec_id": process.id, "exit_code": exit_code}):
            self._shim.loop.call_later(ACK_TIMEOUT_S, lambda: self._finish(process))
        else:
            self._finish(process)

    def acknowledged(self, exec_id: str) -> None:
        process = self._execs.get(exec_id)
        if process is not None and process.exit_code is not None:
            self._finish(process)

    def nobody_acks(self) -> None:
        for process in list(self._execs.values()):
            if process.exit_code is not None:
                self._finish(process)

    def finish_all(self) -> None:
        for process in list(self._execs.values()):
            self._finish(process)

    def _finish(self, process: Exec) -> None:
        if process.acked:
            return
        process.acked = True
        process.io.on_idle = lambda: self._forget(process)
        process.io.finish_clients()
        if not process.io.clients:
            self._forget(process)

    def _forget(self, process: Exec) -> None:
        self._execs.pop(process.id, None)


def merged_process(init: dict[str, Any], process: dict[str, Any], tty: bool) -> dict[str, Any]:
    """What an exec runs as: the init's process, with whatever the request says instead. The environment is merged."""
    merged = {**init, **process, "terminal": tty}
    merged.pop("consoleSize", None)
    if merged.pop("privileged", False):
        everything = names_of(bounding())
        merged["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), everything)
    variables = [*init.get("env", []), *process.get("env", [])]
    merged["env"] = list({entry.partition("=")[0]: entry for entry in variables}.values())
    return merged
