"""`sampan stop`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context, for_each
from sampan.cli.flags import Options

FLAGS = """
-s, --signal string   Signal that asks it to stop
-t, --timeout int     Seconds before it is killed
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    timeout_s = options.number("timeout") if options.changed("timeout") else None
    containers = context.engine.containers
    return for_each(
        context, arguments, lambda name: containers.stop(name, timeout_s=timeout_s, signal=options.text("signal"))
    )


COMMAND = Command(
    run, "CONTAINER [CONTAINER...]", 1, UNLIMITED, FLAGS, synonyms={"time": "timeout"}, completes="containers"
)
