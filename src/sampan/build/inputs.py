"""What the steps of one build read from outside the graph: the context's files and downloads, and digests of both."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
from collections.abc import Mapping
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, field

from sampan.build import keys
from sampan.build.content import ContentDigests
from sampan.build.copying import Download
from sampan.build.interfaces import Fetcher
from sampan.build.nodes import Copy, Layer, Mount
from sampan.build.sources import Selection, select
from sampan.build.tree import Found, LayeredTree
from sampan.content.layers import LayerStore
from sampan.errors import InvalidArgument


@dataclass
class Copied:
    """What one COPY reads, found and digested."""

    selection: Selection | None
    downloads: list[Download]
    content: str
    label: str


@dataclass
class Inputs:
    """`context` is the directory of the build context, None if there is none; `directory` is for downloads."""

    layers: LayerStore
    pool: Pool
    fetcher: Fetcher
    context: str | None
    directory: str
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    _copied: dict[Copy, Copied] = field(default_factory=dict)
    _digests: ContentDigests = field(default_factory=ContentDigests)

    def tree(self, layers: tuple[Layer, ...]) -> LayeredTree:
        """The merged tree of these layers (lowest first)."""
        return LayeredTree([self.layers.path(layer.chain_id) for layer in reversed(layers)])

    def context_tree(self) -> LayeredTree:
        return LayeredTree([self.context] if self.context is not None else [])

    async def copied(self, node: Copy, source: tuple[Layer, ...] | None) -> str:
        """The digest of all that `node` copies; `source` None reads the context. Raises Docker's errors of COPY."""
        if node not in self._copied:
            downloads = [await self._download(node, url) for url in node.urls]
            loop = asyncio.get_running_loop()
            self._copied[node] = await loop.run_in_executor(self.pool, self._find, node, source, downloads)
        return self._copied[node].content

    async def _download(self, node: Copy, url: str) -> Download:
        download = await self.fetcher.fetch(url, self.directory)
        if node.checksum and node.checksum != f"sha256:{download.sha256}":
            raise InvalidArgument(f"digest mismatch sha256:{download.sha256}: {node.checksum}")
        if not download.name:
            if node.destination.endswith("/"):
                raise InvalidArgument(f"ADD failed: cannot determine filename for source {url}")
            download = download._replace(name=posixpath.basename(node.destination))
        return download

    def _find(self, node: Copy, source: tuple[Layer, ...] | None, downloads: list[Download]) -> Copied:
        parts: list[str] = []
        selection = None
        if node.patterns:
            selection = select(
                self.context_tree() if source is None else self.tree(source),
                list(node.patterns),
                instruction=node.instruction,
                from_context=source is None,
                parents=node.parents,
                exclude=list(node.exclude),
            )
            parts.append(self._digests.of_entries(selection.entries(), with_owner=node.keeps_owner))
        parts.extend(f"{inline.name}:{hashlib.sha256(inline.content).hexdigest()}" for inline in node.inline)
        parts.extend(f"{download.name}:{download.sha256}" for download in downloads)
        content = keys.digest_of(*parts)
        return Copied(selection, downloads, content, f"{_shape(node, selection)}:{content}")

    def found(self, node: Copy) -> Copied:
        """What `copied` found."""
        return self._copied[node]

    def label(self, node: Copy) -> str:
        """`file:<digest>`, as histories show what was copied; empty if it was not looked at."""
        copied = self._copied.get(node)
        return copied.label if copied is not None else ""

    async def mounted(self, mount: Mount) -> str:
        """The digest of what a bind from the context shows."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, self._mounted, mount)

    def _mounted(self, mount: Mount) -> str:
        tree = self.context_tree()
        top = self.mount_source(mount, tree)
        entries = [("", top), *(tree.walk(top) if top.is_directory else [])]
        return self._digests.of_entries(entries, with_owner=False)

    @staticmethod
    def mount_source(mount: Mount, tree: LayeredTree) -> Found:
        """The file or directory that a bind shows. Raises `InvalidArgument`."""
        found = tree.resolve(mount.path).found
        if found is None:
            raise InvalidArgument(f'failed to compute cache key: "{mount.path}": not found')
        return found


def _shape(node: Copy, selection: Selection | None) -> str:
    sources = selection.sources if selection is not None else []
    if len(sources) + len(node.inline) + len(node.urls) != 1:
        return "multi"
    return "dir" if sources and sources[0].found.is_directory else "file"
