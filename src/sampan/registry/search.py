"""`docker search`: the first version of the registry API, which Docker Hub still serves for this."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec

from sampan.errors import Internal, InvalidArgument
from sampan.registry.auth import Credentials
from sampan.registry.client import Registry
from sampan.registry.manifests import read_limited
from sampan.types.reference import Reference

_HUB_INDEX = "index.docker.io"
_MAX_ANSWER_BYTES = 4 << 20


async def search(registry: Registry, term: str, limit: int, credentials: Credentials) -> list[dict[str, Any]]:
    """Results in Docker's shape. `term` may start with a registry's host.

    Raises:
        InvalidArgument: no term, or a limit outside 1…100.
    """
    if not term or "://" in term:
        raise InvalidArgument(f'invalid search term "{term}"')
    if not 1 <= limit <= 100:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, 100]")
    first, slash, rest = term.partition("/")
    domain, words = (
        (first, rest) if slash and ("." in first or ":" in first or first == "localhost") else (_HUB_INDEX, term)
    )
    repository = registry.repository(Reference(domain, ""), credentials)
    target = "/v1/search?" + urlencode({"q": words, "n": limit})
    async with repository.request("GET", target, scope="") as response:
        content = await read_limited(response, _MAX_ANSWER_BYTES)
    try:
        return [_entry(result) for result in msgspec.json.decode(content)["results"]][:limit]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise Internal(f"registry {domain} does not answer searches") from None


def _entry(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "star_count": int(result.get("star_count") or 0),
        "is_official": bool(result.get("is_official")),
        "name": str(result.get("name") or ""),
        "is_automated": False,
        "description": str(result.get("description") or ""),
    }
