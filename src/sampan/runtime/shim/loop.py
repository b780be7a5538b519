"""The shim's event loop: epoll, timers and SIGCHLD, in one thread, without asyncio (whose import alone is 2 MB)."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps calls in enums: 0.5 ms, 200 KiB
import os
import select
import time
from collections.abc import Callable
from typing import Any

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR

Handler = Callable[[int], None]


class Timer:
    __slots__ = ("callback", "due_s")

    def __init__(self, due_s: float, callback: Callable[[], None]) -> None:
        self.due_s = due_s
        self.callback = callback


class Loop:
    """Calls `handler(events)` when a descriptor is ready (level-triggered). Handlers may add and remove any other."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[Timer] = []
        self._stopped = False

    def add(self, fd: int, events: int, handler: Handler) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        if fd in self._handlers:
            self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Forget `fd`; must precede its close. Unknown descriptors are ignored."""
        if self._handlers.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # epoll forgot it when it was closed

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + delay_s, callback)
        self._timers.append(timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        if timer is not None and timer in self._timers:
            self._timers.remove(timer)

    def on_child(self, callback: Callable[[], None]) -> None:
        """Call `callback` when a child may have ended: signals may merge, so it must reap until nothing is left."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.signal(_signal.SIGCHLD, _ignore)
        _signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)

        def drain(_events: int) -> None:
            try:
                os.read(read_end, 4096)
            except BlockingIOError:
                pass
            callback()

        self.add(read_end, READ, drain)

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            self.run_once()

    def run_once(self) -> None:
        for fd, events in self._epoll.poll(self._timeout_s()):
            handler = self._handlers.get(fd)  # an earlier handler of this round may have removed it
            if handler is not None:
                handler(events)
        if self._timers:
            self._run_timers()

    def _timeout_s(self) -> float:
        if not self._timers:
            return -1
        return max(0.0, min(timer.due_s for timer in self._timers) - time.monotonic())

    def _run_timers(self) -> None:
        now_s = time.monotonic()
        for timer in [timer for timer in self._timers if timer.due_s <= now_s]:
            self.cancel(timer)
            timer.callback()


def _ignore(_signal: int, _frame: Any) -> None:
    """A Python-level handler must exist for the wake-up descriptor to be written."""
