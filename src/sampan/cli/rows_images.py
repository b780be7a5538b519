"""The fields of `images`."""

from __future__ import annotations

import time

from sampan.cli.human import ago, local_time
from sampan.cli.listing import Listing, short_id
from sampan.cli.references import split_tag
from sampan.types.sizes import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Image = dict[str, Any]

_NONE = "<none>"


def image_rows(images: list[Image], *, digests: bool) -> list[Image]:
    """One row for each name of each image: {"Repository", "Tag", "Digest", "Image"}."""
    return [{**row, "Image": image} for image in images for row in _names(image, digests)]


def _names(image: Image, digests: bool) -> Iterator[dict[str, str]]:
    tags = [name for name in image.get("RepoTags") or [] if name != "<none>:<none>"]
    known = [name for name in image.get("RepoDigests") or [] if name != "<none>@<none>"]
    by_repository: dict[str, list[str]] = {}
    for name in known:
        repository, _, digest = name.partition("@")
        by_repository.setdefault(repository, []).append(digest)
    if not tags and not known:
        yield {"Repository": _NONE, "Tag": _NONE, "Digest": _NONE}
        return
    tagged = set()
    for name in tags:
        repository, tag = split_tag(name)
        tagged.add(repository)
        if not digests:
            yield {"Repository": repository, "Tag": tag, "Digest": _NONE}
            continue
        for digest in by_repository.get(repository) or [_NONE]:
            yield {"Repository": repository, "Tag": tag, "Digest": digest}
    for repository, found in by_repository.items():
        if repository in tagged:
            continue
        for digest in found if digests else found[:1]:
            yield {"Repository": repository, "Tag": _NONE, "Digest": digest if digests else _NONE}


def image_listing(*, truncate: bool) -> Listing:
    now_s = time.time()

    def size(row: Image) -> str:
        return decimal_size(row["Image"]["Size"], 3)

    def number(row: Image, key: str) -> str:
        value = row["Image"].get(key, -1)
        return "N/A" if value is None or value < 0 else decimal_size(value, 3) if "Size" in key else str(value)

    return Listing(
        {
            "ID": ("IMAGE ID", lambda row: short_id(row["Image"]["Id"]) if truncate else row["Image"]["Id"]),
            "Repository": ("REPOSITORY", lambda row: row["Repository"]),
            "Tag": ("TAG", lambda row: row["Tag"]),
            "Digest": ("DIGEST", lambda row: row["Digest"]),
            "CreatedSince": ("CREATED", lambda row: _since(row["Image"]["Created"], now_s)),
            "CreatedAt": ("CREATED AT", lambda row: local_time(row["Image"]["Created"])),
            "Size": ("SIZE", size),
            "Containers": ("CONTAINERS", lambda row: number(row, "Containers")),
            "SharedSize": ("SHARED SIZE", lambda row: number(row, "SharedSize")),
            "UniqueSize": ("UNIQUE SIZE", lambda row: _unique(row["Image"])),
            "VirtualSize": ("SIZE", lambda row: decimal_size(row["Image"]["Size"])),
        },
        ["Repository", "Tag", "ID", "CreatedSince", "Size"],
        not_in_json=(),
    )


def _since(created_s: int, now_s: float) -> str:
    return "N/A" if created_s <= 0 else ago(created_s, now_s)


def _unique(image: Image) -> str:
    shared = image.get("SharedSize", -1)
    return "N/A" if shared is None or shared < 0 else decimal_size(image["Size"] - shared, 3)
