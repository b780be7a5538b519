"""What happens to each node of a build, for whoever shows it: the classic stream, later BuildKit's status."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from sampan.build.nodes import Layer

_BACKLOG = 256
"""Pieces of output that wait for a slow reader before the step that writes them is slowed down."""


class Result(NamedTuple):
    """What a node came to. `layers` lowest first; `changed`: the last of them is the node's own."""

    key: str
    layers: tuple[Layer, ...]
    changed: bool
    source: str
    created_ns: int


class Cached(NamedTuple):
    """Answered without work; `result` is None if only a later node's answer made this one unneeded."""

    result: Result | None


class Running(NamedTuple):
    """Work began. `task_id` is a RUN's container id, else empty."""

    task_id: str


class Output(NamedTuple):
    """A piece of a RUN's output; `stream` 1 is stdout, 2 stderr."""

    stream: int
    data: bytes


class Done(NamedTuple):
    result: Result


class Failed(NamedTuple):
    error: BaseException


Event = Cached | Running | Output | Done | Failed
_FINAL = (Cached, Done, Failed)


class NodeProgress:
    """The events of one node, for one reader. Only output waits for the reader; the rest never does."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.ended = False
        self.discard = False
        """Set when nobody reads (quiet builds): output is dropped."""

    def post(self, event: Event) -> None:
        """Announce; nothing is taken after the final event."""
        if self.ended:
            return
        self.ended = isinstance(event, _FINAL)
        if self.discard:
            return
        self._events.append(event)
        self._wake.set()
        if len(self._events) >= _BACKLOG:
            self._room.clear()

    async def output(self, stream: int, data: bytes) -> None:
        """Announce output, waiting while the reader is far behind."""
        self.post(Output(stream, data))
        await self._room.wait()

    async def next(self) -> Event:
        """The next event; waits for it."""
        while not self._events:
            self._wake.clear()
            await self._wake.wait()
        event = self._events.pop(0)
        if len(self._events) < _BACKLOG:
            self._room.set()
        return event
