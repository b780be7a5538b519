"""`sampan image prune`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of
from sampan.cli.pruning import reclaimed, report_images

_WARNINGS = {
    False: "WARNING! This will remove all dangling images.",
    True: "WARNING! This will remove all images without at least one container associated to them.",
}

FLAGS = """
-a, --all             All that nothing uses, not only those without a name
    --filter filter   Only those that match (until=, label=)
-f, --force           Do not ask
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    filters = filters_of(options.many("filter"))
    filters.setdefault("dangling", ["false" if options.on("all") else "true"])
    if not options.on("force") and not context.confirm(_WARNINGS[options.on("all")]):
        return 0
    answer = context.engine.images.prune(filters)
    report_images(answer.get("ImagesDeleted"))
    reclaimed(answer)
    return 0


COMMAND = Command(run, "", 0, 0, FLAGS)
