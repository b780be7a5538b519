"""`sampan load`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
-i, --input string   Archive to read (default: standard input)
-q, --quiet          Print only what was loaded
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    import sys

    from sampan.cli.files import read_input
    from sampan.cli.progress import Display

    sys.stdout.flush()
    response = context.engine.images.load(read_input(options.text("input")), quiet=options.on("quiet"))
    Display().show_all(response)
    return 0


COMMAND = Command(run, "", 0, 0, FLAGS)
