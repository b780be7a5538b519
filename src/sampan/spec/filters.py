"""The `filters` of Docker's API: what several kinds of objects have in common. Values of one name are alternatives, but for
labels, which all count."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence

from sampan.errors import InvalidArgument
from sampan.types.times import parse_until_ns

Filters = Mapping[str, Sequence[str]]

_BOOLEANS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def check_known(filters: Filters, known: Container[str]) -> None:
    """
    Raises:
        InvalidArgument: `invalid filter 'x'`.
    """
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name}'")


def boolean(filters: Filters, name: str) -> bool | None:
    """A filter with one of Go's spellings of a truth value; None if it is not given.

    Raises:
        InvalidArgument: another word, or both truths.
    """
    values = filters.get(name, ())
    if not values:
        return None
    found = {_BOOLEANS.get(value.lower()) for value in values}
    if len(found) != 1 or None in found:
        raise InvalidArgument(f"invalid filter '{name}=[{' '.join(values)}]'")
    return found.pop()


def until_ns(filters: Filters) -> int | None:
    """The moment that `until` names (Unix seconds, RFC 3339, or a Go duration before now); None if it is not given.

    Raises:
        InvalidArgument: none of the three, or several.
    """
    values = filters.get("until", ())
    if not values:
        return None
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    try:
        return parse_until_ns(values[0], time.time_ns())
    except ValueError as error:
        raise InvalidArgument(str(error)) from None


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """`wanted` is `key`, or `key=value`."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def labels_match(labels: Mapping[str, str], filters: Filters) -> bool:
    """Every `label` is there, and no `label!` is."""
    return all(has_label(labels, text) for text in filters.get("label", ())) and not any(
        has_label(labels, text) for text in filters.get("label!", ())
    )
