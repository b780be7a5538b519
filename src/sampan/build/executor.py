"""Carries out single steps: makes the upper directory, has it filled, turns it into a layer."""

from __future__ import annotations

import asyncio
import os
import posixpath
import shutil
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor as Pool
from typing import TypeVar

from sampan.build import copying
from sampan.build.inputs import Inputs
from sampan.build.interfaces import Runner, RunRequest
from sampan.build.layer_writer import LayerWriter
from sampan.build.nodes import Copy, Directory, Layer, Node, Run
from sampan.build.run_mounts import RunMounts
from sampan.content.layers import LayerStore
from sampan.errors import InvalidArgument, SampanError
from sampan.types.ids import new_id

_Result = TypeVar("_Result")
Output = Callable[[int, bytes], Awaitable[None]]
Sources = Mapping[Node, tuple[Layer, ...]]


class CommandFailed(InvalidArgument):
    """A RUN ended with something else than 0; `exit_code` is what."""

    def __init__(self, command: str, exit_code: int) -> None:
        super().__init__(f"The command '{command}' returned a non-zero code: {exit_code}")
        self.code = exit_code
        self.command = command


class Executor:
    """`work_root` is on the file system of the layers, so that a finished upper directory moves by rename."""

    def __init__(self, layers: LayerStore, work_root: str, runner: Runner, mounts: RunMounts, pool: Pool) -> None:
        self._layers = layers
        self._work_root = work_root
        self._runner = runner
        self._mounts = mounts
        self._pool = pool

    @staticmethod
    def new_task_id() -> str:
        return new_id()

    async def execute(
        self,
        node: Directory | Copy | Run,
        parent: tuple[Layer, ...],
        sources: Sources,
        inputs: Inputs,
        task_id: str,
        output: Output,
    ) -> tuple[tuple[Layer, ...], bool]:
        """The layers after the step, and whether it added one. Raises what the step failed with; leaves nothing."""
        loop = asyncio.get_running_loop()
        home = os.path.join(self._work_root, new_id())
        for name in ("", "/upper", "/work"):
            os.mkdir(home + name, 0o755 if name == "/upper" else 0o700)
        os.chmod(home + "/upper", 0o755)
        try:
            if isinstance(node, Run):
                await self._run(node, parent, sources, inputs, task_id, output, home)
            else:
                await _finish(loop.run_in_executor(self._pool, _write, node, parent, inputs, home + "/upper"))
            return await _finish(loop.run_in_executor(self._pool, self._commit, home + "/upper", parent))
        finally:
            await _finish(loop.run_in_executor(self._pool, _remove, home))

    def _commit(self, upper: str, parent: tuple[Layer, ...]) -> tuple[tuple[Layer, ...], bool]:
        with os.scandir(upper) as entries:
            if next(entries, None) is None:
                return parent, False
        info = self._layers.commit(upper, parent[-1].chain_id if parent else None)
        return (*parent, Layer(info.chain_id, info.diff_id, info.size_bytes)), True

    async def _run(
        self,
        node: Run,
        parent: tuple[Layer, ...],
        sources: Sources,
        inputs: Inputs,
        task_id: str,
        output: Output,
        home: str,
    ) -> None:
        loop = asyncio.get_running_loop()
        trees = {source: inputs.tree(layers) for source, layers in sources.items()}
        below = inputs.tree(parent)
        async with self._mounts.prepare(node, trees, inputs, home) as mounted:
            stubs = await loop.run_in_executor(
                self._pool,
                _make_stubs,
                [*mounted.targets, *((path, True) for path in node.volumes)],
                inputs,
                parent,
                home,
            )
            request = RunRequest(
                task_id=task_id,
                run=node,
                environment=[*node.environment, *mounted.environment],
                lower=[*stubs, *below.directories],
                upper=home + "/upper",
                work=home + "/work",
                mounts=mounted.mounts,
                output=output,
            )
            code = await self._runner.run(request)
        if code:
            raise CommandFailed(" ".join(node.arguments), code)


def _write(node: Directory | Copy, parent: tuple[Layer, ...], inputs: Inputs, upper: str) -> None:
    below = inputs.tree(parent)
    if isinstance(node, Copy):
        copied = inputs.found(node)
        copying.perform(node, copied.selection, copied.downloads, upper, below)
        return
    try:
        resolved = below.resolve(node.path)
        if resolved.found is None:
            LayerWriter(upper, below).make_directories(resolved.path)
        elif not resolved.found.is_directory:
            raise InvalidArgument(f"Cannot mkdir: {node.path} is not a directory")
    except SampanError as error:
        raise InvalidArgument(error.message) from None


# What the runtime mounts over; without a stub below, it would make them in the upper directory and so in the image.
_DIRECTORY_STUBS = ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/proc", "/sys")
_FILE_STUBS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


def _make_stubs(targets: list[tuple[str, bool]], inputs: Inputs, parent: tuple[Layer, ...], home: str) -> list[str]:
    """A layer of mount points that the image lacks, to lie between the image and the upper directory; empty if none."""
    below = inputs.tree(parent)
    stub = home + "/stubs"
    os.mkdir(stub, 0o755)
    os.chmod(stub, 0o755)
    writer = LayerWriter(stub, below)
    wanted = [(path, True) for path in _DIRECTORY_STUBS] + [(path, False) for path in _FILE_STUBS] + targets
    for path, is_directory in wanted:
        resolved = writer.resolve(path)
        if resolved.found is not None:
            continue
        if is_directory:
            writer.make_directories(resolved.path)
        else:
            writer.make_directories(posixpath.dirname(resolved.path))
            os.close(os.open(stub + resolved.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))
    with os.scandir(stub) as entries:
        return [stub] if next(entries, None) is not None else []


def _remove(home: str) -> None:
    shutil.rmtree(home, ignore_errors=True)


async def _finish(work: asyncio.Future[_Result]) -> _Result:
    """Await work of a thread to its end even when cancelled: a thread cannot be stopped, and what it writes to must not be
    taken away under it."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
