"""`sampan pause`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context, for_each
from sampan.cli.flags import Options


def run(context: Context, options: Options, arguments: list[str]) -> int:
    return for_each(context, arguments, context.engine.containers.pause)


COMMAND = Command(run, "CONTAINER [CONTAINER...]", 1, UNLIMITED, completes="containers")
