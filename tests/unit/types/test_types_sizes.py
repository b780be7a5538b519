from __future__ import annotations

import pytest

from sampan.types.sizes import binary_size, decimal_size, parse_size_bytes


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1234567, "1.235MB"),
        (1982256, "1.982MB"),
        (162_000_000, "162MB"),
        (10**12, "1TB"),
        (10**18, "1EB"),
        (1536, "1.536kB"),
    ],
)
def test_decimal_size(size: int, text: str) -> None:
    assert decimal_size(size) == text


def test_three_digits_as_tables_have() -> None:
    assert decimal_size(1982256, 3) == "1.98MB"
    assert decimal_size(213_000_000, 3) == "213MB"
    assert binary_size(25276076032) == "23.54GiB"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
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
def test_sizes_are_read(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "x", "12q", "1.2.3m", "m", "-5m"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        parse_size_bytes(text)
