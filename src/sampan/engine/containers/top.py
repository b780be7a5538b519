"""`top`: ps on the host, cut down to a container's processes."""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import TYPE_CHECKING, Any

from sampan import errors

if TYPE_CHECKING:
    from sampan.engine.containers.model import Container
    from sampan.engine.engine import Engine

_PS_TIMEOUT_S = 10.0
_RENAMED_PID = re.compile(r"(?:^|[\s,])([^\s,]*)=\s*PID", re.IGNORECASE)


async def top(engine: Engine, container: Container, ps_args: str) -> dict[str, Any]:
    """`{"Titles": […], "Processes": [[…]]}` of `ps <ps_args>`; the last column holds the whole rest of the line.

    Raises:
        Conflict: it does not run.
        InvalidArgument: arguments that hide the PID column.
        NotSupported: the host has no ps.
        Internal: ps failed.
    """
    task = container.task
    if not container.running or task is None:
        raise errors.Conflict(f"container {container.id} is not running")
    if container.state.status == "restarting":
        raise errors.Conflict(f"Container {container.id} is restarting, wait until the container is running")
    _check_arguments(ps_args)
    pids = set(await task.pids())
    found = parse(await _ps(shlex.split(ps_args or "-ef")), pids)
    engine.containers.publish(container, "top")
    return found


def _check_arguments(ps_args: str) -> None:
    for match in _RENAMED_PID.finditer(ps_args):
        if match[1].lower() != "pid":
            raise errors.InvalidArgument(f'specifying "{match[1]}=PID" is not allowed')


async def _ps(arguments: list[str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            "ps",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise errors.NotSupported("ps is not installed on the host", hint="install the package procps") from None
    try:
        output, complaint = await asyncio.wait_for(process.communicate(), _PS_TIMEOUT_S)
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        text = complaint.decode("utf-8", "replace").strip().partition("\n")[0]
        raise errors.Internal(f"ps: {text or f'exit status {process.returncode}'}")
    return output.decode("utf-8", "replace")


def parse(output: str, pids: set[int]) -> dict[str, Any]:
    """The table of ps without the lines of other processes. A line that follows a process without a PID of its own
    (threads, with `-m`) belongs to it."""
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise errors.Internal("Couldn't find PID field in ps output")
    column = titles.index("PID")
    processes: list[list[str]] = []
    wanted = False
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) <= column:
            continue
        if fields[column] == "-":
            if wanted:
                processes.append(fields)
            continue
        if not fields[column].isdigit():
            raise errors.Internal(f"Unexpected pid '{fields[column]}'")
        wanted = int(fields[column]) in pids
        if wanted:
            processes.append(fields)
    return {"Titles": titles, "Processes": processes}
