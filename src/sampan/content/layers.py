"""Unpacked layers, by chain id: `layers/<hex>/diff` is the lower directory for overlayfs, `layer.json` what it is.

A layer is unpacked independently of its parent, so the layers of an image unpack in parallel. It is complete or absent: work
happens in `layers/tmp/`, and one rename puts `diff` and `layer.json` into place together. Deletion renames into
`layers/trash/`, which a thread empties.

Where a layer came as a blob, `open_tar` gives that blob's bytes again. A layer made here keeps no blob: packing it is
deterministic, so `open_tar` makes the bytes of its diff id anew.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from sampan.content.blobs import BlobStore, DigestMismatch
from sampan.content.compression import open_decompressed
from sampan.content.pipeline import HashingWriter, Produced, ReadAhead, Tap
from sampan.content.stubs import make_stubs
from sampan.content.trash import Trash
from sampan.errors import NotFound
from sampan.tar.entry import Limits
from sampan.tar.extract import extract_layer
from sampan.tar.reader import Readable
from sampan.tar.writer import Writable, pack_layer
from sampan.types.digest import Digest
from sampan.types.digest import chain_id as chain_id_of


class LayerInfo(msgspec.Struct, frozen=True):
    """`size_bytes` is the sum of the files' sizes, `tar_bytes` the length of the plain tar; `blob` the (compressed) blob
    that it came from, None if it was made here."""

    chain_id: str
    diff_id: str
    size_bytes: int
    parent: str | None = None
    blob: str | None = None
    media_type: str = ""
    tar_bytes: int = 0


def _info(
    chain_id: str,
    diff_id: str,
    size_bytes: int,
    parent: str | None,
    blob: str | None = None,
    media_type: str = "",
    tar_bytes: int = 0,
) -> LayerInfo:
    """Digests become plain strings, which is what msgspec encodes."""
    blob = str(blob) if blob else None
    parent = str(parent) if parent else None
    return LayerInfo(str(chain_id), str(diff_id), size_bytes, parent, blob, media_type, tar_bytes)


class TarStream(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...
    def close(self) -> None: ...


class StagedLayer:
    """A layer unpacked in `tmp/`: either `install` it or `discard` it (after `install` that does nothing)."""

    def __init__(
        self, store: LayerStore, home: str, diff_id: str, size_bytes: int, tar_bytes: int, compression: str
    ) -> None:
        self._store = store
        self._home = home
        self.diff_id = diff_id
        self.size_bytes = size_bytes
        self.tar_bytes = tar_bytes
        self.compression = compression

    def install(
        self, chain_id: str, *, parent: str | None = None, blob: str | None = None, media_type: str = ""
    ) -> LayerInfo:
        """Make it the layer `chain_id`, unless that is there already."""
        info = _info(chain_id, self.diff_id, self.size_bytes, parent, blob, media_type, self.tar_bytes)
        home, self._home = self._home, ""
        return self._store._install(home, info)

    @property
    def open(self) -> bool:
        """Neither installed nor discarded yet."""
        return bool(self._home)

    def discard(self) -> None:
        if self._home:
            self._store._discard(self._home)
            self._home = ""


class LayerStore:
    """All methods may be called from any thread."""

    def __init__(self, root: str, blobs: BlobStore) -> None:
        self.root = root
        self._blobs = blobs
        self._tmp = os.path.join(root, "tmp")
        self._lock = threading.Lock()
        self._leases: dict[str, int] = {}
        self._infos: dict[str, LayerInfo] = {}
        for directory in (root, self._tmp):
            os.makedirs(directory, mode=0o711, exist_ok=True)
        self._trash = Trash(os.path.join(root, "trash"))
        self.stubs = os.path.join(root, "stubs")
        make_stubs(self.stubs)

    # -- look-up --------------------------------------------------------------------------------------------------------

    def _home(self, chain_id: str) -> str:
        return os.path.join(self.root, Digest.parse(chain_id).hex)

    def path(self, chain_id: str) -> str:
        """The directory to use as overlayfs lower directory."""
        return os.path.join(self._home(chain_id), "diff")

    def has(self, chain_id: str) -> bool:
        return os.path.exists(os.path.join(self._home(chain_id), "layer.json"))

    def info(self, chain_id: str) -> LayerInfo:
        """Raises NotFound."""
        info = self._infos.get(chain_id)
        if info is None:
            try:
                with open(os.path.join(self._home(chain_id), "layer.json"), "rb") as file:
                    info = msgspec.json.decode(file.read(), type=LayerInfo)
            except FileNotFoundError:
                raise NotFound(f"layer does not exist: {chain_id}") from None
            self._infos[chain_id] = info
        return info

    def list(self) -> list[str]:
        """The chain id of every layer."""
        return [f"sha256:{name}" for name in os.listdir(self.root) if len(name) == 64]

    # -- making layers --------------------------------------------------------------------------------------------------

    def extract(
        self,
        chain_id: str,
        diff_id: str,
        readable: Readable,
        *,
        parent: str | None = None,
        blob: str | None = None,
        media_type: str = "",
        limits: Limits | None = None,
    ) -> LayerInfo:
        """Unpack a tar, compressed or not, as the layer `chain_id`; if that is there already, only read nothing.

        Raises:
            DigestMismatch: the plain tar does not have `diff_id`.
            TarError, DecompressionError: damaged or hostile.
        """
        if self.has(chain_id):
            return self.info(chain_id)
        staged = self.stage(readable, algorithm=Digest.parse(diff_id).algorithm, limits=limits)
        try:
            if staged.diff_id != diff_id:
                raise DigestMismatch(
                    f'layer verification failed: wrong diff id calculated on extraction "{staged.diff_id}"'
                )
            return staged.install(chain_id, parent=parent, blob=blob, media_type=media_type)
        finally:
            staged.discard()

    def stage(
        self, readable: Readable, *taps: Tap, algorithm: str = "sha256", limits: Limits | None = None
    ) -> StagedLayer:
        """Unpack a tar, compressed or not, whose place is not known yet; `taps` see the plain bytes."""
        digest = hashlib.new(algorithm)
        plain = open_decompressed(readable)  # reads: what fails here must leave no directory
        home = self._new_home()
        stream = ReadAhead(plain, digest, *taps)
        try:
            dirfd = os.open(os.path.join(home, "diff"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                stats = extract_layer(stream, dirfd, limits=limits)
            finally:
                os.close(dirfd)
            found = f"{digest.name}:{digest.hexdigest()}"
            return StagedLayer(self, home, found, stats.size_bytes, stream.size_bytes, plain.compression)
        except BaseException:
            self._discard(home)
            raise
        finally:
            stream.close()

    def import_tar(self, readable: Readable, parent: str | None = None, *, limits: Limits | None = None) -> LayerInfo:
        """Unpack any tar as a new layer on `parent`, in our own canonical form: its diff id is that of `open_tar`."""
        plain = open_decompressed(readable)
        home = self._new_home()
        stream = ReadAhead(plain)
        try:
            dirfd = os.open(os.path.join(home, "diff"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                extract_layer(stream, dirfd, limits=limits)
            finally:
                os.close(dirfd)
            return self._adopt(home, parent)
        except BaseException:
            self._discard(home)
            raise
        finally:
            stream.close()

    def commit(self, upper_dir: str, parent: str | None = None, *, move: bool = True) -> LayerInfo:
        """Make a layer of an overlayfs upper directory.

        `move` takes the directory itself (it is gone afterwards); without, it is copied, for a container that lives on.
        """
        if not move:
            return self._commit_copy(upper_dir, parent)
        home = self._new_home(empty=True)
        try:
            try:
                os.rename(upper_dir, os.path.join(home, "diff"))
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._discard(home)
                info = self._commit_copy(upper_dir, parent)
                self._trash.throw(upper_dir)
                return info
            return self._adopt(home, parent)
        except BaseException:
            self._discard(home)
            raise

    def _commit_copy(self, upper_dir: str, parent: str | None) -> LayerInfo:
        upper = os.open(upper_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        home = self._new_home()
        counted = HashingWriter()

        def produce(out: Writable) -> None:
            counted._out = out
            pack_layer(upper, counted)

        stream = Produced(produce)
        try:
            dirfd = os.open(os.path.join(home, "diff"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                stats = extract_layer(stream, dirfd)
            finally:
                os.close(dirfd)
            return self._install(home, self._canonical(counted, stats.size_bytes, parent))
        except BaseException:
            self._discard(home)
            raise
        finally:
            stream.close()
            os.close(upper)

    def _adopt(self, home: str, parent: str | None) -> LayerInfo:
        """Hash what lies in `home/diff` and install it."""
        dirfd = os.open(os.path.join(home, "diff"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        counted = HashingWriter()
        try:
            size_bytes = pack_layer(dirfd, counted)
        finally:
            os.close(dirfd)
        return self._install(home, self._canonical(counted, size_bytes, parent))

    @staticmethod
    def _canonical(counted: HashingWriter, size_bytes: int, parent: str | None) -> LayerInfo:
        diff_id = counted.digest
        return _info(chain_id_of(parent, diff_id), diff_id, size_bytes, parent, tar_bytes=counted.size)

    def _new_home(self, *, empty: bool = False) -> str:
        home = os.path.join(self._tmp, os.urandom(8).hex())
        os.mkdir(home, 0o711)
        if not empty:
            os.mkdir(os.path.join(home, "diff"))
            os.chmod(os.path.join(home, "diff"), 0o755)
        return home

    def _install(self, home: str, info: LayerInfo) -> LayerInfo:
        """Put a finished layer into place; if another thread was first, its result counts."""
        with open(os.path.join(home, "layer.json"), "wb") as file:
            file.write(msgspec.json.encode(info))
        try:
            os.rename(home, self._home(info.chain_id))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self._discard(home)
            return self.info(info.chain_id)
        self._infos[info.chain_id] = info
        return info

    def record_blob(self, chain_id: str, blob: str, media_type: str) -> LayerInfo:
        """Remember that `blob`, which holds this layer's tar, goes with it: it is found by `info` and deleted with it.

        Raises NotFound.
        """
        info = msgspec.structs.replace(self.info(chain_id), blob=str(blob), media_type=media_type)
        path = os.path.join(self._home(chain_id), "layer.json")
        temporary = f"{path}.{os.urandom(4).hex()}"
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(info))
        os.rename(temporary, path)
        self._infos[chain_id] = info
        return info

    # -- reading --------------------------------------------------------------------------------------------------------

    def open_tar(self, chain_id: str) -> TarStream:
        """The layer as an uncompressed tar: exactly the bytes that its diff id is of. Close it."""
        info = self.info(chain_id)
        if info.blob is not None and self._blobs.has(info.blob):
            return _BlobTar(self._blobs, info.blob)

        def produce(out: Writable) -> None:
            dirfd = os.open(self.path(chain_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                pack_layer(dirfd, out)
            finally:
                os.close(dirfd)

        return Produced(produce)

    # -- deletion -------------------------------------------------------------------------------------------------------

    @contextmanager
    def lease(self, chain_ids: Iterable[str]) -> Iterator[None]:
        """Keep these layers (there or still to come) from `delete` while the block runs."""
        held = list(chain_ids)
        with self._lock:
            for chain_id in held:
                self._leases[chain_id] = self._leases.get(chain_id, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                for chain_id in held:
                    self._leases[chain_id] -= 1
                    if not self._leases[chain_id]:
                        del self._leases[chain_id]

    def delete(self, chain_id: str) -> bool:
        """Remove the layer (its files go in the background); False if it is leased or not there."""
        with self._lock:
            if chain_id in self._leases:
                return False
            self._infos.pop(chain_id, None)
            try:
                self._trash.throw(self._home(chain_id))
            except FileNotFoundError:
                return False
        return True

    def _discard(self, home: str) -> None:
        if os.path.lexists(home):
            self._trash.throw(home)

    def clean(self) -> None:
        """At start-up: what was under way when the last engine died is thrown away."""
        for name in os.listdir(self._tmp):
            self._trash.throw(os.path.join(self._tmp, name))
        self._trash.sweep()

    def wait_idle(self) -> None:
        """Wait until the trash is empty (tests, shutdown)."""
        self._trash.wait_idle()


class _BlobTar:
    def __init__(self, blobs: BlobStore, digest: str) -> None:
        self._file = blobs.open(digest)
        self._stream = ReadAhead(open_decompressed(self._file))
        self._rest = b""

    def read(self, size: int = 1 << 20, /) -> bytes:
        data = self._rest or self._stream.read(1 << 20)
        data, self._rest = data[:size], data[size:]
        return data

    def close(self) -> None:
        self._stream.close()
        self._file.close()
