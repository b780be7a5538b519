from __future__ import annotations

import pytest

from sampan.cli import human


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


def test_timestamp() -> None:
    assert human.timestamp("10m", now_s=1000.0) == "400.000000000"
    assert human.timestamp("2026-11-23T20:30:00Z") == "1795465800.000000000"
    assert human.timestamp("1795465800") == "1795465800"
    assert human.timestamp("rubbish") == "rubbish"
