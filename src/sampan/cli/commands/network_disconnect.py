"""`sampan network disconnect`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
-f, --force   Though the container is gone
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    context.engine.networks.disconnect(arguments[0], arguments[1], force=options.on("force"))
    return 0


COMMAND = Command(run, "NETWORK CONTAINER", 2, 2, FLAGS, completes="networks")
