"""Health checks: probes of a running container by exec, and what they say about it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.engine.containers.execs import Exec, ExecConfig
from sampan.engine.containers.model import Container
from sampan.engine.tasks.spec import Attachment
from sampan.errors import SampanError
from sampan.store.containers import HealthRecord
from sampan.types.durations import format_duration
from sampan.types.times import rfc3339

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_KEPT_RESULTS = 5
_MAX_OUTPUT_BYTES = 4096
_EXEC_ENDED_S = 5.0


class Plan(NamedTuple):
    """`HealthConfig` with Docker's defaults, in seconds."""

    command: list[str]
    interval_s: float
    timeout_s: float
    retries: int
    start_period_s: float
    start_interval_s: float


class Result(NamedTuple):
    started_ns: int
    ended_ns: int
    exit_code: int
    output: str


def plan(config: dict[str, Any]) -> Plan | None:
    """None if the container has no check."""
    health = config["Healthcheck"] or {}
    test = health.get("Test") or []
    if not test or test[0] == "NONE":
        return None
    command = list(test[1:])
    if test[0] == "CMD-SHELL":
        command = [*(config["Shell"] or ["/bin/sh", "-c"]), *command]

    def seconds(name: str, default: float) -> float:
        return (health.get(name) or 0) / 1e9 or default

    return Plan(
        command,
        seconds("Interval", 30.0),
        seconds("Timeout", 30.0),
        health.get("Retries") or 3,
        seconds("StartPeriod", 0.0),
        seconds("StartInterval", min(5.0, seconds("Interval", 30.0))),
    )


def judge(record: HealthRecord, result: Result, plan: Plan, *, in_start_period: bool) -> str:
    """Take a result into the record; gives the new status, which is also in the record."""
    record.log.append(
        {
            "Start": rfc3339(result.started_ns),
            "End": rfc3339(result.ended_ns),
            "ExitCode": result.exit_code,
            "Output": result.output,
        }
    )
    del record.log[:-_KEPT_RESULTS]
    if result.exit_code == 0:
        record.failing_streak = 0
        record.status = "healthy"
    elif not (record.status == "starting" and in_start_period):
        record.failing_streak += 1
        if record.failing_streak >= plan.retries:
            record.status = "unhealthy"
    return record.status


class Health:
    """Runs the probes of all containers, one after another for each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, container: Container, *, keep: bool = False) -> None:
        """Start to probe a container that runs now. `keep`: it ran before (unpaused, or found by a new engine)."""
        wanted = plan(container.config)
        if wanted is None or not container.running or container.health_probe is not None:
            return
        if not keep or container.state.health is None:
            container.state.health = HealthRecord()
        container.health_probe = self._engine.containers.background(self._probe(container, wanted))

    def end(self, container: Container) -> None:
        probe, container.health_probe = container.health_probe, None
        if probe is not None and probe is not asyncio.current_task():
            probe.cancel()

    async def _probe(self, container: Container, wanted: Plan) -> None:
        began = time.monotonic()
        while container.running and not container.removed:
            record = container.state.health
            assert record is not None
            in_start_period = time.monotonic() - began < wanted.start_period_s
            starting = record.status == "starting" and in_start_period
            await asyncio.sleep(wanted.start_interval_s if starting else wanted.interval_s)
            if not container.running or container.task is None:
                return
            if container.paused:
                continue
            result = await self._run(container, wanted)
            if result is None or container.task is None:
                return
            before = record.status
            in_start_period = time.monotonic() - began < wanted.start_period_s
            status = judge(record, result, wanted, in_start_period=in_start_period)
            self._engine.containers.save(container)
            if status != before:
                self._engine.containers.publish(container, f"health_status: {status}")

    async def _run(self, container: Container, wanted: Plan) -> Result | None:
        """One probe; None if the container ended under it."""
        started_ns = time.time_ns()
        config = ExecConfig(
            Cmd=wanted.command, AttachStdout=True, AttachStderr=True, User=container.config["User"] or ""
        )
        ours, theirs = socket.socketpair()
        output = bytearray()
        try:
            ours.setblocking(False)
            probe = self._engine.execs.create(container, config)
            attachment = Attachment(theirs.detach(), stdin=False, framed=False)
            try:
                await self._engine.execs.start(probe, attachment=attachment)
            except SampanError as error:
                os.close(attachment.fd)
                return Result(started_ns, time.time_ns(), probe.exit_code or -1, error.message)
            try:
                await asyncio.wait_for(self._follow(ours, output, probe), wanted.timeout_s)
            except TimeoutError:
                return await self._timed_out(container, wanted, probe, started_ns, _text(output))
            exit_code = probe.exit_code if probe.exit_code is not None else -1
            return Result(started_ns, time.time_ns(), exit_code, _text(output))
        except SampanError:
            return None
        finally:
            ours.close()
            if theirs.fileno() >= 0:
                theirs.close()

    async def _follow(self, ours: socket.socket, output: bytearray, probe: Exec) -> None:
        loop = asyncio.get_running_loop()
        while chunk := await loop.sock_recv(ours, 65536):
            if len(output) <= _MAX_OUTPUT_BYTES:
                output += chunk
        await probe.done.wait()

    async def _timed_out(
        self, container: Container, wanted: Plan, probe: Exec, started_ns: int, output: str
    ) -> Result | None:
        task = container.task
        if task is not None:
            try:
                await task.signal(9, probe.id)
                await asyncio.wait_for(probe.done.wait(), _EXEC_ENDED_S)
            except (SampanError, TimeoutError):
                pass  # the probe or its container ended; the verdict stands
        text = f"Health check exceeded timeout ({format_duration(round(wanted.timeout_s * 1e9))})"
        return Result(started_ns, time.time_ns(), -1, f"{text}: {output}" if output else text)


def _text(output: bytearray) -> str:
    text = bytes(output[:_MAX_OUTPUT_BYTES]).decode("utf-8", "replace")
    return text + "..." if len(output) > _MAX_OUTPUT_BYTES else text
