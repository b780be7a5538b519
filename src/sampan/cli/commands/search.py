"""`sampan search`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of

FLAGS = """
-f, --filter filter   Only those that match (is-official=, stars=)
    --format string   Print through a template (Go's template language)
    --limit int       Number of results
    --no-trunc        Do not shorten descriptions
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.listing import show
    from sampan.cli.rows_more import search_listing

    found = context.engine.images.search(arguments[0], options.number("limit"), filters_of(options.many("filter")))
    show(search_listing(truncate=not options.on("no-trunc")), found, options.text("format"))
    return 0


COMMAND = Command(run, "TERM", 1, 1, FLAGS)
