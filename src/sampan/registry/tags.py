"""All tags of a repository (distribution-spec, "Listing Tags"), page by page."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import msgspec

from sampan.errors import Internal
from sampan.registry.client import Repository, retried
from sampan.registry.manifests import read_limited

_MAX_PAGE_BYTES = 8 << 20
_MAX_PAGES = 1000


async def list_tags(repository: Repository) -> list[str]:
    """Sorted as the registry gives them.

    Raises:
        NotFound: no such repository. Internal: not what the specification says.
    """
    target = repository.url("tags/list")
    tags: list[str] = []
    for _ in range(_MAX_PAGES):

        async def attempt(page: str = target) -> tuple[bytes, str]:
            async with repository.request("GET", page) as response:
                link = response.links.get("next")
                content = await read_limited(response, _MAX_PAGE_BYTES)
                return content, str(link.get("url", "")) if link else ""

        content, following = await retried(attempt, repository.registry.settings.max_attempts)
        try:
            tags += [str(tag) for tag in msgspec.json.decode(content)["tags"] or []]
        except (msgspec.DecodeError, KeyError, TypeError):
            raise Internal("registry answered something else than a list of tags") from None
        if not following:
            return tags
        # Only the path counts: the next page is asked from the same registry, whatever host the link names.
        parts = urlsplit(urljoin("http://registry/", following))
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    raise Internal("registry's list of tags does not end")
