"""`sampan rm`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context, for_each
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument, NotFound

FLAGS = """
-f, --force     Kill it first if it runs
-l, --link      Remove this link only
-v, --volumes   Remove its anonymous volumes too
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    containers = context.engine.containers
    force, volumes, link = options.on("force"), options.on("volumes"), options.on("link")

    def remove(name: str) -> bool:
        name = name.strip("/")
        if not name:
            raise InvalidArgument("Container name cannot be empty")
        try:
            containers.remove(name, force=force, volumes=volumes, link=link)
        except NotFound:
            if not force:
                raise
            context.warn(f"sampan: No such container: {name}")
            return False
        return True

    return for_each(context, arguments, remove)


COMMAND = Command(run, "CONTAINER [CONTAINER...]", 1, UNLIMITED, FLAGS, completes="all containers")
