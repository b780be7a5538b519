"""A Dockerfile's text to logical lines: directives, comments, continuations, flags, heredocs.

What a line means is not decided here (see instructions.py). Errors are `DockerfileError`s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from sampan.errors import InvalidArgument
from sampan.spec.dockerfile.words import Lexer, WordError

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*\Z")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]*)\Z")
_SPACE = re.compile(r"[\t\v\f\r ]+")
_HEREDOC_KEYWORDS = frozenset({"ADD", "COPY", "RUN"})
MAX_LINE_BYTES = 1 << 20
"""A longer logical line is refused: nobody writes one, and it would be stored in every image's history."""


class DockerfileError(InvalidArgument):
    """A Dockerfile that cannot be read. `line` is 1-based, 0 if no line is to blame."""

    def __init__(self, message: str, *, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Heredoc(NamedTuple):
    """`<<name`. `content` is as written; `expand` is False if the name was quoted; `chomp` for `<<-`."""

    name: str
    content: str
    expand: bool
    chomp: bool
    descriptor: int

    def text(self) -> str:
        """The content with leading tabs removed where `<<-` asks for it."""
        return re.sub(r"(?m)^\t+", "", self.content) if self.chomp else self.content


class Line(NamedTuple):
    """One logical line. `rest` is what follows the flags; `original` the joined text as it is shown to users."""

    keyword: str
    flags: list[str]
    rest: str
    heredocs: list[Heredoc]
    original: str
    first: int
    last: int


class Document(NamedTuple):
    """A parsed file. `directives` has `syntax`, `escape` and `check` where given."""

    lines: list[Line]
    directives: dict[str, str]
    escape: str
    warnings: list[str]


def parse(data: bytes) -> Document:
    """Parse a whole Dockerfile.

    Raises:
        DockerfileError: with Docker's text, prefixed as Docker prefixes it.
    """
    physical = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n")
    directives = _directives(physical)
    escape = directives.get("escape", "\\")
    warnings: list[str] = []
    lines = list(_logical_lines(physical, escape, warnings))
    if not lines:
        raise DockerfileError("failed to parse Dockerfile: file with no instructions")
    if warnings:
        warnings.append("[WARNING]: Empty continuation lines will become errors in a future release.\n")
    return Document(lines, directives, escape, warnings)


def _directives(physical: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(physical, start=1):
        match = _DIRECTIVE.match(line.strip())
        if match is None:
            break
        name = match[1].lower()
        if name not in ("syntax", "escape", "check"):
            break
        if name in found:
            raise DockerfileError(
                f"failed to parse Dockerfile: only one {name} parser directive can be used", line=number
            )
        found[name] = match[2]
    escape = found.get("escape", "\\")
    if escape not in ("\\", "`"):
        raise DockerfileError(
            f"failed to parse Dockerfile: invalid escape token '{escape}' does not match ` or \\", line=1
        )
    return found


class _Continuation:
    """Recognises the escape character at the end of a line (an escaped one does not count)."""

    def __init__(self, escape: str) -> None:
        quoted = re.escape(escape)
        self._expression = re.compile(rf"(?:\A|(?<=[^{quoted}])){quoted}[ \t]*\Z")

    def cut(self, line: str) -> tuple[str, bool]:
        """The line without its continuation mark, and whether it ends here."""
        match = self._expression.search(line)
        return (line, True) if match is None else (line[: match.start()], False)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _logical_lines(physical: list[str], escape: str, warnings: list[str]) -> Iterator[Line]:
    continuation = _Continuation(escape)
    position = 0
    while position < len(physical):
        first = position + 1
        text = physical[position].rstrip("\r")
        position += 1
        if _is_comment(text):
            continue
        text, ended = continuation.cut(text.lstrip())
        if ended and not text.strip():
            continue
        empty_seen = False
        while not ended and position < len(physical):
            more = physical[position].rstrip("\r")
            position += 1
            if _is_comment(more):
                continue
            if not more.strip():
                empty_seen = empty_seen or position < len(physical)
                continue
            more, ended = continuation.cut(more)
            text += more
        if not text.strip():
            continue
        if len(text) > MAX_LINE_BYTES:
            raise DockerfileError(
                f"dockerfile parse error on line {first}: line longer than {MAX_LINE_BYTES} bytes", line=first
            )
        if empty_seen:
            warnings.append(f"[WARNING]: Empty continuation line found in: {text.strip()}\n")
        line = _line(text, escape, first)
        heredocs, position = _heredocs(line, physical, position)
        yield line._replace(heredocs=heredocs, last=position)


def _line(text: str, escape: str, first: int) -> Line:
    original = text.strip()
    parts = _SPACE.split(original, maxsplit=1)
    flags, rest = split_flags(parts[1], escape) if len(parts) == 2 else ([], "")
    return Line(parts[0].upper(), flags, rest.strip(), [], original, first, first)


def parse_line(text: str, escape: str, number: int = 0) -> Line:
    """One instruction given alone, as an ONBUILD trigger is kept; its heredoc bodies follow after a newline."""
    head, *body = text.split("\n")
    line = _line(head, escape, number)
    heredocs, _ = _heredocs(line, body, 0)
    return line._replace(heredocs=heredocs)


def split_flags(text: str, escape: str) -> tuple[list[str], str]:
    """The leading `--name[=value]` words and what follows; quotes and escapes are honoured and removed."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if not text.startswith("--", position):
            return flags, text[position:]
        word, end = _flag_word(text, position, escape)
        if word == "--":
            return flags, text[end:].lstrip()
        flags.append(word)
        position = end


def _flag_word(text: str, position: int, escape: str) -> tuple[str, int]:
    out: list[str] = []
    quote = ""
    while position < len(text):
        char = text[position]
        if not quote and char.isspace():
            break
        position += 1
        if quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == escape and quote != "'":
            if position < len(text):
                out.append(text[position])
                position += 1
        else:
            out.append(char)
    return "".join(out), position


def _heredocs(line: Line, physical: list[str], position: int) -> tuple[list[Heredoc], int]:
    """The heredocs that the line opens, read from the physical lines that follow."""
    found: list[Heredoc] = []
    for heredoc in heredoc_words(line):
        content: list[str] = []
        while True:
            if position >= len(physical):
                raise DockerfileError("failed to parse Dockerfile: unterminated heredoc", line=line.first)
            text = physical[position]
            position += 1
            candidate = text.rstrip("\r")
            if (candidate.lstrip("\t") if heredoc.chomp else candidate) == heredoc.name:
                break
            content.append(text + "\n")
        found.append(heredoc._replace(content="".join(content)))
    return found, position


def heredoc_words(line: Line) -> list[Heredoc]:
    """The heredocs that `line` names, without their content."""
    keyword, rest = line.keyword, line.rest
    if keyword == "ONBUILD":
        inner = _SPACE.split(rest, maxsplit=1)
        keyword, rest = inner[0].upper(), inner[1] if len(inner) == 2 else ""
    if keyword not in _HEREDOC_KEYWORDS or "<<" not in rest or rest.startswith("["):
        return []
    try:
        words = Lexer(raw_quotes=True, raw_escapes=True, skip_unset=True).words(rest, {})
    except WordError:
        return []  # a shell's own quoting may be beyond our words
    return [heredoc for word in words if (heredoc := heredoc_of(word)) is not None]


def heredoc_of(word: str) -> Heredoc | None:
    """The heredoc that a word such as `<<EOF`, `<<-'EOF'` or `3<<EOF` opens, or None."""
    match = _HEREDOC.match(word)
    if match is None or not match[3]:
        return None
    try:
        plain = Lexer(skip_unset=True).words(match[3], {})
        raw = Lexer(raw_quotes=True, raw_escapes=True, skip_unset=True).words(match[3], {})
    except WordError:
        return None
    if len(plain) != 1:
        return None
    return Heredoc(plain[0], "", plain == raw, match[2] == "-", int(match[1] or 0))
