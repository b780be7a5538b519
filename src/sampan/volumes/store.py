"""Volumes of the local driver: a directory `<root>/<name>/_data` each, on which a volume with options has its mount.

Such a mount is made on the host when the first container that uses it starts, so that all containers share it, and goes
with the volume.

A volume exists when its row does: the row is written before the directory is made, and deleted after the directory was
renamed away, so that a crash in between loses nothing and leaves only a name that the next start sweeps.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping

import msgspec

from sampan.errors import Conflict, Internal, InvalidArgument, NotFound
from sampan.store.database import Database
from sampan.store.volumes import VolumeRows
from sampan.volumes import mounting
from sampan.volumes.model import ANONYMOUS_LABEL, Volume, check_name, check_options

_DATA = "_data"
_GRAVE = ".removed-"
_VolumeList = list[Volume]
# (action, volume name, attributes)
EventSink = Callable[[str, str, Mapping[str, str]], object]


class Volumes:
    """All volumes of one engine. `users` tells which containers (ids) refer to a volume."""

    def __init__(
        self,
        database: Database,
        root: str,
        users: Callable[[str], list[str]] = lambda name: [],
        on_event: EventSink | None = None,
    ) -> None:
        self._rows = VolumeRows(database)
        self._root = root
        self.users = users
        self._on_event: EventSink = on_event or (lambda action, name, attributes: None)
        self._volumes: dict[str, Volume] = {}
        self._background: set[asyncio.Task[None]] = set()
        os.makedirs(root, mode=0o701, exist_ok=True)
        for body in self._rows.all():
            volume = msgspec.json.decode(body, type=Volume)
            self._volumes[volume.name] = volume
            self._make_directory(volume.name)

    async def start(self) -> None:
        """Sweep what a crash left half removed."""
        with os.scandir(self._root) as entries:
            for entry in entries:
                if entry.name.startswith(_GRAVE):
                    self._bury(entry.path)

    async def close(self) -> None:
        """Wait for removals under way."""
        if self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    # --- looking

    def get(self, name: str) -> Volume:
        """
        Raises:
            NotFound: `get x: no such volume`.
        """
        volume = self._volumes.get(name)
        if volume is None:
            raise NotFound(f"get {name}: no such volume")
        return volume

    def list(self) -> _VolumeList:
        return sorted(self._volumes.values(), key=lambda volume: volume.name)

    def mountpoint(self, name: str) -> str:
        """The directory that holds (or would hold) a volume's files, as inspect shows it."""
        return f"{self._root}/{name}/{_DATA}"

    async def prepare(self, name: str) -> None:
        """Make the mountpoint ready for a container's start: a volume with options is mounted there now.

        Raises:
            NotFound: no such volume.
            InvalidArgument: the mount fails.
        """
        volume = self.get(name)
        target = self.mountpoint(name)
        if volume.options.get("device") and not await asyncio.to_thread(mounting.is_mounted, target):
            await asyncio.to_thread(mounting.mount_volume, name, volume.options, target)

    def size_bytes(self, name: str) -> int:
        """What the files of a volume occupy by their lengths; -1 if it is a mount. Blocking."""
        if self.get(name).options.get("device"):
            return -1
        return _tree_bytes(self.mountpoint(name))

    # --- changing

    async def create(
        self,
        name: str = "",
        driver: str = "local",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """Create a volume, or give the one of that name; without a name an anonymous one with 64 hex digits.

        Raises:
            InvalidArgument: bad name or option.
            NotFound: no such driver.
            Internal: the directory cannot be made.
        """
        if driver not in ("", "local"):
            raise NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        labels, options = dict(labels or {}), dict(options or {})
        if not name:
            name = secrets.token_hex(32)
            labels.setdefault(ANONYMOUS_LABEL, "")
        if name in self._volumes:
            return self._volumes[name]
        check_name(name)
        check_options(name, options)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        volume = Volume(name=name, created=created, labels=labels, options=options)
        self._rows.save(name, msgspec.json.encode(volume))
        try:
            self._make_directory(name)
        except OSError as error:
            self._rows.delete(name)
            raise Internal(f"create {name}: {error.strerror}: {error.filename}") from error
        self._volumes[name] = volume
        self._on_event("create", name, {"driver": "local"})
        return volume

    def _make_directory(self, name: str) -> None:
        os.makedirs(self.mountpoint(name), mode=0o755, exist_ok=True)
        os.chmod(f"{self._root}/{name}", 0o701)

    async def remove(self, name: str, force: bool = False) -> None:
        """Remove a volume; its files go in the background.

        Raises:
            NotFound: no such volume, unless `force`.
            Conflict: containers refer to it, even with `force`.
        """
        if name not in self._volumes:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        if users := self.users(name):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        if self._volumes[name].options.get("device") and mounting.is_mounted(self.mountpoint(name)):
            await asyncio.to_thread(mounting.unmount_volume, self.mountpoint(name))
        grave = f"{self._root}/{_GRAVE}{secrets.token_hex(8)}"
        try:
            os.rename(f"{self._root}/{name}", grave)
        except FileNotFoundError:
            grave = ""
        except OSError as error:
            raise Internal(f"remove {name}: {error.strerror}") from error
        self._rows.delete(name)
        del self._volumes[name]
        if grave:
            self._bury(grave)
        self._on_event("destroy", name, {"driver": "local"})

    def _bury(self, path: str) -> None:
        task = asyncio.create_task(asyncio.to_thread(shutil.rmtree, path, True))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def prune(self, wanted: Callable[[Volume], bool]) -> tuple[_StringList, int]:
        """Remove all unused volumes that `wanted` accepts; gives their names and the bytes that came free."""
        deleted: _StringList = []
        freed_bytes = 0
        for volume in self.list():
            if not wanted(volume) or self.users(volume.name):
                continue
            size = await asyncio.to_thread(self.size_bytes, volume.name)
            try:
                await self.remove(volume.name)
            except (Conflict, NotFound):
                continue
            deleted.append(volume.name)
            freed_bytes += max(size, 0)
        return deleted, freed_bytes

    def subpath(self, name: str, subpath: str) -> str:
        """The checked form of a mount's `Subpath`; the runtime resolves it below the volume without following out.

        Raises:
            InvalidArgument: absolute or climbing.
        """
        if os.path.isabs(subpath) or ".." in subpath.split("/"):
            raise InvalidArgument("subpath must be a relative path within the volume")
        return os.path.normpath(subpath) if subpath else ""


_StringList = list[str]


def _tree_bytes(path: str) -> int:
    total = 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        total += _tree_bytes(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    except (FileNotFoundError, NotADirectoryError):
        return total
    return total
