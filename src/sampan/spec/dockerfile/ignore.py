"""`.dockerignore`: which paths of a build context are left out.

Patterns are read in order and the last one that says something about a path decides; `!` takes a path back. A pattern
that matches a directory covers what is below it. `*` and `?` stop at `/`, `**` does not.
Source: https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from sampan.errors import InvalidArgument

_ESCAPED = frozenset(".+()|{}$^")


class Ignore:
    """A compiled list of patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile cleaned patterns (see `read`). Raises `InvalidArgument` for one that cannot be understood."""
        self.patterns = list(patterns)
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for pattern in self.patterns:
            text = pattern.strip()
            if not text:
                continue
            negative = text.startswith("!")
            if negative:
                text = text[1:].strip()
                if not text:
                    raise InvalidArgument('illegal exclusion pattern: "!"')
            self._rules.append((negative, re.compile(_expression(posixpath.normpath(text), pattern), re.DOTALL)))
        self.has_exceptions = any(negative for negative, _ in self._rules)

    def matches(self, path: str) -> bool:
        """Whether `path` (relative, `/` between names) is left out, itself or through one of its parents."""
        parents: list[str] | None = None
        ignored = False
        for negative, expression in self._rules:
            if negative != ignored:
                continue  # it could not change the answer
            hit = expression.match(path) is not None
            if not hit:
                if parents is None:
                    parents = [path[:index] for index, char in enumerate(path) if char == "/" and index]
                hit = any(expression.match(parent) for parent in parents)
            if hit:
                ignored = not negative
        return ignored

    def prunes(self, directory: str) -> bool:
        """Whether nothing below the ignored `directory` can come back, so that a walk may skip it."""
        return not self.has_exceptions and self.matches(directory)


def read(text: str) -> list[str]:
    """The patterns of a `.dockerignore` file, cleaned: no comments, no empty lines, no leading `/`."""
    patterns = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.startswith("#"):
            continue
        pattern = line.strip()
        if not pattern:
            continue
        negative = pattern.startswith("!")
        if negative:
            pattern = pattern[1:].strip()
        if pattern:
            pattern = posixpath.normpath(pattern)
            # normpath keeps exactly two leading slashes, as POSIX asks.
            pattern = pattern.lstrip("/") if len(pattern.strip("/")) else pattern
        patterns.append("!" + pattern if negative else pattern)
    return patterns


def parse(text: str) -> Ignore:
    """`Ignore` of a file's text."""
    return Ignore(read(text))


def _expression(pattern: str, shown: str) -> str:
    out: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            if pattern[position : position + 1] != "*":
                out.append("[^/]*")
                continue
            position += 1
            if pattern[position : position + 1] == "/":
                position += 1
            out.append(".*" if position >= len(pattern) else "(?:.*/)?")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\":
            if position >= len(pattern):
                raise InvalidArgument(f"error from syntax error in pattern: {shown}")
            out.append(re.escape(pattern[position]))
            position += 1
        elif char == "[":
            expression, position = _character_class(pattern, position, shown)
            out.append(expression)
        else:
            out.append(re.escape(char) if char in _ESCAPED or not char.isalnum() else char)
    return "".join(out) + r"\Z"


def _character_class(pattern: str, position: int, shown: str) -> tuple[str, int]:
    """`[a-z]` and `[^a-z]` from just after the bracket; gives the expression and where it ends."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    items: list[str] = []
    while position < len(pattern) and (pattern[position] != "]" or not items):
        char = pattern[position]
        if char == "\\" and position + 1 < len(pattern):
            position += 1
            char = pattern[position]
            items.append(re.escape(char))
        else:
            items.append("-" if char == "-" and items else re.escape(char))
        position += 1
    if position >= len(pattern) or not items:
        raise InvalidArgument(f"syntax error in pattern: {shown}")
    text = "".join(items)
    try:
        re.compile(f"[{text}]")
    except re.error:
        raise InvalidArgument(f"syntax error in pattern: {shown}") from None
    return f"[{'^' if negated else ''}{text}]", position + 1
