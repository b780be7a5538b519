"""What `buildx` draws: a build's steps as vertexes, with their times, output and errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from sampan.build.buildkit.messages import StatusResponse, Timestamp, Vertex, VertexLog
from sampan.build.classic import ClassicBuild, ClassicReport
from sampan.build.evaluate import PlannedStep
from sampan.build.executor import CommandFailed
from sampan.build.image import StageImage
from sampan.build.plan import PlannedStage
from sampan.build.progress import Cached, Done, Failed, NodeProgress, Output, Result
from sampan.types.digest import sha256_of

_BACKLOG = 1024


def error_text(error: BaseException) -> str:
    """In BuildKit's words where it has some of its own; clients put `failed to solve: ` in front."""
    if isinstance(error, CommandFailed):
        return f'process "{error.command}" did not complete successfully: exit code: {error.code}'
    return str(error) or type(error).__name__


class StatusLog:
    """The messages of one build, for its `Status` call, which may come before or after.

    Output waits for a reader that is slow, and is dropped beyond `_BACKLOG` messages while there is none.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[StatusResponse | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._read = False
        self._number = 0

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[StatusResponse]:
        self._read = True
        try:
            while (message := await self._queue.get()) is not None:
                yield message
                if self._queue.qsize() < _BACKLOG // 2:
                    self._room.set()
        finally:
            self._read = False
            self._room.set()

    def vertex(self, name: str) -> RunningVertex:
        """A step that begins now."""
        self._number += 1
        digest = str(sha256_of(f"{id(self)}-{self._number}-{name}-{time.time_ns()}".encode()))
        started = RunningVertex(self, digest, name)
        started.send()
        return started

    @contextmanager
    def step(self, name: str) -> Iterator[RunningVertex]:
        """A step for the length of a block."""
        vertex = self.vertex(name)
        try:
            yield vertex
        except BaseException as error:
            vertex.finish(error=error_text(error))
            raise
        vertex.finish()

    def put(self, message: StatusResponse) -> None:
        self._queue.put_nowait(message)

    async def put_output(self, message: StatusResponse) -> None:
        if self._queue.qsize() >= _BACKLOG:
            if not self._read:
                return
            self._room.clear()
            await self._room.wait()
        self.put(message)


class RunningVertex:
    def __init__(self, log: StatusLog, digest: str, name: str) -> None:
        self._log = log
        self._vertex = Vertex(digest=digest, name=name, started=Timestamp.now())

    def send(self) -> None:
        self._log.put(StatusResponse(vertexes=[self._vertex]))

    async def output(self, stream: int, data: bytes) -> None:
        line = VertexLog(vertex=self._vertex.digest, timestamp=Timestamp.now(), stream=stream, msg=data)
        await self._log.put_output(StatusResponse(logs=[line]))

    def finish(self, *, cached: bool = False, error: str = "") -> None:
        self._vertex = Vertex(
            digest=self._vertex.digest,
            name=self._vertex.name,
            started=self._vertex.started,
            completed=Timestamp.now(),
            cached=cached,
            error=error,
        )
        self.send()


class StatusReport(ClassicReport):
    """Takes what the classic stream would say, and says nothing: `StatusBuild` shows the steps themselves."""

    async def text(self, text: str) -> None:
        """Not shown."""

    async def message(self, body: dict[str, Any]) -> None:
        """Not shown."""


class StatusBuild(ClassicBuild):
    """Composes the image as the classic builder does, and shows each step that works on files as a vertex."""

    log: StatusLog
    _stage_name = ""
    _position = 0
    _count = 0

    async def _stage(self, stage: PlannedStage) -> StageImage:
        several = len(self._plan.stages) > 1 or stage.number > 0
        self._stage_name = (stage.name or f"stage-{stage.number}") + " " if several else ""
        self._count = 1 + sum(1 for step in stage.steps if step.node is not None)
        self._position = 1
        if not isinstance(stage.base, PlannedStage):
            self.log.vertex(self._label(stage.text)).finish(cached=stage.base is not None)
        return await super()._stage(stage)

    def _label(self, text: str) -> str:
        return f"[{self._stage_name}{self._position}/{self._count}] {text}"

    async def _follow(self, step: PlannedStep, progress: NodeProgress) -> Result | None:
        self._position += 1
        vertex = self.log.vertex(self._label(step.text))
        while True:
            event = await progress.next()
            if isinstance(event, Output):
                await vertex.output(event.stream, event.data)
            elif isinstance(event, Cached | Done):
                vertex.finish(cached=isinstance(event, Cached))
                return event.result
            elif isinstance(event, Failed):
                vertex.finish(error=error_text(event.error))
                raise event.error
