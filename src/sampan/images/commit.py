"""Make an image of a container's changes, or of any tar archive: `docker commit` and `docker import`."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sampan.content.layers import LayerInfo
from sampan.errors import InvalidArgument
from sampan.images.config_changes import apply_changes, merge_environment
from sampan.images.fresh_layer import fresh_layer
from sampan.images.image import Image
from sampan.images.store import ImageStore
from sampan.linux.overlay import MAXIMUM_LAYERS
from sampan.spec.oci_image import EMPTY_RUN_CONFIG, encode_config
from sampan.tar.reader import Readable
from sampan.types.platform import Platform
from sampan.types.reference import Reference
from sampan.types.times import rfc3339

# sha256 of the two zero blocks that end every archive: a layer without entries
EMPTY_LAYER_DIFF_ID = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


async def commit(
    store: ImageStore,
    *,
    upper_dir: str,
    base: Image | None,
    run_config: Mapping[str, Any],
    changes: Sequence[str] = (),
    reference: Reference | None = None,
    author: str = "",
    comment: str = "",
    container_id: str = "",
    container_config: Mapping[str, Any] | None = None,
) -> Image:
    """The image that `base` becomes with the files of `upper_dir`, which is left as it is.

    `run_config` is what the new image starts with (the container's own configuration, or what the client sent), `changes`
    Dockerfile instructions on top of it.

    Raises:
        InvalidArgument: a malformed change, or more layers than can be mounted.
    """
    config = apply_changes(_merged(run_config, base), changes)
    chain = base.chain_ids if base else []
    if len(chain) >= MAXIMUM_LAYERS:
        raise InvalidArgument("max depth exceeded")
    with store.layers.lease(chain):
        parent = chain[-1] if chain else None
        argv = [*((container_config or run_config).get("Entrypoint") or []), *(run_config.get("Cmd") or [])]
        async with fresh_layer(store, lambda: store.layers.commit(upper_dir, parent, move=False)) as layer:
            image_config = child_config(
                base,
                layer,
                config,
                created_ns=time.time_ns(),
                created_by=" ".join(argv),
                author=author,
                comment=comment,
            )
            if container_id:
                image_config["container"] = container_id
            image = store.add(
                encode_config(image_config), None, [reference] if reference else [], parent=base.id if base else ""
            )
    return image


async def import_image(
    store: ImageStore,
    readable: Readable,
    *,
    changes: Sequence[str] = (),
    message: str = "",
    platform: Platform | None = None,
    reference: Reference | None = None,
    source: str = "-",
    created_ns: int | None = None,
) -> Image:
    """An image of one layer with the content of a tar archive, compressed or not. `readable` is read in a thread.

    Raises:
        InvalidArgument: a malformed archive or change.
    """
    config = apply_changes({}, changes)
    async with fresh_layer(store, lambda: store.layers.import_tar(readable)) as layer:
        image_config = child_config(
            None,
            layer,
            config,
            created_ns=time.time_ns() if created_ns is None else created_ns,
            created_by="",
            comment=message or f"Imported from {source}",
            platform=platform,
        )
        return store.add(encode_config(image_config), None, [reference] if reference else [])


def child_config(
    base: Image | None,
    layer: LayerInfo | None,
    run_config: Mapping[str, Any],
    *,
    created_ns: int,
    created_by: str,
    author: str = "",
    comment: str = "",
    platform: Platform | None = None,
) -> dict[str, Any]:
    """The config of an image that adds one step (and, unless it is empty, one layer) to `base`."""
    result: dict[str, Any] = copy.deepcopy(base.config) if base else {}
    for stale in ("comment", "container", "container_config", "id", "parent"):
        result.pop(stale, None)
    if base is None:
        chosen = platform or Platform.host()
        result["os"], result["architecture"] = chosen.os, chosen.architecture
        if chosen.variant:
            result["variant"] = chosen.variant
    empty = layer is None or layer.diff_id == EMPTY_LAYER_DIFF_ID
    step: dict[str, Any] = {"created": rfc3339(created_ns)}
    step |= {
        key: value for key, value in (("author", author), ("created_by", created_by), ("comment", comment)) if value
    }
    if empty:
        step["empty_layer"] = True
    ids = list(result.get("rootfs", {}).get("diff_ids") or [])
    if layer is not None and not empty:
        ids.append(layer.diff_id)
    result["created"] = step["created"]
    result["author"] = author or result.get("author", "")
    result["config"] = {**EMPTY_RUN_CONFIG, **run_config}
    result["rootfs"] = {"type": "layers", "diff_ids": ids}
    result["history"] = [*(result.get("history") or []), step]
    return result


def _merged(run_config: Mapping[str, Any], base: Image | None) -> dict[str, Any]:
    """`run_config`, completed from the base image as Docker does: variables, labels, ports, volumes, command."""
    config = dict(run_config)
    if base is None:
        return config
    inherited = base.run_config
    config["Env"] = merge_environment(inherited.get("Env") or [], config.get("Env") or [])
    for key in ("Labels", "ExposedPorts", "Volumes"):
        config[key] = {**(inherited.get(key) or {}), **(config.get(key) or {})} or None
    if not config.get("Entrypoint") and not config.get("Cmd"):
        config["Entrypoint"], config["Cmd"] = inherited.get("Entrypoint"), inherited.get("Cmd")
    for key in ("User", "WorkingDir", "StopSignal", "Healthcheck", "Shell"):
        if not config.get(key) and inherited.get(key):
            config[key] = inherited[key]
    return config
