"""`sampan volume ls`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of

FLAGS = """
-f, --filter filter   Only those that match (dangling=, driver=, label=, name=)
    --format string   Print through a template: 'json', 'table', 'table TEMPLATE' or 'TEMPLATE' (Go's template language)
-q, --quiet           Print only names
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.listing import show
    from sampan.cli.rows_more import volume_listing

    format = options.text("format")
    if not format and not options.on("quiet"):
        format = context.config.get("volumesFormat")
    found = context.engine.volumes.list(filters_of(options.many("filter")))
    found.sort(key=lambda volume: volume["Name"])
    show(volume_listing(), found, format, quiet_field="Name" if options.on("quiet") else "")
    return 0


COMMAND = Command(run, "", 0, 0, FLAGS)
