"""Exec: further processes in running containers, as Docker's two-step create and start."""

from __future__ import annotations

import asyncio
import os
import stat
import time
import weakref
from typing import TYPE_CHECKING, Any

import msgspec

from sampan import errors
from sampan.engine.containers.attach import parse_detach_keys
from sampan.linux.syscalls import RESOLVE_IN_ROOT, openat2
from sampan.types.ids import new_id

if TYPE_CHECKING:
    from sampan.engine.containers.model import Container
    from sampan.engine.events import EventBus
    from sampan.engine.tasks.spec import Attachment
    from sampan.engine.tasks.task import Task
    from sampan.engine.tasks.tasks import Tasks

_KEPT_S = 300.0  # how long the exit code of a finished exec can be asked for
_KILLED = 137
_MAX_ACCOUNT_FILE_BYTES = 8 << 20
_DETACHED_NOTICE = b"exec attach failed: error on attach stdin: read escape sequence\r\n"
START_FAILED = "OCI runtime exec failed: exec failed: unable to start container process: "


class ExecConfig(msgspec.Struct, kw_only=True):
    """Docker's ExecConfig. Null means the default."""

    User: str | None = ""
    Privileged: bool | None = False
    Tty: bool | None = False
    ConsoleSize: list[int] | None = None
    AttachStdin: bool | None = False
    AttachStderr: bool | None = False
    AttachStdout: bool | None = False
    DetachKeys: str | None = ""
    Env: list[str] | None = None
    WorkingDir: str | None = ""
    Cmd: list[str] | None = None


class Exec:
    """One exec. `exit_code` is None until its process has ended."""

    def __init__(self, container: Container, config: ExecConfig) -> None:
        self.id = new_id()
        self.container = container
        self.config = config
        self.started = False
        self.running = False
        self.pid = 0
        self.exit_code: int | None = None
        self.ended_at_s = 0.0
        self.done = asyncio.Event()

    @property
    def tty(self) -> bool:
        return bool(self.config.Tty)

    def to_json(self) -> dict[str, Any]:
        """Docker's exec inspect."""
        command = self.config.Cmd or []
        return {
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit_code,
            "ProcessConfig": {
                "tty": self.tty,
                "entrypoint": command[0] if command else "",
                "arguments": command[1:],
                "privileged": bool(self.config.Privileged),
                **({"user": self.config.User} if self.config.User else {}),
            },
            "OpenStdin": bool(self.config.AttachStdin),
            "OpenStderr": bool(self.config.AttachStderr),
            "OpenStdout": bool(self.config.AttachStdout),
            "CanRemove": self.exit_code is not None,
            "ContainerID": self.container.id,
            "DetachKeys": (self.config.DetachKeys or "").encode().hex() or None,
            "Pid": self.pid,
        }


class Execs:
    """All execs of the engine. They live in memory: a restarted sampand has forgotten finished and unstarted ones."""

    def __init__(self, tasks: Tasks, events: EventBus) -> None:
        self._tasks = tasks
        self._events = events
        self._execs: dict[str, Exec] = {}
        self._watched: weakref.WeakSet[Task] = weakref.WeakSet()
        tasks.on_exec_exit = self._task_reports

    def get(self, exec_id: str) -> Exec:
        """
        Raises:
            NotFound: unknown, or its container is gone.
        """
        found = self._execs.get(exec_id)
        if found is None:
            matches = [one for key, one in self._execs.items() if key.startswith(exec_id)] if exec_id else []
            found = matches[0] if len(matches) == 1 else None
        if found is None or found.container.removed:
            raise errors.NotFound(f"No such exec instance: {exec_id}")
        return found

    def create(self, container: Container, config: ExecConfig) -> Exec:
        """
        Raises:
            InvalidArgument: unknown user or group, bad detach keys.
            Conflict: the container does not run or is paused.
        """
        parse_detach_keys(config.DetachKeys or "")
        _check_running(container)
        if config.User:
            _check_user(container.pid, config.User)
        self._forget_old()
        created = Exec(container, config)
        self._execs[created.id] = created
        container.exec_ids.add(created.id)
        self._publish(created, "exec_create", command=True)
        return created

    async def start(
        self,
        started: Exec,
        *,
        attachment: Attachment | None = None,
        console_size: tuple[int, int] | None = None,
        on_stdin: bool = True,
    ) -> None:
        """Run it. `attachment` passes on when this succeeds; on an error it stays the caller's.

        Raises:
            Conflict: it has run already, or its container does not run any more.
            InvalidArgument: the command cannot be executed; `exit_code` is 126 or 127 then.
        """
        self.claim(started)
        container, config = started.container, started.config
        try:
            _check_running(container)
            task = container.task
            if task is None:
                raise errors.Conflict(f"container {container.id} is not running")
            if attachment is not None:
                attachment.detach_keys = parse_detach_keys(config.DetachKeys or "")
                attachment.detach_notice = _DETACHED_NOTICE
            self._publish(started, "exec_start", command=True)
            started.running = True
            started.pid = await task.exec(
                started.id,
                _process(config),
                tty=started.tty,
                open_stdin=bool(config.AttachStdin) and on_stdin and attachment is not None,
                attachment=attachment,
                console_size=console_size or _console_size(config.ConsoleSize),
                seccomp=not config.Privileged,
            )
        except errors.SampanError as error:
            self._ended(started, error.exit_code if error.exit_code in (126, 127) else 126)
            if isinstance(error, errors.CommandNotFound | errors.CommandNotExecutable):
                raise type(error)(START_FAILED + error.message) from error
            if isinstance(error, errors.Internal):
                raise errors.Internal(START_FAILED + error.message) from error
            raise
        if task not in self._watched:
            self._watched.add(task)
            task.add_exit_callback(self._task_ended)

    def claim(self, started: Exec) -> None:
        """
        Raises:
            Conflict: it was started before.
        """
        if started.started:
            raise errors.Conflict(f"exec command {started.id} has already run")
        started.started = True

    async def resize(self, found: Exec, height: int, width: int) -> None:
        """Change the terminal's size; waits shortly for a start that is under way, since clients race with it."""
        for _ in range(100):
            if found.pid or found.exit_code is not None:
                break
            await asyncio.sleep(0.01)
        task = found.container.task
        if not found.pid or found.exit_code is not None or task is None:
            raise errors.InvalidArgument(f"exec process is not started: {found.id}")
        await task.resize(height, width, found.id)

    async def _task_reports(self, task: Task, exec_id: str, exit_code: int) -> None:
        found = self._execs.get(exec_id)
        if found is not None:
            self._ended(found, exit_code)

    def _task_ended(self, task: Task, _exit: object) -> None:
        """Execs of which the shim could tell no more: it was killed."""
        for one in list(self._execs.values()):
            if one.running and one.container.id == task.id:
                self._ended(one, _KILLED)

    def _ended(self, ended: Exec, exit_code: int) -> None:
        if ended.exit_code is not None:
            return
        ended.exit_code = exit_code
        ended.running = False
        ended.ended_at_s = time.monotonic()
        ended.container.exec_ids.discard(ended.id)
        ended.done.set()
        self._publish(ended, "exec_die", exitCode=str(exit_code))

    def _publish(self, one: Exec, action: str, *, command: bool = False, **more: str) -> None:
        attributes = {**one.container.event_attributes(), "execID": one.id, **more}
        shown = f"{action}: {' '.join(one.config.Cmd or [])}" if command else action
        self._events.publish("container", shown, one.container.id, attributes)

    def _forget_old(self) -> None:
        now_s = time.monotonic()
        for key, one in list(self._execs.items()):
            if (one.ended_at_s and now_s - one.ended_at_s > _KEPT_S) or one.container.removed:
                del self._execs[key]


def _check_running(container: Container) -> None:
    if container.paused:
        raise errors.Conflict(f"Container {container.name} is paused, unpause the container before exec")
    if container.state.status == "restarting":
        raise errors.Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.running:
        raise errors.Conflict(f"container {container.id} is not running")


def _console_size(size: list[int] | None) -> tuple[int, int] | None:
    return (size[0], size[1]) if size and len(size) == 2 and any(size) else None


def _process(config: ExecConfig) -> dict[str, Any]:
    """What differs from the container's own process; the shim adds the rest."""
    process: dict[str, Any] = {"args": config.Cmd, "env": list(config.Env or [])}
    if config.Tty and not any(entry.startswith("TERM=") for entry in process["env"]):
        process["env"].insert(0, "TERM=xterm")
    if config.WorkingDir:
        process["cwd"] = config.WorkingDir
    if config.User:
        process["user"] = {"uid": 0, "gid": 0, "username": config.User}
    if config.Privileged:
        process["privileged"] = True
    return process


def _check_user(pid: int, user: str) -> None:
    """Docker names an unknown user at create already. Reads the container's files through its root, confined to it."""
    name, _, group = user.partition(":")
    for kind, wanted in (("user", name), ("group", group)):
        if wanted and not wanted.isdigit() and not _has_entry(pid, "passwd" if kind == "user" else "group", wanted):
            file = "passwd" if kind == "user" else "group"
            raise errors.InvalidArgument(f"unable to find {kind} {wanted}: no matching entries in {file} file")


def _has_entry(pid: int, file: str, wanted: str) -> bool:
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return True  # it ended meanwhile; the start will say so
    try:
        content = _read_regular(root, b"etc/" + file.encode())
    except OSError:
        return False
    finally:
        os.close(root)
    return any(line.partition(b":")[0] == wanted.encode() for line in content.splitlines())


def _read_regular(root: int, path: bytes) -> bytes:
    """The start of a regular file below `root`; empty for anything else, which is looked at without being opened: the file
    is the container's, and opening its FIFOs would block us, its devices do what they like."""
    found = openat2(root, path, os.O_PATH | os.O_CLOEXEC, resolve=RESOLVE_IN_ROOT)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            return b""
        with open(f"/proc/self/fd/{found}", "rb") as file:
            return file.read(_MAX_ACCOUNT_FILE_BYTES)
    finally:
        os.close(found)
