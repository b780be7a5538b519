"""Read an archive of images in one pass: layers are unpacked as they come by, before it is known whose they are.

Writers put `manifest.json` where they like, often last, so nothing is decided before the end. What looks like a layer is
staged in the layer store, JSON is kept in memory within a bound, links are remembered by name.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from sampan.content.blobs import BlobStore, BlobWriter
from sampan.content.compression import GzipWriter, detect, open_decompressed
from sampan.content.layers import LayerStore, StagedLayer
from sampan.errors import InvalidArgument
from sampan.spec import oci_image as oci
from sampan.tar.entry import HARDLINK, REGULAR, SYMLINK, Entry, Limits, clean_name
from sampan.tar.reader import Readable, TarReader
from sampan.types.digest import Digest, chain_ids, sha256_of
from sampan.types.platform import Platform
from sampan.types.reference import Reference

_MAX_MEMBERS = 20_000
_MAX_JSON_BYTES = 64 << 20
_MAX_INDEX_DEPTH = 4
_HEAD = 512


class LoadedImage(NamedTuple):
    config: bytes
    manifest: bytes | None
    references: list[Reference]
    layer_names: list[str]
    diff_ids: list[str]
    chain_ids: list[Digest]


class _Layer(NamedTuple):
    staged: StagedLayer
    blob: str
    media_type: str


class LoadedArchive:
    """What an archive held. Install the images, then `close`, which drops what nobody installed."""

    def __init__(self, layers: LayerStore, blobs: BlobStore) -> None:
        self._layers = layers
        self._blobs = blobs
        self.images: list[LoadedImage] = []
        self.staged: dict[str, _Layer] = {}
        self._installed: set[str] = set()

    def install(self, image: LoadedImage) -> None:
        """Put the image's layers into place, lowest first."""
        parent: Digest | None = None
        for name, diff_id, chain_id in zip(image.layer_names, image.diff_ids, image.chain_ids, strict=True):
            layer = self.staged[name]
            if not self._layers.has(chain_id):
                if layer.staged.open:
                    layer.staged.install(chain_id, parent=parent, blob=layer.blob, media_type=layer.media_type)
                else:  # the same layer on top of another one
                    with self._blobs.open(layer.blob) as file:
                        self._layers.extract(
                            chain_id, diff_id, file, parent=parent, blob=layer.blob, media_type=layer.media_type
                        )
                self._installed.add(layer.blob)
            parent = chain_id

    def close(self) -> None:
        for layer in self.staged.values():
            layer.staged.discard()
        kept = self._installed | {self._layers.info(chain_id).blob for chain_id in self._layers.list()}
        for layer in self.staged.values():
            if layer.blob not in kept:
                self._blobs.delete(layer.blob)


def read_archive(layers: LayerStore, blobs: BlobStore, source: Readable) -> LoadedArchive:
    """Raises InvalidArgument if it is no archive of images, or a damaged one; nothing is kept then."""
    reading = _Reading(layers, blobs)
    try:
        reading.read(source)
        reading.understand()
    except BaseException:
        reading.archive.close()
        raise
    return reading.archive


class _Reading:
    def __init__(self, layers: LayerStore, blobs: BlobStore) -> None:
        self._layers = layers
        self._blobs = blobs
        self._documents: dict[str, bytes] = {}
        self._links: dict[str, str] = {}
        self._json_bytes = 0
        self.archive = LoadedArchive(layers, blobs)

    # -- the pass over the stream ---------------------------------------------------------------------------------------

    def read(self, source: Readable) -> None:
        reader = TarReader(open_decompressed(source), Limits(entries=_MAX_MEMBERS))
        for entry in reader:
            name = clean_name(entry.name).decode("utf-8", "surrogateescape")
            if entry.kind in (SYMLINK, HARDLINK):
                self._links[name] = _link_target(name, entry)
            elif entry.kind == REGULAR and entry.size and entry.sparse is None:
                self._member(name, entry, _Member(reader))

    def _member(self, name: str, entry: Entry, member: _Member) -> None:
        head = member.peek(_HEAD)
        if detect(head) or head[257:262] == b"ustar" or (len(head) == _HEAD and not head.strip(b"\0")):
            if name not in self.archive.staged:
                self.archive.staged[name] = self._layer(name, member)
        elif head.lstrip()[:1] in (b"{", b"["):
            self._json_bytes += entry.size
            if self._json_bytes > _MAX_JSON_BYTES:
                raise InvalidArgument("the archive has more than 64 MiB of JSON")
            content = member.rest()
            _check_name(name, sha256_of(content))
            self._documents[name] = content

    def _layer(self, name: str, member: _Member) -> _Layer:
        compressed = bool(detect(member.peek(_HEAD)))
        writer = self._blobs.begin()
        try:
            if compressed:
                member.tee = writer
                staged = self._layers.stage(member)
                member.drain()
            else:
                gzip = GzipWriter(writer, level=1)
                staged = self._layers.stage(member, _GzipTap(gzip))
                gzip.close()
            try:
                blob = writer.commit()
                _check_name(name, Digest(blob) if compressed else Digest(staged.diff_id))
            except BaseException:
                staged.discard()
                raise
        finally:
            writer.abort()
        zstd = compressed and staged.compression == "zstd"
        return _Layer(staged, blob, oci.OCI_LAYER_ZSTD if zstd else oci.OCI_LAYER_GZIP)

    # -- making sense of it ---------------------------------------------------------------------------------------------

    def understand(self) -> None:
        manifests = self._manifests()
        by_config = {json.loads(content)["config"]["digest"]: content for content, _ in manifests}
        listed = self._json("manifest.json")
        if isinstance(listed, list):
            for item in listed:
                self._docker_image(item, by_config)
        elif manifests:
            for content, references in manifests:
                self._oci_image(content, references)
        else:
            raise InvalidArgument("the archive holds no images: it has neither manifest.json nor index.json")

    def _docker_image(self, item: Any, by_config: dict[str, bytes]) -> None:
        """One element of `manifest.json`."""
        if not isinstance(item, dict) or not isinstance(item.get("Config"), str):
            raise InvalidArgument("invalid manifest.json")
        names = item.get("Layers") or []
        tags = item.get("RepoTags") or []
        if not all(isinstance(text, str) for text in [*names, *tags]):
            raise InvalidArgument("invalid manifest.json")
        config = self._documents.get(self._resolve(item["Config"]))
        if config is None:
            raise InvalidArgument(f"invalid archive: no {item['Config']}")
        references = [Reference.parse(tag).with_default_tag() for tag in tags]
        self._add(config, by_config.get(sha256_of(config)), references, names)

    def _oci_image(self, content: bytes, references: list[Reference]) -> None:
        manifest = oci.check_manifest(content)
        config = self._documents.get(_blob_name(manifest["config"]["digest"]))
        if config is None:
            raise InvalidArgument(f"invalid archive: no blob {manifest['config']['digest']}")
        self._add(config, content, references, [_blob_name(item["digest"]) for item in manifest["layers"]])

    def _add(self, config: bytes, manifest: bytes | None, references: list[Reference], names: list[str]) -> None:
        parsed = oci.parse_config(config)
        ids = oci.diff_ids(parsed)
        layer_names = [self._resolve(name) for name in names]
        if len(layer_names) != len(ids):
            raise InvalidArgument("invalid archive: the config and the manifest differ in their number of layers")
        for name, diff_id in zip(layer_names, ids, strict=True):
            layer = self.archive.staged.get(name)
            if layer is None:
                raise InvalidArgument(f"invalid archive: no layer {name}")
            if layer.staged.diff_id != diff_id:
                raise InvalidArgument(f"invalid diffID for layer: expected {diff_id}, got {layer.staged.diff_id}")
        if manifest is not None:
            blobs = [self.archive.staged[name].blob for name in layer_names]
            if [item["digest"] for item in json.loads(manifest)["layers"]] != blobs:
                manifest = None  # it speaks of uncompressed layers, which are kept compressed here
        self.archive.images.append(LoadedImage(config, manifest, references, layer_names, ids, chain_ids(ids)))

    def _manifests(self) -> list[tuple[bytes, list[Reference]]]:
        """Every image manifest that `index.json` leads to and that is in the archive."""
        index = self._json("index.json")
        found: list[tuple[bytes, list[Reference]]] = []
        if isinstance(index, dict):
            self._walk(index, [], found, 0)
        return found

    def _walk(self, index: Any, names: list[Reference], found: list[tuple[bytes, list[Reference]]], depth: int) -> None:
        items = index.get("manifests")
        if depth > _MAX_INDEX_DEPTH or not isinstance(items, list) or len(items) + len(found) > _MAX_MEMBERS:
            raise InvalidArgument("invalid archive: bad index")
        for item in items:
            digest = oci.check_descriptor(item)["digest"]
            content = self._documents.get(_blob_name(digest))
            references = names + _references(item.get("annotations"))
            if content is None or not _for_this_engine(item):
                continue
            document = _parse(content)
            if isinstance(document, dict) and isinstance(document.get("manifests"), list):
                self._walk(document, references, found, depth + 1)
            elif isinstance(document, dict) and isinstance(document.get("layers"), list):
                oci.check_manifest(content)
                same = next((known for known, _ in found if known == content), None)
                if same is None:
                    found.append((content, references))
                else:
                    next(names for known, names in found if known is same).extend(references)

    def _json(self, name: str) -> Any:
        content = self._documents.get(name)
        return None if content is None else _parse(content)

    def _resolve(self, name: str) -> str:
        """Follow links between members by name, a few times at most."""
        current = clean_name(name.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
        for _ in range(8):
            if current not in self._links:
                break
            current = self._links[current]
        return current


class _Member:
    """The current entry's data as a stream; `tee` gets the same bytes."""

    def __init__(self, reader: TarReader) -> None:
        self._pieces = reader.data()
        self._rest = b""
        self.tee: BlobWriter | None = None

    def peek(self, size: int) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, None)) is not None:
            self._rest += bytes(piece)
        return self._rest[:size]

    def read(self, size: int = 1 << 20, /) -> bytes:
        if not self._rest:
            self._rest = bytes(next(self._pieces, b""))
        data, self._rest = self._rest[:size], self._rest[size:]
        if data and self.tee is not None:
            self.tee.write(data)
        return data

    def rest(self) -> bytes:
        return b"".join(iter(self.read, b""))

    def drain(self) -> None:
        """What follows the compressed data belongs to the blob too."""
        while self.read():
            pass


class _GzipTap:
    def __init__(self, writer: GzipWriter) -> None:
        self.update = writer.write


def _check_name(name: str, digest: Digest) -> None:
    """A member called `blobs/sha256/<hex>` must be what it says."""
    parts = name.split("/")
    if len(parts) == 3 and parts[:2] == ["blobs", "sha256"] and parts[2] != digest.hex:
        raise InvalidArgument(f"invalid archive: the blob {parts[2]} has the digest {digest}")


def _link_target(name: str, entry: Entry) -> str:
    target = entry.linkname
    if entry.kind == SYMLINK and not target.startswith(b"/"):
        target = name.rpartition("/")[0].encode("utf-8", "surrogateescape") + b"/" + target
    return clean_name(target.lstrip(b"/")).decode("utf-8", "surrogateescape")


def _references(annotations: Any) -> list[Reference]:
    """The names that an index's annotations give: containerd's full one, else the layout's if it is more than a tag."""
    if not isinstance(annotations, dict):
        return []
    for key in ("io.containerd.image.name", "org.opencontainers.image.ref.name"):
        text = annotations.get(key)
        if isinstance(text, str) and ("/" in text or ":" in text):
            try:
                return [Reference.parse(text).with_default_tag()]
            except InvalidArgument:
                continue
    return []


def _for_this_engine(item: dict[str, Any]) -> bool:
    """Leave out other platforms and attestations (`unknown/unknown`)."""
    platform = item.get("platform")
    if not isinstance(platform, dict) or not platform.get("architecture"):
        return True
    found = Platform.of(
        str(platform.get("os") or "linux"), str(platform["architecture"]), str(platform.get("variant") or "")
    )
    return found.os == "linux"


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidArgument("invalid archive: malformed JSON") from None


def _blob_name(digest: str) -> str:
    parsed = Digest.parse(digest)
    return f"blobs/{parsed.algorithm}/{parsed.hex}"
