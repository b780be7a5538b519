"""`sampan diff`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument


def run(context: Context, options: Options, arguments: list[str]) -> int:
    if not arguments[0]:
        raise InvalidArgument("Container name cannot be empty")
    for change in context.engine.containers.changes(arguments[0]):
        context.out(f"{'CAD'[change['Kind']]} {change['Path']}")
    return 0


COMMAND = Command(run, "CONTAINER", 1, 1, completes="all containers")
