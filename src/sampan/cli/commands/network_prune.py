"""`sampan network prune`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of
from sampan.cli.pruning import report

_WARNING = "WARNING! This will remove all custom networks not used by at least one container."

FLAGS = """
    --filter filter   Only those that match (until=, label=)
-f, --force           Do not ask
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    filters = filters_of(options.many("filter"))
    if not options.on("force") and not context.confirm(_WARNING):
        return 0
    answer = context.engine.networks.prune(filters)
    report("Deleted Networks:", answer.get("NetworksDeleted"))
    return 0


COMMAND = Command(run, "", 0, 0, FLAGS)
