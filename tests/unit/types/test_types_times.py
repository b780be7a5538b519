from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.types.times import ZERO_TIME, parse_rfc3339_ns, parse_until_ns, rfc3339, rfc3339_fixed


def test_times_are_written_as_go_writes_them() -> None:
    assert rfc3339(1_600_000_000_123_456_789) == "2020-09-13T12:26:40.123456789Z"
    assert rfc3339(1_600_000_000_120_000_000) == "2020-09-13T12:26:40.12Z"
    assert rfc3339(1_600_000_000_000_000_000) == "2020-09-13T12:26:40Z"
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(-62_135_596_800 * 10**9) == ZERO_TIME
    assert rfc3339_fixed(1_600_000_000_120_000_000) == "2020-09-13T12:26:40.120000000Z"


@given(st.integers(-62_135_596_800 * 10**9, 253_402_300_799 * 10**9))
def test_times_survive_their_text(time_ns: int) -> None:
    assert parse_rfc3339_ns(rfc3339(time_ns)) == parse_rfc3339_ns(rfc3339_fixed(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-23T20:30:00Z", 1_795_465_800 * 10**9),
        ("2026-11-23T20:30:00.5+01:00", 1_795_462_200 * 10**9 + 5 * 10**8),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * 10**9),
        ("2024-02-29", 1_709_164_800 * 10**9),
        ("2024-02-29T00:00:00", 1_709_164_800 * 10**9),
        ("1970-01-01T00:00:00.1234567899Z", 123_456_789),
        (ZERO_TIME, -62_135_596_800 * 10**9),
    ],
)
def test_rfc3339_is_read(text: str, time_ns: int) -> None:
    assert parse_rfc3339_ns(text) == time_ns


def test_reading_agrees_with_the_calendar() -> None:
    for day in range(0, 40000, 13):
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(day * 86400 + 4321))
        assert parse_rfc3339_ns(text) == (day * 86400 + 4321) * 10**9


@pytest.mark.parametrize("text", ["", "soon", "2024", "2024-13-01", "2024-01-01T25:00:00Z", "2024-01-01T00:00:00.xZ"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rfc3339_ns(text)


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("12", 12 * 10**9),
        ("12.5", 125 * 10**8),
        ("10s", 90 * 10**9),
        ("1m30s", 10**10),
        ("1970-01-01T00:00:01Z", 10**9),
    ],
)
def test_until(text: str, time_ns: int) -> None:
    assert parse_until_ns(text, 100 * 10**9) == time_ns


def test_until_has_dockers_words() -> None:
    with pytest.raises(ValueError, match='failed to parse value as time or duration: "soon"'):
        parse_until_ns("soon", 0)
