"""`sampan context show`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options


def run(context: Context, options: Options, arguments: list[str]) -> int:
    context.out("default")
    return 0


COMMAND = Command(run, "", 0, 0)
