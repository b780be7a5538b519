"""Filters that several kinds of objects have in common: labels and `until`. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from sampan.errors import InvalidArgument

Filters = Mapping[str, list[str]]
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def labels_match(labels: Mapping[str, str], filters: Filters) -> bool:
    """Every `label` is there, and no `label!` is; each is KEY or KEY=VALUE."""
    return all(_has(labels, text) for text in filters.get("label", [])) and not any(
        _has(labels, text) for text in filters.get("label!", [])
    )


def _has(labels: Mapping[str, str], text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)


def created_before(created: str, filters: Filters) -> bool:
    """Whether an RFC 3339 time lies before `until` (a time, a Unix time, or a duration back from now), if one is given.

    Raises:
        InvalidArgument: none of the three, or several.
    """
    values = filters.get("until", [])
    if not values:
        return True
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    return _unix_time_s(created) < until_s(values[0])


def until_s(text: str) -> float:
    """
    Raises:
        InvalidArgument: no time that Docker understands.
    """
    if _DURATION.fullmatch(text):
        return time.time() - sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return _unix_time_s(text)
    except ValueError:
        raise InvalidArgument(f'invalid until filter: "{text}"') from None


def _unix_time_s(text: str) -> float:
    trimmed = re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00"))
    parsed = datetime.fromisoformat(trimmed)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
