"""One running container as sampand sees it: requests to its shim, and the shim's events."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from sampan import errors
from sampan.engine.tasks.channel import Channel
from sampan.engine.tasks.spec import Attachment, Exit

ExitCallback = Callable[["Task", Exit], Awaitable[None] | None]
ExecExitCallback = Callable[["Task", str, int], Awaitable[None] | None]


class TaskOwner(Protocol):
    """Who is told of every task's end before anybody else, and on whose account a task works in the background."""

    on_exit: ExitCallback | None
    on_exec_exit: ExecExitCallback | None

    def background(self, work: Awaitable[None]) -> None: ...


class Task:
    """A running container. Methods raise `Unavailable` when its shim is gone; its `Exit` then follows at once."""

    def __init__(self, owner: TaskOwner, task_id: str) -> None:
        self.id = task_id
        self.pid = 0
        self.started_at_ns = 0
        self.state_dir = ""
        self._owner = owner
        self.channel: Channel | None = None
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

    def ended_earlier(self, ended: Exit) -> None:
        """It ended while no engine ran: known at once, and nobody is called back."""
        if not self._exit.done():
            self._exit.set_result(ended)

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
        if self._log_writes != seen or self._exit.done() or self.channel is None or self.channel.closed.done():
            return self._log_writes
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._log_waiters.append(waiter)
        await self.channel.post({"op": "watch_log", "seen": seen})
        await waiter
        return self._log_writes

    async def _request(self, body: dict[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        if self.channel is None:
            raise errors.Unavailable(f"container {self.id} is not running")
        return await self.channel.request(body, fds)

    # --- events, from the loop

    def on_event(self, body: dict[str, Any]) -> None:
        event = body["event"]
        if event == "log":
            self._log_writes = int(body["writes"])
            self.wake_log_waiters()
        elif event == "exit":
            ended = Exit(int(body["exit_code"]), int(body["exited_at_ns"]), bool(body["oom_killed"]))
            self._owner.background(self.report_exit(ended, {"op": "ack"}))
        elif event == "exec_exit":
            self._owner.background(self._report_exec_exit(str(body["exec_id"]), int(body["exit_code"])))

    def wake_log_waiters(self) -> None:
        waiters, self._log_waiters = self._log_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def report_exit(self, ended: Exit, ack: dict[str, Any] | None) -> None:
        await self.published.wait()
        if self._exit.done():
            return
        self._exit.set_result(ended)
        self.wake_log_waiters()
        callbacks, self._callbacks = self._callbacks, []
        if self._owner.on_exit is not None:
            callbacks.insert(0, self._owner.on_exit)
        for callback in callbacks:
            await _call(callback, self, ended)
        for _ in range(3):  # whoever only awaits wait() gets its turn before the client sees EOF
            await asyncio.sleep(0)
        if ack is not None and self.channel is not None:
            await self.channel.post(ack)

    async def _report_exec_exit(self, exec_id: str, exit_code: int) -> None:
        if self._owner.on_exec_exit is not None:
            await _call(self._owner.on_exec_exit, self, exec_id, exit_code)
        if self.channel is not None:
            await self.channel.post({"op": "ack", "exec_id": exec_id})


async def _call(callback: Callable[..., Awaitable[None] | None], *arguments: Any) -> None:
    """A callback that fails must not keep a client's stream open: report it and go on."""
    try:
        result = callback(*arguments)
        if inspect.isawaitable(result):
            await result
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler({"message": "task callback failed", "exception": error})
