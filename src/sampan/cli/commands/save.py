"""`sampan save`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
-o, --output string   File to write to (default: standard output)
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.files import check_output, write_output

    check_output(options.text("output"))
    write_output(context.engine.images.save(arguments), options.text("output"))
    return 0


COMMAND = Command(run, "IMAGE [IMAGE...]", 1, UNLIMITED, FLAGS, completes="images")
