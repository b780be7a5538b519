"""The graph of a build: what is to be made, out of what.

A node states a layer by what determines it and by the nodes that it reads. Nodes hold no results: those are the solver's.
The same statement always has the same key (see keys.py), so a node can be answered from the cache, by another build that
is under way, or by doing the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Union

from sampan.build.options import Limits


class Layer(NamedTuple):
    """A layer of the LayerStore, in its place on the layers below it."""

    chain_id: str
    diff_id: str
    size_bytes: int


@dataclass(eq=False, frozen=True)
class Base:
    """Layers that exist already: an image's, or none for `scratch`."""

    layers: tuple[Layer, ...] = ()


@dataclass(eq=False, frozen=True)
class Directory:
    """WORKDIR: `path` exists as a directory. Gives no layer if it does already."""

    parent: Node
    path: str


class Inline(NamedTuple):
    """A heredoc of COPY: a file with this name and content."""

    name: str
    content: bytes


@dataclass(eq=False, frozen=True)
class Copy:
    """COPY or ADD. `source` None is the build context. `destination` is absolute; a slash at its end means a directory."""

    parent: Node
    source: Node | None
    patterns: tuple[str, ...]
    inline: tuple[Inline, ...]
    urls: tuple[str, ...]
    destination: str
    instruction: str
    chown: str = ""
    chmod: str = ""
    checksum: str = ""
    exclude: tuple[str, ...] = ()
    parents: bool = False
    unpack: bool | None = None
    keeps_owner: bool = False


class Mount(NamedTuple):
    """One `RUN --mount`. `source` is the node that a bind reads, None for the context or for kinds without a source."""

    kind: str
    target: str
    source: Node | None
    path: str
    read_only: bool
    identity: str
    sharing: str
    required: bool
    variable: str
    mode: int
    uid: int
    gid: int
    size_bytes: int


@dataclass(eq=False, frozen=True)
class Run:
    """RUN. `hidden_environment` (proxies) and `limits` reach the process but not the key. `volumes` are directories that
    are there for the process even if the image lacks them, as the classic builder's volumes are."""

    parent: Node
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    directory: str
    user: str
    network: str
    mounts: tuple[Mount, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    insecure: bool = False
    volumes: tuple[str, ...] = ()
    hidden_environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


Node = Union[Base, Directory, Copy, Run]  # noqa: UP007  (a runtime union of names that refer to each other)


def inputs_of(node: Node) -> list[Node]:
    """The nodes that this one reads; the first is the one whose tree it changes."""
    if isinstance(node, Base):
        return []
    found: list[Node] = [node.parent]
    if isinstance(node, Copy) and node.source is not None:
        found.append(node.source)
    elif isinstance(node, Run):
        found.extend(mount.source for mount in node.mounts if mount.source is not None)
    return found
