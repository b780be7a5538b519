"""`sampan volume rm`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context, for_each
from sampan.cli.flags import Options

FLAGS = """
-f, --force   Count volumes that do not exist as removed
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    volumes = context.engine.volumes
    return for_each(context, arguments, lambda name: volumes.remove(name, force=options.on("force")))


COMMAND = Command(run, "VOLUME [VOLUME...]", 1, UNLIMITED, FLAGS, completes="volumes")
