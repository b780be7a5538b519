"""`RUN --mount`: makes what a step asks for ready as OCI mounts, and takes it away afterwards.

- bind: the files of the context or of a stage, read-only; with `rw`, writes go to an overlay that is thrown away.
- cache: a directory that outlives the build, by id; `locked` and `private` keep others out.
- tmpfs, secret: memory only. A secret's file lies in a root-only directory of the exec root (a tmpfs) while it is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sampan.build.inputs import Inputs
from sampan.build.nodes import Mount, Node, Run
from sampan.build.tree import LayeredTree
from sampan.errors import InvalidArgument


@dataclass
class MountedRun:
    """`targets` are the mount points with whether each is a directory; `environment` holds secrets asked for by name."""

    mounts: list[dict[str, Any]] = field(default_factory=list)
    targets: list[tuple[str, bool]] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)

    def add(self, target: str, kind: str, source: str, options: list[str], *, is_directory: bool = True) -> None:
        self.mounts.append({"destination": target, "type": kind, "source": source, "options": options})
        self.targets.append((target, is_directory))


class RunMounts:
    """One per engine: it knows the locks of the cache mounts. `secrets_root` is on a tmpfs."""

    def __init__(self, cache_root: str, secrets_root: str) -> None:
        self.cache_root = cache_root
        self.secrets_root = secrets_root
        self._locks: dict[str, asyncio.Lock] = {}
        self._private: set[str] = set()

    @asynccontextmanager
    async def prepare(
        self, run: Run, trees: Mapping[Node, LayeredTree], inputs: Inputs, home: str
    ) -> AsyncIterator[MountedRun]:
        """Make the mounts of one RUN ready for the length of the block; `home` is a directory that goes afterwards."""
        mounted = MountedRun()
        async with AsyncExitStack() as stack:
            for index, mount in enumerate(run.mounts):
                if mount.kind == "bind":
                    tree = inputs.context_tree() if mount.source is None else trees[mount.source]
                    _bind(mounted, mount, tree, f"{home}/bind{index}")
                elif mount.kind == "tmpfs":
                    size = [f"size={mount.size_bytes}"] if mount.size_bytes else []
                    mounted.add(mount.target, "tmpfs", "tmpfs", ["nosuid", "nodev", "noexec", "mode=1777", *size])
                elif mount.kind == "cache":
                    tree_or_none = trees[mount.source] if mount.source is not None else None
                    await self._cache(stack, mounted, mount, tree_or_none)
                else:
                    self._secret(stack, mounted, mount, inputs.secrets)
            yield mounted

    async def _cache(
        self, stack: AsyncExitStack, mounted: MountedRun, mount: Mount, initial: LayeredTree | None
    ) -> None:
        name = hashlib.sha256(mount.identity.encode("utf-8", "surrogateescape")).hexdigest()
        if mount.sharing == "locked":
            await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
        elif mount.sharing == "private":
            number = 0
            while (private := f"{name}.{number}") in self._private:
                number += 1
            self._private.add(private)
            stack.callback(self._private.discard, private)
            name = private if number else name
        place = os.path.join(self.cache_root, name)
        if not os.path.isdir(place):
            os.makedirs(self.cache_root, mode=0o700, exist_ok=True)
            _new_cache(place, mount, initial)
        mounted.add(mount.target, "bind", place, ["rbind", "ro" if mount.read_only else "rw"])

    def _secret(self, stack: AsyncExitStack, mounted: MountedRun, mount: Mount, secrets: Mapping[str, bytes]) -> None:
        value = secrets.get(mount.identity)
        if value is None:
            if mount.required:
                raise InvalidArgument(f"secret {mount.identity}: not found")
            return
        if mount.variable:
            mounted.environment.append(f"{mount.variable}={value.decode('utf-8', 'surrogateescape')}")
        if not mount.target:
            return
        os.makedirs(self.secrets_root, mode=0o700, exist_ok=True)
        path = os.path.join(self.secrets_root, os.urandom(16).hex())
        stack.callback(_remove_file, path)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400), "wb") as file:
            file.write(value)
            os.fchown(file.fileno(), mount.uid, mount.gid)
            os.fchmod(file.fileno(), mount.mode)
        mounted.add(mount.target, "bind", path, ["rbind", "ro", "nosuid", "nodev", "noexec"], is_directory=False)


def _bind(mounted: MountedRun, mount: Mount, tree: LayeredTree, scratch: str) -> None:
    found = Inputs.mount_source(mount, tree)
    if not found.is_directory:
        if not mount.read_only:
            copy = scratch + ".file"
            shutil.copy2(found.path, copy)
            mounted.add(mount.target, "bind", copy, ["rbind", "rw"], is_directory=False)
        else:
            mounted.add(mount.target, "bind", found.path, ["rbind", "ro"], is_directory=False)
        return
    if mount.read_only and len(found.paths) == 1:
        mounted.add(mount.target, "bind", found.path, ["rbind", "ro"])
        return
    options = ["lowerdir=" + ":".join(path.replace("\\", "\\\\").replace(":", "\\:") for path in found.paths)]
    if not mount.read_only:
        for name in ("upper", "work"):
            os.makedirs(f"{scratch}/{name}")
        options += [f"upperdir={scratch}/upper", f"workdir={scratch}/work"]
    mounted.add(mount.target, "overlay", "overlay", [*options, *(["ro"] if mount.read_only else [])])


def _new_cache(place: str, mount: Mount, initial: LayeredTree | None) -> None:
    """Make a cache directory in one step, with the content that `from` and `source` name."""
    temporary = f"{place}.{os.urandom(4).hex()}"
    if initial is not None:
        found = Inputs.mount_source(mount, initial)
        for path in reversed(found.paths):
            shutil.copytree(path, temporary, symlinks=True, dirs_exist_ok=True)
    else:
        os.mkdir(temporary)
    os.chown(temporary, mount.uid, mount.gid)
    os.chmod(temporary, mount.mode)
    try:
        os.rename(temporary, place)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_file(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
