"""Shows a build as dockerd's classic builder does: `Step 1/3 : …`, ` ---> Running in …`, `Successfully built …`.

Stages may run side by side; their messages come in file order, each step whole.
"""

from __future__ import annotations

import codecs
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from sampan.build.evaluate import PlannedStep
from sampan.build.executor import CommandFailed
from sampan.build.image import StageImage, printable
from sampan.build.options import BuildOptions
from sampan.build.plan import BaseImage, Opening, Plan, PlannedStage
from sampan.build.progress import Cached, Done, Failed, NodeProgress, Output, Result, Running
from sampan.build.solver import Session
from sampan.errors import InvalidArgument, SampanError
from sampan.store.build_cache import BuildCache
from sampan.types.ids import new_id

_WITHHELD_MESSAGES = 4096
"""How much of a quiet build is kept for the case that it fails: the end of it."""
Send = Callable[[dict[str, Any]], Awaitable[None]]


class ClassicReport:
    """Writes the messages. With `quiet` only the image's id is sent, or, of a build that failed, everything up to there."""

    def __init__(self, send: Send, options: BuildOptions) -> None:
        self._send = send
        self.quiet = options.quiet
        self._opened = False
        self._withheld: deque[dict[str, Any]] = deque(maxlen=_WITHHELD_MESSAGES)

    async def open(self, opening: Opening) -> None:
        """Show how the build begins; the second time nothing."""
        if self._opened:
            return
        self._opened = True
        for warning in opening.warnings:
            await self.warning(warning)
        for number, line in enumerate(opening.lines, start=1):
            await self.header(number, opening.total, line)

    async def header(self, number: int, total: int, line: str) -> None:
        await self.text(f"Step {number}/{total} : {line}")
        await self.text("\n")

    async def text(self, text: str) -> None:
        if text:
            await self.message({"stream": printable(text)})

    async def warning(self, text: str) -> None:
        await self.text(f"\x1b[91m{text}\x1b[0m")

    async def message(self, body: dict[str, Any]) -> None:
        """A message of any kind, such as a pull's progress."""
        if self.quiet:
            self._withheld.append(body)
        else:
            await self._send(body)

    async def error(self, error: BaseException) -> None:
        for withheld in self._withheld:
            await self._send(withheld)
        text = error.message if isinstance(error, SampanError) else f"internal error: {error!r}"
        detail: dict[str, Any] = {"message": text}
        if isinstance(error, CommandFailed):
            detail = {"code": error.code, "message": text}
        await self._send({"errorDetail": detail, "error": text})

    async def built(self, image_id: str, tags: list[str], unconsumed: list[str]) -> None:
        """The end of a successful build; `tags` are familiar references."""
        if self.quiet:
            await self._send({"stream": image_id + "\n"})
            return
        await self._send({"aux": {"ID": image_id}})
        if unconsumed:
            names = " ".join(unconsumed)
            await self.text(f"[Warning] One or more build-args [{names}] were not consumed\n")
        await self.text(f"Successfully built {short(image_id)}\n")
        for tag in tags:
            await self.text(f"Successfully tagged {tag}\n")


def short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]


class ClassicBuild:
    """Follows the solver through a plan, stage by stage, and composes the images of the stages on the way."""

    def __init__(
        self,
        plan: Plan,
        session: Session,
        cache: BuildCache,
        report: ClassicReport,
        options: BuildOptions,
        use_cache: bool = True,
    ) -> None:
        self._plan = plan
        self._session = session
        self._cache = cache
        self._report = report
        self._options = options
        self._use_cache = use_cache
        self._images: dict[int, StageImage] = {}
        self._new_steps: list[tuple[str, int]] = []
        self._number = len(plan.opening.lines)

    async def run(self) -> StageImage:
        """Show everything to the end; gives the target's image. Raises what a step failed with."""
        await self._report.open(self._plan.opening)
        for stage in self._plan.stages:
            self._images[stage.number] = await self._stage(stage)
        self._cache.put_steps(self._new_steps)
        image = self._images[self._plan.target.number]
        if image.is_empty:
            raise InvalidArgument("No image was generated. Is your Dockerfile empty?")
        return image

    async def _header(self, line: str) -> None:
        self._number += 1
        await self._report.header(self._number, self._plan.opening.total, line)

    async def _stage(self, stage: PlannedStage) -> StageImage:
        if stage is not self._plan.stages[0]:  # whose line belongs to the opening
            await self._header(stage.text)
        base: BaseImage | StageImage | None
        base = self._images[stage.base.number] if isinstance(stage.base, PlannedStage) else stage.base
        image = StageImage(base, stage.state)
        if stage.triggers:
            plural = "s" if stage.triggers > 1 else ""
            await self._report.text(f"# Executing {stage.triggers} build trigger{plural}\n")
        triggers = [step for step in stage.steps if step.is_trigger]
        for step in triggers:
            await self._step(image, step)
        await self._report.text(f" ---> {short(image.image_id)}\n")
        for step in stage.steps[len(triggers) :]:
            await self._header(step.text)
            await self._step(image, step)
            await self._report.text(f" ---> {short(image.image_id)}\n")
        return image

    async def _step(self, image: StageImage, step: PlannedStep) -> None:
        if step.node is None:
            await self._configuration(image, step)
            return
        progress = self._session.progress(step.node)
        result = await self._follow(step, progress)
        node_key = await self._session.key(step.node)
        step_key = image.key_after(step, node_key)
        created_ns = result.created_ns if result is not None else time.time_ns()
        image.add(step, result, created_ns, step_key)

    async def _configuration(self, image: StageImage, step: PlannedStep) -> None:
        key = image.key_after(step, "")
        created_ns = self._cache.step_created_ns(key) if self._use_cache else None
        if created_ns is not None:
            await self._report.text(" ---> Using cache\n")
        else:
            created_ns = time.time_ns()
            self._new_steps.append((key, created_ns))
            await self._ran_in(new_id())
        image.add(step, None, created_ns, key)

    async def _ran_in(self, task_id: str) -> None:
        await self._report.text(f" ---> Running in {short(task_id)}\n")
        await self._removed(task_id)

    async def _removed(self, task_id: str) -> None:
        if self._options.remove:
            await self._report.text(f" ---> Removed intermediate container {short(task_id)}\n")

    async def _follow(self, step: PlannedStep, progress: NodeProgress) -> Result | None:
        """Show a node's events to the last. Raises what it failed with."""
        decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in range(3)]
        task_id = ""
        while True:
            event = await progress.next()
            if isinstance(event, Running):
                task_id = event.task_id or new_id()
                if step.kind == "run":
                    await self._report.text(f" ---> Running in {short(task_id)}\n")
            elif isinstance(event, Output):
                text = decoders[event.stream].decode(event.data)
                await (self._report.warning if event.stream == 2 and text else self._report.text)(text)
            elif isinstance(event, Cached):
                await self._report.text(" ---> Using cache\n")
                return event.result
            elif isinstance(event, Done):
                if step.kind == "run":
                    await self._removed(task_id)
                elif step.kind == "workdir":
                    await self._ran_in(task_id)
                return event.result
            elif isinstance(event, Failed):
                raise event.error
