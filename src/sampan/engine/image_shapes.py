"""An image in the shapes of Docker's API: `ImageSummary` and `ImageInspect`, with what older API versions expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.images.image import Image
from sampan.images.store import ImageStore
from sampan.spec.oci_image import EMPTY_RUN_CONFIG
from sampan.types.times import ZERO_TIME, rfc3339

Version = tuple[int, int]

# What of a container's configuration an image has too; the rest (Hostname, Tty, Attach…) is the container's alone.
_KEYS_TEXT = """
User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal Healthcheck OnBuild Shell ArgsEscaped
"""
IMAGE_CONFIG_KEYS = tuple(_KEYS_TEXT.split())


def summary(image: Image, version: Version, *, shared_size_bytes: int = -1, containers: int = -1) -> dict[str, Any]:
    """One entry of `GET /images/json`."""
    tags, digests = image.repo_tags, image.repo_digests
    if version < (1, 43) and not tags and not digests:
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    entry: dict[str, Any] = {
        "Containers": containers,
        "Created": image.created_ns // 1_000_000_000,
        "Id": image.id,
        "Labels": image.labels or None,
        "ParentId": image.parent,
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": shared_size_bytes,
        "Size": image.size_bytes,
    }
    if version < (1, 44):
        entry["VirtualSize"] = image.size_bytes
    return entry


def inspect(store: ImageStore, image: Image, version: Version) -> dict[str, Any]:
    """The body of `GET /images/{name}/json`."""
    config = image.config
    lower = [store.layers.path(chain_id) for chain_id in reversed(image.chain_ids)]
    graph = {"UpperDir": lower[0]} if lower else {}
    if len(lower) > 1:
        graph = {"LowerDir": ":".join(lower[1:]), **graph}
    tagged_at = rfc3339(image.tagged_at_ns) if image.tagged_at_ns else ZERO_TIME
    body: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": image.repo_tags,
        "RepoDigests": image.repo_digests,
        "Parent": image.parent,
        "Comment": _comment(config),
        "Created": image.created or (ZERO_TIME if version < (1, 44) else None),
        "DockerVersion": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Config": _run_config(image.run_config, version),
        "Architecture": config.get("architecture") or "",
        "Variant": config.get("variant") or None,
        "Os": config.get("os") or "",
        "OsVersion": config.get("os.version") or None,
        "Size": image.size_bytes,
        "GraphDriver": {"Data": graph, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": image.diff_ids},
        "Metadata": {"LastTagTime": tagged_at},
    }
    if version < (1, 44):
        body["VirtualSize"] = image.size_bytes
    return {key: value for key, value in body.items() if value is not None}


def _comment(config: Mapping[str, Any]) -> str:
    history = config.get("history") or []
    return str(config.get("comment") or (history[-1].get("comment") if history else "") or "")


def _run_config(config: Mapping[str, Any], version: Version) -> dict[str, Any]:
    if version < (1, 50):
        return {**EMPTY_RUN_CONFIG, **config}
    return {key: value for key, value in config.items() if key in IMAGE_CONFIG_KEYS and value}
