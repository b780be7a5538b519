"""How Go sees and prints the values that JSON gives us."""

from __future__ import annotations

from sampan.cli.template.errors import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class NoValue:
    """A field that a map does not have."""

    def __repr__(self) -> str:
        return "<no value>"


NO_VALUE = NoValue()


def truth(value: Any) -> bool:
    """Go's idea of a true value: not zero, not empty, not nil; an object is always true."""
    if value is None or value is NO_VALUE:
        return False
    return True if hasattr(value, "go_field") else bool(value)


def text_of(value: Any, *, top: bool = True) -> str:
    """As `{{.}}` prints it (fmt's %v)."""
    if value is None or value is NO_VALUE:
        return "<no value>" if top else "<nil>"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(text_of(item, top=False) for item in value) + "]"
    if hasattr(value, "go_json"):
        value = value.go_json()
    if isinstance(value, dict):
        if is_struct(value):
            return "{" + " ".join(text_of(item, top=False) for item in value.values()) + "}"
        return "map[" + " ".join(f"{key}:{_map_item(item)}" for key, item in sorted(value.items())) + "]"
    return str(value)


def _map_item(item: Any) -> str:
    return "{}" if item == {} else text_of(item, top=False)


def is_struct(value: dict[str, Any]) -> bool:
    """JSON does not tell a struct from a map. Docker's structs have only capitalised names; labels and networks do not."""
    return bool(value) and all(name[:1].isupper() for name in value)


def number_text(value: float) -> str:
    """%v of a float64: the shortest text, with an exponent from 1e21 on."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return text
    sign, digits = (exponent[0], exponent[1:]) if exponent[0] in "+-" else ("+", exponent)
    return f"{mantissa.removesuffix('.0')}e{sign}{digits.zfill(2)}"


def plain(value: Any) -> Any:
    """`value` as JSON has it: rows become their fields."""
    if value is NO_VALUE:
        return None
    return value.go_json() if hasattr(value, "go_json") else value


def to_json(value: Any) -> str:
    """encoding/json without its HTML escapes."""
    import json

    text = json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False, default=plain)
    if hasattr(value, "go_json"):
        # Docker's rows write their own JSON, and so escape what Go escapes unless told not to.
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return text


def index(value: Any, keys: list[Any]) -> Any:
    """{{index value keys…}}: an absent key of a map is its zero value, an index out of a list is an error."""
    for key in keys:
        value = plain(value)
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise TemplateError(":1: error calling index: value has type int; should be string")
            value = value.get(key, _zero_like(value))
        elif isinstance(value, (list, str)):
            if not isinstance(key, int):
                raise TemplateError(f":1: error calling index: cannot index slice/array with type {type_name(key)}")
            if not 0 <= key < len(value):
                raise TemplateError(f":1: error calling index: index out of range: {key}")
            value = value[key] if isinstance(value, list) else value.encode()[key]
        elif value is None or value is NO_VALUE:
            raise TemplateError(":1: error calling index: index of untyped nil")
        else:
            raise TemplateError(f":1: error calling index: can't index item of type {type_name(value)}")
    return value


def _zero_like(value: dict[str, Any]) -> Any:
    """Go's maps are typed: a missing label is "", a missing object is nothing."""
    kinds = {type(item) for item in value.values()}
    return "" if kinds == {str} or not kinds else None


def type_name(value: Any) -> str:
    """Go's name of the type, for messages."""
    names = {
        bool: "bool",
        int: "int",
        float: "float64",
        str: "string",
        list: "[]interface {}",
        dict: "map[string]interface {}",
    }
    return names.get(type(value), "nil" if value is None else "interface {}")


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1; raises TemplateError for kinds that do not compare."""
    numbers = (int, float)
    both_numbers = isinstance(left, numbers) and isinstance(right, numbers) and not isinstance(left, bool)
    if not (both_numbers and not isinstance(right, bool)) and not (isinstance(left, str) and isinstance(right, str)):
        raise TemplateError(":1: incompatible types for comparison")
    return int(left > right) - int(left < right)


def equal(left: Any, right: Any) -> bool:
    left = None if left is NO_VALUE else left
    right = None if right is NO_VALUE else right
    if left is None or right is None or (isinstance(left, bool) and isinstance(right, bool)):
        return bool(left is right or left == right)
    if isinstance(left, (list, dict)) or isinstance(right, (list, dict)):
        raise TemplateError(":1: error calling eq: uncomparable type")
    return compare(left, right) == 0
