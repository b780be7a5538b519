from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.types.durations import format_duration, human_duration, parse_duration_ns


@pytest.mark.parametrize(
    ("text", "value_ns"),
    [
        ("1h2m3s", 3723 * 10**9),
        ("1s", 10**9),
        ("1.5h", 5400 * 10**9),
        (".5m", 30 * 10**9),
        ("5.s", 5 * 10**9),
        ("300ms", 3 * 10**8),
        ("3us", 3000),
        ("3µs", 3000),
        ("0", 0),
        ("-2m", -120 * 10**9),
        ("+2m", 120 * 10**9),
        ("0.1234567899s", 123_456_789),
    ],
)
def test_durations_of_go_are_read(text: str, value_ns: int) -> None:
    assert parse_duration_ns(text) == value_ns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("s", 'time: invalid duration "s"'),
        (".s", 'time: invalid duration ".s"'),
        ("1.2.3s", 'time: invalid duration "1.2.3s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("1x", 'time: unknown unit "x" in duration "1x"'),
    ],
)
def test_faults_have_gos_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_duration_ns(text)


def test_durations_are_written_as_go_writes_them() -> None:
    values = [0, 1, 1500, 10**6, 30 * 10**9, 90 * 10**9, 3600 * 10**9, -(10**9)]
    written = ["0s", "1ns", "1.5µs", "1ms", "30s", "1m30s", "1h0m0s", "-1s"]
    assert [format_duration(value) for value in values] == written


@given(st.integers(-(10**18), 10**18))
def test_durations_survive_their_text(value_ns: int) -> None:
    assert parse_duration_ns(format_duration(value_ns)) == value_ns


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "Less than a second"),
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (86400, "24 hours"),
        (172800, "2 days"),
        (86400 * 14, "2 weeks"),
        (86400 * 61, "2 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_ages_as_people_say_them(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text
