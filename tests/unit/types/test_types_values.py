"""Digests, platforms, ids and names."""

from __future__ import annotations

import re

import pytest

from sampan.errors import InvalidArgument
from sampan.types.digest import Digest, chain_id, chain_ids, sha256_of
from sampan.types.ids import is_id, is_id_prefix, new_id, short
from sampan.types.names import random_name
from sampan.types.platform import Platform

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_digest_of_nothing() -> None:
    digest = sha256_of(b"")
    assert digest == EMPTY
    assert (digest.algorithm, digest.hex) == ("sha256", EMPTY[7:])
    assert digest.matches(b"") and not digest.matches(b"x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:abc",
        "md5:" + "a" * 32,
        EMPTY.upper(),
        EMPTY + "0",
        EMPTY + "\n",
        "sha256:" + "g" * 64,
    ],
)
def test_bad_digests_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Digest.parse(text)


def test_chain_ids_follow_the_specification() -> None:
    a, b = sha256_of(b"a"), sha256_of(b"b")
    assert chain_id(None, a) == a
    assert chain_id(a, b) == sha256_of(f"{a} {b}".encode())
    assert chain_ids([a, b]) == [a, chain_id(a, b)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", ("linux", "amd64", "")),
        ("linux/amd64/v1", ("linux", "amd64", "")),
        ("linux/x86_64/v2", ("linux", "amd64", "v2")),
        ("linux/arm64/v8", ("linux", "arm64", "")),
        ("linux/aarch64", ("linux", "arm64", "")),
        ("linux/arm", ("linux", "arm", "v7")),
        ("linux/armhf", ("linux", "arm", "v7")),
        ("linux/arm/6", ("linux", "arm", "v6")),
        ("s390x", ("linux", "s390x", "")),
        ("macos/arm64", ("darwin", "arm64", "")),
    ],
)
def test_platforms_are_normalised(text: str, expected: tuple[str, str, str]) -> None:
    assert Platform.parse(text) == expected


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux/a b", "plan10", "linux/amd64/v1/x", "linux//v8"])
def test_bad_platforms_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Platform.parse(text)


def test_choice_prefers_the_nearest_older_variant() -> None:
    index = [(Platform.of("linux", "arm", v), v) for v in ("v5", "v7", "v6")] + [(Platform.of("linux", "amd64"), "x")]
    assert Platform.parse("linux/arm/v7").choose(index) == "v7"
    assert Platform.parse("linux/arm/v6").choose(index) == "v6"
    assert Platform.parse("linux/arm64").choose(index) == "v7"
    assert Platform.parse("linux/amd64/v3").choose(index) == "x"
    assert Platform.parse("linux/s390x").choose(index) is None
    assert str(Platform.parse("linux/arm/v6")) == "linux/arm/v6"


def test_ids() -> None:
    identifier = new_id()
    assert is_id(identifier) and not is_id(identifier[:-1]) and is_id_prefix(identifier[:5])
    assert short("sha256:" + identifier) == identifier[:12] == short(identifier)
    assert not is_id_prefix("") and not is_id_prefix("xyz")


def test_names_look_like_dockers_and_avoid_taken_ones() -> None:
    pattern = re.compile(r"[a-z]+_[a-z]+[0-9]*")
    taken: set[str] = set()
    for _ in range(2000):
        name = random_name(taken.__contains__)
        assert name not in taken and pattern.fullmatch(name)
        taken.add(name)
    assert random_name(lambda name: True)
