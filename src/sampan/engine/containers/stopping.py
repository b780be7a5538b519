"""Stop, restart, kill, pause, unpause."""

from __future__ import annotations

import asyncio
import signal as signals
import time
from typing import TYPE_CHECKING

from sampan.engine.containers import ending, starting
from sampan.engine.containers.model import Container
from sampan.engine.containers.signals import signal_number
from sampan.errors import Conflict, InvalidArgument, NotModified, SampanError, Unavailable

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

DEFAULT_STOP_TIMEOUT_S = 10
_KILL_TIMEOUT_S = 10.0
_PAUSE_CHECK_S = 0.2


async def stop(engine: Engine, container: Container, signal: str, timeout_s: int | None) -> None:
    """Ask the process to end, kill it after `timeout_s` (the container's own, or 10; negative: never).

    Raises:
        NotModified: it does not run. InvalidArgument: no such signal.
    """
    if container.state.status == "restarting":
        await _stop_restarting(engine, container)
        return
    if not container.running:
        raise NotModified("container is already stopped")
    try:
        number = _stop_signal(container, signal)
    except InvalidArgument as error:
        raise InvalidArgument(f"cannot stop container: {container.name}: {error.message}") from None
    container.record.state.stopped_by_user = True
    engine.containers.save(container)  # first: if the engine dies meanwhile, the next one must not restart it
    await _end(engine, container, number, timeout_s)
    engine.containers.publish(container, "stop")
    engine.containers.save(container)


def _stop_signal(container: Container, signal: str) -> int:
    return signal_number(signal or container.config["StopSignal"] or "SIGTERM")


async def _stop_restarting(engine: Engine, container: Container) -> None:
    """Between two runs there is no process: it is enough not to start the next."""
    async with container.lock:
        if container.state.status == "restarting":
            ending.cancel_restart(container)
            container.state.status = "exited"
            container.state.stopped_by_user = True
            engine.containers.save(container)
            engine.containers.publish(container, "stop")
            return
    if container.running:
        await stop(engine, container, "", None)


async def _end(engine: Engine, container: Container, number: int, timeout_s: int | None) -> None:
    if timeout_s is None:
        timeout_s = container.config["StopTimeout"]
    if timeout_s is None:
        timeout_s = DEFAULT_STOP_TIMEOUT_S
    ended = ending.waiter(container, "next-exit")
    try:
        await _signal_thawed(engine, container, number)
        try:
            await asyncio.wait_for(asyncio.shield(ended), None if timeout_s < 0 else timeout_s)
        except TimeoutError:
            await _signal_thawed(engine, container, int(signals.SIGKILL))
            await _await_death(engine, container, ended)
    finally:
        ending.drop_waiter(container, ended)


async def _signal(engine: Engine, container: Container, number: int) -> None:
    task = container.task
    if task is None:
        return
    try:
        await task.signal(number)
    except Unavailable:
        pass  # its shim is gone, and its exit follows


async def _signal_thawed(engine: Engine, container: Container, number: int) -> None:
    """Send a signal that a paused container takes too. Its shim may wait for an exec that was frozen half-way, and would
    answer only when the container goes on: so the answer is not awaited before that."""
    sent = asyncio.ensure_future(_signal(engine, container, number))
    await asyncio.sleep(0)
    if container.paused:
        await _thaw(engine, container)
    await sent
    engine.containers.publish(container, "kill", signal=str(number))


async def _await_death(engine: Engine, container: Container, ended: asyncio.Future[tuple[int, str]]) -> None:
    """After SIGKILL. A pause that came in between would keep the process from dying."""
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while not ended.done():
        if time.monotonic() > deadline:
            raise SampanError(
                f"cannot stop container: {container.id}: tried to kill container, but did not receive an exit event"
            )
        await asyncio.wait([ended], timeout=_PAUSE_CHECK_S)
        if container.paused and not ended.done():
            await _thaw(engine, container)


async def _thaw(engine: Engine, container: Container) -> None:
    await asyncio.to_thread(starting.freeze, engine, container, False)
    if container.paused:
        container.state.status = "running"


async def restart(engine: Engine, container: Container, signal: str, timeout_s: int | None) -> None:
    """Stop it if it runs, then start it; AutoRemove does not strike in between."""
    number = _stop_signal(container, signal)
    container.stop_requested = True
    try:
        if container.state.status == "restarting":
            await _stop_restarting(engine, container)
        elif container.running:
            container.record.state.stopped_by_user = True
            await _end(engine, container, number, timeout_s)
            engine.containers.publish(container, "stop")
        try:
            await engine.containers._start(container)
        except NotModified:
            pass  # somebody else started it meanwhile
    finally:
        container.stop_requested = False
    engine.containers.publish(container, "restart")


async def kill(engine: Engine, container: Container, signal: str) -> None:
    """Send a signal; without one, or with KILL, return after death.

    Raises:
        InvalidArgument: no such signal. Conflict: it does not run.
    """
    try:
        number = signal_number(signal) if signal else int(signals.SIGKILL)
    except InvalidArgument as error:
        raise InvalidArgument(f"cannot kill container: {container.name}: {error.message}") from None
    if not container.running:
        raise Conflict(f"cannot kill container: {container.name}: container {container.id} is not running")
    if number in (int(signals.SIGKILL), _stop_signal(container, "")):
        container.record.state.stopped_by_user = True
    if number != int(signals.SIGKILL):
        await _signal(engine, container, number)
        engine.containers.publish(container, "kill", signal=str(number))
        return
    await _kill_and_wait(engine, container)


async def _kill_and_wait(engine: Engine, container: Container) -> None:
    ended = ending.waiter(container, "next-exit")
    try:
        await _signal_thawed(engine, container, int(signals.SIGKILL))
        await _await_death(engine, container, ended)
    finally:
        ending.drop_waiter(container, ended)


async def kill_for_removal(engine: Engine, container: Container) -> None:
    container.record.state.stopped_by_user = True
    await _kill_and_wait(engine, container)


async def pause(engine: Engine, container: Container) -> None:
    """
    Raises:
        Conflict: it does not run, is paused or restarting.
    """
    async with container.lock:
        if container.paused:
            raise Conflict(f"Container {container.id} is already paused")
        if container.state.status == "restarting":
            raise Conflict(f"container {container.id} is restarting, wait until the container is running")
        if not container.running:
            raise Conflict(f"container {container.id} is not running")
        await asyncio.to_thread(starting.freeze, engine, container, True)
        container.state.status = "paused"
        engine.containers.save(container)
        engine.containers.health.end(container)
        engine.containers.publish(container, "pause")


async def unpause(engine: Engine, container: Container) -> None:
    """
    Raises:
        SampanError: it is not paused (500, as Docker).
    """
    async with container.lock:
        if not container.paused:
            raise SampanError(f"Container {container.id} is not paused")
        await _thaw(engine, container)
        engine.containers.save(container)
        engine.containers.publish(container, "unpause")
    engine.containers.health.begin(container, keep=True)
