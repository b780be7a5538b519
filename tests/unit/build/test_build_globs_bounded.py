"""Wildcards of sources: what they match, and that none of them takes for ever."""

from __future__ import annotations

import fnmatch
import itertools

import pytest

from sampan.build.globs import component
from sampan.errors import InvalidArgument


def test_a_pattern_of_many_stars_is_answered() -> None:
    expression = component("*a" * 60 + "*b")  # without bounds: longer than anybody waits
    assert expression.match("a" * 255) is None
    assert expression.match("a" * 254 + "b")


def test_stars_match_as_they_always_did() -> None:
    names = ["".join(letters) for size in range(5) for letters in itertools.product("ab", repeat=size)]
    for pattern in [
        "*",
        "a*",
        "*a",
        "a*b",
        "*a*b",
        "**a",
        "*ab*",
        "a?*b",
        "*?b*a",
        "[ab]*a",
        "*[!x]b".replace("!", "^"),
    ]:
        shell = pattern.replace("[^", "[!")
        for name in names:
            assert bool(component(pattern).match(name)) == fnmatch.fnmatchcase(name, shell), (pattern, name)


def test_a_class_without_end_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="syntax error in pattern"):
        component("a[b")
