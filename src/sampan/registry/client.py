"""One registry client per engine: connections, endpoints, authentication, redirects, retries.

`Registry.repository(…)` gives the view of one repository that pulls and pushes work on. Guarantees:

- Credentials go to the registry that the reference names, to its token service (see `auth.may_receive_credentials`), and to
  nobody else: not to mirrors, not to where a redirect points.
- Every manifest is checked against its digest before it is returned, every blob as it is written.
- No answer is held in memory but manifests (limited to 8 MiB) and error bodies (64 KiB).
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp

from sampan import __version__
from sampan.errors import Forbidden, Internal, InvalidArgument, NotFound, SampanError, Unauthorized
from sampan.registry.auth import ANONYMOUS, Authorizer, Credentials, is_loopback, parse_challenges
from sampan.registry.failures import TransientError, UnreachableError, connection_failed, refusal
from sampan.registry.hosts import Endpoint, RegistrySettings, endpoints
from sampan.types.reference import Reference

_MAX_REDIRECTS = 6
_WRITER_THREADS = 4
_MAX_ERROR_BYTES = 64 << 10
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_T = TypeVar("_T")


class Registry:
    """The connections of an engine to all registries. `close()` it on the event loop that used it."""

    def __init__(self, settings: RegistrySettings | None = None) -> None:
        self.settings = settings or RegistrySettings()
        self.threads = ThreadPoolExecutor(_WRITER_THREADS, "registry")
        """Where blobs are written and hashed: apart from the common pool, which others may fill with waiting."""
        self._session: aiohttp.ClientSession | None = None
        self._unverified: ssl.SSLContext | None = None
        self._plain_http: set[str] = set()
        """Domains that turned out to speak no TLS: the https endpoint is not tried again."""

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=64, limit_per_host=16, keepalive_timeout=15),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60),
                headers={"User-Agent": f"sampan/{__version__}"},
                auto_decompress=False,
                read_bufsize=1 << 20,
                trust_env=True,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        self.threads.shutdown(wait=False)

    def tls_for(self, endpoint: Endpoint) -> ssl.SSLContext | bool:
        """The `ssl` argument for a request: True checks certificates against the system's authorities."""
        if endpoint.verify_tls:
            return True
        if self._unverified is None:
            self._unverified = ssl.create_default_context()
            self._unverified.check_hostname = False
            self._unverified.verify_mode = ssl.CERT_NONE
        return self._unverified

    def repository(
        self, reference: Reference, credentials: Credentials = ANONYMOUS, *, push: bool = False
    ) -> Repository:
        """The repository that `reference` names. `push` skips mirrors and asks tokens for writing too."""
        return Repository(self, reference, credentials, push=push)

    async def login(self, domain: str, credentials: Credentials) -> str:
        """Check credentials at `/v2/`; gives an identity token, or nothing where the registry issues none.

        Raises:
            Internal: they are refused, or there is no answer.
        """
        repository = self.repository(Reference(domain, ""), credentials, push=True)
        try:
            async with repository.request("GET", "/v2/", scope=""):
                return ""
        except (Unauthorized, Internal) as error:
            if isinstance(error, TransientError):
                raise
            # Docker answers 500 here: with a 401 its client would ask for the password once more.
            raise Internal(
                f"login attempt to {repository.last_url} failed with status: 401 Unauthorized",
                hint="check the user name and password",
            ) from error

    def live_endpoints(self, domain: str, *, push: bool) -> list[Endpoint]:
        """The endpoints that are worth a try."""
        found = endpoints(self.settings, domain, push=push)
        if domain in self._plain_http:
            found = [endpoint for endpoint in found if endpoint.mirror or not endpoint.url.startswith("https:")]
        return found

    def remember_plain_http(self, domain: str) -> None:
        self._plain_http.add(domain)


class Repository:
    """Requests to one repository with one set of credentials."""

    def __init__(self, registry: Registry, reference: Reference, credentials: Credentials, *, push: bool) -> None:
        self.registry = registry
        self.reference = reference
        self.push = push
        self.last_url = ""
        self._credentials = credentials
        self._authorizers: dict[str, Authorizer] = {}

    @property
    def scope(self) -> str:
        """The access that a token for this repository must grant."""
        return f"repository:{self.reference.path}:{'pull,push' if self.push else 'pull'}"

    def url(self, suffix: str) -> str:
        """A path of this repository: `url("manifests/latest")` → `/v2/library/busybox/manifests/latest`."""
        return f"/v2/{self.reference.path}/{suffix}"

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: dict[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        scope: str | None = None,
        accept_status: frozenset[int] = frozenset((200,)),
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request to the first endpoint that answers it and give the response, unread.

        `target` is a path, tried on every endpoint, or a whole URL as an upload's Location. `body` is called for each
        attempt, since a stream cannot be sent twice.

        Raises:
            TransientError: worth a retry. NotFound, Unauthorized, Forbidden, …: final.
        """
        wanted_scope = self.scope if scope is None else scope
        response = await self._first_answer(method, target, headers or {}, body, wanted_scope, accept_status)
        try:
            yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientError(f'{method.capitalize()} "{response.url}": {str(error) or "timeout"}') from error
        finally:
            if response.content.is_eof():
                response.release()
            else:
                response.close()

    async def _first_answer(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: Callable[[], Any] | None,
        scope: str,
        accept: frozenset[int],
    ) -> aiohttp.ClientResponse:
        domain = self.reference.domain
        candidates = self.registry.live_endpoints(domain, push=self.push)
        if target.startswith(("http://", "https://")):
            origin = _origin(target)
            candidates = [endpoint for endpoint in candidates if _origin(endpoint.url) == origin][:1] or [
                # An upload may live on another host than the registry; it gets no credentials (see `_send`).
                Endpoint(origin, verify_tls=not self.registry.settings.is_insecure(domain), mirror=True)
            ]
        for number, endpoint in enumerate(candidates):
            last = number == len(candidates) - 1
            try:
                response = await self._send(
                    endpoint, method, urljoin(endpoint.url, target), headers, body, scope, accept
                )
            except UnreachableError:
                if last:
                    raise
                continue
            except SampanError:
                if last or not endpoint.mirror:
                    raise
                continue
            if endpoint.url == f"http://{domain}":
                self.registry.remember_plain_http(domain)
            return response
        raise Internal(f"no endpoint for registry {domain}")

    async def _send(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Callable[[], Any] | None,
        scope: str,
        accept: frozenset[int],
    ) -> aiohttp.ClientResponse:
        """Send to one endpoint; answers a 401 once, follows redirects without credentials."""
        authorizer = self._authorizer(endpoint)
        authorization = authorizer.header(scope)
        tls = self.registry.tls_for(endpoint)
        asked = False
        for _ in range(_MAX_REDIRECTS + 2):
            self.last_url = url
            sent = headers if authorization is None else {**headers, "Authorization": authorization}
            response = await self._once(method, url, sent, body, tls)
            if response.status in accept:
                return response
            if response.status == 401 and not asked and _origin(url) == _origin(endpoint.url):
                asked = True
                challenges = parse_challenges(", ".join(response.headers.getall("WWW-Authenticate", [])))
                response.close()
                authorization = await authorizer.answer(challenges, scope, authorization)
                if authorization is None:
                    raise _no_credentials(method, url, [challenge.scheme for challenge in challenges], self.push)
                continue
            if response.status in _REDIRECTS and method in ("GET", "HEAD") and "Location" in response.headers:
                response.close()
                url, authorization = _redirected(url, response.headers["Location"], endpoint, authorization)
                continue
            async with response:
                detail = await response.content.read(_MAX_ERROR_BYTES) if method != "HEAD" else b""
            raise refusal(method, url, response.status, detail, response.headers.get("Retry-After", ""))
        raise Internal(f'{method.capitalize()} "{url}": stopped after {_MAX_REDIRECTS} redirects')

    async def _once(
        self, method: str, url: str, headers: dict[str, str], body: Callable[[], Any] | None, tls: ssl.SSLContext | bool
    ) -> aiohttp.ClientResponse:
        try:
            return await self.registry.session.request(
                method, url, headers=headers, data=body() if body else None, allow_redirects=False, ssl=tls
            )
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError) as error:
            raise _not_reached(method, url, error) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise Internal(f'{method.capitalize()} "{url}": {error}') from error

    def _authorizer(self, endpoint: Endpoint) -> Authorizer:
        found = self._authorizers.get(endpoint.url)
        if found is None:
            credentials = ANONYMOUS if endpoint.mirror else self._credentials
            tls = self.registry.tls_for(endpoint)
            found = self._authorizers[endpoint.url] = Authorizer(self.registry.session, endpoint.url, credentials, tls)
        return found


def _no_credentials(method: str, url: str, schemes: list[str], push: bool) -> SampanError:
    """A 401 that we have no answer to. With basic auth it is a 500 in Docker: on a 401 its client would start to ask."""
    hint = "log in first: sampan login REGISTRY"
    if "basic" not in schemes:
        return Unauthorized("unauthorized: authentication required", hint=hint)
    text = "no basic auth credentials"
    return Internal(text if push else f'{method.capitalize()} "{url}": {text}', hint=hint)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _redirected(url: str, location: str, endpoint: Endpoint, authorization: str | None) -> tuple[str, str | None]:
    """Where a redirect leads, and the header to send there: none on another origin.

    Raises:
        Forbidden: from https to http, to another scheme, or from elsewhere to this machine or its link.
    """
    target = urljoin(url, location)
    parts, home = urlsplit(target), urlsplit(endpoint.url)
    if parts.scheme not in ("http", "https") or (home.scheme == "https" and parts.scheme != "https"):
        raise Forbidden(f"registry {home.netloc} redirects to {parts.scheme}://{parts.netloc}, which is refused")
    if _is_local(parts.hostname or "") and not _is_local(home.hostname or ""):
        raise Forbidden(f"registry {home.netloc} redirects to the local address {parts.netloc}, which is refused")
    return target, authorization if _origin(target) == _origin(url) else None


def _is_local(host: str) -> bool:
    """This machine, or a link-local address (where clouds serve machines their secrets)."""
    if is_loopback(host):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_link_local or address.is_unspecified


async def retried(
    attempt: Callable[[], Awaitable[_T]],
    attempts: int,
    on_retry: Callable[[float], None] | None = None,
    *,
    unreachable_too: bool = False,
) -> _T:
    """Call `attempt` until it succeeds, with exponential back-off (or what the server asks for) after transient errors.

    An unreachable registry fails at once, so that a user sees the mistyped name, unless `unreachable_too`: in the middle of
    a transfer it is more likely a restart.
    """
    for number in range(1, attempts + 1):
        try:
            return await attempt()
        except TransientError as error:
            if number == attempts or (isinstance(error, UnreachableError) and not unreachable_too):
                raise
            delay_s = error.retry_after_s or min(0.2 * 2**number, 8.0) * random.uniform(0.5, 1.0)
            if on_retry:
                on_retry(delay_s)
            await asyncio.sleep(delay_s)
    raise InvalidArgument("attempts must be at least 1")


__all__ = ["NotFound", "Registry", "Repository", "retried"]


def _not_reached(method: str, url: str, error: BaseException) -> SampanError:
    """Of a registry that cannot be reached Docker names the address that it asks first, whatever was wanted of it."""
    parts = urlsplit(url)
    if isinstance(error, aiohttp.ClientConnectorError) and parts.path.startswith("/v2/"):
        return connection_failed("GET", f"{parts.scheme}://{parts.netloc}/v2/", error)
    return connection_failed(method, url, error)
