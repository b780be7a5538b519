"""The end of a run: state, network, event, waiters, restart policy, auto-remove."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sampan.engine.containers import confinement, mounting, networking, removal, restart_policy, starting
from sampan.engine.containers.model import Container
from sampan.errors import InvalidArgument, SampanError
from sampan.types.times import parse_rfc3339_ns, rfc3339

if TYPE_CHECKING:
    from sampan.engine.engine import Engine
    from sampan.engine.tasks.spec import Exit
    from sampan.engine.tasks.task import Task

Waiter = asyncio.Future[tuple[int, str]]


async def exited(engine: Engine, container: Container, task: Task, ended: Exit) -> None:
    """A container's init has ended. Returns when its state says so; clients see the end of their streams after that."""
    async with container.lock:
        if container.task is not task:
            return
        engine.containers.health.end(container)
        container.task = None
        await finish(engine, container, ended)


async def finish(engine: Engine, container: Container, ended: Exit) -> None:
    """The caller holds the lock, or nobody else knows the container yet."""
    state = container.record.state
    ran_s = max(0.0, (ended.exited_at_ns - parse_rfc3339_ns(state.started_at)) / 1e9)
    state.pid, state.exit_code, state.oom_killed = 0, ended.exit_code, ended.oom_killed
    state.finished_at = rfc3339(ended.exited_at_ns)
    user_stop = state.stopped_by_user
    decision = restart_policy.decide(
        container.host_config["RestartPolicy"],
        exit_code=ended.exit_code,
        restart_count=container.record.restart_count,
        last_delay_s=container.record.restart_delay_s,
        ran_s=ran_s,
        stopped_by_user=user_stop or container.removing,
    )
    state.status = "restarting" if decision.restart else "exited"
    if state.health is not None and not decision.restart and state.health.status != "unhealthy":
        state.health.status = "unhealthy"
    confinement.drop_shared_memory(engine, container)
    await networking.tear_down(engine, container)
    container.record.restart_delay_s = decision.delay_s
    if decision.restart:
        container.record.restart_count += 1
    engine.containers.save(container)
    mounting.publish(engine, container, "unmount")
    if ended.oom_killed:
        engine.containers.publish(container, "oom")
    engine.containers.publish(container, "die", exitCode=str(ended.exit_code), execDuration=str(int(ran_s)))
    _resolve(container.exits, ended.exit_code)
    if decision.restart:
        container.restart_timer = engine.containers.background(_restart_later(engine, container, decision.delay_s))
    elif container.host_config["AutoRemove"] and not container.stop_requested:
        engine.containers.background(auto_remove(engine, container))


async def _restart_later(engine: Engine, container: Container, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    async with container.lock:
        if container.state.status != "restarting" or container.removing:
            return
        container.restart_timer = None
        try:
            await starting.start(engine, container)
        except SampanError as error:
            await _restart_failed(engine, container, error)
            return
    engine.containers.health.begin(container)


async def _restart_failed(engine: Engine, container: Container, error: SampanError) -> None:
    """A restart that cannot even start counts as a run that ended at once."""
    now = time.time_ns()
    container.state.started_at = rfc3339(now)
    from sampan.engine.tasks.spec import Exit

    await finish(engine, container, Exit(container.state.exit_code, now, False))
    container.state.error = error.message
    engine.containers.save(container)


def cancel_restart(container: Container) -> None:
    timer, container.restart_timer = container.restart_timer, None
    if timer is not None and timer is not asyncio.current_task():
        timer.cancel()


def start_failed(engine: Engine, container: Container) -> None:
    """After a failed start by a user: a container with AutoRemove goes, which releases who waits for that."""
    if container.state.status == "restarting":
        container.state.status = "exited"
        engine.containers.save(container)
    if container.host_config["AutoRemove"]:
        engine.containers.background(auto_remove(engine, container))


async def auto_remove(engine: Engine, container: Container) -> None:
    try:
        await removal.remove(engine, container, force=True, volumes=True)
    except SampanError:
        pass  # somebody else removes it


# --- wait


def check_condition(condition: str) -> None:
    if condition not in ("", "not-running", "next-exit", "removed"):
        raise InvalidArgument(f'invalid condition: "{condition}"')


def waiter(container: Container, condition: str) -> Waiter:
    """A future of (exit code, error text) for `not-running`, `next-exit` or `removed`.

    Raises:
        InvalidArgument: another condition.
    """
    check_condition(condition)
    future: Waiter = asyncio.get_running_loop().create_future()
    if condition in ("", "not-running"):
        if container.running or container.state.status == "restarting":
            container.exits.append(future)
        else:
            future.set_result((container.state.exit_code, container.state.error))
    elif condition == "next-exit":
        container.exits.append(future)
    else:
        container.removals.append(future)
    return future


def drop_waiter(container: Container, future: Waiter) -> None:
    """A client left."""
    for waiters in (container.exits, container.removals):
        if future in waiters:
            waiters.remove(future)
    future.cancel()


def _resolve(waiters: list[Waiter], exit_code: int, error: str = "") -> None:
    pending = waiters[:]
    waiters.clear()
    for future in pending:
        if not future.done():
            future.set_result((exit_code, error))


def removed(container: Container) -> None:
    """Release everybody who waits for a container that is no more."""
    state = container.state
    _resolve(container.exits, state.exit_code, state.error)
    _resolve(container.removals, state.exit_code, state.error)
