"""Works on a graph of nodes: from the cache, from another build that is at it, or by doing it; in parallel where it may.

A node is solved from the top: if its own key is known, nothing below it is looked at. Else its inputs are solved, all at
once, and then the step itself is carried out. A COPY from another stage has two keys: one by the stage's statement, which
answers without working on the stage at all, and the one by the content of the files, which survives a stage that was made
anew with the same files.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

from sampan.build import keys
from sampan.build.executor import Executor
from sampan.build.inputs import Inputs
from sampan.build.nodes import Base, Copy, Directory, Layer, Node, Run, inputs_of
from sampan.build.progress import Cached, Done, Failed, NodeProgress, Result, Running
from sampan.content.layers import LayerStore
from sampan.errors import InvalidArgument
from sampan.linux.overlay import MAXIMUM_LAYERS
from sampan.store.build_cache import BuildCache, Entry

_REPLAY_BYTES = 1 << 20


class _Shared:
    """A step under way, for all builds that wait for it. The last to leave cancels it."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Result] | None = None
        self.waiters = 0
        self.listeners: list[NodeProgress] = []
        self.running = Running("")
        self._replay: list[tuple[int, bytes]] = []
        self._replay_bytes = 0

    async def join(self, progress: NodeProgress) -> None:
        progress.post(self.running)
        for stream, data in list(self._replay):
            await progress.output(stream, data)
        self.listeners.append(progress)

    async def output(self, stream: int, data: bytes) -> None:
        if self._replay_bytes < _REPLAY_BYTES:
            self._replay.append((stream, data))
            self._replay_bytes += len(data)
        for listener in list(self.listeners):
            await listener.output(stream, data)


class Solver:
    """One per engine. Sessions of all builds share its cache and the steps under way."""

    def __init__(self, cache: BuildCache, layers: LayerStore, executor: Executor) -> None:
        self.cache = cache
        self.layers = layers
        self.executor = executor
        self.shared: dict[str, _Shared] = {}


class Session:
    """The work of one build. Use as an async context manager: leaving it cancels what is still under way and lets go of
    layers that no image came to hold."""

    def __init__(self, solver: Solver, inputs: Inputs, *, use_cache: bool = True, quiet: bool = False) -> None:
        self._solver = solver
        self._inputs = inputs
        self._use_cache = use_cache
        self._quiet = quiet
        self._keys: dict[Node, asyncio.Task[str]] = {}
        self._results: dict[Node, asyncio.Task[Result]] = {}
        self._progress: dict[Node, NodeProgress] = {}
        self._waiting: dict[Node, asyncio.Event] = {}
        self._leases = ExitStack()
        self.hits: set[str] = set()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._results.values(), *self._keys.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._leases.close()
        if self.hits:
            self._solver.cache.touch(self.hits)

    def progress(self, node: Node) -> NodeProgress:
        """The node's events; there from the start."""
        if node not in self._progress:
            self._progress[node] = NodeProgress()
            self._progress[node].discard = self._quiet
        return self._progress[node]

    def known(self, key: str) -> Result | None:
        """The cached result of a key, if all its layers are there."""
        entry = self._solver.cache.get(key)
        if entry is None:
            return None
        if not all(self._solver.layers.has(layer[0]) for layer in entry.layers):
            self._solver.cache.delete(key)
            return None
        return Result(
            key, tuple(Layer(*layer) for layer in entry.layers), entry.changed, entry.source, entry.created_ns
        )

    # --- keys

    async def key(self, node: Node) -> str:
        """The node's key; works on other stages only where a COPY's content cannot be told otherwise."""
        if node not in self._keys:
            self._keys[node] = asyncio.create_task(self._make_key(node))
        return await asyncio.shield(self._keys[node])

    async def _make_key(self, node: Node) -> str:
        if isinstance(node, Base):
            return keys.base_key(node)
        if isinstance(node, Copy) and node.source is not None:
            return await self._key_of_copy(node, node.source)
        parent = await self.key(node.parent)
        if isinstance(node, Directory):
            return keys.directory_key(node, parent)
        if isinstance(node, Run):
            return keys.run_key(node, parent, [await self._mount_key(node, index) for index in range(len(node.mounts))])
        return keys.copy_key(node, parent, await self._inputs.copied(node, None))

    async def _key_of_copy(self, node: Copy, source: Node) -> str:
        parent = await self._key_below(node, source)
        alias = keys.copy_alias(node, parent, await self.key(source))
        canonical = self._solver.cache.canonical(alias) if self._use_cache else None
        if canonical is not None and self.known(canonical) is not None:
            return canonical
        for waiting, missed in self._waiting.items():
            if _is_below(node, waiting):
                missed.set()
        # A miss is likely, so the work below begins now and not after the other stage.
        result, _ = await asyncio.gather(self.solve(source), self.solve(node.parent))
        canonical = keys.copy_key(node, parent, await self._inputs.copied(node, result.layers))
        self._solver.cache.put_alias(alias, canonical)
        return canonical

    async def _key_below(self, node: Copy, source: Node) -> str:
        """The key of what a COPY lies on. Where that must wait for another stage, `source` is begun meanwhile: what lies on
        new files will be new itself."""
        parent = asyncio.create_task(self.key(node.parent))
        missed = self._waiting[node] = asyncio.Event()
        waiter = asyncio.create_task(missed.wait())
        try:
            await asyncio.wait([parent, waiter], return_when=asyncio.FIRST_COMPLETED)
            if missed.is_set():
                self._begin(source)
            return await parent
        finally:
            del self._waiting[node]
            waiter.cancel()
            parent.cancel()

    def _begin(self, node: Node) -> None:
        """Start on a node; who needs it will hear of its failure."""
        if node not in self._results:
            self._results[node] = asyncio.create_task(self._solve(node))

    async def _mount_key(self, node: Run, index: int) -> str:
        mount = node.mounts[index]
        source = ""
        if mount.kind == "bind":
            source = await (self.key(mount.source) if mount.source is not None else self._inputs.mounted(mount))
        elif mount.source is not None:
            source = await self.key(mount.source)
        return keys.mount_key(mount, source)

    # --- results

    async def solve(self, node: Node) -> Result:
        """The node's result. Raises what the step failed with."""
        self._begin(node)
        return await asyncio.shield(self._results[node])

    async def _solve(self, node: Node) -> Result:
        progress = self.progress(node)
        try:
            return await self._answer(node, progress)
        except BaseException as error:
            progress.post(Failed(error))
            raise

    async def _answer(self, node: Node, progress: NodeProgress) -> Result:
        key = await self.key(node)
        if isinstance(node, Base):
            return self._hold(Result(key, node.layers, False, "", 0))
        known = self.known(key) if self._use_cache else None
        if known is not None:
            self._mark_cached(node, known)
            return self._hold(known)
        parent = await self._inputs_of(node)
        if len(parent.layers) >= MAXIMUM_LAYERS:
            raise InvalidArgument("max depth exceeded")
        result = await self._share(node, key, parent, progress)
        self._hold(result)
        progress.post(Done(result))
        return result

    async def _inputs_of(self, node: Directory | Copy | Run) -> Result:
        parent, *_ = await asyncio.gather(*(self.solve(needed) for needed in inputs_of(node)))
        return parent

    def _hold(self, result: Result) -> Result:
        self._leases.enter_context(self._solver.layers.lease([layer.chain_id for layer in result.layers]))
        return result

    def _mark_cached(self, node: Node, result: Result) -> None:
        """Announce the hit, and that the steps below it are not needed."""
        self.hits.add(result.key)
        self.progress(node).post(Cached(result))
        pending = inputs_of(node)
        seen: set[Node] = set()
        while pending:
            below = pending.pop()
            if below in seen or isinstance(below, Base):
                continue
            seen.add(below)
            pending.extend(inputs_of(below))
            progress = self.progress(below)
            if not progress.ended and below not in self._results:
                task = self._keys.get(below)
                ready = task is not None and task.done() and not task.cancelled() and task.exception() is None
                progress.post(Cached(self.known(task.result()) if task is not None and ready else None))

    # --- work

    async def _share(self, node: Directory | Copy | Run, key: str, parent: Result, progress: NodeProgress) -> Result:
        """Do the step, or wait for the build that is doing it."""
        place = key if self._use_cache else f"{key} {id(self)}"
        shared = self._solver.shared.get(place)
        if shared is None:
            shared = self._solver.shared[place] = _Shared()
            shared.running = Running(self._solver.executor.new_task_id() if isinstance(node, Run) else "")
            shared.task = asyncio.create_task(self._work(node, key, parent, shared))
            shared.task.add_done_callback(lambda _: self._solver.shared.pop(place, None))
        assert shared.task is not None
        shared.waiters += 1
        try:
            await shared.join(progress)
            return await asyncio.shield(shared.task)
        finally:
            shared.waiters -= 1
            if progress in shared.listeners:
                shared.listeners.remove(progress)
            if not shared.waiters and not shared.task.done():
                shared.task.cancel()
                await asyncio.wait([shared.task])

    async def _work(self, node: Directory | Copy | Run, key: str, parent: Result, shared: _Shared) -> Result:
        sources = {needed: (await self.solve(needed)).layers for needed in inputs_of(node)[1:]}
        layers, changed = await self._solver.executor.execute(
            node, parent.layers, sources, self._inputs, shared.running.task_id, shared.output
        )
        source = self._inputs.label(node) if isinstance(node, Copy) else ""
        result = Result(key, layers, changed, source, time.time_ns())
        self._solver.cache.put(
            Entry(
                key,
                [(layer.chain_id, layer.diff_id, layer.size_bytes) for layer in layers],
                changed,
                source,
                describe(node),
                parent.key,
                *(result.created_ns, result.created_ns, 0),
            )
        )
        return result


def _is_below(node: Node, other: Node) -> bool:
    """Whether `other` lies, with steps in between, on `node`."""
    while not isinstance(other, Base):
        other = other.parent
        if other is node:
            return True
    return False


def describe(node: Node) -> str:
    """A line for `builder du`."""
    if isinstance(node, Run):
        return "RUN " + " ".join(node.arguments)
    if isinstance(node, Copy):
        return f"{node.instruction} {' '.join([*node.patterns, *node.urls])} {node.destination}"
    return f"WORKDIR {node.path}" if isinstance(node, Directory) else "FROM"
