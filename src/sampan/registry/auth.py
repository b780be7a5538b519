"""Credentials, `WWW-Authenticate` challenges, and bearer tokens.

Token requests follow https://distribution.github.io/distribution/spec/auth/token/ and, for identity tokens,
https://distribution.github.io/distribution/spec/auth/oauth/.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec

from sampan.errors import Internal, InvalidArgument, Unauthorized

_MAX_TOKEN_RESPONSE_BYTES = 1 << 20
_DEFAULT_TOKEN_LIFETIME_S = 60
_EXPIRY_MARGIN_S = 10
_CLIENT_ID = "sampan"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?=\s|$|,)\s*")
_PARAMETER = re.compile(rf'\s*,?\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')


class Credentials(
    msgspec.Struct, frozen=True, rename={"identity_token": "identitytoken", "registry_token": "registrytoken"}
):
    """What a client sends in `X-Registry-Auth`. All empty: anonymous. Never printed: `repr` hides the secrets."""

    username: str = ""
    password: str = ""
    auth: str = ""
    serveraddress: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, …)"

    @property
    def anonymous(self) -> bool:
        return not (self.username or self.identity_token or self.registry_token)

    def basic(self) -> str:
        """The value of an `Authorization: Basic` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


ANONYMOUS = Credentials()


def credentials_from(value: object) -> Credentials:
    """Credentials from a decoded JSON object, as in the body of `POST /auth`; `auth` is split if there is no username.

    Raises:
        InvalidArgument: not an object of strings.
    """
    try:
        credentials = msgspec.convert(value if value is not None else {}, Credentials)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid registry credentials: {error}") from None
    if credentials.auth and not credentials.username:
        try:
            username, _, password = base64.b64decode(credentials.auth).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidArgument("invalid registry credentials: auth is not base64 of user:password") from None
        credentials = msgspec.structs.replace(credentials, username=username, password=password.rstrip("\0"))
    return credentials


def decode_header(value: str) -> Credentials:
    """`X-Registry-Auth`: base64url JSON, with or without padding. Empty and malformed ones are anonymous, as in Docker."""
    if not value:
        return ANONYMOUS
    try:
        data = base64.urlsafe_b64decode(value.replace("+", "-").replace("/", "_") + "=" * (-len(value) % 4))
        return credentials_from(msgspec.json.decode(data))
    except (binascii.Error, ValueError, InvalidArgument, msgspec.DecodeError):
        return ANONYMOUS


class Challenge(NamedTuple):
    """One challenge of a `WWW-Authenticate` header; scheme and parameter names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """All challenges of a header value (RFC 9110, 11.6.1); what cannot be parsed ends the list."""
    result: list[Challenge] = []
    position = 0
    while match := _SCHEME.match(header, position):
        parameters: dict[str, str] = {}
        position = match.end()
        while found := _PARAMETER.match(header, position):
            name, quoted, plain = found.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(name.lower(), value)
            position = found.end()
        result.append(Challenge(match[1].lower(), parameters))
    return result


def may_receive_credentials(registry_url: str, realm: str) -> bool:
    """Whether a token service at `realm` may see the credentials for the registry at `registry_url`.

    The registry names its realm itself, so a hostile mirror or a hijacked answer could name any host. It must not be less
    protected (https, if the registry is) and must be the same host or one below a common domain, as
    `auth.docker.io` is for `registry-1.docker.io`.
    """
    registry, service = urlsplit(registry_url), urlsplit(realm)
    if service.scheme not in ("http", "https") or (registry.scheme == "https" and service.scheme != "https"):
        return False
    ours, theirs = (registry.hostname or "").lower(), (service.hostname or "").lower()
    if ours == theirs or (is_loopback(ours) and is_loopback(theirs)):
        return True
    if _is_address(ours) or _is_address(theirs):
        return False
    # Two labels in common, or three where the second last is as short as in `co.uk`.
    common, labels = theirs.split("."), ours.split(".")
    needed = 3 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 2
    return len(common) >= needed and len(labels) >= needed and common[-needed:] == labels[-needed:]


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


class Authorizer:
    """The `Authorization` header for one registry host and one set of credentials; tokens are kept by scope.

    `answer` turns a 401 into a new header. Requests before the first 401 go out bare (or with a token that the client
    brought), so credentials are only sent to who asks for them.
    """

    def __init__(self, session: aiohttp.ClientSession, registry_url: str, credentials: Credentials, tls: Any) -> None:
        self._session = session
        self._url = registry_url
        self._credentials = credentials
        self._tls = tls
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}

    def header(self, scope: str) -> str | None:
        """What is known to work for `scope` now."""
        if self._credentials.registry_token:
            return f"Bearer {self._credentials.registry_token}"
        if self._basic:
            return self._credentials.basic()
        token = self._tokens.get(scope)
        if token and token[1] > time.monotonic():
            return f"Bearer {token[0]}"
        return None

    async def answer(self, challenges: list[Challenge], scope: str, refused: str | None) -> str | None:
        """The header that answers a 401 to a request with the header `refused`; None if there is nothing (more) to try.

        Raises:
            Unauthorized: the token service refuses the credentials.
        """
        known = self.header(scope)
        if known is not None and known != refused:
            return known  # another request has answered meanwhile
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                if self._credentials.registry_token:
                    return None
                await self._fetch_token(challenge.parameters, scope)
                return self.header(scope)
            if challenge.scheme == "basic" and self._credentials.username:
                self._basic = True
                header = self._credentials.basic()
                return None if header == refused else header
        return None

    async def _fetch_token(self, parameters: dict[str, str], scope: str) -> None:
        realm = parameters["realm"]
        if urlsplit(realm).scheme not in ("http", "https"):
            raise Internal(f"invalid token realm of registry {self._url}: {realm}")
        trusted = may_receive_credentials(self._url, realm)
        credentials = self._credentials if trusted else ANONYMOUS
        scopes = (scope or parameters.get("scope", "")).split()
        if credentials.identity_token:
            response = await self._post(realm, credentials, parameters.get("service", ""), scopes)
        else:
            response = await self._get(realm, credentials, parameters.get("service", ""), scopes)
        token = response.get("token") or response.get("access_token")
        if not isinstance(token, str) or not token or "\r" in token or "\n" in token:
            raise Internal(f"authorization server {realm} did not include a token in the response")
        lifetime = response.get("expires_in")
        lifetime_s = lifetime if isinstance(lifetime, (int, float)) and lifetime > 0 else _DEFAULT_TOKEN_LIFETIME_S
        lifetime_s = max(lifetime_s, _DEFAULT_TOKEN_LIFETIME_S)
        self._tokens[scope] = (token, time.monotonic() + lifetime_s - _EXPIRY_MARGIN_S)

    async def _get(self, realm: str, credentials: Credentials, service: str, scopes: list[str]) -> dict[str, Any]:
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes if scope]
        headers = {}
        if credentials.username:
            query.append(("account", credentials.username))
            headers["Authorization"] = credentials.basic()
        return await self._request("GET", realm, params=query, headers=headers)

    async def _post(self, realm: str, credentials: Credentials, service: str, scopes: list[str]) -> dict[str, Any]:
        form = {"grant_type": "refresh_token", "refresh_token": credentials.identity_token, "service": service}
        form |= {"client_id": _CLIENT_ID, "scope": " ".join(scopes)}
        return await self._request("POST", realm, data=form)

    async def _request(self, method: str, realm: str, **arguments: Any) -> dict[str, Any]:
        try:
            async with self._session.request(
                method, realm, allow_redirects=False, ssl=self._tls, **arguments
            ) as response:
                body = await response.content.read(_MAX_TOKEN_RESPONSE_BYTES)
                while len(body) < _MAX_TOKEN_RESPONSE_BYTES and (more := await response.content.readany()):
                    body += more
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Internal(f"failed to fetch a token from {realm}: {error}") from None
        if status in (401, 403):
            raise Unauthorized("unauthorized: incorrect username or password")
        if status != 200:
            raise Internal(f"failed to fetch a token: {method} {realm}: unexpected status {status}")
        try:
            value = msgspec.json.decode(body)
        except msgspec.DecodeError:
            value = None
        if not isinstance(value, dict):
            raise Internal(f"authorization server {realm} did not answer with a JSON object")
        return value
