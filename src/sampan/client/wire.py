"""JSON for processes that live for milliseconds.

`json` imports `re`, which imports `enum`: 5 ms. The scanner and the encoder behind it are a C module that needs neither.
Guarantee: same results as `json.loads(text)` and `json.dumps(value, separators=(",", ":"))` for JSON text; where the
C module is absent (another Python implementation) it is `json` itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _ScannerSettings:
    """What the C scanner asks of its decoder object."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__
    memo: dict[str, str] = {}


def _refuse(value: object) -> Any:
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


try:
    import _json

    _scan: Callable[[str, int], tuple[Any, int]] | None = _json.make_scanner(_ScannerSettings)  # type: ignore[arg-type]
    _encode: Any = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, False)
except (ImportError, TypeError, AttributeError):  # not CPython, or a CPython whose private module has changed
    _scan = _encode = None


def loads(text: str | bytes) -> Any:
    """The value of one JSON document. Raises ValueError if it is not one."""
    if isinstance(text, (bytes, bytearray)):
        text = text.decode("utf-8", "surrogateescape")
    if _scan is None:
        import json

        return json.loads(text)
    text = text.strip()
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        raise ValueError(f"not JSON: {text[:60]!r}") from None
    if end != len(text):
        raise ValueError(f"not JSON after character {end}: {text[end : end + 60]!r}")
    return value


def scan(text: str, start: int) -> tuple[Any, int]:
    """One JSON value of `text` at `start` (no white space before it) and where it ends.

    Raises ValueError if it is malformed or unfinished; for streams of documents that are not split by lines.
    """
    if _scan is None:
        import json

        return json.JSONDecoder(strict=False).raw_decode(text, start)
    try:
        return _scan(text, start)
    except StopIteration:
        raise ValueError("unfinished JSON") from None


def dumps(value: Any) -> str:
    """`value` as compact ASCII JSON, keys in their own order."""
    if _encode is None:
        import json

        return json.dumps(value, separators=(",", ":"))
    return "".join(_encode(value, 0))
