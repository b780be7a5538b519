from __future__ import annotations

import time

import pytest

from sampan.cli import human


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1234567, "1.235MB"),
        (1982256, "1.982MB"),
        (10**12, "1TB"),
        (1536, "1.536kB"),
    ],
)
def test_decimal_size(size: int, text: str) -> None:
    assert human.decimal_size(size) == text


def test_three_digits_as_tables_have() -> None:
    assert human.decimal_size(1982256, 3) == "1.98MB"
    assert human.decimal_size(213_000_000, 3) == "213MB"
    assert human.binary_size(25276076032) == "23.54GiB"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10", 10),
        ("1k", 1024),
        ("1kb", 1024),
        ("512m", 512 << 20),
        ("1.5g", 3 << 29),
        ("10KiB", 10240),
        ("2GB", 2 << 30),
        ("0", 0),
    ],
)
def test_parse_size(text: str, size: int) -> None:
    assert human.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "12q", "1.2.3m", "m", "-5m"])
def test_parse_size_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        human.parse_size(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1s", 10**9),
        ("1m30s", 90 * 10**9),
        ("500ms", 5 * 10**8),
        ("1.5h", 5400 * 10**9),
        ("0", 0),
        ("-2m", -120 * 10**9),
        ("3us", 3000),
    ],
)
def test_parse_duration(text: str, ns: int) -> None:
    assert human.parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "1x", "s", "1h5"])
def test_parse_duration_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        human.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
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
def test_human_duration(seconds: int, text: str) -> None:
    assert human.human_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "unix_s"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-23T20:30:00Z", 1795465800),
        ("2026-11-23T20:30:00.5+01:00", 1795462200.5),
        ("2024-02-29T00:00:00Z", 1709164800),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
    ],
)
def test_parse_time(text: str, unix_s: float) -> None:
    assert human.parse_time(text) == unix_s


def test_parse_time_agrees_with_the_calendar() -> None:
    for day in range(0, 40000, 13):
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(day * 86400 + 4321))
        assert human.parse_time(text) == day * 86400 + 4321


def test_timestamp() -> None:
    assert human.timestamp("10m", now_s=1000.0) == "400.000000000"
    assert human.timestamp("2026-11-23T20:30:00Z") == "1795465800.000000000"
    assert human.timestamp("1795465800") == "1795465800"
    assert human.timestamp("rubbish") == "rubbish"
