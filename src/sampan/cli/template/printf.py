"""fmt.Sprintf: the verbs %v %s %q %d %t %x %X %o %b %c %f %e %g %%, with flags, width and precision."""

from __future__ import annotations

from sampan.cli.template import values
from sampan.cli.template.values import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def sprintf(format: str, arguments: list[Any]) -> str:
    """Never raises: like Go it writes `%!d(string=x)` for a wrong kind, `%!d(MISSING)` and `%!(EXTRA …)`."""
    out = ""
    position = used = 0
    while position < len(format):
        if format[position] != "%":
            out += format[position]
            position += 1
            continue
        position += 1
        flags, width, precision, position = _specification(format, position)
        if position >= len(format):
            return out + "%!(NOVERB)"
        verb = format[position]
        position += 1
        if verb == "%":
            out += "%"
        elif used >= len(arguments):
            out += f"%!{verb}(MISSING)"
        else:
            out += _padded(_verb(verb, arguments[used], flags, precision), flags, width)
            used += 1
    if used < len(arguments):
        extra = ", ".join(f"{values.type_name(value)}={text_of(value)}" for value in arguments[used:])
        out += f"%!(EXTRA {extra})"
    return out


def _specification(format: str, position: int) -> tuple[str, int, int, int]:
    flags = ""
    while position < len(format) and format[position] in "+-# 0":
        flags += format[position]
        position += 1
    width, position = _digits(format, position)
    precision = -1
    if format[position : position + 1] == ".":
        precision, position = _digits(format, position + 1)
    return flags, width, precision, position


def _digits(format: str, position: int) -> tuple[int, int]:
    end = position
    while end < len(format) and format[end].isdigit():
        end += 1
    return int(format[position:end] or 0), end


def _padded(text: str, flags: str, width: int) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and text[:1].lstrip("+-").isalnum() | text[:1].isdigit():
        return text.zfill(width)
    return text.rjust(width)


def _verb(verb: str, value: Any, flags: str, precision: int) -> str:
    if verb == "v":
        return text_of(value, top=False)
    if verb == "s" and not isinstance(value, (bool, int, float)):
        text = text_of(value)
        return text if precision < 0 else text[:precision]
    if verb == "q" and isinstance(value, str):
        from sampan.cli.template.values import to_json

        return to_json(value)
    if verb == "t" and isinstance(value, bool):
        return "true" if value else "false"
    if verb in "dxXobc" and isinstance(value, int) and not isinstance(value, bool):
        text = chr(value) if verb == "c" else format(value, verb)
        return "+" + text if "+" in flags and value >= 0 else text
    if verb in "xX" and isinstance(value, str):
        text = value.encode().hex()
        return text.upper() if verb == "X" else text
    if verb in "feEgG" and isinstance(value, float):
        return format(value, f".{precision}{verb}" if precision >= 0 else verb if verb != "g" else "")
    if verb == "T":
        return values.type_name(value)
    return f"%!{verb}({values.type_name(value)}={text_of(value)})"
