"""The reference grammar, with the cases of distribution/reference that matter and random text."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sampan.errors import InvalidArgument
from sampan.types.reference import Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/u/app:x", "docker.io/u/app:x", "u/app:x"),
        ("docker.io/library/foo/bar", "docker.io/library/foo/bar", "library/foo/bar"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("docker.io/a.b/c", "docker.io/a.b/c", "docker.io/a.b/c"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:t", "localhost:5000/app:t", "localhost:5000/app:t"),
        ("127.0.0.1:5055/bb:1", "127.0.0.1:5055/bb:1", "127.0.0.1:5055/bb:1"),
        ("[::1]:5000/a/b", "[::1]:5000/a/b", "[::1]:5000/a/b"),
        ("Host/app", "Host/app", "Host/app"),
        ("ghcr.io/a/b__c/d-e--f.g", "ghcr.io/a/b__c/d-e--f.g", "ghcr.io/a/b__c/d-e--f.g"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox:1@{DIGEST}", f"busybox:1@{DIGEST}"),
    ],
)
def test_forms(text: str, canonical: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert reference.canonical() == canonical
    assert reference.familiar() == familiar
    assert Reference.parse(canonical) == reference == Reference.parse(familiar)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        (":justtag", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a:tag with space", "invalid reference format"),
        ("a:" + "x" * 129, "invalid reference format"),
        ("a@sha256:short", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("https://host/app", "invalid reference format"),
        ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
        ("user/App:x", "invalid reference format: repository name (user/App) must be lowercase"),
        ("a/" * 127 + "ab", "invalid reference format: repository name must not be more than 255 characters"),
        ("a" * 64, "cannot specify 64-byte hexadecimal strings"),
        ("é", "invalid reference format"),
        ("a:٣", "invalid reference format"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Reference.parse(text if not text.startswith("a/a/") else "host.x/" + text + "/abc")
    assert message in caught.value.message


def test_parts_and_changes() -> None:
    reference = Reference.parse("busybox")
    assert reference.with_default_tag().familiar() == "busybox:latest"
    assert Reference.parse(f"busybox@{DIGEST}").with_default_tag().tag is None
    assert reference.with_tag("2").familiar() == "busybox:2"
    assert reference.with_digest(DIGEST).familiar() == f"busybox@{DIGEST}"
    assert reference.with_tag("2").without_tag() == reference
    assert (reference.repository, reference.repository_familiar) == ("docker.io/library/busybox", "busybox")
    with pytest.raises(InvalidArgument, match="invalid tag format"):
        reference.with_tag("a b")


@given(st.text(alphabet="ab0A.:/@_-[]é\n", max_size=40))
def test_whatever_parses_survives_a_round_trip(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidArgument:
        return
    assert Reference.parse(reference.canonical()) == reference
    assert Reference.parse(reference.familiar()) == reference


_component = st.from_regex(r"\A[a-z0-9]{1,8}(?:(?:[._]|__|-{1,3})[a-z0-9]{1,8}){0,2}\Z")


@given(
    st.sampled_from(["", "localhost/", "h.example:5000/", "[fe80::1]:80/", "docker.io/"]),
    st.lists(_component, min_size=1, max_size=4),
    st.none() | st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}\Z"),
)
def test_valid_names_parse(domain: str, components: list[str], tag: str | None) -> None:
    assume(domain or len(components) == 1 or "." not in components[0])  # that would be a domain
    text = domain + "/".join(components) + (f":{tag}" if tag else "")
    reference = Reference.parse(text)
    assert reference.tag == tag
    assert reference.path.endswith("/".join(components[1:]))
    assert Reference.parse(reference.familiar()) == reference
