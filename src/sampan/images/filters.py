"""The filters of `GET /images/json` and `POST /images/prune`."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sampan.errors import InvalidArgument
from sampan.images.image import Image
from sampan.spec.oci_image import parse_time_ns
from sampan.types.reference import Reference

if TYPE_CHECKING:
    from sampan.images.store import ImageStore

_LIST = frozenset(("before", "dangling", "label", "label!", "reference", "since", "until"))
_PRUNE = frozenset(("dangling", "label", "label!", "until"))
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def select(store: ImageStore, images: list[Image], filters: Mapping[str, Sequence[str]]) -> list[Image]:
    """Those of `images` that pass; a `reference` filter also narrows the names shown, so copies come back.

    Raises:
        InvalidArgument: `invalid filter 'x'`. NotFound: `before` or `since` an image that is not here.
    """
    _check(filters, _LIST)
    if filters.get("dangling"):
        wanted = boolean(filters["dangling"], "dangling")
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
    _check(filters, _PRUNE)
    return _common(images, filters)


def _check(filters: Mapping[str, Sequence[str]], known: frozenset[str]) -> None:
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name}'")


def _common(images: list[Image], filters: Mapping[str, Sequence[str]]) -> list[Image]:
    for text in filters.get("until", ()):
        limit_ns = moment_ns(text)
        images = [image for image in images if image.created_ns < limit_ns]
    for text in filters.get("label", ()):
        images = [image for image in images if has_label(image.labels, text)]
    for text in filters.get("label!", ()):
        images = [image for image in images if not has_label(image.labels, text)]
    return images


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """`key` or `key=value`."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def boolean(values: Sequence[str], name: str) -> bool:
    """One of Go's spellings of a truth value."""
    truth = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
    results = {truth.get(value.lower()) for value in values}
    if len(results) != 1 or None in results:
        raise InvalidArgument(f"invalid filter '{name}=[{' '.join(values)}]'")
    return bool(results.pop())


def moment_ns(text: str) -> int:
    """A Unix time, an RFC 3339 time or a Go duration before now, as Unix time in ns."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return int(float(text) * 1e9)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return time.time_ns() - int(sum(float(number) * _UNITS_S[unit] for number, unit in parts) * 1e9)
    moment = parse_time_ns(text)
    if not moment:
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"')
    return moment


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
