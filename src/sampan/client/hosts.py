"""Where an engine listens: the host strings of `-H`, SAMPAN_HOST and DOCKER_HOST."""

from __future__ import annotations

import os

from sampan.errors import InvalidArgument

DEFAULT_HOST = "unix:///run/sampan/sampan.sock"
DEFAULT_TCP_PORT = 2375
DEFAULT_TLS_PORT = 2376


class TlsFiles:
    """Paths of the client's TLS material; `verify` says whether the server's certificate is checked."""

    __slots__ = ("ca", "certificate", "key", "verify")

    def __init__(self, ca: str, certificate: str, key: str, verify: bool) -> None:
        self.ca = ca
        self.certificate = certificate
        self.key = key
        self.verify = verify


class Address:
    """A parsed host: `path` of a unix socket, or `host` and `port`; `tls` if the connection is to be encrypted."""

    __slots__ = ("host", "path", "port", "text", "tls")

    def __init__(self, text: str, path: str = "", host: str = "", port: int = 0, tls: TlsFiles | None = None) -> None:
        self.text = text
        self.path = path
        self.host = host
        self.port = port
        self.tls = tls


def default_host() -> str:
    """$SAMPAN_HOST, then $DOCKER_HOST, then Sampan's own socket."""
    return os.environ.get("SAMPAN_HOST") or os.environ.get("DOCKER_HOST") or DEFAULT_HOST


def parse_host(text: str, tls: TlsFiles | None = None) -> Address:
    """`unix:///path`, `/path`, `tcp://host[:port]`, `http://…`, `https://…`, `host:port`.

    Raises InvalidArgument for anything else.
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = ("unix", text) if text.startswith("/") else ("tcp", text)
    if scheme == "unix":
        return Address(text, path=rest or "/run/sampan/sampan.sock")
    if scheme not in ("tcp", "http", "https"):
        raise InvalidArgument(
            f"unable to parse docker host `{text}`",
            hint="hosts look like unix:///run/sampan/sampan.sock or tcp://10.0.0.5:2376",
        )
    if scheme == "https" and tls is None:
        tls = TlsFiles("", "", "", verify=True)
    rest = rest.partition("/")[0]
    host, port = _split_port(rest, text)
    return Address(
        text, host=host or "127.0.0.1", port=port or (DEFAULT_TLS_PORT if tls else DEFAULT_TCP_PORT), tls=tls
    )


def _split_port(rest: str, text: str) -> tuple[str, int]:
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port_text = tail.removeprefix(":")
    else:
        host, _, port_text = rest.partition(":")
    if port_text and not (port_text.isdigit() and 0 < int(port_text) < 65536):
        raise InvalidArgument(f"unable to parse docker host `{text}`: {port_text!r} is not a port")
    return host, int(port_text or 0)
