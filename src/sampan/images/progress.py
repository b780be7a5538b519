"""The messages of a long transfer, on their way from the work to one client, as Docker's clients draw them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from sampan.types.sizes import decimal_size

_BAR_INTERVAL_S = 0.1
_BAR_WIDTH = 50


class Progress:
    """A queue that never grows by progress bars: of each bar only the newest state waits. All on the event loop.

    Plain messages (`status`) keep their order; a bar's state is sent at most ten times a second and replaced while unsent.
    """

    def __init__(self) -> None:
        self._waiting: dict[object, dict[str, Any]] = {}
        self._serial = 0
        self._wake = asyncio.Event()
        self._last_s: dict[str, float] = {}
        self._ended = False

    def send(self, message: dict[str, Any]) -> None:
        """Queue any message."""
        self._serial += 1
        self._waiting[self._serial] = message
        self._wake.set()

    def status(self, text: str, identifier: str = "") -> None:
        """`{"status": …, "id": …}`; a layer's state ends its bar."""
        message: dict[str, Any] = {"status": text}
        if identifier:
            self._waiting.pop(identifier, None)
            message["id"] = identifier
        self.send(message)

    def step(self, text: str, identifier: str) -> None:
        """A layer's state, with the empty `progressDetail` that Docker puts into these."""
        self._waiting.pop(identifier, None)
        self.send({"status": text, "progressDetail": {}, "id": identifier})

    def bar(self, text: str, identifier: str, current: int, total: int) -> None:
        """A bar at `current` of `total` bytes."""
        now_s = time.monotonic()
        if now_s - self._last_s.get(identifier, 0.0) < _BAR_INTERVAL_S:
            return
        self._last_s[identifier] = now_s
        detail = {"current": current, "total": total}
        self._waiting[identifier] = {
            "status": text,
            "progressDetail": detail,
            "progress": draw_bar(current, total),
            "id": identifier,
        }
        self._wake.set()

    def end(self) -> None:
        """No more messages: the iteration ends after those that wait."""
        self._ended = True
        self._wake.set()

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """All messages until `end`."""
        while True:
            while self._waiting:
                yield self._waiting.pop(next(iter(self._waiting)))
            if self._ended:
                return
            self._wake.clear()
            await self._wake.wait()


def draw_bar(current: int, total: int) -> str:
    """The `progress` text of a message, as Docker's pkg/jsonmessage draws it on a wide terminal."""
    if total <= 0:
        return f"{decimal_size(current):>8}" if current > 0 else ""
    filled = min(int(current / total * 100) // 2, _BAR_WIDTH)
    box = f"[{'=' * filled}>{' ' * (_BAR_WIDTH - filled)}] "
    return box + (f"{decimal_size(current):>8}" + (f"/{decimal_size(total)}" if current <= total else ""))


def error_message(message: str, hint: str = "") -> dict[str, Any]:
    """The last message of a stream that fails after its head was sent. The hint is ours."""
    detail = {"message": message, "hint": hint} if hint else {"message": message}
    return {"errorDetail": detail, "error": message}
