"""`sampan rename`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument


def run(context: Context, options: Options, arguments: list[str]) -> int:
    old, new = (name.strip() for name in arguments)
    if not old or not new:
        raise InvalidArgument("Error: Neither old nor new names may be empty")
    context.engine.containers.rename(old, new)
    return 0


COMMAND = Command(run, "CONTAINER NEW_NAME", 2, 2, completes="all containers")
