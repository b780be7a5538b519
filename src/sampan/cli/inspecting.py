"""`inspect` of any kind: the engine's own JSON, indented, or --format over it; missing objects are reported at the end."""

from __future__ import annotations

import sys

from sampan.client import wire
from sampan.errors import NotFound, SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.cli.context import Context


def inspect_all(context: Context, names: list[str], format: str, fetch: Callable[[str], str]) -> int:
    """`fetch` gives an object's JSON text. The exit code: 1 if an object was missing or the template failed on one."""
    texts: list[str] = []
    errors: list[SampanError] = []
    for name in names:
        try:
            texts.append(fetch(name))
        except SampanError as error:
            errors.append(error)
            if not isinstance(error, NotFound):
                break
    code = 0
    if format in ("", "json"):
        joined = "[" + ",".join(text.strip() for text in texts) + "]"
        sys.stdout.write((indent(joined) if format == "" else compact(joined)) + "\n")
    else:
        code = _formatted(texts, format, errors)
    for reported in errors:
        context.failed(reported)
    return 1 if errors else code


def _formatted(texts: list[str], format: str, errors: list[SampanError]) -> int:
    from sampan.cli.template import Template, TemplateError

    template = Template(format)
    for text in texts:
        try:
            sys.stdout.write(template.execute(wire.loads(text)) + "\n")
        except TemplateError as error:
            errors.append(error)
            sys.stdout.write("\n")
            return 1
    if not texts:
        sys.stdout.write("\n")
    return 0


def compact(text: str) -> str:
    return wire.dumps(wire.loads(text)) if "\n" in text else text


def indent(text: str, width: int = 4) -> str:
    """JSON text with line breaks and indents, numbers and escapes exactly as they were."""
    out: list[str] = []
    depth = 0
    position = 0
    end = len(text)
    while position < end:
        character = text[position]
        if character == '"':
            stop = _string_end(text, position)
            out.append(text[position:stop])
            position = stop
            continue
        position += 1
        if character in "{[":
            closing = "}" if character == "{" else "]"
            while text[position] in " \t\r\n":
                position += 1
            if text[position] == closing:
                out.append(character + closing)
                position += 1
                continue
            depth += 1
            out.append(character + "\n" + " " * (width * depth))
        elif character in "}]":
            depth -= 1
            out.append("\n" + " " * (width * depth) + character)
        elif character == ",":
            out.append(",\n" + " " * (width * depth))
        elif character == ":":
            out.append(": ")
        elif character not in " \t\r\n":
            out.append(character)
    return "".join(out)


def _string_end(text: str, start: int) -> int:
    position = start + 1
    while text[position] != '"':
        position += 2 if text[position] == "\\" else 1
    return position + 1
