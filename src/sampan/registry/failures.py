"""What a registry's refusal means to a user, in Docker's words."""

from __future__ import annotations

import errno
import os
import socket
from urllib.parse import urlsplit

import aiohttp
import msgspec

from sampan.errors import (
    Conflict,
    Forbidden,
    Internal,
    InvalidArgument,
    NotFound,
    SampanError,
    Unauthorized,
    Unavailable,
)


class TransientError(Internal):
    """The network or the server failed in a way that may pass; `retry_after_s` is what the server asked for."""

    def __init__(self, message: str, retry_after_s: float = 0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnreachableError(TransientError):
    """No connection at all: the next endpoint is worth a try, the same one hardly."""


def connection_failed(method: str, url: str, error: BaseException) -> UnreachableError:
    """A request that got no answer, as Go's net/http words it."""
    return UnreachableError(f'{method.capitalize()} "{url}": {_reason(url, error)}')


def interrupted(method: str, url: str, error: BaseException) -> TransientError:
    """An answer that broke off."""
    return TransientError(f'{method.capitalize()} "{url}": {_reason(url, error)}')


def _reason(url: str, error: BaseException) -> str:
    parts = urlsplit(url)
    address = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {parts.hostname}: no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientSSLError):
        return "http: server gave HTTP response to HTTPS client"
    if isinstance(error, (aiohttp.ClientConnectorError, OSError)):
        number = getattr(error, "os_error", error).errno
        if isinstance(number, int) and number in errno.errorcode:
            return f"dial tcp {address}: connect: {os.strerror(number).lower()}"
        if isinstance(getattr(error, "os_error", error), socket.gaierror):
            return f"dial tcp: lookup {parts.hostname}: no such host"
    if isinstance(error, TimeoutError):
        return "context deadline exceeded (the registry did not answer in time)"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__


def refusal(method: str, url: str, status: int, body: bytes, retry_after: str = "") -> SampanError:
    """The error for a final answer of `status` with a registry's JSON error body (distribution-spec, "Error Codes")."""
    code, message = _first_error(body)
    detail = f"{code.lower().replace('_', ' ')}: {message}" if code else ""
    if status == 429 or status >= 500:
        delay_s = float(retry_after) if retry_after.isdigit() else 0.0
        reason = detail or f"received unexpected HTTP status: {status}"
        return TransientError(f'{method.capitalize()} "{url}": {reason}', min(delay_s, 60.0))
    kinds: dict[int, type[SampanError]] = {400: InvalidArgument, 401: Unauthorized, 403: Forbidden, 404: NotFound}
    kinds |= {405: Forbidden, 409: Conflict, 503: Unavailable}
    kind = kinds.get(status, Internal)
    return kind(detail or f"error parsing HTTP {status} response body from {url}: {_shown(body)}")


def _first_error(body: bytes) -> tuple[str, str]:
    try:
        first = msgspec.json.decode(body)["errors"][0]
        return _printable(str(first.get("code", ""))), _printable(str(first.get("message") or first.get("code", "")))
    except (msgspec.DecodeError, KeyError, IndexError, TypeError, AttributeError):
        return "", ""


def _printable(text: str) -> str:
    """A hostile registry's text must not steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text[:400])


def _shown(body: bytes) -> str:
    return repr(_printable(body[:200].decode("utf-8", "replace")))
