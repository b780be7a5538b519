"""`docker rm`: a container's end. What is on disk goes to a trash directory first, so that a crash leaves no half of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from sampan.engine.containers import mounting, networking
from sampan.engine.containers.model import Container
from sampan.errors import Conflict, SampanError

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_GONE_TIMEOUT_S = 10.0
TRASH_PREFIX = "removed-"


async def remove(engine: Engine, container: Container, *, force: bool, volumes: bool) -> None:
    """Remove it; with `force` kill it first.

    Raises:
        Conflict: it runs, is paused, or is being removed.
    """
    from sampan.engine.containers import ending, stopping

    if container.removing:
        raise Conflict(f"removal of container {container.name} is already in progress")
    status = container.state.status
    if not force and status in ("running", "paused", "restarting"):
        hint = {
            "running": "container is running: stop the container before removing or force remove",
            "paused": "container is paused and must be unpaused first",
            "restarting": "container is restarting: stop the container before removing or force remove",
        }[status]
        raise Conflict(f'cannot remove container "{container.name}": {hint}')
    container.removing = True
    try:
        ending.cancel_restart(container)
        task = container.task
        while True:
            if container.running:
                await stopping.kill_for_removal(engine, container)
            async with container.lock:
                if not container.running:
                    await _remove(engine, container, volumes)
                    break
                if not force:
                    raise Conflict(f"container {container.name} has been started meanwhile")
                # a start that was under way; no other begins now
    except BaseException:
        container.removing = False
        raise
    engine.containers.background(_empty_trash(engine, container, task))
    ending.removed(container)


async def _remove(engine: Engine, container: Container, volumes: bool) -> None:
    engine.tasks.drop_pending(container.id)
    await networking.tear_down(engine, container)
    trash = f"{engine.containers.root}/{TRASH_PREFIX}{container.id}"
    engine.containers.forget(container)
    with contextlib.suppress(FileNotFoundError):
        os.rename(container.directory, trash)
    engine.containers.publish(container, "destroy")
    await mounting.release(engine, container, remove_anonymous=volumes)


async def _empty_trash(engine: Engine, container: Container, task: object) -> None:
    """Deletion itself is nobody's wait. The shim may hold the log for a moment longer."""
    live = engine.tasks.get(container.id)
    if live is not None:
        with contextlib.suppress(TimeoutError, SampanError):
            await asyncio.wait_for(live.gone.wait(), _GONE_TIMEOUT_S)
    await asyncio.to_thread(delete_tree, f"{engine.containers.root}/{TRASH_PREFIX}{container.id}")


def delete_tree(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
