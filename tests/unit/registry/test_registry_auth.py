"""Challenges, credentials, and who may receive them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import InvalidArgument
from sampan.registry.auth import (
    ANONYMOUS,
    Challenge,
    credentials_from,
    decode_header,
    may_receive_credentials,
    parse_challenges,
)
from sampan.registry.hosts import RegistrySettings, endpoints


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        ("Basic", [Challenge("basic", {})]),
        (
            'Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push"',
            [Challenge("bearer", {"realm": "https://a/token", "service": "s", "scope": "repository:a/b:pull,push"})],
        ),
        (
            'Bearer realm=t , error="invalid \\"x\\"" , Basic realm="y"',
            [Challenge("bearer", {"realm": "t", "error": 'invalid "x"'}), Challenge("basic", {"realm": "y"})],
        ),
        ("BEARER Realm=t", [Challenge("bearer", {"realm": "t"})]),
        ('Bearer realm="first",realm="second"', [Challenge("bearer", {"realm": "first"})]),
    ],
)
def test_challenges(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges(header) == expected


@given(st.text(max_size=200))
def test_any_header_is_parsed_or_ignored(header: str) -> None:
    parse_challenges(header)


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
        ("https://ghcr.io", "https://ghcr.io/token", True),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("https://ghcr.io", "http://ghcr.io/token", False),
        ("https://registry-1.docker.io", "https://evil.example/token", False),
        ("https://registry-1.docker.io", "https://docker.io.evil.example/token", False),
        ("https://a.co.uk", "https://evil.co.uk/token", False),
        ("https://r.a.co.uk", "https://auth.a.co.uk/token", True),
        ("http://127.0.0.1:5000", "http://localhost:5001/token", True),
        ("http://127.0.0.1:5000", "http://10.0.0.1/token", False),
        ("https://10.0.0.1", "https://10.0.0.2/token", False),
        ("https://10.0.0.1", "https://10.0.0.1:8443/token", True),
        ("https://ghcr.io", "file:///etc/passwd", False),
    ],
)
def test_only_related_realms_receive_credentials(registry: str, realm: str, allowed: bool) -> None:
    assert may_receive_credentials(registry, realm) is allowed


def test_credentials_from_header_and_body() -> None:
    encoded = base64.urlsafe_b64encode(b'{"username":"u","password":"p\xc3\xa9?>","serveraddress":"x"}').decode()
    for header in (encoded, encoded.rstrip("=")):
        credentials = decode_header(header)
        assert (credentials.username, credentials.password) == ("u", "pé?>")
        assert "p\xe9" not in repr(credentials)
    joined = credentials_from({"auth": base64.b64encode(b"u:p:q").decode()})
    assert (joined.username, joined.password) == ("u", "p:q")
    for header in ("", "e30=", "not base64!", base64.urlsafe_b64encode(b"[1]").decode()):
        assert decode_header(header) == ANONYMOUS
    with pytest.raises(InvalidArgument):
        credentials_from({"username": 5})


def test_endpoints() -> None:
    settings = RegistrySettings(
        mirrors={"docker.io": ["https://mirror.example/"]}, insecure=("r.lan:5000", "10.0.0.0/8")
    )
    assert [e.url for e in endpoints(settings, "docker.io")] == [
        "https://mirror.example",
        "https://registry-1.docker.io",
    ]
    assert [e.url for e in endpoints(settings, "docker.io", push=True)] == ["https://registry-1.docker.io"]
    for domain in ("localhost:5000", "127.0.0.1", "[::1]:5000", "r.lan:5000", "10.1.2.3:80"):
        assert [e.url for e in endpoints(settings, domain)] == [f"https://{domain}", f"http://{domain}"]
    assert [(e.url, e.verify_tls) for e in endpoints(settings, "ghcr.io")] == [("https://ghcr.io", True)]
    assert [e.url for e in endpoints(settings, "r.lan:5001")] == ["https://r.lan:5001"]
