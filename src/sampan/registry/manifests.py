"""Manifests and indexes: fetched, checked and read, in the OCI and Docker schema 2 forms.

Sources: OCI image specification 1.1 (manifest.md, image-index.md); distribution's "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import aiohttp
import msgspec

from sampan.errors import Forbidden, Internal, InvalidArgument, NotFound, NotSupported, Unauthorized
from sampan.registry.client import Repository, retried
from sampan.registry.failures import TransientError
from sampan.types.digest import Digest, sha256_of
from sampan.types.platform import Platform
from sampan.types.reference import Reference

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))
_IMAGE_CONFIGS = frozenset(
    ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
)
_MAX_MANIFEST_BYTES = 8 << 20
_MAX_LAYERS = 512
_MAX_NESTING = 4


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A pointer to content. `digest` is checked by `check()`, which everything below calls."""

    media_type: str
    digest: str
    size: int
    urls: list[str] = []
    annotations: dict[str, str] = {}
    platform: dict[str, Any] | None = None

    def check(self) -> Descriptor:
        """
        Raises:
            InvalidArgument: a digest or size that cannot be.
        """
        Digest.parse(self.digest)
        if not 0 <= self.size < 1 << 50:
            raise InvalidArgument(f"invalid size of {self.digest}: {self.size}")
        return self

    def target_platform(self) -> Platform | None:
        """The platform that an index states for this entry; None for `unknown/unknown` (attestations) and none at all."""
        if not self.platform:
            return None
        names = [str(self.platform.get(key) or "") for key in ("os", "architecture", "variant")]
        return Platform.of(*names) if names[0] not in ("", "unknown") and names[1] not in ("", "unknown") else None


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] = []
    manifests: list[Descriptor] | None = None
    fs_layers: list[Any] | None = None
    annotations: dict[str, str] | None = None


class Manifest(NamedTuple):
    """One image for one platform, or an index of several. `content` are the bytes that `digest` names."""

    content: bytes
    digest: Digest
    media_type: str
    config: Descriptor | None
    layers: list[Descriptor]
    children: list[Descriptor]

    @property
    def is_index(self) -> bool:
        return self.media_type in (OCI_INDEX, DOCKER_INDEX)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, str(self.digest), len(self.content))


def parse_manifest(content: bytes, digest: Digest, content_type: str = "") -> Manifest:
    """Read and check a manifest or index.

    Raises:
        NotSupported: schema 1.
        InvalidArgument: not a manifest, or one with impossible digests, sizes or counts.
    """
    try:
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid manifest {digest}: {error}") from None
    claimed = document.media_type or content_type.partition(";")[0].strip()
    if document.schema_version == 1 or document.fs_layers is not None:
        raise NotSupported(
            "Docker Image manifest version 2, schema 1 is not supported: the image must be pushed again by a newer "
            f"version of its builder (manifest {digest})"
        )
    if document.manifests is not None and document.config is None:
        media_type = claimed if claimed in (OCI_INDEX, DOCKER_INDEX) else OCI_INDEX
        children = [child.check() for child in document.manifests]
        return Manifest(content, digest, media_type, None, [], children)
    if document.config is None:
        raise InvalidArgument(f"invalid manifest {digest}: it has neither a config nor manifests")
    if len(document.layers) > _MAX_LAYERS:
        raise InvalidArgument(f"invalid manifest {digest}: {len(document.layers)} layers (at most {_MAX_LAYERS})")
    media_type = claimed if claimed in (OCI_MANIFEST, DOCKER_MANIFEST) else OCI_MANIFEST
    layers = [layer.check() for layer in document.layers]
    return Manifest(content, digest, media_type, document.config.check(), layers, [])


async def fetch_manifest(repository: Repository, reference: Reference, *, shown: bool = True) -> Manifest:
    """The manifest or index at the tag or digest of `reference`; its digest is verified if it was given.

    Raises:
        NotFound: `manifest for NAME:TAG not found: manifest unknown: …`, without the name unless `shown`.
            `pull access denied for NAME, …` without (sufficient) credentials.
        Internal: the content does not have the digest that was asked for.
    """
    name = reference.digest or reference.tag or "latest"
    target = repository.url(f"manifests/{name}")

    async def attempt() -> tuple[bytes, str]:
        async with repository.request("GET", target, headers={"Accept": ACCEPT}) as response:
            return await read_limited(response, _MAX_MANIFEST_BYTES), response.headers.get("Content-Type", "")

    try:
        content, content_type = await retried(attempt, repository.registry.settings.max_attempts)
    except NotFound as error:
        if not shown:
            raise
        raise NotFound(f"manifest for {reference.familiar()} not found: {error.message}") from None
    except (Unauthorized, Forbidden) as error:
        # Registries do not tell what is private from what does not exist.
        raise NotFound(
            f"pull access denied for {reference.repository_familiar}, repository does not exist or may require "
            f"'docker login': {error.message}",
            hint=error.hint,
        ) from None
    digest = sha256_of(content)
    if reference.digest:
        if not reference.digest.matches(content):
            raise Internal(f"manifest verification failed for digest {reference.digest}")
        digest = reference.digest
    return parse_manifest(content, digest, content_type)


async def resolve_platform(repository: Repository, manifest: Manifest, wanted: Platform | None) -> Manifest:
    """Follow an index (also a nested one) to the image for `wanted`, the host's platform if None.

    Raises:
        NotFound: `no matching manifest for linux/s390x in the manifest list entries`.
    """
    platform = wanted or Platform.host()
    for _ in range(_MAX_NESTING):
        if not manifest.is_index:
            return manifest
        candidates = [(child.target_platform(), child) for child in manifest.children]
        known = [(target, child) for target, child in candidates if target is not None]
        chosen = platform.choose(known)
        if chosen is None and not known:
            chosen = next((child for child in manifest.children if child.platform is None), None)
        if chosen is None:
            raise NotFound(f"no matching manifest for {platform} in the manifest list entries")
        manifest = await fetch_manifest(repository, repository.reference.with_digest(chosen.digest))
    raise InvalidArgument(f"invalid index {manifest.digest}: nested too deeply")


def require_image(manifest: Manifest) -> Descriptor:
    """The config of a manifest that is a container image.

    Raises:
        NotSupported: an artifact of another kind (a chart, a signature, a model).
    """
    config = manifest.config
    if config is None or config.media_type not in _IMAGE_CONFIGS:
        kind = config.media_type if config else manifest.media_type
        raise NotSupported(f"unsupported media type {kind}: {manifest.digest} is not a container image")
    return config


async def read_limited(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """A whole body. Raises InvalidArgument above the limit, TransientError if it breaks off."""
    parts: list[bytes] = []
    size_bytes = 0
    while part := await response.content.readany():
        size_bytes += len(part)
        if size_bytes > limit_bytes:
            raise InvalidArgument(f"answer of {response.url} is larger than {limit_bytes} bytes")
        parts.append(part)
    expected = response.headers.get("Content-Length", "")
    if expected.isdigit() and int(expected) != size_bytes:
        raise TransientError(f'Get "{response.url}": unexpected EOF')
    return b"".join(parts)


async def fetch_small_blob(
    repository: Repository, descriptor: Descriptor, limit_bytes: int = _MAX_MANIFEST_BYTES
) -> bytes:
    """A blob that is needed in memory, as a config is; verified.

    Raises:
        InvalidArgument: larger than `limit_bytes`. Internal: not what the digest says.
    """
    digest = Digest.parse(descriptor.digest)

    async def attempt() -> bytes:
        async with repository.request("GET", repository.url(f"blobs/{digest}")) as response:
            return await read_limited(response, limit_bytes)

    content = await retried(attempt, repository.registry.settings.max_attempts)
    if len(content) != descriptor.size or not digest.matches(content):
        raise Internal(f"image config verification failed for digest {digest}")
    return content
