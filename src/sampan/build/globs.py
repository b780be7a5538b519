"""Wildcards of COPY and ADD sources: Go's `filepath.Match`, one path component at a time."""

from __future__ import annotations

import re

from sampan.build.tree import Found, LayeredTree
from sampan.errors import InvalidArgument


def has_wildcard(text: str) -> bool:
    return any(char in text for char in "*?[\\")


def component(pattern: str) -> re.Pattern[str]:
    """The expression of one component. Raises `InvalidArgument` for a malformed pattern.

    What stands between two stars has a fixed length, so its first occurrence is as good as any later one: atomic groups
    say so, and a pattern of many stars costs no more than its length times the name's.
    """
    segments: list[list[str]] = [[]]
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        out = segments[-1]
        if char == "*":
            segments.append([])
        elif char == "?":
            out.append("[^/]")
        elif char == "\\" and position < len(pattern):
            out.append(re.escape(pattern[position]))
            position += 1
        elif char == "[":
            end = _class_end(pattern, position)
            if end < 0:
                raise InvalidArgument(f"syntax error in pattern: {pattern}")
            body = pattern[position:end]
            negated = body.startswith("^")
            body = body[negated:].replace("[", "\\[")
            out.append(f"[{'^' if negated else ''}{body}]")
            position = end + 1
        else:
            out.append(re.escape(char))
    try:
        return re.compile(_join(["".join(segment) for segment in segments]), re.DOTALL)
    except re.error:
        raise InvalidArgument(f"syntax error in pattern: {pattern}") from None


def _join(segments: list[str]) -> str:
    first, *rest = segments
    if not rest:
        return first + r"\Z"
    middle = "".join(f"(?>[^/]*?{segment})" for segment in rest[:-1])
    return f"{first}{middle}[^/]*{rest[-1]}" + r"\Z"


def _class_end(pattern: str, position: int) -> int:
    start = position + 1 if pattern.startswith("^", position) else position
    while position < len(pattern):
        if pattern[position] == "\\":
            position += 2
            continue
        if pattern[position] == "]" and position > start:
            return position
        position += 1
    return -1


def expand(tree: LayeredTree, pattern: str) -> list[tuple[str, Found]]:
    """The files of `tree` that match, with their paths relative to the root, sorted; links are not walked through."""
    if tree.root is None:
        return []
    level: list[tuple[str, Found]] = [("", tree.root)]
    for part in (part for part in pattern.split("/") if part not in ("", ".")):
        matched: list[tuple[str, Found]] = []
        expression = component(part) if has_wildcard(part) else None
        for path, found in level:
            if not found.is_directory:
                continue
            if expression is None:
                child = tree.child(found, part)
                if child is not None:
                    matched.append((f"{path}/{part}" if path else part, child))
                continue
            for name, child in tree.children(found):
                if expression.match(name):
                    matched.append((f"{path}/{name}" if path else name, child))
        level = matched
    return level
