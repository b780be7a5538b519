"""`sampan images`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of

FLAGS = """
-a, --all             Images between the steps of builds too
    --digests         Digests too
-f, --filter filter   Only those that match (dangling=, label=, reference=, before=, since=)
    --format string   Print through a template: 'json', 'table', 'table TEMPLATE' or 'TEMPLATE' (Go's template language)
    --no-trunc        Do not shorten ids
-q, --quiet           Print only ids
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.listing import show
    from sampan.cli.rows_images import image_listing, image_rows

    filters = filters_of(options.many("filter"))
    if arguments:
        filters.setdefault("reference", []).append(arguments[0])
    format = options.text("format")
    if not format and not options.on("quiet"):
        format = context.config.get("imagesFormat")
    digests = options.on("digests")
    found = context.engine.images.list(all=options.on("all"), digests=digests, filters=filters)
    found.sort(key=lambda image: -image["Created"])
    rows = image_rows(found, digests=digests or ".Digest" in format)
    columns = ["Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size"]
    show(
        image_listing(truncate=not options.on("no-trunc")),
        rows,
        format,
        quiet_field="ID" if options.on("quiet") else "",
        columns=columns,
    )
    return 0


COMMAND = Command(run, "[REPOSITORY[:TAG]]", 0, 1, FLAGS, completes="images")
