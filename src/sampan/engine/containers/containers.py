"""All containers of an engine, in memory and on disk: what the API and other rooms call.

Ways of a container, each in a module of its own:

    create  creation   start   starting     exit     ending (and restart, auto-remove)
    stop    stopping     health  health              recover  recovery

A transition holds the container's `lock`; waiting for a process to end never does. Memory is authoritative; each
transition writes one row.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sampan.engine.containers import (
    creation,
    ending,
    networking,
    prune,
    recovery,
    removal,
    selection,
    starting,
    stats,
    stopping,
    updating,
    views,
)
from sampan.engine.containers.health import Health
from sampan.engine.containers.model import Container
from sampan.engine.containers.request.validation import NAME
from sampan.errors import Conflict, InvalidArgument, NotFound
from sampan.store.containers import ContainerTable

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_CLOSE_TIMEOUT_S = 2.0
_HEX = re.compile(r"[0-9a-f]+")


class Containers:
    """Belongs to the event loop. Names are without the slash; look-ups take name, id or a unique prefix of an id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._table = ContainerTable(engine.database)
        self._by_id: dict[str, Container] = {}
        self._id_of_name: dict[str, str] = {}
        self._jobs: set[asyncio.Task[Any]] = set()
        self._transitions: set[asyncio.Future[Any]] = set()
        self.root = f"{engine.config.data_root}/containers"
        self.health = Health(engine)
        os.makedirs(self.root, mode=0o710, exist_ok=True)

    # --- look-up

    def get(self, name_or_id: str) -> Container:
        """
        Raises:
            NotFound: `No such container: x`. InvalidArgument: a prefix of several ids.
        """
        container = self.find(name_or_id)
        if container is None:
            raise NotFound(f"No such container: {name_or_id}")
        return container

    def find(self, name_or_id: str) -> Container | None:
        """Like `get`, but None if there is none. A full id beats a name, a name beats a prefix."""
        found = self._by_id.get(name_or_id)
        if found is not None:
            return found
        by_name = self._id_of_name.get(name_or_id.removeprefix("/"))
        if by_name is not None:
            return self._by_id.get(by_name)
        if name_or_id and _HEX.fullmatch(name_or_id):
            matches = [each for key, each in self._by_id.items() if key.startswith(name_or_id)]
            if len(matches) > 1:
                raise InvalidArgument(f"Multiple IDs found with provided prefix: {name_or_id}")
            if matches:
                return matches[0]
        return self._by_link(name_or_id.removeprefix("/"))

    def _by_link(self, path: str) -> Container | None:
        """`container/alias`: the target of a link."""
        owner_name, slash, alias = path.partition("/")
        owner = self._by_id.get(self._id_of_name.get(owner_name, "")) if slash else None
        for link in (owner.host_config["Links"] or ()) if owner else ():
            target, _, name = link.partition(":")
            if (name or target).lstrip("/") == alias:
                return self.find(target.lstrip("/"))
        return None

    def id_of_name(self, name: str) -> str | None:
        return self._id_of_name.get(name)

    def all(self) -> Iterator[Container]:
        return iter(list(self._by_id.values()))

    def counts(self) -> dict[str, int]:
        """Containers by `running`, `paused` and `stopped`, for `/info`."""
        found = {"running": 0, "paused": 0, "stopped": 0}
        for container in self._by_id.values():
            status = container.state.status
            found[
                "running" if status in ("running", "restarting") else "paused" if status == "paused" else "stopped"
            ] += 1
        return found

    def using_image(self, image_id: str) -> list[Container]:
        return [each for each in self._by_id.values() if each.image_id == image_id]

    def using_volume(self, name: str) -> list[str]:
        """Ids of the containers that mount a volume."""
        return [
            each.id
            for each in self._by_id.values()
            if any(mount.kind == "volume" and mount.name == name for mount in each.mounts)
        ]

    # --- book-keeping for the modules of this room

    def directory_of(self, container_id: str) -> str:
        return f"{self.root}/{container_id}"

    def reserve_name(self, name: str, container_id: str) -> Callable[[], None]:
        """Keep others from a name while a container is made; the result frees it if that came to nothing."""
        self._id_of_name[name] = container_id

        def release() -> None:
            if container_id not in self._by_id and self._id_of_name.get(name) == container_id:
                del self._id_of_name[name]

        return release

    def add(self, container: Container) -> None:
        self._by_id[container.id] = container
        self._id_of_name[container.name] = container.id
        self._table.save(container.record)

    def adopt(self, container: Container) -> None:
        """One that is in the table already."""
        self._by_id[container.id] = container
        self._id_of_name[container.name] = container.id

    def stored(self) -> ContainerTable:
        return self._table

    def save(self, container: Container) -> None:
        if not container.removed:
            self._table.save(container.record)

    def forget(self, container: Container) -> None:
        self._by_id.pop(container.id, None)
        if self._id_of_name.get(container.name) == container.id:
            del self._id_of_name[container.name]
        self._table.delete(container.id)
        container.removed = True

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        self._engine.events.publish("container", action, container.id, {**container.event_attributes(), **attributes})

    def background(self, work: Any) -> asyncio.Task[Any]:
        """Work that nobody waits for; a failure is logged by the loop's handler."""
        job: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    # --- use cases

    async def create(
        self, body: dict[str, Any], *, name: str = "", platform: str = "", api_version: tuple[int, int] = (1, 56)
    ) -> tuple[Container, list[str]]:
        return await creation.create(self._engine, body, name=name, platform=platform, api_version=api_version)

    async def start(self, name: str) -> None:
        container = self.get(name)
        starting.check_startable(container)
        await self._finish(self._start(container))

    async def _start(self, container: Container) -> None:
        async with container.lock:
            starting.check_startable(container)
            ending.cancel_restart(container)
            container.record.restart_count = 0
            container.record.restart_delay_s = 0.0
            try:
                await starting.start(self._engine, container)
            except Exception:
                ending.start_failed(self._engine, container)
                raise
        self.health.begin(container)

    async def stop(self, name: str, *, signal: str = "", timeout_s: int | None = None) -> None:
        await self._finish(stopping.stop(self._engine, self.get(name), signal, timeout_s))

    async def restart(self, name: str, *, signal: str = "", timeout_s: int | None = None) -> None:
        await self._finish(stopping.restart(self._engine, self.get(name), signal, timeout_s))

    async def kill(self, name: str, signal: str = "") -> None:
        try:
            container = self.get(name)
        except NotFound as error:
            raise NotFound(f"cannot kill container: {name}: {error.message}") from None
        await stopping.kill(self._engine, container, signal)

    async def pause(self, name: str) -> None:
        await stopping.pause(self._engine, self.get(name))

    async def unpause(self, name: str) -> None:
        await stopping.unpause(self._engine, self.get(name))

    def waiter(self, name: str, condition: str) -> tuple[Container, asyncio.Future[tuple[int, str]]]:
        """A future of (exit code, error) for `wait`; see `ending.waiter`."""
        container = self.get(name)
        return container, ending.waiter(container, condition)

    async def wait(self, name: str, condition: str = "not-running") -> int:
        container, future = self.waiter(name, condition)
        try:
            return (await future)[0]
        finally:
            ending.drop_waiter(container, future)

    async def remove(self, name: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        if link:
            updating.remove_link(self._engine, name)
            return
        await self._finish(removal.remove(self._engine, self.get(name), force=force, volumes=volumes))

    async def rename(self, name: str, new_name: str) -> None:
        """
        Raises:
            InvalidArgument: no name, the same name, a bad name. Conflict: taken.
        """
        container = self.get(name)
        new_name = new_name.removeprefix("/")
        if not new_name:
            raise InvalidArgument("Neither old nor new names may be empty")
        async with container.lock:
            old = container.name
            if new_name == old:
                raise InvalidArgument("Renaming a container with the same name as its current name")
            prefix = "Error when allocating new name: "
            if not NAME.fullmatch(new_name):
                raise InvalidArgument(
                    f"{prefix}Invalid container name (/{new_name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
                )
            if new_name in self._id_of_name:
                raise Conflict(
                    f'{prefix}Conflict. The container name "/{new_name}" is already in use by container '
                    f'"{self._id_of_name[new_name]}". You have to remove (or rename) that container to be able to reuse '
                    "that name."
                )
            self._id_of_name[new_name] = container.id
            del self._id_of_name[old]
            container.record.name = new_name
            self._engine.networks.rename(container.id, old, new_name)
            self.save(container)
            self.publish(container, "rename", oldName=f"/{old}")

    async def update(self, name: str, body: dict[str, Any]) -> list[str]:
        return await updating.update(self._engine, self.get(name), body)

    async def prune(self, filters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        return await prune.containers(self._engine, filters)

    async def connect(self, name: str, network: str, settings: dict[str, Any] | None = None) -> None:
        await networking.connect(self._engine, self.get(name), network, settings or {})

    async def disconnect(self, name: str, network: str, *, force: bool = False) -> None:
        await networking.disconnect(self._engine, self.get(name), network, force=force)

    # --- views

    def inspect(self, name: str, *, size: bool = False, api_version: tuple[int, int] = (1, 56)) -> dict[str, Any]:
        return views.inspect(self._engine, self.get(name), size=size, api_version=api_version)

    async def list(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Summaries, newest first. Options: `all`, `size`, `limit`, `filters`, `api_version`."""
        found = selection.select(self._engine, list(self._by_id.values()), options)
        version = options.get("api_version", (1, 56))
        sizes: Sequence[tuple[int, int] | None] = [None] * len(found)
        if options.get("size"):
            sizes = await asyncio.to_thread(lambda: [views.sizes(self._engine, each) for each in found])
        return [
            views.summary(self._engine, each, size=size, api_version=version)
            for each, size in zip(found, sizes, strict=True)
        ]

    def sample(self, container: Container) -> stats.Sample:
        return stats.sample(self._engine, container)

    # --- the engine's life

    async def recover(self) -> None:
        """Once, before the API listens: take over what runs, finish what ended, collect what is left over."""
        self._engine.tasks.on_exit = self._on_exit
        await recovery.recover(self._engine)

    async def _on_exit(self, task: Any, ended: Any) -> None:
        container = self._by_id.get(task.id)
        if container is not None:
            await ending.exited(self._engine, container, task, ended)

    async def _finish(self, work: Any) -> Any:
        """Run to the end even if the client leaves: a transition is never cut in half."""
        transition = asyncio.ensure_future(work)
        self._transitions.add(transition)
        transition.add_done_callback(self._transitions.discard)
        return await asyncio.shield(transition)

    async def close(self) -> None:
        """Let go of all containers; they live on. Starts and removals under way come to their end first."""
        if self._transitions:
            await asyncio.wait(self._transitions, timeout=_CLOSE_TIMEOUT_S)
        for transition in list(self._transitions):  # stops, which wait for a process that takes its time
            transition.cancel()
        for container in self._by_id.values():
            ending.cancel_restart(container)
            self.health.end(container)
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
