from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from sampan.build.executor import CommandFailed
from sampan.build.nodes import Base, Copy, Layer, Node, Run
from sampan.build.progress import Cached, Done, Failed, Output, Running
from sampan.build.solver import Session, Solver
from sampan.store.build_cache import BuildCache
from sampan.store.database import Database


def layer(name: str) -> Layer:
    return Layer(f"chain {name}", f"diff {name}", 1)


def run(parent: Node, command: str, *, environment: tuple[str, ...] = (), **other: Any) -> Run:
    return Run(parent, (command,), environment, "/", "", "default", **other)


def copy(parent: Node, source: Node | None, pattern: str = "x") -> Copy:
    return Copy(parent, source, (pattern,), (), (), "/", "COPY")


class FakeLayers:
    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.leases = 0

    def has(self, chain_id: str) -> bool:
        return chain_id not in self.missing

    @contextlib.contextmanager
    def lease(self, chain_ids: list[str]) -> Iterator[None]:
        self.leases += 1
        yield
        self.leases -= 1


class FakeInputs:
    """Content of sources: what the context has, or a stage's topmost layer."""

    def __init__(self) -> None:
        self.context = "content"
        self.same = False

    async def copied(self, node: Copy, source: tuple[Layer, ...] | None) -> str:
        if source is None:
            return self.context
        return "same" if self.same else source[-1].chain_id

    def label(self, node: Copy) -> str:
        return "file:x"


class FakeExecutor:
    """Counts the work; `sleep 1` waits a while, `fail` fails, `hang` waits for ever."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.cancelled: list[str] = []
        self.running = 0
        self.most = 0
        self.serial = 0

    @staticmethod
    def new_task_id() -> str:
        return "task"

    async def execute(
        self,
        node: Any,
        parent: tuple[Layer, ...],
        sources: Any,
        inputs: Any,
        task_id: str,
        output: Callable[[int, bytes], Awaitable[None]],
    ) -> tuple[tuple[Layer, ...], bool]:
        command = node.arguments[0] if isinstance(node, Run) else "copy"
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await output(1, command.encode())
            await asyncio.sleep(3600 if command == "hang" else 0.02)
        except asyncio.CancelledError:
            self.cancelled.append(command)
            raise
        finally:
            self.running -= 1
        if command == "fail":
            raise CommandFailed(command, 7)
        self.done.append(command)
        self.serial += 1
        return (*parent, layer(f"{command} {self.serial}")), True


class World:
    def __init__(self) -> None:
        self.layers = FakeLayers()
        self.inputs = FakeInputs()
        self.executor = FakeExecutor()
        self.cache = BuildCache(Database(":memory:"))
        self.solver = Solver(self.cache, self.layers, self.executor)  # type: ignore[arg-type]

    def session(self, **options: Any) -> Session:
        return Session(self.solver, self.inputs, **options)  # type: ignore[arg-type]

    async def solve(self, node: Node, **options: Any) -> list[str]:
        """Solve in a session of its own; gives the work that was done."""
        before = len(self.executor.done)
        async with self.session(**options) as session:
            await session.solve(node)
        return self.executor.done[before:]


BASE = Base((layer("base"),))


async def test_a_second_build_does_nothing() -> None:
    world = World()
    assert await world.solve(run(run(BASE, "a"), "b")) == ["a", "b"]
    assert await world.solve(run(run(BASE, "a"), "b")) == []
    assert await world.solve(run(run(BASE, "a"), "c")) == ["c"]
    assert await world.solve(run(run(BASE, "a"), "b"), use_cache=False) == ["a", "b"]


async def test_the_key_holds_what_determines_a_step() -> None:
    world = World()
    await world.solve(run(BASE, "a"))
    assert await world.solve(run(BASE, "a", hidden_environment={"http_proxy": "x"})) == []
    assert await world.solve(run(BASE, "a", environment=("X=1",))) == ["a"]
    assert await world.solve(run(Base((layer("other"),)), "a")) == ["a"]
    assert await world.solve(run(BASE, "a", extra_hosts=("h:1",))) == ["a"]


async def test_copy_follows_the_content_of_the_context() -> None:
    world = World()
    assert await world.solve(copy(BASE, None)) == ["copy"]
    assert await world.solve(copy(BASE, None)) == []
    world.inputs.context = "changed"
    assert await world.solve(copy(BASE, None)) == ["copy"]


async def test_a_stage_made_anew_with_the_same_files_does_not_change_its_readers() -> None:
    world = World()
    world.inputs.same = True
    await world.solve(copy(BASE, run(BASE, "a")))
    assert await world.solve(copy(BASE, run(BASE, "other"))) == ["other"]


async def test_a_known_copy_does_not_touch_its_source_stage() -> None:
    world = World()
    source = run(BASE, "a")
    await world.solve(copy(BASE, source))
    world.cache.delete(await key_of(world, source))
    assert await world.solve(copy(BASE, source)) == []


async def key_of(world: World, node: Node) -> str:
    async with world.session() as session:
        return await session.key(node)


async def test_independent_stages_run_side_by_side() -> None:
    world = World()
    node: Node = BASE
    for name in "abcd":
        node = copy(node, run(BASE, f"stage {name}"))
    await world.solve(node)
    assert world.executor.most == 4


async def test_shared_work_is_done_once() -> None:
    world = World()
    shared = run(BASE, "shared")
    await world.solve(copy(copy(BASE, run(shared, "x")), run(shared, "y")))
    assert world.executor.done.count("shared") == 1


async def test_builds_at_the_same_time_share_their_steps() -> None:
    world = World()
    results = await asyncio.gather(*(world.solve(run(BASE, "same")) for _ in range(5)))
    assert world.executor.done == ["same"]
    assert len(results) == 5
    assert world.layers.leases == 0


async def test_a_build_that_leaves_does_not_take_the_step_from_the_other() -> None:
    world = World()
    first = asyncio.create_task(world.solve(run(BASE, "same")))
    second = asyncio.create_task(world.solve(run(BASE, "same")))
    await asyncio.sleep(0.01)
    first.cancel()
    await second
    assert world.executor.done == ["same"]
    assert world.executor.cancelled == []


async def test_the_last_build_that_leaves_cancels_the_step() -> None:
    world = World()
    build = asyncio.create_task(world.solve(run(BASE, "hang")))
    await asyncio.sleep(0.01)
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert world.executor.cancelled == ["hang"]
    assert world.solver.shared == {}
    assert world.layers.leases == 0


async def test_a_missing_layer_is_a_miss() -> None:
    world = World()
    await world.solve(run(BASE, "a"))
    world.layers.missing.add("chain a 1")
    assert await world.solve(run(BASE, "a")) == ["a"]


async def test_failure_is_reported_and_not_cached() -> None:
    world = World()
    node = run(BASE, "fail")
    for _ in range(2):
        async with world.session() as session:
            with pytest.raises(CommandFailed, match="returned a non-zero code: 7"):
                await session.solve(run(node, "after"))
            progress = session.progress(node)
            events = [await progress.next() for _ in range(3)]
        assert isinstance(events[0], Running)
        assert isinstance(events[1], Output)
        assert isinstance(events[2], Failed)


async def test_events_of_work_and_of_hits() -> None:
    world = World()
    first = run(BASE, "a")
    node = run(first, "b")
    async with world.session() as session:
        await session.solve(node)
        kinds = [type(await session.progress(node).next()) for _ in range(3)]
    assert kinds == [Running, Output, Done]
    async with world.session() as session:
        await session.solve(node)
        assert isinstance(await session.progress(node).next(), Cached)
        below = await session.progress(first).next()
        assert isinstance(below, Cached)
        assert below.result is not None
