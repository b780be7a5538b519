"""After a start of the engine: what the table says against what runs."""

from __future__ import annotations

import asyncio
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sampan.engine.containers import confinement, ending, network_recovery, restart_policy, starting
from sampan.engine.containers.model import Container
from sampan.engine.containers.removal import TRASH_PREFIX, delete_tree
from sampan.engine.tasks.spec import Exit
from sampan.engine.tasks.task import Task
from sampan.errors import SampanError
from sampan.linux.cgroup import open_cgroup

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_UNKNOWN_EXIT = 137


async def recover(engine: Engine) -> None:
    """Live containers stay; ended ones get their exit code, and their restart policy its due; the rest is collected."""
    tasks = {task.id: task for task in await engine.tasks.reattach()}
    for record in engine.containers.stored().all():
        engine.containers.adopt(Container(record, engine.containers.directory_of(record.id)))
    _collect_directories(engine)
    ended: list[tuple[Container, Exit]] = []
    for container in engine.containers.all():
        task = tasks.pop(container.id, None)
        if task is not None and task.exit is None:
            _take_over(engine, container, task)
        elif (found := _exit_of(container, task)) is not None:
            ended.append((container, found))
    for orphan in tasks.values():  # its row is gone: a removal, or a build step, that was cut short
        if orphan.exit is None:
            engine.containers.background(_kill(orphan))
    await _restore_networks(engine)
    _collect_shared_memory(engine)
    for container, exit_ in ended:
        await ending.finish(engine, container, exit_)
    for container in engine.containers.all():
        _revive(engine, container)


def _take_over(engine: Engine, container: Container, task: Task) -> None:
    state = container.state
    container.task = task
    state.pid = task.pid
    frozen = _frozen(engine, container)
    if frozen and state.status != "paused":  # killed between the two halves of pause or unpause
        starting.freeze(engine, container, False)
        frozen = False
    if state.status not in ("running", "paused"):  # killed between the start and its record
        seconds = datetime.fromtimestamp(task.started_at_ns / 1e9, UTC)
        state.started_at = f"{seconds:%Y-%m-%dT%H:%M:%S.%f}000Z"
        state.exit_code, state.error, state.oom_killed, state.stopped_by_user = 0, "", False, False
    state.status = "paused" if frozen else "running"
    mode = container.host_config["NetworkMode"]
    if mode.startswith("container:"):
        container.network_owner = engine.containers.find(mode.partition(":")[2])
    engine.containers.save(container)
    engine.containers.health.begin(container, keep=True)


def _frozen(engine: Engine, container: Container) -> bool:
    from sampan.engine.oci.runtime_config import cgroup_path

    try:
        return bool(open_cgroup(cgroup_path(container.id, container.host_config, engine.config)).frozen())
    except OSError:
        return False


def _exit_of(container: Container, task: Task | None) -> Exit | None:
    """How a container that the table thinks is alive has ended; None for those that were not running."""
    if task is not None and task.exit is not None:
        return task.exit
    if container.state.status not in ("running", "paused"):
        return None
    try:
        with open(f"{container.directory}/exit.json", "rb") as file:
            found: dict[str, Any] = json.load(file)
        return Exit(int(found["exit_code"]), int(found["exited_at_ns"]), bool(found["oom_killed"]))
    except (OSError, ValueError, KeyError):
        return Exit(_UNKNOWN_EXIT, time.time_ns(), False)  # the machine went down


async def _kill(task: Task) -> None:
    try:
        await task.signal(9)
    except SampanError:
        pass  # it ended meanwhile


def _collect_directories(engine: Engine) -> None:
    """Half-made containers and half-removed ones: directories that no row names."""
    for entry in os.scandir(engine.containers.root):
        if entry.name.startswith(TRASH_PREFIX) or engine.containers.find(entry.name) is None:
            engine.containers.background(asyncio.to_thread(delete_tree, entry.path))


def _collect_shared_memory(engine: Engine) -> None:
    directory = f"{engine.config.exec_root}/shm"
    if os.path.isdir(directory):
        for name in os.listdir(directory):
            container = engine.containers.find(name)
            if container is None or not container.running:
                confinement.drop_shared_memory_at(f"{directory}/{name}")


async def _restore_networks(engine: Engine) -> None:
    live = {each.id: each for each in engine.containers.all() if each.task is not None}
    dns = {each.id: each.host_config["Dns"] for each in live.values() if each.host_config["Dns"]}
    await engine.networks.restore({key: each.pid for key, each in live.items()}, dns)
    interfaces = await engine.networks.host_ends()
    for container in live.values():
        await network_recovery.reconcile(engine, container, interfaces)


def _revive(engine: Engine, container: Container) -> None:
    """Start what the restart policy wants up, and finish what was due when the engine ended."""
    state = container.state
    if state.status == "restarting":
        state.status = "exited"
        engine.containers.background(_start(engine, container))
    elif state.status == "removing":
        engine.containers.background(ending.auto_remove(engine, container))
    elif state.status == "exited" and container.restart_timer is None:
        policy = container.host_config["RestartPolicy"]
        if container.host_config["AutoRemove"]:
            engine.containers.background(ending.auto_remove(engine, container))
        elif restart_policy.wanted_at_boot(
            policy, stopped_by_user=state.stopped_by_user, exit_code=state.exit_code, was_running=False
        ):
            engine.containers.background(_start(engine, container))
    elif state.status == "created" and container.host_config["AutoRemove"] and state.error:
        engine.containers.background(ending.auto_remove(engine, container))


async def _start(engine: Engine, container: Container) -> None:
    async with container.lock:
        try:
            starting.check_startable(container)
            await starting.start(engine, container)
        except SampanError:
            return  # its state says why
    engine.containers.health.begin(container)
