"""The OCI image format and Docker's schema 2, which is its older spelling: what we read and write of them, pure.

https://github.com/opencontainers/image-spec: config.md, manifest.md, image-index.md, layer.md.
"""

from __future__ import annotations

import json
from typing import Any

from sampan.errors import InvalidArgument, NotSupported
from sampan.types.digest import Digest
from sampan.types.platform import Platform
from sampan.types.times import parse_rfc3339_ns

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MAX_CONFIG_BYTES = 8 << 20
MAX_MANIFEST_BYTES = 4 << 20
# overlayfs takes more, but every engine stops here; a config with a billion layers stops here too
MAX_LAYERS = 127

# a new image's config in Docker's shape; what an instruction sets replaces the null
EMPTY_RUN_CONFIG: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}


def parse_config(content: bytes) -> dict[str, Any]:
    """An image config, checked as far as we rely on it.

    Raises:
        InvalidArgument: not an image config, too large, too many layers.
    """
    if len(content) > MAX_CONFIG_BYTES:
        raise InvalidArgument(f"image config is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidArgument("invalid image config: not JSON") from None
    if not isinstance(config, dict) or not isinstance(config.get("rootfs"), dict):
        raise InvalidArgument("invalid image config: no rootfs")
    ids = config["rootfs"].get("diff_ids")
    if ids is None:
        ids = config["rootfs"]["diff_ids"] = []
    if config["rootfs"].get("type", "layers") != "layers" or not isinstance(ids, list):
        raise InvalidArgument("invalid image config: rootfs is not made of layers")
    if len(ids) > MAX_LAYERS:
        raise InvalidArgument("max depth exceeded")
    for diff_id in ids:
        if not isinstance(diff_id, str):
            raise InvalidArgument("invalid image config: a diff id is not a string")
        Digest.parse(diff_id)
    for key, kinds in (("config", dict), ("history", list), ("container_config", dict)):
        if config.get(key) is not None and not isinstance(config[key], kinds):
            raise InvalidArgument(f"invalid image config: {key}")
    if not all(isinstance(item, dict) for item in config.get("history") or ()):
        raise InvalidArgument("invalid image config: history")
    return config


def diff_ids(config: dict[str, Any]) -> list[str]:
    return list(config["rootfs"]["diff_ids"])


def platform_of(config: dict[str, Any]) -> Platform:
    """The platform that a config states; nothing stated is taken as this machine's."""
    host = Platform.host()
    architecture = config.get("architecture") or host.architecture
    return Platform.of(str(config.get("os") or "linux"), str(architecture), str(config.get("variant") or ""))


def encode_config(config: dict[str, Any]) -> bytes:
    """Deterministic JSON: the same config gives the same id."""
    return json.dumps(config, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def descriptor(media_type: str, content_digest: str, size_bytes: int, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(content_digest), "size": size_bytes, **more}


def check_manifest(content: bytes) -> dict[str, Any]:
    """An image manifest (not an index) with the members that we rely on.

    Raises:
        NotSupported: schema 1. InvalidArgument: malformed.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise InvalidArgument(f"manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidArgument("invalid manifest: not JSON") from None
    if not isinstance(manifest, dict):
        raise InvalidArgument("invalid manifest")
    if manifest.get("schemaVersion") == 1:
        raise NotSupported("manifest schema v1 is not supported any more: push the image again with a current client")
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise InvalidArgument("invalid manifest: layers")
    for item in [manifest.get("config"), *layers]:
        check_descriptor(item)
    return manifest


def check_descriptor(item: Any) -> dict[str, Any]:
    """Raises InvalidArgument unless `item` has a digest and a size."""
    if not isinstance(item, dict) or not isinstance(item.get("digest"), str):
        raise InvalidArgument("invalid manifest: bad descriptor")
    Digest.parse(item["digest"])
    if not isinstance(item.get("size"), int) or item["size"] < 0:
        raise InvalidArgument("invalid manifest: bad size in a descriptor")
    return item


def parse_time_ns(text: object) -> int:
    """RFC 3339 as Unix time in ns; 0 for what is not a time: an image is not refused for that."""
    try:
        return parse_rfc3339_ns(text) if isinstance(text, str) else 0
    except ValueError:
        return 0
