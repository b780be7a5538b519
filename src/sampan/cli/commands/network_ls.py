"""`sampan network ls`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of

FLAGS = """
-f, --filter filter   Only those that match (driver=, name=, label=, type=, scope=)
    --format string   Print through a template: 'json', 'table', 'table TEMPLATE' or 'TEMPLATE' (Go's template language)
    --no-trunc        Do not shorten ids
-q, --quiet           Print only ids
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.listing import show
    from sampan.cli.rows_more import network_listing

    format = options.text("format")
    if not format and not options.on("quiet"):
        format = context.config.get("networksFormat")
    found = context.engine.networks.list(filters_of(options.many("filter")))
    found.sort(key=lambda network: network["Name"])
    show(
        network_listing(truncate=not options.on("no-trunc")),
        found,
        format,
        quiet_field="ID" if options.on("quiet") else "",
    )
    return 0


COMMAND = Command(run, "", 0, 0, FLAGS)
