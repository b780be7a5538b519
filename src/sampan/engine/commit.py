"""`docker commit`: the use case across containers and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sampan.engine.image_shapes import IMAGE_CONFIG_KEYS
from sampan.engine.images import named
from sampan.errors import InvalidArgument
from sampan.images.commit import commit as commit_upper
from sampan.images.config_changes import merge_environment

if TYPE_CHECKING:
    from sampan.engine.engine import Engine


async def commit(
    engine: Engine,
    container_name: str,
    repository: str,
    tag: str,
    *,
    author: str,
    message: str,
    changes: Sequence[str],
    config: Any,
    pause: bool,
) -> str:
    """Make an image of a container's changes; gives its id. A running container is paused meanwhile unless not wanted.

    Raises:
        NotFound: no such container. InvalidArgument: a bad name or change.
    """
    if config is not None and not isinstance(config, dict):
        raise InvalidArgument("invalid JSON: the configuration must be an object")
    if not container_name:
        raise InvalidArgument('invalid name or ID supplied: ""')
    container = engine.containers.get(container_name)
    reference = named(repository, tag).with_default_tag() if repository else None
    hold = pause and container.running and not container.paused
    if hold:
        await engine.containers.pause(container.id)
    try:
        image = await commit_upper(
            engine.images,
            upper_dir=container.upper,
            base=engine.images.find(container.image_id),
            run_config=_run_config(config or {}, container.config),
            changes=changes,
            reference=reference,
            author=author,
            comment=message,
            container_id=container.id,
            container_config=container.config,
        )
    finally:
        if hold and container.paused:
            await engine.containers.unpause(container.id)
    attributes = {**container.event_attributes(), "comment": message, "imageID": image.id}
    if reference:
        attributes["imageRef"] = reference.familiar()
        engine.images.event("tag", image, reference.familiar())
    engine.events.publish("container", "commit", container.id, attributes)
    return image.id


def _run_config(sent: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What the client sent, completed from the container's own configuration."""
    merged = {key: own[key] for key in IMAGE_CONFIG_KEYS if own.get(key) is not None}
    for key in IMAGE_CONFIG_KEYS:
        if not sent.get(key):
            continue
        if key == "Env":
            merged[key] = merge_environment(own.get(key) or [], sent[key])
        elif key in ("ExposedPorts", "Volumes", "Labels"):
            merged[key] = {**(own.get(key) or {}), **sent[key]}
        else:
            merged[key] = sent[key]
    return merged
