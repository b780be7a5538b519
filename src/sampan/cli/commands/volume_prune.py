"""`sampan volume prune`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of
from sampan.cli.pruning import reclaimed, report

_WARNINGS = {
    False: "WARNING! This will remove anonymous local volumes not used by at least one container.",
    True: "WARNING! This will remove all local volumes not used by at least one container.",
}

FLAGS = """
-a, --all             All that nothing uses, not only those without a name
    --filter filter   Only those that match (label=)
-f, --force           Do not ask
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    filters = filters_of(options.many("filter"))
    if options.on("all"):
        filters["all"] = ["true"]
    if not options.on("force") and not context.confirm(_WARNINGS[options.on("all")]):
        return 0
    answer = context.engine.volumes.prune(filters)
    report("Deleted Volumes:", answer.get("VolumesDeleted"))
    reclaimed(answer)
    return 0


COMMAND = Command(run, "", 0, 0, FLAGS)
