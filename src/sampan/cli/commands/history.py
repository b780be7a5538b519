"""`sampan history`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
    --format string   Print through a template: 'json', 'table', 'table TEMPLATE' or 'TEMPLATE' (Go's template language)
-H, --human           Sizes and times for people (default true)
    --no-trunc        Do not shorten ids and commands
-q, --quiet           Print only ids
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.listing import show
    from sampan.cli.rows_more import history_listing

    layers = context.engine.images.history(arguments[0])
    listing = history_listing(truncate=not options.on("no-trunc"), human=options.on("human"))
    show(listing, layers, options.text("format"), quiet_field="ID" if options.on("quiet") else "")
    return 0


COMMAND = Command(run, "IMAGE", 1, 1, FLAGS, completes="images")
