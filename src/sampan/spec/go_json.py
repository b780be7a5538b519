"""JSON as Go's decoder reads it into a struct: the one place where foreign JSON gets the types that our code relies on.

A shape says what is expected:

    STR, INT, BOOL, ANY      a scalar (INT is an int64); anything at all
    WORDS                    a list of strings; one string alone stands for a list of it (Docker's strslice)
    [shape]                  a list
    {"*": shape}             a map
    {"Name": shape, …}       a struct: names match in any case, unknown ones are dropped, null counts as absent

Go's rule for null inside lists and maps is kept too: it is the zero value of what should be there.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from sampan.errors import InvalidArgument

STR: Final = "string"
INT: Final = "int64"
BOOL: Final = "bool"
ANY: Final = "any"
WORDS: Final = "[]string"

Shape = Any
_ZERO: Final[dict[str, Any]] = {STR: "", INT: 0, BOOL: False, ANY: None, WORDS: None}
_INT64: Final = range(-(1 << 63), 1 << 63)


def parse(text: bytes | str) -> Any:
    """One JSON document.

    Raises:
        InvalidArgument: not JSON, not UTF-8, nested too deeply; the message is what Docker puts behind `invalid JSON: `.
    """
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidArgument(str(error)) from None
    except UnicodeDecodeError:
        raise InvalidArgument("invalid UTF-8 in a string") from None
    except RecursionError:
        raise InvalidArgument("exceeded max depth") from None


def conform(value: Any, shape: Shape, name: str) -> Any:
    """`value` as `shape` wants it. `name` is the Go type that it goes into, for messages.

    Raises:
        InvalidArgument: a value of the wrong type, in the words of Go's decoder.
    """
    if isinstance(shape, str):
        return _scalar(value, shape, name)
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise _mismatch(value, name, shape)
        return [_element(item, shape[0], name) for item in value]
    if not isinstance(value, dict):
        raise _mismatch(value, name, shape)
    if "*" in shape:
        return {key: _element(item, shape["*"], name) for key, item in value.items()}
    return _struct(value, shape, name)


def _struct(value: dict[str, Any], shape: dict[str, Shape], name: str) -> dict[str, Any]:
    names = {} if value.keys() <= shape.keys() else {known.lower(): known for known in shape}
    found = {}
    for key, item in value.items():
        known = key if key in shape else names.get(key.lower())
        if known is not None and item is not None:
            found[known] = conform(item, shape[known], f"{name}.{known}")
    return found


def _element(value: Any, shape: Shape, name: str) -> Any:
    if value is None:
        return _ZERO[shape] if isinstance(shape, str) else None if isinstance(shape, list) else {}
    return conform(value, shape, name)


def _scalar(value: Any, kind: str, name: str) -> Any:
    right = True
    if kind == STR:
        right = isinstance(value, str)
    elif kind == BOOL:
        right = isinstance(value, bool)
    elif kind == INT:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        right = isinstance(value, int) and not isinstance(value, bool) and value in _INT64
    elif kind == WORDS:
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list):
            raise _mismatch(value, name, WORDS)
        return [_element(word, STR, name) for word in words]
    if not right:
        raise _mismatch(value, name, kind)
    return value


def _mismatch(value: Any, name: str, wanted: Shape) -> InvalidArgument:
    """The error for `value`: with a field's name if `name` is a path, else as for the document itself."""
    if "." in name:
        target = f"Go struct field {name} of type {_go_type(wanted)}"
        return InvalidArgument(f"json: cannot unmarshal {_type(value)} into {target}")
    return InvalidArgument(f"json: cannot unmarshal {_type(value)} into Go value of type {name}")


def _go_type(shape: Shape) -> str:
    if isinstance(shape, list):
        return "[]" + _go_type(shape[0])
    if isinstance(shape, dict):
        return "map[string]" + _go_type(shape["*"]) if "*" in shape else "struct"
    return str(shape)


def _type(value: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "number"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return f"number {value}" if kind is int and value not in _INT64 else name
    return "object"
