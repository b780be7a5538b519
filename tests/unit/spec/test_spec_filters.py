from __future__ import annotations

import time

import pytest

from sampan.errors import InvalidArgument
from sampan.spec import filters


def test_all_wanted_labels_and_none_of_the_unwanted() -> None:
    labels = {"tier": "web", "stage": ""}
    assert filters.labels_match(labels, {})
    assert filters.labels_match(labels, {"label": ["tier", "stage="], "label!": ["owner", "tier=db"]})
    assert not filters.labels_match(labels, {"label": ["tier", "owner"]})
    assert not filters.labels_match(labels, {"label!": ["tier=web"]})


def test_truth_has_gos_spellings() -> None:
    assert filters.boolean({}, "dangling") is None
    assert filters.boolean({"dangling": ["T"]}, "dangling") is True
    assert filters.boolean({"dangling": ["0", "false"]}, "dangling") is False


@pytest.mark.parametrize("values", [["yes"], ["true", "false"], [""]])
def test_what_is_no_truth_is_refused(values: list[str]) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid filter 'dangling=\["):
        filters.boolean({"dangling": values}, "dangling")


def test_until_is_a_moment() -> None:
    assert filters.until_ns({}) is None
    assert filters.until_ns({"until": ["12.5"]}) == 12_500_000_000
    assert filters.until_ns({"until": ["2024-01-01T00:00:00Z"]}) == 1_704_067_200 * 10**9
    before_ns = time.time_ns()
    found_ns = filters.until_ns({"until": ["1h30m"]})
    assert found_ns is not None and before_ns <= found_ns + 5400 * 10**9 <= time.time_ns()


def test_until_is_refused_in_dockers_words() -> None:
    with pytest.raises(InvalidArgument, match=r'^failed to parse value as time or duration: "soon"$'):
        filters.until_ns({"until": ["soon"]})
    with pytest.raises(InvalidArgument, match=r"^more than one until filter specified$"):
        filters.until_ns({"until": ["1h", "2h"]})


def test_an_unknown_filter_is_named() -> None:
    filters.check_known({"label": ["x"]}, {"label"})
    with pytest.raises(InvalidArgument, match=r"^invalid filter 'colour'$"):
        filters.check_known({"colour": ["red"]}, {"label"})
