"""Labels of an object, and the filters `label` and `label!` on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """`wanted` is `key`, or `key=value`."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def labels_match(labels: Mapping[str, str], filters: Mapping[str, Iterable[str]]) -> bool:
    """Every `label` is there, and no `label!` is."""
    return all(has_label(labels, text) for text in filters.get("label", ())) and not any(
        has_label(labels, text) for text in filters.get("label!", ())
    )
