"""`sampan network rm`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context, for_each
from sampan.cli.flags import Options
from sampan.errors import NotFound

FLAGS = """
-f, --force   Count networks that do not exist as removed
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    networks = context.engine.networks
    force = options.on("force")

    def remove(name: str) -> bool:
        try:
            networks.remove(name)
        except NotFound:
            if not force:
                raise
            return False
        return True

    return for_each(context, arguments, remove)


COMMAND = Command(run, "NETWORK [NETWORK...]", 1, UNLIMITED, FLAGS, completes="networks")
