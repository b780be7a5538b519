"""Downloads by URL: for ADD, for contexts of builds, for `docker import`."""

from __future__ import annotations

import email.utils
import hashlib
import os
import posixpath
from urllib.parse import unquote, urlsplit

import aiohttp

from sampan.build.copying import Download
from sampan.errors import InvalidArgument
from sampan.registry.failures import connection_failed

_CONNECT_TIMEOUT_S = 30
_IDLE_TIMEOUT_S = 120
_CHUNK_BYTES = 1 << 18
_MAX_REDIRECTS = 10


class HttpFetcher:
    """Fetches over http and https. Redirects are followed within these two, and never from https to http.
    `purpose` stands in front of its errors."""

    def __init__(self, purpose: str = "ADD failed: ") -> None:
        self._purpose = purpose

    async def fetch(self, url: str, directory: str) -> Download:
        """The body of `url` as a file in `directory`.

        Raises:
            InvalidArgument: `ADD failed: failed to GET URL with status 404 Not Found: …`, or the connection failed.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_IDLE_TIMEOUT_S)
        try:
            async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=True) as session:
                async with session.get(
                    url, max_redirects=_MAX_REDIRECTS, headers={"Accept-Encoding": "identity"}
                ) as response:
                    return await self._receive(url, response, directory)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise InvalidArgument(f"{self._purpose}{connection_failed('GET', url, error).message}") from error

    async def _receive(self, url: str, response: aiohttp.ClientResponse, directory: str) -> Download:
        if any(step.url.scheme == "https" for step in response.history) and response.url.scheme != "https":
            raise InvalidArgument(f'{self._purpose}Get "{url}": refusing a redirect from https to http')
        if response.status >= 400:
            raise InvalidArgument(f"{self._purpose}failed to GET {url} with status {response.status} {response.reason}")
        path = os.path.join(directory, os.urandom(8).hex())
        digest = hashlib.sha256()
        with open(path, "xb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
        return Download(_file_name(url), path, digest.hexdigest(), _modified_ns(response))


def _file_name(url: str) -> str:
    path = unquote(urlsplit(url).path)
    name = "" if path.endswith("/") else posixpath.basename(path)
    return "" if name in (".", "..") or "/" in name or "\0" in name else name


def _modified_ns(response: aiohttp.ClientResponse) -> int | None:
    text = response.headers.get("Last-Modified")
    if not text:
        return None
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp()) * 10**9
    except (TypeError, ValueError):
        return None
