"""One instruction in the state of its stage: the configuration after it, its history entry, and its node if it has one."""

from __future__ import annotations

import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sampan.build.mounts import parse_mount
from sampan.build.nodes import Copy, Directory, Inline, Mount, Node, Run
from sampan.build.options import BuildOptions
from sampan.build.state import StageState
from sampan.errors import InvalidArgument
from sampan.spec.dockerfile import syntax
from sampan.spec.dockerfile.parser import Heredoc
from sampan.spec.dockerfile.words import Lexer

SOURCE_MARK = "\0source\0"
"""Stands in a COPY's history text for the digest of what it copied, which only the solver knows."""
_URL = re.compile(r"(?i)https?://")


@dataclass
class PlannedStep:
    """`node` is None for instructions that change the configuration alone. `config` is as it stands after the step."""

    text: str
    kind: str
    node: Node | None
    config: dict[str, Any]
    author: str
    created_by: str
    is_trigger: bool = False


class Evaluator:
    """Evaluates the instructions of one stage in order, changing its `state`."""

    def __init__(
        self,
        lexer: Lexer,
        options: BuildOptions,
        state: StageState,
        find_node: Callable[[str], Awaitable[Node]],
    ) -> None:
        self.lexer = lexer
        self.options = options
        self.state = state
        self.find_node = find_node

    async def step(self, parent: Node, instruction: syntax.Instruction, *, is_trigger: bool = False) -> PlannedStep:
        """Evaluate one instruction on top of `parent`. Raises `InvalidArgument` in Docker's words."""
        if isinstance(instruction, syntax.Run):
            return await self._run(parent, instruction, is_trigger)
        if isinstance(instruction, syntax.Copy):
            return await self._copy(parent, instruction, is_trigger)
        comment = self._configure(instruction)
        if instruction.line.keyword == "WORKDIR":
            # dockerd writes this one with a single space: it is committed like a COPY, not like an ENV.
            node = Directory(parent, self.state.directory)
            return self._planned(instruction, "workdir", node, f"#(nop) {comment}", is_trigger)
        return self._planned(instruction, "config", None, f"#(nop)  {comment}", is_trigger)

    @staticmethod
    def label_step(state: StageState, pairs: syntax.Pairs) -> PlannedStep:
        """A label of the request, as one more step that expands nothing."""
        created_by = " ".join([*state.shell, f"#(nop)  {state.label(pairs.pairs)}"])
        return PlannedStep(pairs.line.original, "config", None, state.config, state.author, created_by)

    def _planned(
        self, instruction: syntax.Instruction, kind: str, node: Node | None, comment: str, is_trigger: bool
    ) -> PlannedStep:
        state = self.state
        created_by = " ".join([*state.shell, comment])
        text = instruction.line.original
        return PlannedStep(text, kind, node, state.config, state.author, created_by, is_trigger)

    def _text(self, word: str) -> str:
        return self.lexer.text(word, self.state.variables())

    # --- configuration

    def _configure(self, instruction: syntax.Instruction) -> str:
        state = self.state
        if isinstance(instruction, syntax.Pairs):
            return self._pairs(instruction)
        if isinstance(instruction, syntax.Arg):
            return self._arg(instruction)
        if isinstance(instruction, syntax.Cmd):
            return state.cmd(instruction.command)
        if isinstance(instruction, syntax.Entrypoint):
            return state.entrypoint(instruction.command)
        if isinstance(instruction, syntax.Words):
            return self._words(instruction)
        if isinstance(instruction, syntax.Text):
            return self._single(instruction)
        if isinstance(instruction, syntax.Shell):
            state.set("Shell", instruction.words)
            return f"SHELL [{' '.join(instruction.words)}]"
        if isinstance(instruction, syntax.Healthcheck):
            return state.healthcheck(instruction)
        if isinstance(instruction, syntax.Onbuild):
            state.set("OnBuild", [*(state.config.get("OnBuild") or []), instruction.expression])
            return f"ONBUILD {instruction.expression}"
        raise InvalidArgument(f"unexpected instruction: {instruction.line.keyword}")

    def _pairs(self, instruction: syntax.Pairs) -> str:
        # All words of one instruction see the environment as it was before it.
        pairs = [(self._text(name), self._text(value)) for name, value in instruction.pairs]
        keyword = instruction.line.keyword
        if any(not name for name, _ in pairs):
            raise InvalidArgument(f"{keyword} names can not be blank")
        return self.state.env(pairs) if keyword == "ENV" else self.state.label(pairs)

    def _arg(self, instruction: syntax.Arg) -> str:
        shown = []
        for name, default in instruction.pairs:
            value = None if default is None else self._text(default)
            self.state.arguments.declare(name, value, default)
            shown.append(name if value is None else f"{name}={value}")
        return f"ARG {' '.join(shown)}"

    def _words(self, instruction: syntax.Words) -> str:
        if instruction.line.keyword == "VOLUME":
            return self.state.volume([self._text(word) for word in instruction.words])
        variables = self.state.variables()
        return self.state.expose([part for word in instruction.words for part in self.lexer.words(word, variables)])

    def _single(self, instruction: syntax.Text) -> str:
        state, keyword = self.state, instruction.line.keyword
        if keyword == "MAINTAINER":
            state.author = instruction.text
            return f"MAINTAINER {instruction.text}"
        value = self._text(instruction.text)
        if keyword == "WORKDIR":
            return state.workdir(value)
        if keyword == "USER":
            state.set("User", value)
            return f"USER {value}"
        _check_signal(value)
        state.set("StopSignal", value)
        return f"STOPSIGNAL {value}"

    # --- RUN

    async def _run(self, parent: Node, instruction: syntax.Run, is_trigger: bool) -> PlannedStep:
        state, options = self.state, self.options
        words = state.words(instruction.command)
        if not words:
            raise InvalidArgument("RUN requires at least one argument")
        arguments = state.run_arguments()
        pairs = [f"{name}={value}" for name, value in arguments.items()]
        network = instruction.network or options.network or "default"
        node = Run(
            parent=parent,
            arguments=tuple(words),
            environment=(*state.environment, *pairs),
            directory=state.directory,
            user=str(state.config.get("User") or ""),
            network="default" if network == "bridge" else network,
            mounts=tuple([await self._mount(text) for text in instruction.mounts]),
            extra_hosts=tuple(options.extra_hosts),
            insecure=instruction.security == "insecure",
            volumes=tuple(sorted(state.config.get("Volumes") or ())),
            hidden_environment=state.arguments.hidden(),
            limits=options.limits,
        )
        shown = " ".join(words)
        created_by = f"|{len(pairs)} {' '.join(pairs)} {shown}" if pairs else shown
        return PlannedStep(instruction.line.original, "run", node, state.config, state.author, created_by, is_trigger)

    async def _mount(self, text: str) -> Mount:
        spec = parse_mount(self._text(text), self.state.directory)
        if spec.kind == "ssh":
            raise InvalidArgument("RUN --mount=type=ssh needs a client session, which the classic build API has not")
        source = await self.find_node(spec.stage) if spec.stage else None
        return Mount(
            *(spec.kind, spec.target, source, spec.source, spec.read_only, spec.identity, spec.sharing, spec.required),
            *(spec.variable, spec.mode, spec.uid, spec.gid, spec.size_bytes),
        )

    # --- COPY and ADD

    async def _copy(self, parent: Node, instruction: syntax.Copy, is_trigger: bool) -> PlannedStep:
        keyword = instruction.line.keyword
        texts = [self._text(word) for word in instruction.sources]
        urls = [text for text in texts if instruction.is_add and _URL.match(text)]
        destination = self._text(instruction.destination)
        if len(texts) + len(instruction.heredocs) > 1 and not destination.endswith("/") and destination != ".":
            raise InvalidArgument(
                f"When using {keyword} with more than one source file, the destination must be a directory and end with a /"
            )
        stage = instruction.source_stage
        chown = self._text(instruction.chown)
        node = Copy(
            parent=parent,
            source=await self.find_node(stage) if stage else None,
            patterns=tuple(text for text in texts if text not in urls),
            inline=tuple(self._inline(heredoc) for heredoc in instruction.heredocs),
            urls=tuple(urls),
            destination=absolute(self.state.directory, destination),
            instruction=keyword,
            chown=chown,
            chmod=self._text(instruction.chmod),
            checksum=self._text(instruction.checksum),
            exclude=tuple(self._text(word) for word in instruction.exclude),
            parents=instruction.parents,
            unpack=instruction.unpack if instruction.unpack is not None else (None if instruction.is_add else False),
            keeps_owner=bool(stage) and self.options.copy_keeps_owner,
        )
        flag = f"--chown={chown} " if chown else ""
        comment = f"#(nop) {keyword} {flag}{SOURCE_MARK} in {destination} "
        return self._planned(instruction, "copy", node, comment, is_trigger)

    def _inline(self, heredoc: Heredoc) -> Inline:
        content = heredoc.text()
        if heredoc.expand:
            content = self.lexer._replace(skip_quotes=True).text(content, self.state.variables())
        return Inline(heredoc.name, content.encode("utf-8", "surrogateescape"))


def absolute(directory: str, path: str) -> str:
    """`path` seen from `directory`; a slash (or dot) at its end stays a slash."""
    ends = path.endswith("/") or path in (".", "..") or path.endswith(("/.", "/.."))
    full = path if path.startswith("/") else f"{directory.rstrip('/')}/{path}"
    parts: list[str] = []
    for part in full.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    joined = "/" + "/".join(parts)
    return joined + "/" if ends and joined != "/" else joined


def _check_signal(name: str) -> None:
    """Raises `InvalidArgument`: `invalid signal: FOO`."""
    if name.isascii() and name.isdigit():
        if int(name) > 0:
            return
    else:
        bare = name.upper().removeprefix("SIG")
        if re.fullmatch(r"RT(MIN(\+\d+)?|MAX(-\d+)?)", bare) or f"SIG{bare}" in signal.Signals.__members__:
            return
    raise InvalidArgument(f"invalid signal: {name}")
