"""One image of the store, as the rooms above see it."""

from __future__ import annotations

from typing import Any

import msgspec

from sampan.spec.oci_image import diff_ids, parse_time_ns, platform_of
from sampan.store.images import ImageRow
from sampan.types.digest import Digest, chain_ids
from sampan.types.platform import Platform
from sampan.types.reference import Reference


class Image(msgspec.Struct):
    """`id` is `sha256:` and the digest of `config_bytes`. `names` are canonical; the store keeps them up to date."""

    id: str
    config: dict[str, Any]
    config_bytes: bytes
    manifest_digest: str | None
    manifest_bytes: bytes | None
    parent: str
    size_bytes: int
    created_ns: int
    tagged_at_ns: int
    platform: Platform
    diff_ids: list[str]
    chain_ids: list[Digest]
    names: list[str] = msgspec.field(default_factory=list)

    @classmethod
    def of_row(cls, row: ImageRow, config: dict[str, Any]) -> Image:
        ids = diff_ids(config)
        return cls(
            id=row.id,
            config=config,
            config_bytes=row.config,
            manifest_digest=row.manifest_digest,
            manifest_bytes=row.manifest,
            parent=row.parent,
            size_bytes=row.size_bytes,
            created_ns=parse_time_ns(config.get("created")),
            tagged_at_ns=row.tagged_at_ns,
            platform=platform_of(config),
            diff_ids=ids,
            chain_ids=chain_ids(ids),
        )

    @property
    def created(self) -> str:
        """As the config has it (RFC 3339), or ""."""
        value = self.config.get("created")
        return value if isinstance(value, str) else ""

    @property
    def run_config(self) -> dict[str, Any]:
        """What containers of the image start with: Cmd, Env, User, …"""
        return self.config.get("config") or {}

    @property
    def labels(self) -> dict[str, str]:
        return self.run_config.get("Labels") or {}

    @property
    def references(self) -> list[Reference]:
        return [Reference.parse(name) for name in self.names]

    @property
    def repo_tags(self) -> list[str]:
        """`busybox:latest`, sorted."""
        return sorted(reference.familiar() for reference in self.references if not reference.digest)

    @property
    def repo_digests(self) -> list[str]:
        """`busybox@sha256:…`."""
        return [reference.familiar() for reference in self.references if reference.digest]

    @property
    def short_id(self) -> str:
        return self.id.partition(":")[2][:12]
