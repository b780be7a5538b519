"""What a template is parsed into."""

from __future__ import annotations


class Text:
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Pipeline:
    """`declared` variables (`:=`, or `=` if `assigns`) get the value of the last of `commands`."""

    __slots__ = ("assigns", "commands", "declared", "source")

    def __init__(self, commands: list[list[Operand]], declared: list[str], assigns: bool, source: str) -> None:
        self.commands = commands
        self.declared = declared
        self.assigns = assigns
        self.source = source


class Operand:
    """`kind`: dot, field, variable, name, string, number, bool, nil or pipeline; `chain`: fields that follow."""

    __slots__ = ("chain", "kind", "value")

    def __init__(self, kind: str, value: object, chain: list[str]) -> None:
        self.kind = kind
        self.value = value
        self.chain = chain


class Action:
    __slots__ = ("pipeline",)

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline


class Branch:
    """`kind`: if, with or range."""

    __slots__ = ("body", "kind", "otherwise", "pipeline")

    def __init__(self, kind: str, pipeline: Pipeline, body: list[Node], otherwise: list[Node]) -> None:
        self.kind = kind
        self.pipeline = pipeline
        self.body = body
        self.otherwise = otherwise


class Call:
    """{{template "name" pipeline}}"""

    __slots__ = ("name", "pipeline")

    def __init__(self, name: str, pipeline: Pipeline | None) -> None:
        self.name = name
        self.pipeline = pipeline


class Jump:
    """{{break}} and {{continue}}"""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


TYPE_CHECKING = False
if TYPE_CHECKING:
    Node = Text | Action | Branch | Call | Jump
