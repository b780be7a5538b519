"""The functions of templates: Go's own, and those that Docker adds."""

from __future__ import annotations

from sampan.cli.template import values
from sampan.cli.template.errors import TemplateError
from sampan.cli.template.values import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LAZY = ("and", "or")
"""These decide by their first arguments whether to look at the others."""
TEXT_ONLY = frozenset(("json", "join", "split", "title", "lower", "upper", "truncate"))
"""In a table's header these leave the text as it is."""


def exists(name: str) -> bool:
    return name in FUNCTIONS or name in LAZY


def call(name: str, arguments: list[Any], *, headers: bool = False) -> Any:
    """Raises TemplateError for wrong arguments."""
    if headers and name in TEXT_ONLY:
        # The value is the last argument in a pipe, the first otherwise; in a header only one of them is a header's text.
        first = arguments[0] if arguments else ""
        return first if name != "json" else text_of(first)
    try:
        return FUNCTIONS[name](*arguments)
    except TypeError:
        raise TemplateError(f":1: wrong number of args for {name}: got {len(arguments)}") from None
    except (AttributeError, ValueError) as error:
        raise TemplateError(f":1: error calling {name}: {error}") from None


def _print(*arguments: Any) -> str:
    """fmt.Sprint: blanks between neighbours that are both no strings."""
    out = ""
    for position, value in enumerate(arguments):
        if position and not isinstance(value, str) and not isinstance(arguments[position - 1], str):
            out += " "
        out += text_of(value)
    return out


def _println(*arguments: Any) -> str:
    return " ".join(text_of(value) for value in arguments) + "\n"


def _printf(format: str, *arguments: Any) -> str:
    from sampan.cli.template.printf import sprintf

    return sprintf(format, list(arguments))


def _length(value: Any) -> int:
    value = values.plain(value)
    if value is None:
        return 0  # in Docker a typed slice or map that is nil
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, (list, dict)):
        return len(value)
    raise TemplateError(f":1: error calling len: len of type {values.type_name(value)}")


def _slice(value: Any, *bounds: int) -> Any:
    if len(bounds) > 2 or not isinstance(value, (str, list)):
        raise TemplateError(f":1: error calling slice: can't slice item of type {values.type_name(value)}")
    start = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= start <= end <= len(value):
        raise TemplateError(f":1: error calling slice: index out of range: {end}")
    return value[start:end]


def _join(items: Any, separator: str) -> str:
    if not isinstance(items, list):
        raise ValueError(f"expected []string; found {values.type_name(items)}")
    return separator.join(text_of(item) for item in items)


def _title(text: str) -> str:
    out = ""
    before = " "
    for character in text:
        out += character.upper() if not (before.isalnum() or before in "_'") else character
        before = character
    return out


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TypeError
    # Like Go, look at every one: a value that does not compare is an error wherever it stands.
    return sum(values.equal(first, other) for other in others) > 0


def _html(*arguments: Any) -> str:
    escapes = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
    return "".join(escapes.get(character, character) for character in _print(*arguments))


def _js(*arguments: Any) -> str:
    escapes = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
    text = _print(*arguments)
    return "".join(escapes.get(c, f"\\u{ord(c):04X}" if ord(c) < 32 else c) for c in text)


def _urlquery(*arguments: Any) -> str:
    from sampan.client.engine import quote

    return quote(_print(*arguments)).replace("%20", "+")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not values.truth(value),
    "len": _length,
    "index": lambda value, *keys: values.index(value, list(keys)),
    "slice": _slice,
    "print": _print,
    "println": _println,
    "printf": _printf,
    "html": _html,
    "js": _js,
    "urlquery": _urlquery,
    "eq": _equal,
    "ne": lambda left, right: not values.equal(left, right),
    "lt": lambda left, right: values.compare(left, right) < 0,
    "le": lambda left, right: values.compare(left, right) <= 0,
    "gt": lambda left, right: values.compare(left, right) > 0,
    "ge": lambda left, right: values.compare(left, right) >= 0,
    "json": values.to_json,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": _join,
    "title": _title,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": _truncate,
}
