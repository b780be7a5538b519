"""`sampan ps`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of

FLAGS = """
-a, --all             Stopped containers too
-f, --filter filter   Only those that match (name=, status=, label=, ancestor=, …)
    --format string   Print through a template: 'json', 'table', 'table TEMPLATE' or 'TEMPLATE' (Go's template language)
-n, --last int        The last n containers, running or not (default -1)
-l, --latest          The last container, running or not
    --no-trunc        Do not shorten ids and commands
-q, --quiet           Print only ids
-s, --size            Sizes too
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.listing import show
    from sampan.cli.rows_containers import DEFAULT_COLUMNS, container_listing

    format = options.text("format")
    if not format and not options.on("quiet"):
        format = context.config.get("psFormat")
    size = options.on("size") or (bool(format) and ".Size" in format)
    limit = 1 if options.on("latest") else options.number("last")
    found = context.engine.containers.list(
        all=options.on("all"), limit=limit, size=size, filters=filters_of(options.many("filter"))
    )
    listing = container_listing(truncate=not options.on("no-trunc"))
    columns = DEFAULT_COLUMNS + (["Size"] if options.on("size") else [])
    show(listing, found, format, quiet_field="ID" if options.on("quiet") else "", columns=columns)
    return 0


COMMAND = Command(run, "", 0, 0, FLAGS)
