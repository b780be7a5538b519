"""`sampan kill`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context, for_each
from sampan.cli.flags import Options

FLAGS = """
-s, --signal string   Signal to send (default: KILL)
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    containers = context.engine.containers
    return for_each(context, arguments, lambda name: containers.kill(name, options.text("signal")))


COMMAND = Command(run, "CONTAINER [CONTAINER...]", 1, UNLIMITED, FLAGS, completes="containers")
