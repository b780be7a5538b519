"""`sampan export`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
-o, --output string   File to write to (default: standard output)
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.files import write_output

    write_output(context.engine.containers.export(arguments[0]), options.text("output"))
    return 0


COMMAND = Command(run, "CONTAINER", 1, 1, FLAGS, completes="all containers")
