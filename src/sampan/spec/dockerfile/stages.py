"""Instructions to stages."""

from __future__ import annotations

from typing import NamedTuple

from sampan.spec.dockerfile.instructions import parse_instruction
from sampan.spec.dockerfile.parser import DockerfileError, Document
from sampan.spec.dockerfile.syntax import Arg, From, Instruction


class Stage(NamedTuple):
    """A FROM with what follows it. `number` counts from 0."""

    number: int
    start: From
    body: list[Instruction]

    @property
    def name(self) -> str:
        """The name given with AS, or empty."""
        return self.start.name


class Dockerfile(NamedTuple):
    """`arguments` are the ARGs ahead of the first FROM; they are seen by FROM lines alone."""

    arguments: list[Arg]
    stages: list[Stage]
    escape: str
    directives: dict[str, str]
    warnings: list[str]

    def find(self, name: str, *, before: int | None = None) -> Stage | None:
        """The stage of that name or number among those before `before`; a later one of the same name wins."""
        stages = self.stages[:before]
        for stage in reversed(stages):
            if stage.name and stage.name == name.lower():
                return stage
        if name.isascii() and name.isdecimal() and int(name) < len(stages):
            return stages[int(name)]
        return None


def build_stages(document: Document) -> Dockerfile:
    """Type every line and group them. Raises `DockerfileError`."""
    arguments: list[Arg] = []
    stages: list[Stage] = []
    for line in document.lines:
        instruction = parse_instruction(line, document.escape)
        if isinstance(instruction, From):
            stages.append(Stage(len(stages), instruction, []))
        elif stages:
            stages[-1].body.append(instruction)
        elif isinstance(instruction, Arg):
            arguments.append(instruction)
        else:
            raise DockerfileError("no build stage in current context", line=line.first)
    if not stages:
        raise DockerfileError("no build stage in current context")
    return Dockerfile(arguments, stages, document.escape, document.directives, document.warnings)
