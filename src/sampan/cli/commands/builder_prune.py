"""`sampan builder prune`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of
from sampan.cli.pruning import reclaimed, report

_WARNINGS = {
    False: "WARNING! This will remove all dangling build cache.",
    True: "WARNING! This will remove all build cache.",
}

FLAGS = """
-a, --all                  The whole cache, not only what no image uses
    --filter filter        Only what matches (until=)
-f, --force                Do not ask
    --keep-storage bytes   Disk that the cache may keep
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    if not options.on("force") and not context.confirm(_WARNINGS[options.on("all")]):
        return 0
    answer = context.engine.images.prune_cache(
        all=options.on("all"),
        filters=filters_of(options.many("filter")),
        keep_storage_bytes=options.number("keep-storage"),
    )
    report("Deleted build cache objects:", answer.get("CachesDeleted"))
    reclaimed(answer, label="Total")
    return 0


COMMAND = Command(run, "", 0, 0, FLAGS)
