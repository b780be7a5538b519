"""Running containers as sampand sees them: start through the zygote, talk to the shim, find them again after a restart.

    sampand ── start request + descriptors ──▶ zygote ── fork ──▶ shim ── clone3 ──▶ container init
       ▲                                                           │
       └────────── the channel that came with the request ◀────────┘

`Tasks` is the whole of the runtime that the engine knows. It keeps no state that the shims do not have.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Sequence
from typing import Any

from sampan import errors
from sampan.engine.tasks.channel import Channel
from sampan.engine.tasks.leftovers import collect, read_task_file
from sampan.engine.tasks.spec import Attachment, Exit, TaskSpec
from sampan.engine.tasks.task import ExecExitCallback, ExitCallback, Task
from sampan.engine.tasks.zygote_watch import ZygoteWatch
from sampan.runtime import protocol
from sampan.runtime.protocol import LANE_ROOTFS, LANE_SHIM
from sampan.runtime.zygote_link import ZygoteLink

_GONE_TIMEOUT_S = 10.0

Mappings = list[dict[str, int]]


class Tasks:
    """Starts and finds tasks. `on_exit` and `on_exec_exit` are the engine's, for every task."""

    def __init__(self, exec_root: str, zygote: ZygoteLink) -> None:
        self._directory = os.path.join(exec_root, "tasks")
        self._zygote = zygote
        self._tasks: dict[str, Task] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._pending: dict[str, list[Attachment]] = {}
        self._watch = ZygoteWatch(zygote)
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
            self.background(job.result().signal(9))

    async def _start(self, spec: TaskSpec) -> Task:
        try:
            await self._await_predecessor(spec.id)
            try:
                task = await self._launch(spec)
            except errors.Unavailable:
                if os.path.exists(self._task_dir(spec.id)):
                    raise
                task = await self._launch(spec)  # the request died with the zygote: no process has seen it
        except BaseException as error:
            for attachment in spec.attachments:
                attachment.discard()
            if isinstance(error, errors.Unavailable):
                await self._collect_dead(spec.id)
                raise errors.Internal("the container's shim ended while it started the container") from error
            raise
        for attachment in spec.attachments:
            attachment.release()
        self._adopt(task)
        asyncio.get_running_loop().call_soon(task.published.set)
        return task

    async def _launch(self, spec: TaskSpec) -> Task:
        """Raises `Unavailable` when the process that was to start the container died; else the error of the launch."""
        self._watch.begin()
        task = Task(self, spec.id)
        task.state_dir = spec.state_dir
        ours, theirs = protocol.pair()
        channel = task.channel = Channel(ours, task.on_event)
        seq = channel.next_seq()
        answer = channel.expect(seq)
        try:
            with theirs:
                fds = [theirs.fileno(), *(fd for fd in (spec.netns_fd, spec.userns_fd) if fd is not None)]
                fds += [attachment.fd for attachment in spec.attachments]
                self._zygote.submit(self._start_body(spec, seq), blob=spec.seccomp_bpf or b"", fds=fds, lane=LANE_SHIM)
            started = await answer
        except BaseException:
            channel.close()
            raise
        task.pid, task.started_at_ns = int(started["pid"]), int(started["started_at_ns"])
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
            "userns": spec.userns_fd is not None,
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
        self.background(self._follow(task))

    async def _follow(self, task: Task) -> None:
        """Until its shim is gone; a shim that was killed is cleaned up after, and its container's end is reported."""
        assert task.channel is not None
        await task.channel.closed
        task.wake_log_waiters()
        if task.exit is None or os.path.exists(self._task_dir(task.id)):
            ended = await self._collect_dead(task.id)
            if ended is not None:
                await task.report_exit(ended, None)
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
            task.channel = Channel(sock, task.on_event)
            try:
                state = await task.channel.request({"op": "hello"})
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
        task.ended_earlier(ended)
        task.gone.set()
        return task

    async def _reattached(self, task: Task, state: dict[str, Any]) -> Task:
        assert task.channel is not None
        task.pid, task.started_at_ns = int(state["pid"]), int(state["started_at_ns"])
        task.state_dir = str(state["state_dir"])
        if state["exit"] is not None:
            task.ended_earlier(Exit(**state["exit"]))
            await task.channel.post({"op": "ack"})
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
        body = {
            "op": "rootfs",
            "scratch": self._scratch,
            "target": target,
            "operation": operation,
            "arguments": arguments,
        }
        return await self._ask_worker(body, fds, f"the worker for {operation} in the container's root died")

    async def namespaces(self, maps: tuple[Mappings, Mappings], owner_pid: int = 0) -> tuple[int, int]:
        """Descriptors of a new user namespace and of a network namespace that belongs to it; the caller closes them.

        With `owner_pid` the user namespace is the one of that process.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            body = {"op": "namespaces", "arguments": {"uid": maps[0], "gid": maps[1], "pid": owner_pid}}
            with theirs:
                await self._ask_worker(body, [theirs.fileno()], "the worker that makes namespaces died")
            _, (user, network), _, _ = socket.recv_fds(ours, 1, 2, socket.MSG_CMSG_CLOEXEC)
        return user, network

    async def _ask_worker(self, body: dict[str, Any], fds: Sequence[int], death: str) -> dict[str, Any]:
        self._watch.begin()
        ours, theirs = protocol.pair()
        channel = Channel(ours)
        try:
            seq = channel.next_seq()
            answer = channel.expect(seq)
            try:
                self._zygote.submit({**body, "seq": seq}, fds=[theirs.fileno(), *fds], lane=LANE_ROOTFS)
            finally:
                theirs.close()
            try:
                result = await answer
            except errors.Unavailable as error:
                raise errors.Internal(death) from error
            return dict(result["result"])
        finally:
            channel.close()

    def _task_dir(self, task_id: str) -> str:
        return os.path.join(self._directory, task_id)

    def background(self, work: Awaitable[None]) -> None:
        job = asyncio.get_running_loop().create_task(_quiet(work))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def close(self) -> None:
        """Let go of every shim; containers live on."""
        self._watch.end()
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        for task in list(self._tasks.values()):
            if task.channel is not None:
                task.channel.close()
        for task_id in list(self._pending):
            self.drop_pending(task_id)
        self._tasks.clear()
        self._zygote.close()


async def _quiet(work: Awaitable[None]) -> None:
    try:
        await work
    except errors.SampanError:
        pass  # the shim is gone, which its task's `_follow` sees and reports


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
