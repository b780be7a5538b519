"""The instructions of a Dockerfile as values. Each keeps the `line` that it stands in; words are not expanded yet."""

from __future__ import annotations

from typing import NamedTuple

from sampan.spec.dockerfile.parser import Heredoc, Line


class From(NamedTuple):
    line: Line
    base: str
    name: str
    platform: str


class Command(NamedTuple):
    """CMD, ENTRYPOINT and RUN's words: `words` alone in exec form; one text for the shell in shell form."""

    words: list[str]
    is_shell: bool


class Run(NamedTuple):
    """`mounts` are the raw values of `--mount`, in order; `network` and `security` empty for the default."""

    line: Line
    command: Command
    mounts: list[str]
    network: str
    security: str


class Cmd(NamedTuple):
    line: Line
    command: Command


class Entrypoint(NamedTuple):
    line: Line
    command: Command


class Copy(NamedTuple):
    """COPY and ADD. `sources` holds paths (and URLs for ADD); `heredocs` the inline files among them, in order."""

    line: Line
    is_add: bool
    sources: list[str]
    heredocs: list[Heredoc]
    destination: str
    source_stage: str
    chown: str
    chmod: str
    checksum: str
    link: bool
    parents: bool
    exclude: list[str]
    keep_git_dir: bool
    unpack: bool | None


class Pairs(NamedTuple):
    """ENV and LABEL: unexpanded names and values in order."""

    line: Line
    pairs: list[tuple[str, str]]
    old_form: bool


class Arg(NamedTuple):
    line: Line
    pairs: list[tuple[str, str | None]]


class Words(NamedTuple):
    """EXPOSE and VOLUME."""

    line: Line
    words: list[str]


class Text(NamedTuple):
    """USER, WORKDIR, STOPSIGNAL, MAINTAINER."""

    line: Line
    text: str


class Shell(NamedTuple):
    line: Line
    words: list[str]


class Healthcheck(NamedTuple):
    """`test` as in the image config: `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`. Zero: inherit."""

    line: Line
    test: list[str]
    interval_ns: int
    timeout_ns: int
    start_period_ns: int
    start_interval_ns: int
    retries: int


class Onbuild(NamedTuple):
    line: Line
    expression: str


Instruction = From | Run | Cmd | Entrypoint | Copy | Pairs | Arg | Words | Text | Shell | Healthcheck | Onbuild
