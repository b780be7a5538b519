"""A Dockerfile and a client's options to a plan: which stages are needed, and what every instruction makes.

Only the configuration of base images must be known for this; nothing is run. A plan's nodes form the graph that the
solver works on; stages that the target does not need are not in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sampan.build.arguments import GlobalArguments, StageArguments, platform_arguments
from sampan.build.evaluate import Evaluator, PlannedStep
from sampan.build.mounts import parse_mount
from sampan.build.nodes import Base, Layer, Node
from sampan.build.options import BuildOptions
from sampan.build.state import StageState
from sampan.errors import InvalidArgument, SampanError
from sampan.spec.dockerfile.instructions import parse_instruction
from sampan.spec.dockerfile.parser import Line, parse_line
from sampan.spec.dockerfile.stages import Dockerfile, Stage
from sampan.spec.dockerfile.syntax import Copy, Instruction, Onbuild, Pairs, Run
from sampan.spec.dockerfile.words import Lexer
from sampan.types.platform import Platform


class BaseImage(NamedTuple):
    """An image as a stage starts from it. `document` is the whole image config (history, rootfs, …)."""

    image_id: str
    document: Mapping[str, Any]
    layers: tuple[Layer, ...]
    platform: Platform


ImageResolver = Callable[[str, str], Awaitable[BaseImage]]
"""`(reference, platform)`: the image, pulled if need be. Raises the errors tree."""


class Opening(NamedTuple):
    """What a build shows before its first base image is looked for: warnings, and the lines up to the first FROM."""

    warnings: list[str]
    lines: list[str]
    total: int


class Watcher(Protocol):
    """Sees the making of a plan, which may take its time."""

    async def open(self, opening: Opening) -> None:
        """The first base image is about to be looked for."""

    async def header(self, number: int, total: int, line: str) -> None:
        """The step that the plan, and so the build, fails at."""


@dataclass
class PlannedStage:
    """`base` is the image or the earlier stage that it starts from, None for `scratch`."""

    number: int
    name: str
    text: str
    base: BaseImage | PlannedStage | None
    state: StageState
    node: Node
    steps: list[PlannedStep] = field(default_factory=list)
    triggers: int = 0


@dataclass
class Plan:
    """`stages` in file order, the last is the target."""

    stages: list[PlannedStage]
    opening: Opening
    unconsumed: list[str]

    @property
    def target(self) -> PlannedStage:
        return self.stages[-1]


def target_stage(file: Dockerfile, target: str) -> Stage:
    """The stage to build. Raises `InvalidArgument`: `target stage "x" could not be found`."""
    if not target:
        return file.stages[-1]
    stage = file.find(target)
    if stage is None:
        raise InvalidArgument(f'target stage "{target}" could not be found')
    return stage


async def make_plan(
    file: Dockerfile,
    options: BuildOptions,
    resolve: ImageResolver,
    watcher: Watcher | None = None,
) -> Plan:
    """Plan the build of `options.target`.

    Raises:
        InvalidArgument: a word cannot be expanded, an option is wrong, a name is missing; also what `resolve` raises.
    """
    return await _Planner(file, options, resolve, watcher).plan()


class _Planner:
    def __init__(
        self, file: Dockerfile, options: BuildOptions, resolve: ImageResolver, watcher: Watcher | None
    ) -> None:
        self.file = file
        self.watcher = watcher
        self.number = 0
        self.options = options
        self.resolve = resolve
        self.lexer = Lexer(escape=file.escape)
        build = Platform.host()
        target = Platform.parse(options.platform) if options.platform else build
        self.platform = target
        self.scope = GlobalArguments(file.arguments, options.build_args, platform_arguments(target, build), self.lexer)
        self.planned: dict[int, PlannedStage] = {}
        self.images: dict[tuple[str, str], BaseImage] = {}

    async def plan(self) -> Plan:
        last = target_stage(self.file, self.options.target)
        names = [stage.name for stage in self.file.stages[: last.number + 1] if stage.name]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise InvalidArgument(f"{twice} stage name already used")
        needed = self._needed(last)
        stages = [stage for stage in self.file.stages[: last.number + 1] if stage.number in needed]
        opening = self._opening(stages)
        if self.watcher is not None:
            await self.watcher.open(opening)
        self.number = len(self.file.arguments)
        for stage in stages:
            self.planned[stage.number] = await self._stage(stage, opening.total)
        target = self.planned[last.number]
        for name, value in sorted(self.options.labels.items()):
            self._label(target, name, value)
        return Plan(list(self.planned.values()), opening, self.scope.unconsumed())

    def _opening(self, stages: list[Stage]) -> Opening:
        lines = [instruction.line.original for instruction in self.file.arguments]
        steps = sum(1 + len(stage.body) for stage in stages) + len(self.options.labels)
        return Opening(self.file.warnings, [*lines, stages[0].start.line.original], len(lines) + steps)

    def _needed(self, last: Stage) -> set[int]:
        needed: set[int] = set()
        pending = [last]
        while pending:
            stage = pending.pop()
            if stage.number in needed:
                continue
            needed.add(stage.number)
            for name in _references(stage):
                found = self.file.find(name, before=stage.number)
                if found is not None:
                    pending.append(found)
            base = self._base_stage(stage)
            if base is not None:
                pending.append(base)
        return needed

    def _base_name(self, stage: Stage) -> str:
        name = self.lexer.text(stage.start.base, self.scope.variables())
        if not name:
            raise InvalidArgument(f"base name ({stage.start.base}) should not be blank")
        return name

    def _base_stage(self, stage: Stage) -> Stage | None:
        name = self._base_name(stage).lower()
        for other in reversed(self.file.stages[: stage.number]):
            if other.name and other.name == name:
                return other
        return None

    async def image(self, name: str, platform: str) -> BaseImage:
        key = (name, platform)
        if key not in self.images:
            self.images[key] = await self.resolve(name, platform)
        return self.images[key]

    async def _stage(self, stage: Stage, total: int) -> PlannedStage:
        self.number += 1
        planned = await self._start(stage)
        evaluator = Evaluator(self.lexer, self.options, planned.state, self._node_of(stage))
        triggers = list(planned.state.config.get("OnBuild") or [])
        planned.triggers = len(triggers)
        if triggers:
            planned.state.set("OnBuild", None)
        for trigger in triggers:
            instruction = parse_instruction(parse_line(trigger, "\\"))
            await self._add(planned, evaluator, instruction, is_trigger=True)
        for instruction in stage.body:
            self.number += 1
            try:
                await self._add(planned, evaluator, instruction, is_trigger=False)
            except SampanError:
                if self.watcher is not None:
                    await self.watcher.header(self.number, total, instruction.line.original)
                raise
        return planned

    async def _add(
        self, planned: PlannedStage, evaluator: Evaluator, instruction: Instruction, *, is_trigger: bool
    ) -> None:
        step = await evaluator.step(planned.node, instruction, is_trigger=is_trigger)
        planned.steps.append(step)
        if step.node is not None:
            planned.node = step.node

    async def _start(self, stage: Stage) -> PlannedStage:
        text = stage.start.line.original
        arguments = StageArguments(self.scope)
        parent = self._base_stage(stage)
        if parent is not None:
            base = self.planned[parent.number]
            arguments = StageArguments(self.scope, base.state.arguments)
            state = StageState(base.state.config, base.state.platform, arguments, base.state.author)
            return PlannedStage(stage.number, stage.name, text, base, state, base.node)
        name = self._base_name(stage)
        if name == "scratch":
            return PlannedStage(stage.number, stage.name, text, None, StageState({}, self.platform, arguments), Base())
        platform = self.lexer.text(stage.start.platform, self.scope.variables()) or self.options.platform
        image = await self.image(name, platform)
        config = dict(image.document.get("config") or {})
        state = StageState(config, image.platform, arguments, str(image.document.get("author") or ""))
        return PlannedStage(stage.number, stage.name, text, image, state, Base(image.layers))

    def _node_of(self, stage: Stage) -> Callable[[str], Awaitable[Node]]:
        """What `--from` and `from=` name, seen from `stage`."""

        async def find(name: str) -> Node:
            found = self.file.find(name, before=stage.number)
            if found is not None:
                return self.planned[found.number].node
            if name == "scratch":
                return Base()
            if name == str(stage.number):
                raise InvalidArgument(f"invalid from flag value {name}: refers to current build stage")
            try:
                return Base((await self.image(name, self.options.platform)).layers)
            except SampanError as error:
                raise InvalidArgument(f"invalid from flag value {name}: {error.message}") from None

        return find

    def _label(self, target: PlannedStage, name: str, value: str) -> None:
        line = Line("LABEL", [], "", [], f"LABEL {name}={value}", 0, 0)
        target.steps.append(Evaluator.label_step(target.state, Pairs(line, [(name, value)], False)))


def _references(stage: Stage) -> list[str]:
    """The names that a stage's COPY and RUN lines read from."""
    found: list[str] = []
    for instruction in stage.body:
        if isinstance(instruction, Onbuild):
            continue
        if isinstance(instruction, Copy) and instruction.source_stage:
            found.append(instruction.source_stage)
        elif isinstance(instruction, Run):
            found.extend(_mount_stage(mount) for mount in instruction.mounts)
    return [name for name in found if name]


def _mount_stage(text: str) -> str:
    try:
        return parse_mount(text, "/").stage
    except InvalidArgument:
        return ""  # reported with its line when the instruction is evaluated
