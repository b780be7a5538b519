"""The filters of `GET /images/json` and `POST /images/prune`."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sampan.images.image import Image
from sampan.spec.filters import boolean, check_known, labels_match, until_ns
from sampan.types.reference import Reference

if TYPE_CHECKING:
    from sampan.images.store import ImageStore

_LIST = frozenset(("before", "dangling", "label", "label!", "reference", "since", "until"))
_PRUNE = frozenset(("dangling", "label", "label!", "until"))


def select(store: ImageStore, images: list[Image], filters: Mapping[str, Sequence[str]]) -> list[Image]:
    """Those of `images` that pass; a `reference` filter also narrows the names shown, so copies come back.

    Raises:
        InvalidArgument: `invalid filter 'x'`. NotFound: `before` or `since` an image that is not here.
    """
    check_known(filters, _LIST)
    wanted = boolean(filters, "dangling")
    if wanted is not None:
        images = [image for image in images if bool(image.repo_tags) != wanted]
    for name in filters.get("before", ()):
        limit = store.get(name).created_ns
        images = [image for image in images if image.created_ns < limit]
    for name in filters.get("since", ()):
        limit = store.get(name).created_ns
        images = [image for image in images if image.created_ns > limit]
    images = _common(images, filters)
    if filters.get("reference"):
        images = [narrowed for image in images if (narrowed := _narrow(image, filters["reference"])) is not None]
    return images


def select_for_prune(images: list[Image], filters: Mapping[str, Sequence[str]]) -> list[Image]:
    """Newest first, so that children go before their parents."""
    check_known(filters, _PRUNE)
    return _common(images, filters)


def _common(images: list[Image], filters: Mapping[str, Sequence[str]]) -> list[Image]:
    limit_ns = until_ns(filters)
    return [
        image
        for image in images
        if (limit_ns is None or image.created_ns < limit_ns) and labels_match(image.labels, filters)
    ]


def _narrow(image: Image, patterns: Sequence[str]) -> Image | None:
    names = [name for name in image.names if any(_matches(Reference.parse(name), pattern) for pattern in patterns)]
    if not names:
        return None
    narrowed = Image(**{field: getattr(image, field) for field in Image.__struct_fields__})
    narrowed.names = names
    return narrowed


def _matches(reference: Reference, pattern: str) -> bool:
    """Go's path.Match (`*` stops at slashes) on the name in short and full form, with and without the tag."""
    expression = re.compile(_glob(pattern))
    bare = reference.without_tag()
    forms = (reference.familiar(), reference.canonical(), bare.familiar(), bare.canonical())
    return any(expression.fullmatch(form) for form in forms)


def _glob(pattern: str) -> str:
    translated = fnmatch.translate(pattern).removeprefix("(?s:").removesuffix(r")\Z")
    return translated.replace(".*", "[^/]*")
