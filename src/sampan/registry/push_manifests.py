"""Putting manifests and indexes under a tag or their digest."""

from __future__ import annotations

from sampan.errors import Internal
from sampan.registry.client import Repository, retried
from sampan.types.digest import Digest

_CREATED = frozenset((201, 202))


async def put_manifest(repository: Repository, name: str, media_type: str, content: bytes, digest: Digest) -> None:
    """Upload a manifest as the tag or digest `name`.

    Raises:
        Internal: refused (a blob is missing), or stored under another digest.
    """
    target = repository.url(f"manifests/{name}")

    async def attempt() -> str:
        async with repository.request(
            "PUT", target, headers={"Content-Type": media_type}, body=lambda: content, accept_status=_CREATED
        ) as response:
            return response.headers.get("Docker-Content-Digest", digest)

    stored = await retried(attempt, repository.registry.settings.max_attempts)
    if stored != digest:
        raise Internal(f"registry stored the manifest as {stored} instead of {digest}")
