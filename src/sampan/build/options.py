"""What a client asks of one build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Resources of the RUN steps; zero means none. They do not enter cache keys: they change no result."""

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    shm_size_bytes: int = 64 << 20
    cgroup_parent: str = ""
    ulimits: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class BuildOptions:
    """`build_args` maps to None where the client named an argument without a value."""

    dockerfile: str = "Dockerfile"
    tags: list[str] = field(default_factory=list)
    target: str = ""
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = "default"
    extra_hosts: list[str] = field(default_factory=list)
    no_cache: bool = False
    pull: bool = False
    platform: str = ""
    squash: bool = False
    quiet: bool = False
    remove: bool = True
    force_remove: bool = False
    cache_from: list[str] = field(default_factory=list)
    remote: str = ""
    registry_auth: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    copy_keeps_owner: bool = False
    """Whether `COPY --from` keeps the files' owners, as BuildKit does and the classic builder does not."""
    limits: Limits = field(default_factory=Limits)
