"""Running containers as sampand sees them: start through the zygote, talk to the shim, find them again after a restart.

    sampand ── start request + descriptors ──▶ zygote ── fork ──▶ shim ── clone3 ──▶ container init
       ▲                                                           │
       └────────── the channel that came with the request ◀────────┘

`Tasks` is the whole of the runtime that the engine knows. It keeps no state that the shims do not have.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from sampan import errors
from sampan.engine.tasks.channel import Channel
from sampan.engine.tasks.leftovers import collect, read_task_file
from sampan.runtime import protocol
from sampan.runtime.attach import ClientOptions, discard
from sampan.runtime.protocol import LANE_ROOTFS, LANE_SHIM
from sampan.runtime.zygote_link import ZygoteLink

_GONE_TIMEOUT_S = 10.0


class Exit(NamedTuple):
    """How a container ended. `exit_code` is 128+n for a death by signal n."""

    exit_code: int
    exited_at_ns: int
    oom_killed: bool


class Attachment(msgspec.Struct):
    """A client's connection that is to become a process's stdio. `fd` passes on to whoever takes the attachment.

    `framed`: 8-byte multiplexed frames; never with a tty. `preload`: input that the client sent already. `logs`: replay
    the log first. `detach_notice`: what to tell a client that typed the detach keys.
    """

    fd: int
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = True
    detach_keys: bytes = b""
    preload: bytes = b""
    logs: bool = False
    detach_notice: bytes = b""

    def to_json(self) -> dict[str, Any]:
        return ClientOptions(
            self.stdin,
            self.stdout,
            self.stderr,
            self.framed,
            self.detach_keys,
            self.preload,
            self.logs,
            self.detach_notice,
        ).to_json()

    def say(self, data: bytes) -> None:
        """Send a last word over a connection that nobody took; a client that does not read loses it."""
        with socket.socket(fileno=os.dup(self.fd)) as sock:
            try:
                sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                pass

    def discard(self) -> None:
        """Close the client's connection: nobody took it."""
        if self.fd >= 0:
            discard(self.fd)
            self.fd = -1

    def release(self) -> None:
        """Close our copy of the descriptor after it has been passed on."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class TaskSpec(msgspec.Struct, kw_only=True):
    """All that a start needs. `state_dir` is durable and exists; the shim writes `exit.json` there.

    `log` is `{"driver": "local"|"json-file"|"none", "path": …, "options": {…}, "attributes": {…}}`. `console_size` is
    (height, width). `netns_fd` stays the caller's.
    """

    id: str
    config: dict[str, Any]
    rootfs: dict[str, Any]
    state_dir: str
    log: dict[str, Any] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    netns_fd: int | None = None
    attachments: list[Attachment] = msgspec.field(default_factory=list)
    seccomp_bpf: bytes | None = None
    cgroup_path: str = ""
    console_size: tuple[int, int] | None = None
    init_path: str | None = None


ExitCallback = Callable[["Task", Exit], Awaitable[None] | None]
ExecExitCallback = Callable[["Task", str, int], Awaitable[None] | None]


class Task:
    """A running container. Methods raise `Unavailable` when its shim is gone; its `Exit` then follows at once."""

    def __init__(self, tasks: Tasks, task_id: str) -> None:
        self.id = task_id
        self.pid = 0
        self.started_at_ns = 0
        self.state_dir = ""
        self._tasks = tasks
        self._channel: Channel | None = None
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._callbacks: list[ExitCallback] = []
        self._log_writes = -1
        self._log_waiters: list[asyncio.Future[None]] = []
        self.gone = asyncio.Event()
        """Set when the shim has ended and the cgroup and the task's directory are removed."""
        self.published = asyncio.Event()
        """Set when whoever started the task knows it: an exit is not reported earlier."""

    @property
    def started_at(self) -> int:
        return self.started_at_ns

    @property
    def exit(self) -> Exit | None:
        return self._exit.result() if self._exit.done() else None

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    def add_exit_callback(self, callback: ExitCallback) -> None:
        """Call back once, before the shim is told that the exit is known (and closes the clients' streams)."""
        if self._exit.done():
            asyncio.get_running_loop().create_task(_call(callback, self, self._exit.result()))
        else:
            self._callbacks.append(callback)

    async def attach(self, attachment: Attachment) -> None:
        """Pass a client's connection on to the shim; on an error the connection is closed."""
        try:
            await self._request({"op": "attach", "options": attachment.to_json()}, [attachment.fd])
        except errors.SampanError:
            attachment.discard()
            raise
        attachment.release()

    async def resize(self, height: int, width: int, exec_id: str | None = None) -> None:
        await self._request({"op": "resize", "height": height, "width": width, "exec_id": exec_id})

    async def signal(self, number: int, exec_id: str | None = None) -> None:
        await self._request({"op": "signal", "number": number, "exec_id": exec_id})

    async def close_stdin(self, exec_id: str | None = None) -> None:
        await self._request({"op": "close_stdin", "exec_id": exec_id})

    async def exec(
        self,
        exec_id: str,
        process: dict[str, Any],
        *,
        tty: bool = False,
        open_stdin: bool = False,
        attachment: Attachment | None = None,
        console_size: tuple[int, int] | None = None,
        seccomp: bool = True,
    ) -> int:
        """Run a process in the container and return its pid on the host.

        Its end comes through `Tasks.on_exec_exit`, before its client's stream is closed. On an error the attachment
        stays the caller's (who owes its client an explanation); otherwise it is passed on.
        """
        body = {
            "op": "exec",
            "exec_id": exec_id,
            "process": process,
            "tty": tty,
            "open_stdin": open_stdin,
            "console_size": console_size,
            "seccomp": seccomp,
            "attachment": attachment.to_json() if attachment else None,
        }
        answer = await self._request(body, [attachment.fd] if attachment else [])
        if attachment:
            attachment.release()
        return int(answer["pid"])

    async def pids(self) -> list[int]:
        """All processes of the container, as the host numbers them."""
        answer = await self._request({"op": "pids"})
        return [int(pid) for pid in answer["pids"]]

    async def log_written(self, seen: int) -> int:
        """Return once the log has had another number of writes than `seen`, with that number, or when it ended.

        Begin with -1, read the log to its end, then ask with the number given: no write goes unnoticed between.
        """
        if self._log_writes != seen or self._exit.done() or self._channel is None or self._channel.closed.done():
            return self._log_writes
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._log_waiters.append(waiter)
        await self._channel.post({"op": "watch_log", "seen": seen})
        await waiter
        return self._log_writes

    async def _request(self, body: dict[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        if self._channel is None:
            raise errors.Unavailable(f"container {self.id} is not running")
        return await self._channel.request(body, fds)

    # --- events, from the loop

    def _on_event(self, body: dict[str, Any]) -> None:
        event = body["event"]
        if event == "log":
            self._log_writes = int(body["writes"])
            self._wake_log_waiters()
        elif event == "exit":
            ended = Exit(int(body["exit_code"]), int(body["exited_at_ns"]), bool(body["oom_killed"]))
            self._tasks._background(self._report_exit(ended, {"op": "ack"}))
        elif event == "exec_exit":
            self._tasks._background(self._report_exec_exit(str(body["exec_id"]), int(body["exit_code"])))

    def _wake_log_waiters(self) -> None:
        waiters, self._log_waiters = self._log_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _report_exit(self, ended: Exit, ack: dict[str, Any] | None) -> None:
        await self.published.wait()
        if self._exit.done():
            return
        self._exit.set_result(ended)
        self._wake_log_waiters()
        callbacks, self._callbacks = self._callbacks, []
        if self._tasks.on_exit is not None:
            callbacks.insert(0, self._tasks.on_exit)
        for callback in callbacks:
            await _call(callback, self, ended)
        for _ in range(3):  # whoever only awaits wait() gets its turn before the client sees EOF
            await asyncio.sleep(0)
        if ack is not None and self._channel is not None:
            await self._channel.post(ack)

    async def _report_exec_exit(self, exec_id: str, exit_code: int) -> None:
        if self._tasks.on_exec_exit is not None:
            await _call(self._tasks.on_exec_exit, self, exec_id, exit_code)
        if self._channel is not None:
            await self._channel.post({"op": "ack", "exec_id": exec_id})


async def _call(callback: Callable[..., Awaitable[None] | None], *arguments: Any) -> None:
    """A callback that fails must not keep a client's stream open: report it and go on."""
    try:
        result = callback(*arguments)
        if inspect.isawaitable(result):
            await result
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler({"message": "task callback failed", "exception": error})


class Tasks:
    """Starts and finds tasks. `on_exit` and `on_exec_exit` are the engine's, for every task."""

    def __init__(self, exec_root: str, zygote: ZygoteLink) -> None:
        self._directory = os.path.join(exec_root, "tasks")
        self._zygote = zygote
        self._tasks: dict[str, Task] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._pending: dict[str, list[Attachment]] = {}
        self._watched: socket.socket | None = None
        self.on_exit: ExitCallback | None = None
        self.on_exec_exit: ExecExitCallback | None = None
        self._scratch = os.path.join(exec_root, "rootfs")
        """An empty directory that workers mount over, each in its own mount namespace."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        os.makedirs(self._scratch, mode=0o700, exist_ok=True)

    def get(self, task_id: str) -> Task | None:
        """The task of a container, until its shim is gone."""
        return self._tasks.get(task_id)

    # --- clients that attach before the start

    def add_pending(self, task_id: str, attachment: Attachment) -> None:
        """Attach at the next start of this container, from its first byte."""
        self._pending.setdefault(task_id, []).append(attachment)

    def drop_pending(self, task_id: str) -> None:
        """The start failed before it came to us, or the container is removed: its waiting clients get EOF."""
        for attachment in self._pending.pop(task_id, []):
            attachment.discard()

    # --- start

    async def start(self, spec: TaskSpec) -> Task:
        """Start a container; returns when its process has been executed.

        Takes `spec.attachments` and those that wait (`add_pending`). Raises the error of the launch, with nothing left
        behind and the clients' connections closed. If the caller is cancelled, a container that starts all the same is
        killed.
        """
        spec.attachments.extend(self._pending.pop(spec.id, []))
        job = asyncio.ensure_future(self._start(spec))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            job.add_done_callback(self._kill_unwanted)
            raise

    def _kill_unwanted(self, job: asyncio.Future[Task]) -> None:
        if not job.cancelled() and job.exception() is None:
            self._background(job.result().signal(9))

    async def _start(self, spec: TaskSpec) -> Task:
        try:
            await self._await_predecessor(spec.id)
        except BaseException:
            for attachment in spec.attachments:
                attachment.discard()
            raise
        self._watch_zygote()
        task = Task(self, spec.id)
        task.state_dir = spec.state_dir
        ours, theirs = protocol.pair()
        channel = task._channel = Channel(ours, task._on_event)
        seq = channel.next_seq()
        answer = channel.expect(seq)
        try:
            fds = [theirs.fileno(), *([] if spec.netns_fd is None else [spec.netns_fd])]
            fds += [attachment.fd for attachment in spec.attachments]
            self._zygote.submit(self._start_body(spec, seq), blob=spec.seccomp_bpf or b"", fds=fds, lane=LANE_SHIM)
            theirs.close()
            for attachment in spec.attachments:
                attachment.release()
            started = await answer
        except BaseException as error:
            theirs.close()
            channel.close()
            for attachment in spec.attachments:
                attachment.discard()
            if isinstance(error, errors.Unavailable):
                await self._collect_dead(spec.id)
                raise errors.Internal("the container's shim ended while it started the container") from error
            raise
        task.pid, task.started_at_ns = int(started["pid"]), int(started["started_at_ns"])
        self._adopt(task)
        asyncio.get_running_loop().call_soon(task.published.set)
        return task

    def _start_body(self, spec: TaskSpec, seq: int) -> dict[str, Any]:
        return {
            "op": "start",
            "seq": seq,
            "id": spec.id,
            "task_dir": self._task_dir(spec.id),
            "state_dir": spec.state_dir,
            "config": spec.config,
            "rootfs": spec.rootfs,
            "log": spec.log,
            "tty": spec.tty,
            "open_stdin": spec.open_stdin,
            "stdin_once": spec.stdin_once,
            "cgroup_path": spec.cgroup_path,
            "console_size": spec.console_size,
            "init_path": spec.init_path,
            "netns": spec.netns_fd is not None,
            "attachments": [attachment.to_json() for attachment in spec.attachments],
        }

    async def _await_predecessor(self, task_id: str) -> None:
        """The shim of an earlier run of this container removes cgroup and directory after it reported the exit."""
        previous = self._tasks.get(task_id)
        if previous is None:
            return
        if previous.exit is None:
            raise errors.Conflict(f"container {task_id} is already running")
        try:
            await asyncio.wait_for(previous.gone.wait(), _GONE_TIMEOUT_S)
        except TimeoutError:
            raise errors.Internal(f"the earlier shim of container {task_id} does not end") from None

    def _adopt(self, task: Task) -> None:
        self._tasks[task.id] = task
        self._background(self._follow(task))

    async def _follow(self, task: Task) -> None:
        """Until its shim is gone; a shim that was killed is cleaned up after, and its container's end is reported."""
        assert task._channel is not None
        await task._channel.closed
        task._wake_log_waiters()
        if task.exit is None or os.path.exists(self._task_dir(task.id)):
            ended = await self._collect_dead(task.id)
            if ended is not None:
                await task._report_exit(ended, None)
        if self._tasks.get(task.id) is task:
            del self._tasks[task.id]
        task.gone.set()

    async def _collect_dead(self, task_id: str) -> Exit | None:
        found = await asyncio.to_thread(collect, self._task_dir(task_id))
        return None if found is None else Exit(found.exit_code, found.exited_at_ns, found.oom_killed)

    # --- after a restart of sampand

    async def reattach(self) -> list[Task]:
        """Every task of this exec root: live ones, and ended ones with their `exit` set. Call once, before any start.

        What dead shims left (processes, cgroup, directory) is collected. `on_exit` is not called for tasks that are
        returned with an `exit`.
        """
        found = []
        for task_id in sorted(os.listdir(self._directory)):
            task = await self._reattach_one(task_id)
            if task is not None:
                found.append(task)
        return found

    async def _reattach_one(self, task_id: str) -> Task | None:
        task = Task(self, task_id)
        task.published.set()
        sock = _connect(self._task_dir(task_id))
        if sock is not None:
            task._channel = Channel(sock, task._on_event)
            try:
                state = await task._channel.request({"op": "hello"})
            except errors.SampanError:
                state = None
            if state is not None:
                return await self._reattached(task, state)
        description = read_task_file(self._task_dir(task_id))
        ended = await self._collect_dead(task_id)
        if ended is None or description is None:
            return None
        task.pid, task.started_at_ns = int(description["pid"]), int(description["started_at_ns"])
        task.state_dir = str(description["state_dir"])
        if not task._exit.done():
            task._exit.set_result(ended)
        task.gone.set()
        return task

    async def _reattached(self, task: Task, state: dict[str, Any]) -> Task:
        assert task._channel is not None
        task.pid, task.started_at_ns = int(state["pid"]), int(state["started_at_ns"])
        task.state_dir = str(state["state_dir"])
        if state["exit"] is not None and not task._exit.done():
            task._exit.set_result(Exit(**state["exit"]))
            await task._channel.post({"op": "ack"})
        self._adopt(task)
        return task

    # --- the rest

    async def in_rootfs(
        self, target: dict[str, Any], operation: str, arguments: dict[str, Any], fds: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Run `rootfs_ops.OPERATIONS[operation](arguments, fds)` confined to a container's root; `fds` stay ours.

        `target` is `{"kind": "process", "pid"}` or a rootfs spec, optionally with OCI `mounts`. Raises the operation's
        error. If the caller is cancelled, the worker dies.
        """
        self._watch_zygote()
        ours, theirs = protocol.pair()
        channel = Channel(ours)
        try:
            seq = channel.next_seq()
            answer = channel.expect(seq)
            body = {
                "op": "rootfs",
                "seq": seq,
                "scratch": self._scratch,
                "target": target,
                "operation": operation,
                "arguments": arguments,
            }
            try:
                self._zygote.submit(body, fds=[theirs.fileno(), *fds], lane=LANE_ROOTFS)
            finally:
                theirs.close()
            try:
                result = await answer
            except errors.Unavailable as error:
                raise errors.Internal(f"the worker for {operation} in the container's root died") from error
            return dict(result["result"])
        finally:
            channel.close()

    def _task_dir(self, task_id: str) -> str:
        return os.path.join(self._directory, task_id)

    def _watch_zygote(self) -> None:
        """Replace a zygote that dies at once, not when the next start needs it."""
        current = self._zygote.socket
        if current is self._watched:
            return
        loop = asyncio.get_running_loop()
        self._watched = current
        if current is not None:
            loop.add_reader(current.fileno(), self._zygote_readable, current.fileno())

    def _zygote_readable(self, fd: int) -> None:
        before = self._zygote.socket
        if before is not None and before.fileno() == fd:
            peeked = _peek(before)
            if peeked:
                self._zygote.check()
                return
        asyncio.get_running_loop().remove_reader(fd)
        self._watched = None
        self._zygote.check()
        self._watch_zygote()

    def _background(self, work: Any) -> None:
        job = asyncio.get_running_loop().create_task(_quiet(work))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def close(self) -> None:
        """Let go of every shim; containers live on."""
        if self._watched is not None and self._watched.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._watched.fileno())
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        for task in list(self._tasks.values()):
            if task._channel is not None:
                task._channel.close()
        for task_id in list(self._pending):
            self.drop_pending(task_id)
        self._tasks.clear()
        self._zygote.close()


async def _quiet(work: Awaitable[None]) -> None:
    try:
        await work
    except errors.SampanError:
        pass


def _peek(sock: socket.socket) -> bool:
    """Whether there is data to read (True) or the peer is gone (False)."""
    try:
        return bool(sock.recv(16, socket.MSG_DONTWAIT | socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _connect(task_dir: str) -> socket.socket | None:
    """A connection to the shim of `task_dir`, None if it is dead."""
    try:
        directory = os.open(task_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(f"/proc/self/fd/{directory}/shim.sock")
        return sock
    except OSError:
        sock.close()
        return None
    finally:
        os.close(directory)
