"""What made an image, step by step: `docker history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.images.image import Image
from sampan.spec.oci_image import parse_time_ns

if TYPE_CHECKING:
    from sampan.images.store import ImageStore


def history(store: ImageStore, image: Image) -> list[dict[str, Any]]:
    """One entry per step, newest first, in the shape of `GET /images/{name}/history`.

    A step's id is known if an image of this store ends with it; sizes come from the layers, in order of the steps that are
    not empty.
    """
    entries: list[dict[str, Any]] = []
    chain = iter(image.chain_ids)
    for step in image.config.get("history") or []:
        size = 0
        if not step.get("empty_layer"):
            chain_id = next(chain, None)
            if chain_id is not None and store.layers.has(chain_id):
                size = store.layers.info(chain_id).size_bytes
        entries.append(
            {
                "Id": "<missing>",
                "Created": parse_time_ns(step.get("created")) // 1_000_000_000,
                "CreatedBy": step.get("created_by") or "",
                "Tags": None,
                "Size": size,
                "Comment": step.get("comment") or "",
            }
        )
    entries.reverse()
    current: Image | None = image
    for entry in entries:
        if current is None:
            break
        entry["Id"] = current.id
        entry["Tags"] = current.repo_tags or None
        current = store.find(current.parent) if current.parent else None
    return entries
